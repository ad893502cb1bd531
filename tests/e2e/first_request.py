"""The published first request, six calls from nothing to a completion, on whatever pair of planes there is."""

import http.client
import json
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from .program import Admin, Program, run_once, until
from .upstream import Upstream, completion, delta, story, stream
from .wire import ask, chat, chat_body

BOUND = 0.5
SLACK = 2.0
UNKNOWN = "00000000-0000-4000-8000-000000000000"


class Pair:
    """The program that has the admin plane and the one that has the proxy plane; they may be the same."""

    def __init__(self, admin: Program, proxy: Program) -> None:
        self.admin = admin
        self.proxy = proxy
        self.together = admin is proxy

    @property
    def port(self) -> int:
        """The port of the proxy plane."""
        return self.proxy.ports["proxy"]

    def seen(self, check: Callable[[], bool]) -> float:
        """Return how long it takes for a change to be seen: at once in one process, else within a bound."""
        started = time.monotonic()
        if self.together:
            assert check()
        else:
            until(check, patience=SLACK, what="a change seen by the other process")
        return time.monotonic() - started


class FirstRequest:
    """The tests of a pair, which whoever runs them brings as a fixture."""

    @pytest.fixture
    def admin(self, pair: Pair) -> Iterator[Admin]:
        """A client with a token that the command has printed."""
        printed = run_once("token", env=pair.admin.env, cwd=pair.admin.cwd)
        assert printed.returncode == 0, printed.stderr
        with Admin(pair.admin.url("admin"), printed.stdout.strip()) as admin:
            yield admin

    def test_from_nothing_to_a_completion(self, pair: Pair, admin: Admin, upstream: Upstream) -> None:
        gateway = admin.done("POST", "/v1/gateways", {"name": "My Gateway", "slug": f"first-{pair.port}"})
        assert (gateway["name"], gateway["slug"]) == ("My Gateway", f"first-{pair.port}")
        root = f"/v1/gateways/{gateway['id']}"

        auth = {"type": "api_key", "api_key": {"api_key": "sk-first-1234567890"}}
        body = {
            "name": "openai-primary",
            "provider": "openai",
            "auth": auth,
            "provider_options": {"base_url": upstream.url},
        }
        registry = admin.done("POST", f"{root}/registries", body)
        assert "sk-first-1234567890" not in json.dumps(registry)

        consumer = admin.done("POST", f"{root}/consumers", {"name": "my-app", "registries": [{"id": registry["id"]}]})
        assert consumer["slug"] == "my-app"

        minted = admin.done("POST", f"{root}/auths", {"name": "my-app-key", "type": "api_key"})
        key = minted["api_key"]
        assert key.startswith("ag_") and len(key) == 46
        assert key not in json.dumps(admin.done("GET", f"{root}/auths/{minted['id']}"))

        attached = admin.call("POST", f"{root}/consumers/{consumer['id']}/auths/{minted['id']}")
        assert (attached.status_code, attached.content) == (204, b"")

        headers = {"X-AG-Gateway-Slug": gateway["slug"], "X-AG-API-Key": key}
        pair.seen(partial(says, pair, headers, 200))
        check_ways_in(pair, upstream, headers, key)
        check_stream(pair, upstream, headers)
        upstream.play(completion())
        check_revocation(pair, admin, f"{root}/auths/{minted['id']}", headers)

        assert admin.call("DELETE", root).status_code == 204
        pair.seen(partial(says, pair, headers, 400))
        for kind in ("registries", "consumers", "auths"):
            assert admin.call("GET", f"{root}/{kind}").status_code == 404

    def test_every_admin_write_is_seen_by_the_next_request(self, pair: Pair, admin: Admin, upstream: Upstream) -> None:
        """At once in one process; within half a second in another. The answer's revision says which was used."""
        gateway = admin.gateway()
        registry = gateway.registry("openai", "openai", key="sk-x", base_url=upstream.url)
        consumer = gateway.consumer("my-app", registry)
        key = gateway.key(consumer)
        root = gateway.path()
        seen: list[float] = []

        def change(method: str, path: str, body: object, status: int) -> None:
            answer = admin.call(method, path, body)
            assert answer.is_success, answer.text
            revision = int(answer.headers["x-ag-revision"])

            def applied() -> bool:  # the status alone may have been the same before
                said = chat(pair.port, key.headers)
                return said.status == status and int(said.headers["x-ag-revision"]) >= revision

            seen.append(pair.seen(applied))

        change("PUT", f"{root}/consumers/{consumer}", {"name": "renamed"}, 200)
        change("PUT", f"{root}/consumers/{consumer}", {"active": False}, 404)
        change("PUT", f"{root}/consumers/{consumer}", {"active": True}, 200)
        change("PUT", f"{root}/registries/{registry}", {"enabled": False}, 503)
        change("PUT", f"{root}/registries/{registry}", {"enabled": True}, 200)
        rules = [{"registry_id": registry, "allowed": ["other"]}]
        change("PUT", f"{root}/consumers/{consumer}", {"model_policies": rules}, 403)
        change("PUT", f"{root}/consumers/{consumer}", {"model_policies": []}, 200)
        change("PUT", root, {"status": "inactive"}, 403)
        change("PUT", root, {"status": "active"}, 200)
        settings = {"allowed_payload_size": 1, "size_unit": "bytes"}
        policy = admin.done(
            "POST", f"{root}/policies", {"name": "small", "slug": "request_size_limiter", "settings": settings}
        )["id"]
        change("POST", f"{root}/policies/{policy}/global", None, 413)
        change("PUT", f"{root}/policies/{policy}", {"enabled": False}, 200)
        change("PUT", f"{root}/policies/{policy}", {"enabled": True}, 413)
        change("DELETE", f"{root}/policies/{policy}", None, 200)
        change("DELETE", f"{root}/consumers/{consumer}/registries/{registry}", None, 503)
        change("POST", f"{root}/consumers/{consumer}/registries/{registry}", None, 200)
        change("DELETE", f"{root}/consumers/{consumer}/auths/{key.id}", None, 403)
        change("POST", f"{root}/consumers/{consumer}/auths/{key.id}", None, 200)
        change("DELETE", f"{root}/auths/{key.id}", None, 401)
        assert statistics.median(seen) <= BOUND, seen

    @pytest.mark.parametrize(
        ("asked", "body", "said"),
        [
            ("POST /v1/gateways", {"name": "x", "slug": "taken"}, (409, "already_exists")),
            ("GET /v1/gateways/nonsense", None, (400, "invalid_uuid")),
            (f"GET /v1/gateways/{UNKNOWN}", None, (404, "not_found")),
            ("GET /v1/nonsense", None, (404, "not_found")),
            ("PATCH /v1/gateways", {}, (405, "method_not_allowed")),
            ("POST /v1/gateways", {"name": 5}, (422, "validation_failed")),
        ],
    )
    def test_what_newcomers_get_wrong(self, admin: Admin, asked: str, body: object, said: tuple[int, str]) -> None:
        admin.call("POST", "/v1/gateways", {"name": "taken", "slug": "taken"})
        method, path = asked.split()
        answer = admin.call(method, path, body)
        assert (answer.status_code, answer.json()["error"]) == said

    @pytest.mark.parametrize("claims", [{"exp": 1}, {"purpose": "playground"}], ids=["expired", "for something else"])
    def test_a_token_that_is_not_good(self, pair: Pair, claims: dict[str, object]) -> None:
        with pair.admin.admin(**claims) as stranger:
            answer = stranger.call("GET", "/v1/gateways")
        assert (answer.status_code, answer.json()["error"]) == (401, "unauthorized")


def says(pair: Pair, headers: dict[str, str], status: int) -> bool:
    """Return whether a request with these headers has that outcome."""
    return chat(pair.port, headers).status == status


def check_ways_in(pair: Pair, upstream: Upstream, headers: dict[str, str], key: str) -> None:
    """The completion, by every way in that is promised; the provider gets its own key and the caller's very bytes."""
    slug = {"x-ag-gateway-slug": headers["X-AG-Gateway-Slug"]}
    bearer = {"authorization": f"Bearer {key}"}
    ways = (
        ("/my-app/v1/chat/completions", headers),
        ("/my-app/chat/completions", headers),
        ("/my-app/v1/chat/completions/", headers),
        ("/my-app/v1/chat/completions", {**slug, "x-api-key": key}),
        ("/my-app/v1/chat/completions", {**slug, **bearer}),
        ("/my-app/v1/chat/completions", bearer),
        ("/v1/chat/completions", bearer),
        ("/chat/completions", {"x-api-key": key}),
    )
    for path, way in ways:
        upstream.play(completion())
        said = chat(pair.port, way, path=path)
        assert said.status == 200, (path, way, said.body)
        assert said.json()["choices"][0]["message"]["content"] == "Hello!"
        assert said.headers["x-ag-revision"].isdigit()
        assert len(said.trace_id) == 32
        seen = upstream.last()
        assert (seen.method, seen.target, seen.body) == (b"POST", b"/v1/chat/completions", chat_body())
        assert seen.header("authorization") == "Bearer sk-first-1234567890"
        assert key not in str(seen.headers)
    listed = ask(pair.port, "GET", "/my-app/v1/models", headers)
    assert (listed.status, listed.json()["object"]) == (200, "list")


def check_stream(pair: Pair, upstream: Upstream, headers: dict[str, str]) -> None:
    """A stream arrives while it is being made."""
    upstream.play(stream(story(["one ", "two "]), pause=0.2))
    body = chat_body(stream=True)

    connection = http.client.HTTPConnection("127.0.0.1", pair.port, timeout=10)
    connection.request("POST", "/my-app/v1/chat/completions", body, {"content-type": "application/json", **headers})
    response = connection.getresponse()
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-accel-buffering"] == "no"
    started = time.monotonic()
    first = response.readline()
    waited = time.monotonic() - started
    assert b"data: " + first[6:] == delta("", role="assistant")[: len(first)]
    rest = response.read()
    whole = time.monotonic() - started
    connection.close()
    assert first + rest == b"".join(story(["one ", "two "]))
    assert waited < 0.5 < whole


def check_revocation(pair: Pair, admin: Admin, path: str, headers: dict[str, str]) -> None:
    """A key that is switched off stops working, and works again when it is switched on."""
    times = []
    for enabled, status in ((False, 401), (True, 200)) * 3:
        admin.done("PUT", path, {"enabled": enabled})
        times.append(pair.seen(partial(says, pair, headers, status)))
    assert statistics.median(times) <= BOUND, times
