"""request_size_limiter: bytes, characters and announced lengths, each to the last one that still fits."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import world
from trustgate import Body, Deny, RequestContext
from trustgate.enforcement.plugins import load_plugins
from trustgate_plugins.request_size_limiter import count_characters, pre_request
from trustgate_plugins.request_size_limiter.settings import RequestSizeLimiterSettings

pytestmark = pytest.mark.anyio
SERVICES = world.services()


def settings(**chosen: Any) -> RequestSizeLimiterSettings:
    return msgspec.convert({"allowed_payload_size": 10, "size_unit": "bytes", **chosen}, RequestSizeLimiterSettings)


def with_body(ctx: RequestContext, raw: bytes) -> RequestContext:
    return msgspec.structs.replace(ctx, body=Body(raw))


@pytest.mark.parametrize(
    ("size", "unit", "limit"),
    [(10, "bytes", 10), (2, "kilobytes", 2048), (3, "megabytes", 3 * 1024 * 1024)],
)
async def test_the_last_byte_that_fits(ctx: RequestContext, size: int, unit: str, limit: int) -> None:
    chosen = settings(allowed_payload_size=size, size_unit=unit, max_chars_per_request=10**9)
    assert pre_request(with_body(ctx, b"x" * limit), chosen, SERVICES) is None
    verdict = pre_request(with_body(ctx, b"x" * (limit + 1)), chosen, SERVICES)
    assert isinstance(verdict, Deny)
    assert (verdict.status, verdict.code) == (413, "request_too_large")
    assert f"{limit + 1} bytes" in verdict.message
    assert f"limit is {limit}" in verdict.message
    expected = {b"x-request-size-bytes": b"%d" % (limit + 1), b"x-size-limit-bytes": b"%d" % limit}
    assert dict(verdict.headers) == expected


async def test_the_last_character_that_fits(ctx: RequestContext) -> None:
    chosen = settings(allowed_payload_size=1, size_unit="megabytes", max_chars_per_request=4)
    assert pre_request(with_body(ctx, "ä€😀x".encode()), chosen, SERVICES) is None
    verdict = pre_request(with_body(ctx, "ä€😀xy".encode()), chosen, SERVICES)
    assert isinstance(verdict, Deny)
    assert (verdict.status, verdict.code) == (413, "request_too_large")
    assert "5 characters" in verdict.message
    assert dict(verdict.headers) == {b"x-request-size-chars": b"5", b"x-size-limit-chars": b"4"}


async def test_characters_are_limited_unless_said_otherwise(ctx: RequestContext) -> None:
    chosen = settings(allowed_payload_size=1, size_unit="megabytes")
    assert pre_request(with_body(ctx, b"x" * 100_000), chosen, SERVICES) is None
    assert isinstance(pre_request(with_body(ctx, b"x" * 100_001), chosen, SERVICES), Deny)


async def test_the_last_token_that_fits(ctx: RequestContext) -> None:
    words = msgspec.json.encode({"messages": [{"role": "user", "content": "one two three four five"}]})
    tokens = SERVICES.estimate(msgspec.json.decode(words), "").input
    size = {"allowed_payload_size": 1, "size_unit": "megabytes"}
    fits, does_not = (settings(**size, max_tokens_per_request=tokens - less) for less in (0, 1))
    assert pre_request(with_body(ctx, words), fits, SERVICES) is None
    verdict = pre_request(with_body(ctx, words), does_not, SERVICES)
    assert isinstance(verdict, Deny)
    assert (verdict.status, verdict.code) == (413, "request_too_large")
    assert f"about {tokens} tokens" in verdict.message
    told = {b"x-request-size-tokens": b"%d" % tokens, b"x-size-limit-tokens": b"%d" % (tokens - 1)}
    assert dict(verdict.headers) == told
    assert pre_request(with_body(ctx, b""), does_not, SERVICES) is None


async def test_a_length_must_be_announced_if_so_chosen(ctx: RequestContext) -> None:
    chosen = settings(allowed_payload_size=1, size_unit="megabytes", require_content_length=True)
    verdict = pre_request(ctx, chosen, SERVICES)
    assert isinstance(verdict, Deny)
    assert (verdict.status, verdict.code) == (411, "length_required")
    announced = msgspec.structs.replace(ctx, headers={b"content-length": b"13"})
    assert pre_request(announced, chosen, SERVICES) is None


async def test_what_has_no_body_needs_no_length(ctx: RequestContext) -> None:
    operation = msgspec.structs.replace(ctx.operation, method="GET", body="none")
    listing = msgspec.structs.replace(ctx, operation=operation, body=Body(b""))
    assert pre_request(listing, settings(require_content_length=True), SERVICES) is None


@given(st.text())
def test_characters_are_code_points(text: str) -> None:
    assert count_characters(text.encode("utf-8", "surrogatepass")) == len(text)


@pytest.mark.parametrize(
    ("given_settings", "named"),
    [
        ({}, "allowed_payload_size"),
        ({"allowed_payload_size": 0}, "allowed_payload_size"),
        ({"allowed_payload_size": 1, "size_unit": "gigabytes"}, "size_unit"),
        ({"allowed_payload_size": 1, "max_chars_per_request": 0}, "max_chars_per_request"),
        ({"allowed_payload_size": 1, "max_bytes": 3}, "max_bytes"),
        ({"allowed_payload_size": 1, "max_tokens_per_request": 0}, "max_tokens_per_request"),
    ],
)
def test_wrong_settings_are_named(given_settings: dict[str, Any], named: str) -> None:
    plugin = load_plugins().get("requestsize")
    assert plugin is not None
    with pytest.raises(ValueError, match=named):
        plugin.parse(given_settings)


def test_it_fails_closed_and_declares_its_modes() -> None:
    assert RequestSizeLimiterSettings.on_error == "deny"
    assert RequestSizeLimiterSettings.modes == ("enforce", "observe")
