"""Whether a stream has begun to be one: its first event is held until it is there, for so long and so many bytes."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from time import monotonic
from typing import Any

from msgspec import Struct

from trustgate.contract.lens import Lens
from trustgate.contract.upstream import Upstream, UpstreamFailure, read_out
from trustgate.relay.tap import Tap


class Hold(Struct, frozen=True, kw_only=True):
    """How much of a stream is held back before it has proved itself: bytes, and seconds."""

    most_bytes: int = 64 * 1024
    most_seconds: float = 2.0


class Held:
    """A stream of which something was read already, and perhaps is being read.

    `chunk` returns the next bytes as they arrived, and raises UpstreamFailure; once nothing is held any more it is the
    stream's own, for it is called for every piece.
    """

    __slots__ = ("_parts", "_reading", "_upstream", "chunk", "headers", "status")

    def __init__(self, upstream: Upstream, parts: Sequence[bytes], reading: "asyncio.Task[bytes] | None") -> None:
        self.status = upstream.status
        self.headers = upstream.headers
        self._upstream = upstream
        self._parts = list(reversed(parts))
        self._reading = reading
        self.chunk: Callable[[], Coroutine[Any, Any, bytes]] = self._next

    @property
    def begun(self) -> bytes:
        """What was read already and is not yet passed on."""
        return b"".join(reversed(self._parts))

    async def _next(self) -> bytes:
        if self._parts:
            return self._parts.pop()
        self.chunk = self._upstream.chunk
        if self._reading is not None:
            reading, self._reading = self._reading, None
            return await reading
        return await self._upstream.chunk()

    async def read(self) -> bytes:
        """Return all that is left. Raises UpstreamFailure."""
        return await read_out(self)

    async def aclose(self) -> None:
        """Stop it."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
            self._reading = None
        await self._upstream.aclose()


async def held(upstream: Upstream, lens: Lens, hold: Hold) -> tuple["Held", str]:
    """Read a stream up to its first event. Returns it with all of that still in it, and what is wrong with it, if
    anything is. Raises UpstreamFailure where it broke off before."""
    parts: list[bytes] = []
    aligner = lens.framing.aligner()
    size, until = 0, monotonic() + hold.most_seconds
    while size <= hold.most_bytes:
        reading = asyncio.ensure_future(upstream.chunk())
        try:
            done, _ = await asyncio.wait((reading,), timeout=max(0.0, until - monotonic()))
        except asyncio.CancelledError:
            reading.cancel()
            raise
        if not done:
            return Held(upstream, parts, reading), ""
        data = reading.result()
        if not data:
            return Held(upstream, parts, None), "provider_incomplete_stream"
        parts.append(data)
        size += len(data)
        begun = _begun(lens, aligner.feed(data))
        if begun is not None:
            return Held(upstream, parts, None), begun
    return Held(upstream, parts, None), ""


def _begun(lens: Lens, events: bytes) -> str | None:
    """Say what is wrong with a stream that begins so; None while it has not begun. Raises UpstreamFailure for what is
    no event of its dialect: that is nobody's to read."""
    for event in lens.framing.split(events):
        data = lens.framing.event(event)[1]
        if not data.strip():
            continue  # a comment, sent to keep the connection open
        tap = Tap(lens)
        tap.feed(event)
        tap.read_end()
        if tap.error:
            return "provider_error"
        if not lens.last(data) and lens.answer(data) is None:
            raise UpstreamFailure("malformed_answer", "its stream begins with no event of its dialect")
        return ""
    return None
