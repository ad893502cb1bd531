"""The pace, the clocks and every failure of the echo transport."""

import asyncio
import time
from typing import Any, get_args

import msgspec
import pytest

from trustgate.contract.upstream import Clocks, UpstreamFailure
from trustgate.providers.catalog import PROVIDERS, EchoFailure, EchoOptions
from trustgate.providers.echo import OPTIONS_HEADER, EchoTransport, options_header

from .conftest import ask, events, make_call

pytestmark = pytest.mark.anyio

SHORT = Clocks(connect=0.05, first_byte=0.05, idle=0.05, total=5.0)


async def answer(body: Any, options: EchoOptions | None = None, clocks: Clocks = SHORT) -> tuple[int, bytes]:
    headers = (options_header(options),) if options else ()
    upstream = await EchoTransport().send(make_call(body, *headers, clocks=clocks))
    return upstream.status, await upstream.read()


async def broken(body: Any, clocks: Clocks = SHORT) -> tuple[str, bytes]:
    """Return how an answer breaks, and what arrived before."""
    arrived = b""
    with pytest.raises(UpstreamFailure) as caught:
        upstream = await EchoTransport().send(make_call(body, clocks=clocks))
        while chunk := await upstream.chunk():
            arrived += chunk
    return caught.value.kind, arrived


def failing(failure: str, **given: Any) -> dict[str, Any]:
    return ask("one two three four", metadata={"echo.failure": failure}, **given)


EXPECTED = {
    "error_500": 500,
    "rate_limited": 429,
    "refused": "connect_failed",
    "silence": "first_byte_timeout",
    "garbage": 200,
    "half": "connection_lost",
    "broken_stream": "connection_lost",
    "missing_done": 200,
    "stall": "idle_timeout",
}


def test_every_failure_is_tested() -> None:
    assert set(get_args(EchoFailure)) == {"", *EXPECTED}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("failure", EXPECTED)
async def test_every_failure_can_be_chosen(failure: str, stream: bool) -> None:
    expected = EXPECTED[failure]
    body = failing(failure, stream=stream)
    if isinstance(expected, int):
        assert (await answer(body))[0] == expected
    else:
        assert (await broken(body))[0] == expected


async def test_the_registry_can_choose_it_and_the_request_goes_before() -> None:
    options = EchoOptions(failure="error_500")
    assert (await answer(ask("x"), options))[0] == 500
    assert (await answer(failing("rate_limited"), options))[0] == 429
    assert (await answer(failing(""), options))[0] == 200


async def test_half_an_answer_is_half() -> None:
    _, whole = await answer(ask("one two three four"))
    kind, half = await broken(failing("half"))
    assert kind == "connection_lost"
    assert 0 < len(half) < len(whole)
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(half)


async def test_half_a_stream_breaks_within_an_event_and_a_broken_one_between_two() -> None:
    _, half = await broken(failing("half", stream=True))
    assert b"You" in half
    assert not half.endswith(b"\n\n")
    _, between = await broken(failing("broken_stream", stream=True))
    assert between.endswith(b"\n\n")
    assert b"You" in between
    assert b"[DONE]" not in half + between


async def test_a_stalled_stream_had_begun() -> None:
    kind, arrived = await broken(failing("stall", stream=True))
    assert kind == "idle_timeout"
    assert b"You" in arrived


async def test_a_stream_without_an_end_looks_whole_but_for_the_end() -> None:
    _, body = await answer(failing("missing_done", stream=True, stream_options={"include_usage": True}))
    assert b"four" in body
    assert body.endswith(b"\n\n")
    assert b'"finish_reason":"stop"' not in body
    assert b"completion_tokens" not in body
    assert b"[DONE]" not in body


@pytest.mark.parametrize("stream", [False, True])
async def test_garbage_keeps_the_promised_type(stream: bool) -> None:
    upstream = await EchoTransport().send(make_call(failing("garbage", stream=stream)))
    kind = dict(upstream.headers)[b"content-type"]
    assert kind.startswith(b"text/event-stream" if stream else b"application/json")
    body = await upstream.read()
    assert not body.startswith((b"{", b"data:"))


async def test_latency_comes_before_the_head() -> None:
    started = time.monotonic()
    upstream = await EchoTransport().send(make_call(ask("x", metadata={"echo.latency": "30ms"})))
    assert time.monotonic() - started >= 0.03
    assert upstream.status == 200


async def test_chunks_keep_their_distance() -> None:
    options = EchoOptions(chunk_interval="5ms")
    started = time.monotonic()
    _, body = await answer(ask("x", stream=True), options)
    assert time.monotonic() - started >= 0.005 * len(events(body))


@pytest.mark.parametrize(
    ("clocks", "metadata", "stream", "kind"),
    [
        (Clocks(first_byte=0.02), {"echo.latency": "10s"}, False, "first_byte_timeout"),
        (Clocks(first_byte=9, total=0.02), {"echo.latency": "10s"}, False, "total_timeout"),
        (Clocks(idle=0.02), {"echo.chunk_interval": "10s"}, True, "idle_timeout"),
        (Clocks(idle=9, total=0.05), {"echo.chunk_interval": "20ms"}, True, "total_timeout"),
        (Clocks(idle=9, total=0.05), {"echo.failure": "stall"}, True, "total_timeout"),
    ],
)
async def test_each_clock_is_honoured(clocks: Clocks, metadata: dict[str, str], stream: bool, kind: str) -> None:
    started = time.monotonic()
    broke, _ = await broken(ask("one two three four", metadata=metadata, stream=stream), clocks)
    assert broke == kind
    assert time.monotonic() - started < 5


async def test_a_pause_within_the_clock_is_fine() -> None:
    status, body = await answer(ask("x", stream=True, metadata={"echo.chunk_interval": "2ms", "echo.latency": "2ms"}))
    assert status == 200
    assert events(body)


async def test_a_stream_lets_others_run() -> None:
    """An answer that never waits would keep the loop from noticing that its caller has left."""
    upstream = await EchoTransport().send(make_call(ask("word " * 1000, stream=True)))
    reading = asyncio.create_task(upstream.read())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


async def test_a_closed_answer_says_no_more() -> None:
    upstream = await EchoTransport().send(make_call(failing("broken_stream", stream=True)))
    assert await upstream.chunk()
    await upstream.aclose()
    await upstream.aclose()
    assert await upstream.chunk() == b""


def test_options_travel_in_a_header_as_they_were_given() -> None:
    name, value = options_header(EchoOptions(latency="20ms", failure="half"))
    assert name == OPTIONS_HEADER
    assert msgspec.json.decode(value) == {"latency": "20ms", "failure": "half"}


@pytest.mark.parametrize("given", [{"failure": "shy"}, {"latency": "soon"}, {"speed": 3}])
def test_wrong_options_are_refused_where_they_are_configured(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(given))):
        PROVIDERS["echo"].options(given)
