"""Answers that no server over HTTP gave, in the form in which those come."""

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final

from trustgate.contract.upstream import Clocks, Header, UpstreamFailure

JSON: Final = (b"content-type", b"application/json")
EVENTS: Final = (b"content-type", b"text/event-stream")


class Said:
    """A whole answer."""

    def __init__(self, status: int, body: bytes = b"", headers: Sequence[Header] = ()) -> None:
        self.status = status
        self.headers: Sequence[Header] = [*([JSON] if body else []), *headers]
        self._body = body

    async def read(self) -> bytes:
        """Return the body."""
        body, self._body = self._body, b""
        return body

    async def chunk(self) -> bytes:
        """Return the body, and then nothing."""
        return await self.read()

    async def aclose(self) -> None:
        """Let go of nothing."""


class Events:
    """An answer that comes in events. Whoever makes it calls `put`, and at its end `end` or `fail`.

    `left` is called when nobody listens any more.
    """

    def __init__(self, clocks: Clocks, left: Callable[[], None], headers: Sequence[Header] = ()) -> None:
        self.status = 200
        self.headers: Sequence[Header] = (EVENTS, *headers)
        self._clocks = clocks
        self._until = monotonic() + clocks.total
        self._left: Callable[[], None] | None = left
        self._queue: asyncio.Queue[bytes | UpstreamFailure] = asyncio.Queue()
        self._over = False

    def put(self, event: bytes) -> None:
        """Have it say something."""
        self._queue.put_nowait(event)

    def end(self) -> None:
        """Have it end as it should."""
        self._queue.put_nowait(b"")

    def fail(self, failure: UpstreamFailure) -> None:
        """Have it break off."""
        self._queue.put_nowait(failure)

    async def read(self) -> bytes:
        """Return all of it."""
        parts = []
        while part := await self.chunk():
            parts.append(part)
        return b"".join(parts)

    async def chunk(self) -> bytes:
        """Return the next event, nothing at the end. Raises UpstreamFailure."""
        if self._over:
            return b""
        patience = min(self._clocks.idle, self._until - monotonic())
        try:
            async with asyncio.timeout(max(0.0, patience)):
                found = await self._queue.get()
        except TimeoutError:
            await self.aclose()
            raise UpstreamFailure("idle_timeout", f"nothing came within {patience:g} s") from None
        if isinstance(found, UpstreamFailure):
            self._over = True
            raise found
        self._over = not found
        return found

    async def aclose(self) -> None:
        """Listen no longer."""
        self._over = True
        left, self._left = self._left, None
        if left is not None:
            left()
