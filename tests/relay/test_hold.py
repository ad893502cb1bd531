"""A stream that is held to its end, and given again as it came."""

import pytest

from trustgate.contract.upstream import UpstreamFailure
from trustgate.relay.buffered import view_of_stream
from trustgate.relay.streamed import Kept, hold

from .kit import LENS, Scripted, answer, data, drain, passing, says

pytestmark = pytest.mark.anyio


async def test_everything_is_held_in_its_pieces() -> None:
    pieces = answer("Hello", " world")
    assert await hold(Scripted(pieces), 10_000) == pieces


@pytest.mark.parametrize(("limit", "fits"), [(10, True), (9, False), (0, False)])
async def test_no_more_than_the_limit_is_held(limit: int, fits: bool) -> None:
    upstream = Scripted([b"12345", b"67890"])
    assert (await hold(upstream, limit) is not None) == fits


async def test_reading_stops_at_the_limit() -> None:
    upstream = Scripted([b"x" * 10] * 100)
    assert await hold(upstream, 35) is None
    assert len(upstream.fed) == 40


async def test_a_stream_that_breaks_says_so() -> None:
    with pytest.raises(UpstreamFailure):
        await hold(Scripted([b"a"], UpstreamFailure("idle_timeout", "")), 100)


async def test_a_replay_is_the_upstream_that_it_was() -> None:
    pieces = answer("Hello", " world")
    upstream = Scripted(pieces, status=201, headers=((b"x-a", b"1"),))
    replay = Kept(upstream.status, upstream.headers, pieces)
    assert (replay.status, replay.headers) == (201, ((b"x-a", b"1"),))
    assert await replay.chunk() == pieces[0]
    assert await replay.read() == b"".join(pieces[1:])
    assert await replay.chunk() == b""
    await replay.aclose()


async def test_a_replay_can_be_relayed() -> None:
    pieces = answer("Hello", " world")
    live = passing(Kept(200, (), pieces))
    assert await drain(live) == pieces
    assert live.complete


async def test_the_view_of_a_held_stream_is_its_text() -> None:
    raw = b"".join([says("Hello"), says("Hi", 1), says(" world"), says(" you", 1), data({"choices": []}), *answer("!")])
    view = view_of_stream(200, LENS, raw)
    assert (view.status, view.body, view.text, view.streamed) == (200, raw, "Hello world!\nHi you", True)
