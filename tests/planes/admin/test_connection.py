"""Trying a connection: over a real socket, telling what happened and never what was said."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as Proof
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from trustgate.planes.admin import connection
from trustgate.planes.admin.plane import AdminServices
from trustgate.settings import References

from .api import UNKNOWN, Api
from .conftest import World

pytestmark = pytest.mark.anyio

SAID = "what the upstream says is nobody's business"
KEY = "sk-tried-key-long-enough-1"
TOKEN = "tried-token-long-enough-2"


class Upstream(BaseHTTPRequestHandler):
    """Answers as it is told to and remembers what it was asked."""

    status: ClassVar[int] = 200
    delay: ClassVar[float] = 0.0
    asked: ClassVar[list[tuple[str, dict[str, str]]]] = []
    bodies: ClassVar[list[str]] = []
    token: ClassVar[tuple[int, str]] = (200, "{}")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer."""
        self._heard()
        time.sleep(Upstream.delay)
        self._say(Upstream.status, SAID)

    def do_POST(self) -> None:
        """Give a token, or answer."""
        self._heard()
        Upstream.bodies.append(self.rfile.read(int(self.headers["content-length"])).decode())
        self._say(*(Upstream.token if self.path == "/token" else (Upstream.status, SAID)))

    def _heard(self) -> None:
        Upstream.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))

    def _say(self, status: int, said: str) -> None:
        self.send_response(status)
        self.send_header("location", "/elsewhere")
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said.encode())


@pytest.fixture
def upstream() -> Iterator[str]:
    """The base URL of a server that we control."""
    Upstream.status, Upstream.delay, Upstream.asked, Upstream.bodies = 200, 0.0, [], []
    Upstream.token = (200, json.dumps({"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600}))
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


# Each way to prove oneself, by the same code that requests go through.


async def tried(api: Api, world: World, provider: str, auth: dict[str, Any], **options: Any) -> Any:
    """Try what would be stored."""
    for secret in (KEY, TOKEN, SAID):
        api.hide(secret)
    sent = {"provider": provider, "provider_options": options, "auth": auth}
    return await api.ok("POST", f"{world.root}/registries/test-connection", sent)


def place(upstream: str) -> str:
    """The server's address, without a path."""
    return upstream.removesuffix("/v1")


def oauth(upstream: str, **changes: Any) -> dict[str, Any]:
    """An auth by client credentials."""
    block = {"token_url": f"{place(upstream)}/token", "grant_type": "client_credentials", "client_id": "me"}
    return {"type": "oauth2", "oauth": {**block, "client_secret": KEY, **changes}}


async def test_a_token_is_got_and_used(api: Api, world: World, upstream: str) -> None:
    for _ in range(2):  # a cached token would prove nothing
        answer = await tried(api, world, "openai", oauth(upstream), base_url=upstream)
        assert (answer["ok"], answer["stage"], answer["status_code"]) == (True, "authentication", 200)
    assert [path for path, _ in Upstream.asked] == ["/token", "/v1/models"] * 2
    assert Upstream.asked[1][1]["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    ("token", "stage"),
    [
        ((401, '{"error": "invalid_client"}'), "authentication"),
        ((200, SAID), "authentication"),
        ((503, ""), "connectivity"),
    ],
)
async def test_no_token_can_be_got(api: Api, world: World, upstream: str, token: tuple[int, str], stage: str) -> None:
    Upstream.token = token
    answer = await tried(api, world, "openai", oauth(upstream), base_url=upstream)
    assert (answer["ok"], answer["stage"]) == (False, stage)
    assert "status_code" not in answer
    assert answer["message"].startswith("the token endpoint answered with")
    assert [path for path, _ in Upstream.asked] == ["/token"]


async def test_a_refresh_token_is_not_used_up(api: Api, world: World, upstream: str) -> None:
    auth = oauth(upstream, grant_type="refresh_token", refresh_token="a-refresh-token")
    answer = await tried(api, world, "openai", auth, base_url=upstream)
    assert (answer["ok"], answer["stage"]) == (False, "unsupported")
    assert not Upstream.asked


@pytest.mark.parametrize(("version", "asked"), [(None, "2024-10-21"), ("2025-01-01-preview", "2025-01-01-preview")])
async def test_azure(api: Api, world: World, upstream: str, version: str | None, asked: str) -> None:
    auth = {"type": "azure", "azure": {"endpoint": place(upstream), "version": version, "api_key": KEY}}
    assert (await tried(api, world, "azure", auth))["ok"] is True
    [(path, headers)] = Upstream.asked
    assert (path, headers["api-key"]) == (f"/openai/models?api-version={asked}", KEY)


@pytest.mark.parametrize(("status", "ok", "stage"), [(200, True, "authentication"), (403, False, "authentication")])
async def test_aws_says_whose_keys_they_are(
    api: Api, world: World, upstream: str, *, status: int, ok: bool, stage: str
) -> None:
    Upstream.status = status
    keys = {"region": "eu-west-1", "access_key_id": "AKIDTRIED", "secret_access_key": KEY}
    answer = await tried(api, world, "bedrock", {"type": "aws", "aws": keys}, sts_url=f"{place(upstream)}/sts")
    assert (answer["ok"], answer["stage"], answer["status_code"]) == (ok, stage, status)
    [(path, headers)], [sent] = Upstream.asked, Upstream.bodies
    assert (path, sent) == ("/sts", "Action=GetCallerIdentity&Version=2011-06-15")
    request = AWSRequest(
        "POST", f"{place(upstream)}/sts", {n: headers[n] for n in ("content-type", "x-amz-date")}, sent
    )
    request.context["timestamp"] = headers["x-amz-date"]
    signer = SigV4Auth(Proof("AKIDTRIED", KEY), "sts", "eu-west-1")
    expected = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    assert headers["authorization"].endswith(f"Signature={expected}")


@pytest.mark.parametrize(
    ("token", "ok"), [((200, json.dumps({"access_token": TOKEN})), True), ((400, '{"error": "invalid_grant"}'), False)]
)
async def test_of_a_service_account_only_a_token_is_got(
    api: Api, world: World, upstream: str, token: tuple[int, str], ok: bool
) -> None:
    Upstream.token = token
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = {"type": "service_account", "project_id": "p", "client_email": "me@p", "private_key": key.decode()}
    auth = {"type": "gcp_service_account", "gcp_service_account": {**file, "token_uri": f"{place(upstream)}/token"}}
    answer = await tried(api, world, "vertex", auth, location="global")
    assert (answer["ok"], answer["stage"]) == (ok, "authentication")
    assert [path for path, _ in Upstream.asked] == ["/token"]


@pytest.mark.parametrize(
    ("provider", "options"),
    [("bedrock", {"region": "eu-west-1"}), ("perplexity", {}), ("vertex", {"location": "eu", "project": "p"})],
)
async def test_who_has_nothing_to_ask(api: Api, world: World, provider: str, options: dict[str, Any]) -> None:
    auth = {"type": "api_key", "api_key": {"api_key": KEY}}
    answer = await tried(api, world, provider, auth, **options)
    assert (answer["ok"], answer["stage"]) == (False, "unsupported")
    assert provider in answer["message"]


async def test_each_provider_is_asked_its_own_way(api: Api, world: World, upstream: str) -> None:
    auth = {"type": "api_key", "api_key": {"api_key": KEY}}
    Upstream.status = 400
    google = await tried(api, world, "google", auth, base_url=place(upstream))
    assert (google["ok"], google["stage"]) == (False, "authentication")  # Google calls a wrong key a bad request
    anthropic = await tried(api, world, "anthropic", auth, base_url=place(upstream))
    assert (anthropic["ok"], anthropic["stage"]) == (False, "provider")
    [(first, google_headers), (second, headers)] = Upstream.asked
    assert first.startswith("/v1beta/models?")
    assert second.startswith("/v1/models?")
    assert google_headers["x-goog-api-key"] == headers["x-api-key"] == KEY
    assert headers["anthropic-version"] == "2023-06-01"


class TestReferences:
    """With a plane whose registries may refer to secrets."""

    @pytest.fixture
    async def services(self, services: AdminServices, tmp_path: Path) -> AdminServices:
        """A plane that allows one variable, and files."""
        references = References(variables={"TRIED_API_KEY": KEY}, folder=str(tmp_path))
        return msgspec.structs.replace(services, tools=msgspec.structs.replace(services.tools, references=references))

    async def test_a_reference_is_looked_up(self, api: Api, world: World, upstream: str) -> None:
        auth = {"type": "api_key", "api_key": {"api_key": "env:TRIED_API_KEY"}}
        assert (await tried(api, world, "openai", auth, base_url=upstream))["ok"] is True
        assert Upstream.asked[0][1]["authorization"] == f"Bearer {KEY}"

    async def test_a_stored_reference_that_leads_nowhere_any_more(
        self, api: Api, world: World, upstream: str, tmp_path: Path
    ) -> None:
        file = tmp_path / "key"
        file.write_text(KEY)
        auth = {"type": "api_key", "api_key": {"api_key": f"file:{file}"}}
        made = await api.ok("POST", f"{world.root}/registries", body(upstream, name="x", auth=auth))
        file.unlink()
        answer = await api.ok("POST", f"{world.root}/registries/test-connection", {"registry_id": made["id"]})
        assert (answer["ok"], answer["stage"]) == (False, "provider")
        assert f"auth.api_key.api_key: file:{file} cannot be read" in answer["message"]
