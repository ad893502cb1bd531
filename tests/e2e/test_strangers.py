"""Who does not get in: each is told why by status and code, leaves an event, and harms nobody else."""

import dataclasses
from collections.abc import Callable

import pytest

from .place import Place
from .program import Program, until
from .refusals import CHAT, JSON, Headers, bearer, check_alive, check_refused
from .upstream import Upstream
from .wire import ask, chat, chat_body


class Neighbours:
    """Gateways and consumers that are switched off, foreign or unclear."""

    def __init__(self, place: Place, url: str) -> None:
        admin, home = place.admin, place.gateway
        self.foreign = admin.gateway()
        self.foreign_key = self.foreign.key(self.foreign.consumer("my-app"))
        self.closed = admin.gateway()
        self.closed_key = self.closed.key(self.closed.consumer("my-app"))
        admin.done("PUT", self.closed.path(), {"status": "inactive"})
        self.lone_key = home.key()
        self.off_key = home.key(place.consumers["my-app"])
        self.off_key.set(enabled=False)
        sleeping = home.consumer("sleeping", place.registry, active=False)
        home.attach(sleeping, "auths", place.key.id)
        self.sleeping_key = home.key(sleeping)
        disabled = home.registry("disabled", "openai", key="sk-x", base_url=url)
        self.stranded_key = home.key(home.consumer("stranded", disabled))
        admin.done("PUT", home.path(f"/registries/{disabled}"), {"enabled": False})
        self.empty_key = home.key(home.consumer("empty"))
        strict = home.consumer(
            "strict", place.registry, model_policies=[{"registry_id": place.registry, "allowed": ["gpt-4o"]}]
        )
        self.strict_key = home.key(strict)


@pytest.fixture(scope="module")
def neighbours(place: Place, server: Upstream) -> Neighbours:
    return Neighbours(place, server.url)


@dataclasses.dataclass(frozen=True)
class Stranger:
    """One caller who does not get in."""

    name: str
    headers: Callable[[Place, Neighbours], Headers]
    status: int
    code: str
    path: str = CHAT


DROP_IN = "/v1/chat/completions"
STRANGERS = (
    Stranger("no key", lambda p, n: {}, 401, "missing_api_key"),
    Stranger("no key but a slug", lambda p, n: {"x-ag-gateway-slug": p.gateway.slug}, 401, "missing_api_key"),
    Stranger("an empty key", lambda p, n: {"x-ag-api-key": ""}, 401, "missing_api_key"),
    Stranger("a wrong key", lambda p, n: bearer("ag_" + "x" * 43), 401, "invalid_api_key"),
    Stranger("a provider's key", lambda p, n: bearer("sk-proj-1234"), 401, "invalid_api_key"),
    Stranger("another scheme", lambda p, n: {"authorization": "Basic eDp5"}, 401, "missing_api_key"),
    Stranger("a key cut short", lambda p, n: bearer(p.key.text[:-1]), 401, "invalid_api_key"),
    Stranger("a key with more", lambda p, n: bearer(p.key.text + "x"), 401, "invalid_api_key"),
    Stranger("a key in capitals", lambda p, n: bearer(p.key.text.upper()), 401, "invalid_api_key"),
    Stranger("a key with odd bytes", lambda p, n: bearer("ag_\xff\xfe"), 401, "invalid_api_key"),
    Stranger("a disabled key", lambda p, n: n.off_key.headers, 401, "invalid_api_key"),
    Stranger(
        "my key, a foreign gateway",
        lambda p, n: {**p.headers, "X-AG-Gateway-Slug": n.foreign.slug},
        401,
        "invalid_api_key",
    ),
    Stranger(
        "a foreign key, my gateway",
        lambda p, n: {**n.foreign_key.headers, "X-AG-Gateway-Slug": p.gateway.slug},
        401,
        "invalid_api_key",
    ),
    Stranger(
        "my key, a foreign host",
        lambda p, n: {**bearer(p.key.text), "host": f"{n.foreign.slug}.llm.localhost"},
        401,
        "invalid_api_key",
    ),
    Stranger(
        "an unknown gateway", lambda p, n: {**p.headers, "X-AG-Gateway-Slug": "nowhere"}, 400, "invalid_auth_request"
    ),
    Stranger(
        "no slug at all", lambda p, n: {**p.headers, "X-AG-Gateway-Slug": "No Slug!"}, 400, "invalid_auth_request"
    ),
    Stranger(
        "an unknown host",
        lambda p, n: {**bearer(p.key.text), "host": "nowhere.llm.localhost"},
        400,
        "invalid_auth_request",
    ),
    Stranger(
        "a host of two labels",
        lambda p, n: {**bearer(p.key.text), "host": f"a.{p.gateway.slug}.llm.localhost"},
        400,
        "invalid_auth_request",
    ),
    Stranger("an inactive gateway", lambda p, n: n.closed_key.headers, 403, "gateway_inactive"),
    Stranger("an unknown consumer", lambda p, n: p.headers, 404, "consumer_not_found", "/nobody/v1/chat/completions"),
    Stranger(
        "an inactive consumer", lambda p, n: p.headers, 404, "consumer_not_found", "/sleeping/v1/chat/completions"
    ),
    Stranger("an odd consumer", lambda p, n: p.headers, 404, "consumer_not_found", "/%ff/v1/chat/completions"),
    Stranger("another case", lambda p, n: p.headers, 404, "consumer_not_found", "/My-App/v1/chat/completions"),
    Stranger("a key of nobody", lambda p, n: n.lone_key.headers, 403, "forbidden"),
    Stranger("a key of somebody else", lambda p, n: n.empty_key.headers, 403, "forbidden"),
    Stranger("a key of nobody, drop-in", lambda p, n: bearer(n.lone_key.text), 403, "forbidden", DROP_IN),
    Stranger("a key of a sleeper, drop-in", lambda p, n: bearer(n.sleeping_key.text), 403, "forbidden", DROP_IN),
    Stranger("several consumers", lambda p, n: bearer(p.key.text), 400, "ambiguous_consumer", DROP_IN),
    Stranger(
        "no registry", lambda p, n: n.empty_key.headers, 503, "no_backend_available", "/empty/v1/chat/completions"
    ),
    Stranger(
        "a disabled registry",
        lambda p, n: n.stranded_key.headers,
        503,
        "no_backend_available",
        "/stranded/v1/chat/completions",
    ),
    Stranger(
        "a model out of bounds",
        lambda p, n: n.strict_key.headers,
        403,
        "model_not_allowed",
        "/strict/v1/chat/completions",
    ),
)


@pytest.mark.parametrize("stranger", STRANGERS, ids=lambda stranger: stranger.name)
def test_who_may_not_is_told_so(place: Place, neighbours: Neighbours, upstream: Upstream, stranger: Stranger) -> None:
    answer = ask(place.port, "POST", stranger.path, {**JSON, **stranger.headers(place, neighbours)}, chat_body())
    check_refused(place, answer, stranger.status, stranger.code)
    assert ("www-authenticate" in answer.headers) == (stranger.status == 401)
    assert not upstream.seen
    check_alive(place, upstream)


def test_a_request_without_a_model_says_what_is_missing(place: Place, upstream: Upstream) -> None:
    answer = chat(place.port, place.headers, b'{"messages":[]}')
    check_refused(place, answer, 400, "model_required")
    assert answer.error()["param"] == "model"
    assert not upstream.seen


def test_host_header_and_key_that_agree_open_the_door(place: Place, upstream: Upstream) -> None:
    headers = {**JSON, **bearer(place.key.text), "host": f"{place.gateway.slug}.llm.localhost:8081"}
    assert ask(place.port, "POST", CHAT, headers, chat_body()).status == 200


def test_a_thousand_bad_requests_leave_nothing_behind(place: Place, program: Program, upstream: Upstream) -> None:
    """Refusals cost no connection, no request under way, and their events are all there."""
    before = len(program.events())
    open_files = program.metrics()["process_open_fds"]
    for _ in range(250):
        for headers, body in (
            ({}, b"{}"),
            (place.headers, b"{"),
            (place.headers, b'{"model":5}'),
            (place.headers, b""),
        ):
            assert chat(place.port, headers, body).status in (400, 401)
    assert place.program.metrics()["trustgate_requests_in_flight"] == 0
    assert place.program.metrics()["process_open_fds"] <= open_files + 3

    until(lambda: len(program.events()) >= before + 1000, what="all events")
    check_alive(place, upstream)
