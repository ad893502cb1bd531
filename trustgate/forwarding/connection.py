"""One HTTP/1.1 connection.

Law: a connection carries one exchange at a time and is free again only after the clean end of a message. After anything
else (a clock, a cut, garbage, a caller who left) it is closed. An exchange waits on one Future at a time and owns no
task; its clocks are two deadlines behind one timer, which stays armed across exchanges and is set anew only when it
rings too early. That keeps the cost of a request at a few function calls.
"""

import asyncio
from collections.abc import Iterator, Sequence
from math import inf
from typing import Protocol, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from trustgate.contract.upstream import (
    Call,
    Clocks,
    FailureKind,
    Header,
    Payload,
    pieces,
    size_of,
)
from trustgate.forwarding.arriving import Answer

MAX_HEAD = 64 * 1024
HIGH_WATER = 256 * 1024  # stop reading while more than this waits for the consumer
ONE_WRITE = 64 * 1024  # a body up to here is copied behind its head, so that both leave in one system call
SLICE = 256 * 1024  # a larger one leaves in slices, so that an early refusal can stop it
TICK = 0.001  # a loop may ring this much too early

IDLE, HEAD, BODY, END = range(4)


class Home(Protocol):
    """Where a connection belongs: it hears when the connection is free again, and when it is of no more use."""

    def freed(self, connection: "Connection") -> None:
        """The exchange ended cleanly; the connection can carry the next one."""

    def closed(self, connection: "Connection") -> None:
        """The connection was closed. Told once, before the socket itself is gone."""


class Connection(asyncio.Protocol):
    """A socket and its parser: writes a request, feeds its answer, watches the clocks."""

    __slots__ = (
        "_answer", "_blocked", "_buffered", "_chunks", "_clocks", "_gathering", "_headers", "_headless", "_home",
        "_keep", "_loop", "_parser", "_paused", "_pouring", "_stage", "_step_at", "_timer", "_timer_at", "_total_at",
        "_transport", "_waiter", "_written", "closed", "heard", "idle_since", "lost", "reused",
    )  # fmt: skip

    _transport: asyncio.Transport
    _parser: HttpResponseParser

    def __init__(self, home: Home, loop: asyncio.AbstractEventLoop) -> None:
        self._home = home
        self._loop = loop
        self._answer: Answer | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = self._total_at = self._step_at = inf
        self._clocks = Clocks()
        self._headers: list[Header] = []
        self._chunks: list[bytes] = []
        self._stage = IDLE
        self._buffered = 0
        self._headless = self._keep = self._gathering = self._pouring = self._written = False
        self._blocked = self._paused = False
        self.heard = 0  # bytes received in this exchange
        self.idle_since = 0.0
        self.reused = self.closed = False
        self.lost = loop.create_future()  # done when the socket is gone

    # What its pool and its answer ask of it.

    async def exchange(self, call: Call, head: bytes, total_at: float) -> Answer:
        """Write the request; return when the answer's head is here, or with the answer's fault."""
        answer = self._begin(call, head, total_at)
        try:
            if not self._written:
                await self._pour(answer, call.body)
            while not answer.status and answer.fault is None:
                await self.news()
        except BaseException:  # the caller was cancelled
            answer.leave()
            raise
        return answer

    def news(self) -> "asyncio.Future[None]":
        """A future that is done at the next change. One at a time: an answer has one reader."""
        assert self._waiter is None
        self._waiter = waiter = self._loop.create_future()
        return waiter

    def gather(self) -> None:
        """Let the whole body come in; give news only at its end."""
        self._gathering = True
        self.drained()

    def drained(self) -> None:
        """The consumer took what was there."""
        self._buffered = 0
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
            self._step(self._clocks.idle)

    def fail(self, kind: FailureKind, detail: str) -> None:
        """End the exchange, if there is one, with this fault, and the connection with it."""
        answer = self._answer
        if answer is not None:
            answer.fault = (kind, detail)
            answer.connection = self._answer = None
        self.close()
        self._wake()

    def close(self) -> None:
        """Close at once: what may still be in the buffers has no reader."""
        if self.closed:
            return
        self.closed = True
        self._stage = IDLE
        self._total_at = self._step_at = inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._transport.abort()
        self._home.closed(self)

    # The request.

    def _begin(self, call: Call, head: bytes, total_at: float) -> Answer:
        self._answer = answer = Answer(self)
        self._chunks = answer.chunks
        self._stage = HEAD
        self._clocks = call.clocks
        self._headless = call.method == "HEAD"
        self._keep = self._gathering = self._pouring = False
        self._buffered = self.heard = 0
        self._total_at = total_at
        body = call.body
        if isinstance(body, bytes) and len(body) <= ONE_WRITE:
            self._written = True
            self._transport.write(head + body)
        else:
            self._written = not size_of(body)
            self._transport.write(head)
        self._step(call.clocks.first_byte)
        return answer

    async def _pour(self, answer: Answer, body: Payload) -> None:
        """Write a large body at the upstream's pace, until it is through or the upstream wants no more of it."""
        self._pouring = True
        left = size_of(body)
        for part in slices(body):
            while self._blocked and self._wanted(answer):
                self._step(self._clocks.idle)
                await self.news()
            if not self._wanted(answer):
                break
            self._transport.write(part)
            left -= len(part)
        self._pouring = False
        self._written = not left
        if self._answer is answer:
            self._step(self._clocks.idle if answer.status else self._clocks.first_byte)

    def _wanted(self, answer: Answer) -> bool:
        return self._answer is answer and answer.status < 400

    # What the event loop tells it.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._parser = HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        if self._stage == IDLE:  # nobody asked
            self.close()
            return
        self.heard += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            if self._stage != END:
                self.fail("malformed_answer", f"not an HTTP/1.1 answer: {error}")
                return
            self._keep = False
        if self._stage == END:
            self._finish()
        elif self._stage == BODY:
            self._progress(len(data))
        elif self.heard > MAX_HEAD:
            self.fail("malformed_answer", f"a head larger than {MAX_HEAD} bytes")

    def eof_received(self) -> None:
        if not self.closed:
            self._cut(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed:
            self._cut(exc)
        del self._parser  # which holds our callbacks: a cycle
        self.lost.set_result(None)

    def pause_writing(self) -> None:
        self._blocked = True

    def resume_writing(self) -> None:
        self._blocked = False
        if self._pouring:
            self._wake()

    # What the parser tells it. After END everything is a surprise that spoils the connection.

    def on_message_begin(self) -> None:
        if self._stage != HEAD:
            self._keep = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._stage == HEAD:  # later ones are trailers
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        headers, self._headers = self._headers, []
        status = self._parser.get_status_code()
        if self._stage != HEAD or status < 200 or (self.heard > MAX_HEAD and _size(headers) > MAX_HEAD):
            return  # an interim answer, to be skipped; or one too large, to be refused when this read is parsed
        assert self._answer is not None
        self._answer.status = status
        self._answer.headers = headers
        self._stage = BODY
        if self._headless:  # the parser cannot know that no body follows
            self._stage = END
            self._keep = self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        if self._stage == BODY:
            self._chunks.append(data)
        else:
            self._keep = False

    def on_message_complete(self) -> None:
        if self._stage == BODY:
            self._stage = END
            self._keep = self._parser.should_keep_alive()

    # What follows from it.

    def _progress(self, size: int) -> None:
        self._buffered += size
        if self._buffered > HIGH_WATER and not self._gathering and not self._pouring:
            self._paused = True
            self._transport.pause_reading()
            self._step_at = inf  # the silence is ours
        else:
            self._step(self._clocks.idle)
        if not self._gathering:
            self._wake()

    def _finish(self) -> None:
        answer = self._answer
        assert answer is not None
        answer.connection = self._answer = None
        self._wake()
        self._stage = IDLE
        self._total_at = self._step_at = inf
        if self._keep and self._written:
            self._rest()
        else:
            self.close()

    def _rest(self) -> None:
        self.reused = True
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        if self._headless:
            self._parser = HttpResponseParser(self)
        self._home.freed(self)

    def _cut(self, error: Exception | None) -> None:
        """The upstream ended the connection: for some answers that is the proper end."""
        answer = self._answer
        if answer is not None and self._stage == BODY and error is None and not _is_framed(answer.headers):
            self._keep = False
            self._finish()
            return
        where = "in the middle of the body" if self._stage == BODY else "before the answer's head"
        self.fail("connection_lost", f"the upstream closed the connection {where}" + (f": {error}" if error else ""))

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    # The clocks.

    def _step(self, seconds: float) -> None:
        """Start the clock of the next step. The timer is touched only when it would ring too late."""
        self._step_at = self._loop.time() + seconds
        due = self._step_at if self._step_at < self._total_at else self._total_at  # min() takes twice the time
        if due < self._timer_at:
            self._arm(due)

    def _arm(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = due
        self._timer = self._loop.call_at(due, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._timer_at = inf
        due = min(self._step_at, self._total_at)
        if due <= self._loop.time() + TICK:
            self.fail(*self._overdue())
        elif due < inf:
            self._arm(due)

    def _overdue(self) -> tuple[FailureKind, str]:
        clocks = self._clocks
        if self._total_at <= self._step_at:
            return "total_timeout", f"the exchange took longer than {clocks.total:g} s"
        if self._pouring:
            return "idle_timeout", f"the upstream took nothing of the request for {clocks.idle:g} s"
        if self._stage == HEAD:
            return "first_byte_timeout", f"no whole head within {clocks.first_byte:g} s of the request"
        return "idle_timeout", f"nothing arrived for {clocks.idle:g} s"


def slices(body: Payload) -> Iterator[memoryview]:
    """Cut a body into pieces of a bearable size, none of them a copy."""
    for piece in pieces(body):
        view = memoryview(piece)
        for at in range(0, len(view), SLICE):
            yield view[at : at + SLICE]


def _size(headers: Sequence[Header]) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers)


def _is_framed(headers: Sequence[Header]) -> bool:
    """Whether the head says where the body ends; if not, the end of the connection does."""
    return any(
        name == b"content-length" or (name == b"transfer-encoding" and value.lower().endswith(b"chunked"))
        for name, value in headers
    )
