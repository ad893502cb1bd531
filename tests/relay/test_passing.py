"""A stream that nobody judges: its very bytes, whole events only, and never a broken one that looks whole."""

import json
from collections.abc import Sequence
from time import process_time
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustgate.contract.upstream import FailureKind, UpstreamFailure
from trustgate.contract.usage import Usage
from trustgate.relay import streamed

from .kit import DONE, Scripted, answer, cut, data, drain, ends, error_of, explain, passing, says, whole_events

pytestmark = pytest.mark.anyio

WHOLE = b"".join(answer("Hello", " wörld", "!"))
CRLF = WHOLE.replace(b"\n\n", b"\r\n\r\n")
CR = WHOLE.replace(b"\n\n", b"\r\r")
FIELDS = b"event: message\nid: 1\n" + says("a") + b": ping\n\n" + b"retry: 5\n\n" + b"".join(ends())
KINDS = get_args(FailureKind)


@given(cut(st.sampled_from((WHOLE, CRLF, CR, FIELDS, b"".join(answer(*"abcdefghij"))))))
@settings(deadline=None, max_examples=250)
async def test_however_it_arrives_the_same_bytes_leave(pieces: Sequence[bytes]) -> None:
    upstream = Scripted(pieces)
    live = passing(upstream)
    out = b""
    while piece := await live.chunk():
        out += piece
        assert out == whole_events(upstream.fed), "whole events leave as soon as they are there, and nothing else does"
    assert out == b"".join(pieces)
    assert live.complete
    assert live.refused is None


async def test_bytes_that_need_no_cutting_are_not_even_copied() -> None:
    pieces = answer("a", "b")
    out = await drain(passing(Scripted(pieces)))
    assert all(left is came for left, came in zip(out, pieces, strict=True))


async def test_what_is_learnt_of_it() -> None:
    live = passing(Scripted(answer("Hello")))
    assert not live.complete, "nothing is complete before its end"
    await drain(live)
    assert live.complete
    assert (live.tap.usage, live.tap.finish_reason, live.tap.model) == (Usage(input=9, output=3), "stop", "m-1")
    assert (live.status, live.dialect) == (200, "openai")


# Broken streams: every way, at every byte.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 50, 10_000])
async def test_broken_at_any_byte(kind: FailureKind, size: int) -> None:
    stream = b"".join(answer("Hi", " you"))
    failure = UpstreamFailure(kind, "in the middle")
    refused = explain(failure)
    told = {"message": refused.message, "type": "server_error", "param": None, "code": refused.code}
    for offset in range(0, len(stream), 3 if size == 1 else 1):
        came = stream[:offset]
        upstream = Scripted([came[at : at + size] for at in range(0, offset, size)], failure)
        live = passing(upstream)
        out = b"".join(await drain(live))
        events, error = out[: len(whole_events(came))], out[len(whole_events(came)) :]
        assert events == whole_events(came)
        assert error.startswith(b"data: ")
        assert error.endswith(b"\n\n")
        assert json.loads(error[6:]) == {"error": told}
        assert b"[DONE]" not in out
        assert not live.complete
        assert live.refused is not None
        assert (live.refused.code, live.refused.source) == (refused.code, "upstream")


async def test_a_break_behind_the_end_is_none() -> None:
    """Everything was said, and the caller has it: some servers just hang up then, and that is no failure of theirs."""
    live = passing(Scripted([WHOLE], UpstreamFailure("connection_lost", "")))
    assert b"".join(await drain(live)) == WHOLE
    assert live.complete


async def test_what_was_used_is_known_of_a_broken_stream_too() -> None:
    live = passing(Scripted(answer("Hi")[:-1], UpstreamFailure("connection_lost", "")))
    await drain(live)
    assert (live.tap.usage, live.complete) == (Usage(input=9, output=3), False)


# Ends that are none.


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [says("Hello")],
        [b": ping\n\n"],
        [says("Hello"), says(" world")[:-5]],
        [says("Hello"), b"data: [DON"],
        [WHOLE[:3]],
        [b"<html>not a stream</html>"],
    ],
)
async def test_an_end_without_the_end(pieces: Sequence[bytes]) -> None:
    live = passing(Scripted(pieces))
    out = b"".join(await drain(live))
    whole = whole_events(b"".join(pieces))
    assert out.startswith(whole)
    assert error_of(out[len(whole) :])["code"] == "provider_incomplete_stream"
    assert not live.complete
    assert live.refused is not None


@pytest.mark.parametrize(
    "pieces", [answer("Hi", done=False), answer("Hi", usage=False, done=False), [says("Hi"), DONE]]
)
async def test_an_end_that_says_so_in_one_of_its_ways(pieces: Sequence[bytes]) -> None:
    live = passing(Scripted(pieces))
    assert b"".join(await drain(live)) == b"".join(pieces)
    assert live.complete


async def test_the_last_event_may_lack_its_blank_line() -> None:
    raw = WHOLE.removesuffix(b"\n\n")
    live = passing(Scripted([raw]))
    assert b"".join(await drain(live)) == raw
    assert live.complete


async def test_an_error_within_the_stream_is_the_end() -> None:
    pieces = [says("Hello"), data({"error": {"message": "Overloaded.", "type": "server_error", "code": None}})]
    live = passing(Scripted(pieces))
    out = b"".join(await drain(live))
    assert out == b"".join(pieces), "the provider has said it: it is not said twice"
    assert not live.complete
    assert live.tap.error


# Hostile events pass: nobody here has to understand them.

ODD = (
    b"data: \xff\xfe\n\n",
    b'data: {"model":"\xff"}\n\n',
    b'data: {"choices":[{"delta":{"content":"\xff"}}]}\n\n',
    b'data: {"choices":null}\n\n',
    b'data: {"choices":[null]}\n\n',
    b'data: {"choices":"x"}\n\n',
    b'data: {"usage":{"prompt_tokens":"many"}}\n\n',
    b'data: {"x":' + b"9" * 5000 + b"}\n\n",
    b"data: " + b"[" * 5000 + b"\n\n",
    b'data: "\\ud800"\n\n',
    b"data: nonsense\n\n",
    b"\n\n",
)


@pytest.mark.parametrize("odd", ODD, ids=[repr(odd[:30]) for odd in ODD])
@pytest.mark.parametrize("where", [0, 2, -1])
async def test_an_odd_event_passes_and_does_no_harm(odd: bytes, where: int) -> None:
    pieces = answer("Hello", " world")
    pieces.insert(where if where >= 0 else len(pieces) - 1, odd)
    live = passing(Scripted(pieces))
    assert b"".join(await drain(live)) == b"".join(pieces)
    assert live.complete


# Closing.


async def test_closing_stops_the_provider_and_ends_the_stream() -> None:
    upstream = Scripted(answer("Hello"))
    live = passing(upstream)
    await live.chunk()
    await live.aclose()
    assert upstream.closed == 1
    assert await live.chunk() == b""
    assert not live.complete
    await live.aclose()


async def test_closing_before_anything_was_read() -> None:
    upstream = Scripted(answer("Hello"))
    await passing(upstream).aclose()
    assert (upstream.closed, upstream.fed) == (1, b"")


# Events that are too long to hold.


async def test_a_long_event_costs_no_more_than_its_length() -> None:
    """An image is an event of megabytes. Looking at all of it again with every piece would stop the whole process."""
    long = says("x" * 2_000_000)
    pieces = [long[at : at + 8192] for at in range(0, len(long), 8192)]
    before = process_time()
    assert b"".join(await drain(passing(Scripted([*pieces, *ends()])))).startswith(long)
    assert process_time() - before < 0.5


async def test_an_endless_event_passes_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed, "MAX_EVENT", 1000)
    long = says("x" * 5000)
    pieces = [says("a"), *(long[at : at + 100] for at in range(0, len(long), 100)), *ends()]
    upstream = Scripted(pieces)
    live = passing(upstream)
    held = out = 0
    while piece := await live.chunk():
        out += len(piece)
        held = max(held, len(upstream.fed) - out, len(piece))
    assert out == sum(map(len, pieces))
    assert held <= 1200
