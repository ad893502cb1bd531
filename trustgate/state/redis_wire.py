"""One connection to Redis: what is asked in one tick of the loop leaves together, and is answered in that order."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import hiredis

from trustgate.contract.ports import StateUnavailable

Word = str | bytes | int | float
MOMENT = 0.001
NOTHING = object()


class Wire(asyncio.Protocol):
    """Sends commands and hands out replies. Errors that Redis replies with are values.

    Whatever goes wrong on it, goes wrong for all who wait, and is the end of it: `lost` hears why, once. They are told
    with `name` in front.
    """

    def __init__(self, *, name: str, timeout: float, lost: Callable[[str], None]) -> None:
        self.round_trips = 0
        self._name = name
        self._timeout = timeout
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(notEnoughData=NOTHING)
        self._transport: asyncio.Transport | None = None
        self._batch: list[bytes] = []
        self._waiting: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._suspect: asyncio.Future[Any] | None = None
        self._ended = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclasses of it

    def connection_lost(self, exc: Exception | None) -> None:
        """End, if nobody has ended it before."""
        self.end(f"broke the connection: {type(exc).__name__}" if exc else "closed the connection")

    def data_received(self, data: bytes) -> None:
        """Hand out the replies that are whole."""
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not NOTHING:
                self._hand_out(reply)
        except hiredis.ProtocolError:
            self.end("does not speak the protocol of Redis")

    def ask(self, *words: Word) -> asyncio.Future[Any]:
        """Send a command with the others of this tick, and return what becomes its reply."""
        future = self._loop.create_future()
        if self._ended:
            future.set_exception(StateUnavailable(f"{self._name} {self._ended}"))
            return future
        if not self._batch:
            self._loop.call_soon(self._flush)
        self._batch.append(hiredis.pack_command(words))  # type: ignore[arg-type] # its stub knows one word only
        deadline = self._loop.time() + self._timeout
        self._waiting.append((deadline, future))
        if self._timer is None:
            self._timer = self._loop.call_at(deadline, self._watch)
        return future

    def end(self, why: str) -> None:
        """Give up: all who wait are told."""
        if self._ended:
            return
        self._ended = why
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(StateUnavailable(f"{self._name} {why}"))
        self._waiting.clear()
        self._lost(why)

    def _flush(self) -> None:
        if self._transport is not None and not self._ended:
            self._transport.write(b"".join(self._batch))
            self.round_trips += 1
        self._batch.clear()

    def _hand_out(self, reply: Any) -> None:
        if not self._waiting:
            self.end("replies to what nobody asked")
            return
        future = self._waiting.popleft()[1]
        if not future.done():
            future.set_result(reply)

    def _watch(self) -> None:
        """End when the oldest question has waited too long.

        It is asked a moment later again: if the loop itself was late, the answer may lie there unread.
        """
        self._timer = None
        if not self._waiting:
            return
        deadline, oldest = self._waiting[0]
        if self._loop.time() < deadline:
            self._timer = self._loop.call_at(deadline, self._watch)
        elif self._suspect is oldest:
            self.end(f"does not answer within {self._timeout * 1000:g} ms")
        else:
            self._suspect = oldest
            self._timer = self._loop.call_later(MOMENT, self._watch)
