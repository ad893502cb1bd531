"""The answer that is arriving on a connection: what of it waits to be read, and what broke it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from trustgate.contract.upstream import FailureKind, Header, UpstreamFailure

if TYPE_CHECKING:
    import asyncio


class Source(Protocol):
    """What an answer asks of the connection that it arrives on."""

    def news(self) -> "asyncio.Future[None]":
        """A future that is done at the next change."""

    def gather(self) -> None:
        """Let the whole body come in; give news only at its end."""

    def drained(self) -> None:
        """The consumer took what was there."""

    def fail(self, kind: FailureKind, detail: str) -> None:
        """End the exchange with this fault."""


class Answer:
    """An `Upstream`: the head that arrived, and the bytes that wait until somebody asks for them."""

    __slots__ = ("chunks", "connection", "fault", "headers", "status")

    def __init__(self, connection: Source) -> None:
        self.status = 0
        self.headers: Sequence[Header] = ()
        self.chunks: list[bytes] = []
        self.connection: Source | None = connection  # None as soon as nothing more can arrive
        self.fault: tuple[FailureKind, str] | None = None

    async def read(self) -> bytes:
        """Read the whole body, joined at most once."""
        if self.connection is not None:
            self.connection.gather()
            while self.connection is not None:
                await self._change(self.connection)
        self.check()
        return self._take()

    async def chunk(self) -> bytes:
        """Return all that has arrived since the last call, waiting only while that is nothing."""
        while not self.chunks:
            if self.connection is None:
                self.check()
                return b""
            await self._change(self.connection)
        if self.connection is not None:
            self.connection.drained()
        return self._take()

    async def aclose(self) -> None:
        """Close the connection, unless the answer is here in full and the connection long since free."""
        self.leave()

    def leave(self) -> None:
        """Give the answer up, now."""
        if self.connection is not None:
            self.connection.fail("connection_lost", "the answer was given up before its end")

    def was_cut(self) -> bool:
        """Whether the connection broke, rather than a clock or the protocol."""
        return self.fault is not None and self.fault[0] == "connection_lost"

    def check(self) -> None:
        """Raise what broke the exchange, if anything did."""
        if self.fault is not None:
            raise UpstreamFailure(*self.fault)

    async def _change(self, connection: Source) -> None:
        try:
            await connection.news()
        except BaseException:  # whoever waited was cancelled: the rest of the answer has no reader
            self.leave()
            raise

    def _take(self) -> bytes:
        chunks = self.chunks
        taken = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        return taken
