"""cors, through a whole proxy: preflights before any key, the headers of every answer, and who is allowed."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lifecycle.kit import House, Line, Told, configured, consumer, gateway, whole
from tests.plugins.house import rule_of
from trustgate_plugins import cors
from trustgate_plugins.cors.settings import CorsSettings

pytestmark = pytest.mark.anyio

PAGE = "https://app.example.com"
OURS = {"allowed_origins": [PAGE, "https://*.preview.example.com"]}


def house(settings: dict[str, Any] | None = None, *, line: Line | None = None, **fields: Any) -> House:
    return House(line or Line(whole), rule_of(cors, settings or OURS, **fields))


async def preflight(at: House, origin: str = PAGE, *, method: str = "POST", asks: str = "", **fields: Any) -> Told:
    headers = {b"origin": origin.encode(), b"access-control-request-method": method.encode()}
    wanted = headers | ({b"access-control-request-headers": asks.encode()} if asks else {})
    return await at.ask(b"", method="OPTIONS", key=b"", headers={b"authorization": b""} | wanted, **fields)


async def test_a_preflight_is_answered_without_a_key_and_asks_nobody() -> None:
    line = Line(whole)
    told = await preflight(house(line=line), asks="Authorization, Content-Type")
    assert (told.status, told.body) == (204, b"")
    assert told.header(b"access-control-allow-origin") == PAGE
    assert told.header(b"access-control-allow-methods") == "GET, POST"
    assert told.header(b"access-control-allow-headers") == "authorization, content-type"
    assert told.header(b"access-control-max-age") == "600"
    assert told.header(b"vary") == "Origin"
    assert not line.calls


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/my-app/v1/messages", "/v1beta/models/m:generateContent"])
async def test_a_preflight_is_answered_on_every_route(path: str) -> None:
    assert (await preflight(house(), path=path)).status == 204


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.test",
        "https://app.example.com.evil.test",
        "https://appXexample.com",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://evilpreview.example.com",
        "https://preview.example.com",
        "null",
    ],
)
async def test_other_pages_are_refused_and_told_nothing(origin: str) -> None:
    at = house()
    told = await preflight(at, origin)
    assert (told.status, told.error["code"]) == (403, "origin_not_allowed")
    assert not told.header(b"access-control-allow-origin")
    assert at.event.status.reason == "origin_not_allowed"


async def test_a_page_below_an_allowed_domain_may_ask() -> None:
    told = await preflight(house(), "https://pr-7.team.preview.example.com")
    assert told.header(b"access-control-allow-origin") == "https://pr-7.team.preview.example.com"


async def test_methods_and_headers_that_are_not_listed_are_refused() -> None:
    at = house(OURS | {"allowed_methods": ["POST"], "allowed_headers": ["Authorization"]})
    assert (await preflight(at, method="DELETE")).status == 403
    assert (await preflight(at, asks="authorization, x-other")).status == 403
    assert (await preflight(at, asks="authorization")).status == 204


async def test_an_answer_can_be_read_by_the_page() -> None:
    told = await house().ask(headers={b"origin": PAGE.encode()})
    assert told.status == 200
    assert told.header(b"access-control-allow-origin") == PAGE
    assert "x-ag-trace-id" in told.header(b"access-control-expose-headers")


@pytest.mark.parametrize("path", ["/my-app/v1/chat/completions", "/v1/chat/completions"])
async def test_a_refusal_of_the_key_can_be_read_by_the_page(path: str) -> None:
    told = await house().ask(headers={b"origin": PAGE.encode()}, key=b"ag_wrong", path=path)
    assert told.status == 401
    assert told.header(b"access-control-allow-origin") == PAGE


async def test_an_answer_says_nothing_to_other_pages_nor_to_programs() -> None:
    at = house()
    for headers in ({b"origin": b"https://evil.test"}, {}):
        told = await at.ask(headers=headers)
        assert (told.status, told.header(b"access-control-allow-origin")) == (200, "")


async def test_any_origin_and_credentials() -> None:
    assert (await preflight(house({"allowed_origins": ["*"]}))).header(b"access-control-allow-origin") == "*"
    told = await preflight(house(OURS | {"allow_credentials": True}))
    assert told.header(b"access-control-allow-credentials") == "true"


async def test_without_the_policy_a_preflight_is_a_method_that_there_is_not() -> None:
    assert (await preflight(House(Line(whole)))).status == 405


async def test_another_consumers_policy_says_nothing_of_this_one() -> None:
    records = configured(consumer(), consumer(id="c2", slug="other", name="Other", auth_ids=()))
    at = House(Line(whole), rule_of(cors, OURS, consumer_ids=("c2",)), records=records)
    assert (await preflight(at)).status == 405
    assert (await preflight(at, path="/other/v1/chat/completions")).status == 204


async def test_a_gateway_that_is_named_answers_for_itself() -> None:
    records = configured(gateway(), gateway(id="g2", slug="second", name="Second"))
    at = House(Line(whole), rule_of(cors, OURS, is_global=True, consumer_ids=()), records=records)
    named = {b"x-ag-gateway-slug": b"second"}
    headers = {b"origin": PAGE.encode(), b"access-control-request-method": b"POST", b"authorization": b""}
    path = "/v1/chat/completions"
    assert (await at.ask(b"", method="OPTIONS", path=path, headers=headers | named)).status == 405
    assert (await at.ask(b"", method="OPTIONS", path=path, headers=headers)).status == 204


@given(st.text(alphabet="abc.-/:*@ ", max_size=20))
def test_a_wildcard_never_leaves_its_domain(label: str) -> None:
    settings = msgspec.convert({"allowed_origins": ["https://*.example.com"]}, CorsSettings)
    origin = f"https://{label}.example.com"
    if settings.allows(origin):
        assert set(label) <= set("abc.-")
    assert not settings.allows(f"https://{label}example.com") or label.endswith(".")


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"allowed_origins": []}, "allowed_origins"),
        ({"allowed_origins": ["app.example.com"]}, "allowed_origins"),
        ({"allowed_origins": ["https://app.example.com/path"]}, "allowed_origins"),
        ({"allowed_origins": ["*"], "allow_credentials": True}, "allow_credentials"),
        (OURS | {"allowed_headers": ["a b"]}, "allowed_headers"),
        (OURS | {"max_age": -1}, "max_age"),
        (OURS | {"origins": []}, "origins"),
    ],
)
def test_settings_that_are_wrong_are_named(settings: dict[str, Any], word: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=word):
        msgspec.convert(settings, CorsSettings)
