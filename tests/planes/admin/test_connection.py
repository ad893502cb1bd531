"""Trying a connection: over a real socket, telling what happened and never what was said."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from trustgate.planes.admin import connection

from .api import UNKNOWN, Api
from .conftest import World

pytestmark = pytest.mark.anyio

SAID = "what the upstream says is nobody's business"
KEY = "sk-tried-key-long-enough-1"


class Upstream(BaseHTTPRequestHandler):
    """Answers as it is told to and remembers what it was asked."""

    status: ClassVar[int] = 200
    delay: ClassVar[float] = 0.0
    asked: ClassVar[list[tuple[str, dict[str, str]]]] = []

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer."""
        Upstream.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        time.sleep(Upstream.delay)
        self.send_response(Upstream.status)
        self.send_header("location", "/elsewhere")
        self.send_header("content-length", str(len(SAID)))
        self.end_headers()
        self.wfile.write(SAID.encode())


@pytest.fixture
def upstream() -> Iterator[str]:
    """The base URL of a server that we control."""
    Upstream.status, Upstream.delay, Upstream.asked = 200, 0.0, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def body(base_url: str, **more: Any) -> dict[str, Any]:
    """What would be stored."""
    key = {"type": "api_key", "api_key": {"api_key": KEY}}
    return {"provider": "openai", "provider_options": {"base_url": base_url}, "auth": key} | more


@pytest.mark.parametrize(
    ("status", "ok", "stage"),
    [
        (200, True, "authentication"),
        (401, False, "authentication"),
        (403, False, "authentication"),
        (302, False, "provider"),
        (404, False, "provider"),
        (500, False, "provider"),
    ],
)
async def test_what_a_status_means(api: Api, world: World, upstream: str, *, status: int, ok: bool, stage: str) -> None:
    api.hide(KEY), api.hide(SAID)
    Upstream.status = status
    answer = await api.ok("POST", f"{world.root}/registries/test-connection", body(upstream))
    assert (answer["ok"], answer["stage"], answer["status_code"], answer["provider"]) == (ok, stage, status, "openai")
    assert answer["latency_ms"] >= 0
    assert ("message" in answer) is not ok
    [(path, headers)] = Upstream.asked  # a redirect is not followed
    assert path == "/v1/models"
    assert headers["authorization"] == f"Bearer {KEY}"


async def test_a_stored_registry_is_tried_with_its_secrets(api: Api, world: World, upstream: str) -> None:
    secret = api.hide("a-secret-parameter of &=?")
    options = {"base_url": upstream + "?v=1", "headers": {"X-Own": api.hide("own-header-secret")}}
    auth = {"type": "api_key", "api_key": {"param_name": "key", "param_value": secret}}
    made = await api.ok(
        "POST", f"{world.root}/registries", body(upstream, name="x", provider_options=options, auth=auth)
    )
    answer = await api.ok("POST", f"{world.root}/registries/test-connection", {"registry_id": made["id"]})
    assert answer["ok"] is True
    [(path, headers)] = Upstream.asked
    assert path.startswith("/v1/models?v=1&key=a-secret-parameter")
    assert headers["x-own"] == "own-header-secret"
    assert "authorization" not in headers
    pair = {"type": "api_key", "api_key": {"header_name": "X-Key", "header_value": api.hide("header-secret")}}
    await api.ok("POST", f"{world.root}/registries/test-connection", body(upstream, auth=pair))
    assert Upstream.asked[-1][1]["x-key"] == "header-secret"


async def test_nobody_there(api: Api, world: World) -> None:
    for url in ("http://127.0.0.1:1/v1", "http://nobody.invalid/v1"):
        answer = await api.ok("POST", f"{world.root}/registries/test-connection", body(url))
        assert (answer["ok"], answer["stage"]) == (False, "connectivity")
        assert "status_code" not in answer
        assert "cannot be reached" in answer["message"]


async def test_nobody_waits_for_ever(api: Api, world: World, upstream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LONGEST", 0.1)
    Upstream.delay = 0.5
    answer = await api.ok("POST", f"{world.root}/registries/test-connection", body(upstream))
    assert (answer["ok"], answer["stage"]) == (False, "connectivity")
    assert "within 0.1 seconds" in answer["message"]


async def test_the_built_in_one_is_always_there(api: Api, world: World) -> None:
    answer = await api.ok("POST", f"{world.root}/registries/test-connection", {"provider": "echo"})
    assert answer == {"ok": True, "stage": "authentication", "provider": "echo", "latency_ms": 0}


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ({}, "validation_failed"),
        ({"registry_id": UNKNOWN, "provider": "openai"}, "validation_failed"),
        ({"provider_options": {}}, "validation_failed"),
        ({"registry_id": "nonsense"}, "validation_failed"),
        ({"registry_id": UNKNOWN}, "not_found"),
        ({"provider": "nonsense"}, "validation_failed"),
        ({"provider": "openai"}, "validation_failed"),
        ({"provider": "echo", "provider_options": {"foo": 1}}, "validation_failed"),
        ({"provider": "openai", "auth": {"type": "api_key", "api_key": {"api_key": "***"}}}, "validation_failed"),
        ({"provider": "openai", "auth": {"type": "oauth2"}}, "validation_failed"),
    ],
)
async def test_what_cannot_be_tried(api: Api, world: World, sent: dict[str, Any], code: str) -> None:
    await api.no("POST", f"{world.root}/registries/test-connection", sent, code=code)
