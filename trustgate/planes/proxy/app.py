"""The proxy plane's door: a plain ASGI callable on the hot path, Starlette beside it for the probes.

It reads the request, sends the reply, notices a caller who leaves, and always lets the life cycle finish.
"""

import asyncio
import logging
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trustgate.lifecycle import CallerLeft, Exchange, Lifecycle
from trustgate.planes import probes
from trustgate.planes.arrival import HttpArrival
from trustgate.relay.reply import Whole
from trustgate.relay.streamed import Passing

CLOSE: Final = (b"connection", b"close")
ROUND: Final = 0.2
"""Seconds. A caller who waits for one to two rounds is watched for leaving; quick answers are not worth a task."""
log = logging.getLogger("trustgate.proxy")


class Watch:
    """Notices that the caller has left, and cancels the task that serves it."""

    __slots__ = ("_arrival", "_receive", "_watching", "task")

    def __init__(self, arrival: HttpArrival, receive: Receive, task: "asyncio.Task[object]") -> None:
        self._arrival = arrival
        self._receive = receive
        self._watching: asyncio.Task[Message] | None = None
        self.task = task

    def start(self) -> None:
        """Watch from now on; not while the body is being read, for then it is the reader who hears of it."""
        if self._watching is None and not self._arrival.reading:
            self._watching = asyncio.ensure_future(self._next())
            self._watching.add_done_callback(self._told)

    def stop(self) -> None:
        """Stop watching."""
        if self._watching is not None:
            self._watching.remove_done_callback(self._told)
            self._watching.cancel()

    async def _next(self) -> Message:
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return message

    def _told(self, watching: "asyncio.Task[Message]") -> None:
        if not watching.cancelled() and watching.exception() is None:
            self._arrival.gone = True
            self.task.cancel()


class Patrol:
    """Who is being served, in the order of arrival. Those who wait longer than a round are watched.

    One timer goes the rounds while anybody is served: a quick request pays for an entry and for nothing else.
    """

    __slots__ = ("_fresh", "_known", "_timer")

    def __init__(self) -> None:
        self._fresh: set[Watch] = set()
        self._known: set[Watch] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, watch: Watch) -> None:
        """Keep an eye on one more."""
        self._fresh.add(watch)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(ROUND, self._go)

    def remove(self, watch: Watch) -> None:
        """It has been served."""
        self._fresh.discard(watch)
        self._known.discard(watch)
        watch.stop()

    def tasks(self) -> "list[asyncio.Task[object]]":
        """Return the tasks under way."""
        return [watch.task for watch in (*self._fresh, *self._known)]

    def _go(self) -> None:
        for watch in self._known:
            watch.start()
        self._known |= self._fresh
        self._fresh.clear()
        again = bool(self._known)
        self._timer = asyncio.get_running_loop().call_later(ROUND, self._go) if again else None


class ProxyApp:
    """The proxy plane: everything that is no probe is a request to be forwarded."""

    def __init__(self, lifecycle: Lifecycle, probe_app: ASGIApp) -> None:
        self._lifecycle = lifecycle
        self._parting = False
        self._probes = probe_app
        self._patrol = Patrol()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http" or scope["path"] in probes.PATHS:
            await self._probes(scope, receive, send)
            return
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        task = asyncio.current_task(self._loop)  # told the loop, it need not look for it, which takes a system call
        assert task is not None
        arrival = HttpArrival(scope, receive)
        watch = Watch(arrival, receive, task)
        self._patrol.add(watch)
        try:
            await self._serve(arrival, send, watch)
        except CallerLeft:
            log.debug("a caller left before its request was complete")
        except asyncio.CancelledError:
            if not arrival.gone:
                raise
            task.uncancel()
        finally:
            self._patrol.remove(watch)

    def part(self) -> None:
        """Have each connection closed after its next answer: whoever asks again connects anew, to somebody else."""
        self._parting = True

    async def cut(self) -> int:
        """End every request that is still under way; each leaves its event. Returns how many there were."""
        left = self._patrol.tasks()
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=1.0)
        return len(left)

    async def _serve(self, arrival: HttpArrival, send: Send, watch: Watch) -> None:
        exchange = await self._lifecycle.handle(arrival)
        reply = exchange.reply
        assert reply is not None, "whoever comes back from the life cycle has a reply"
        if isinstance(reply, Whole):
            await self._send_whole(exchange, reply, arrival, send)
            return
        watch.start()
        try:
            await self._send_live(exchange, reply, send)
        finally:
            await reply.aclose()
            self._lifecycle.finish(exchange, disconnected=arrival.gone)

    async def _send_whole(self, exchange: Exchange, reply: Whole, arrival: HttpArrival, send: Send) -> None:
        headers = [*exchange.headers, (b"content-length", str(len(reply.body)).encode())]
        try:
            if self._parting or (reply.status >= 400 and not await arrival.drain()):
                headers.append(CLOSE)
            await send({"type": "http.response.start", "status": reply.status, "headers": headers})
            await send({"type": "http.response.body", "body": reply.body, "more_body": False})
        finally:
            self._lifecycle.finish(exchange, disconnected=arrival.gone)

    async def _send_live(self, exchange: Exchange, reply: Passing, send: Send) -> None:
        headers = [*exchange.headers, CLOSE] if self._parting else exchange.headers
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        array, sent = exchange.array, exchange.sent
        while data := await reply.chunk():
            if sent is not None:
                sent.add(data)
            body = data if array is None else array.feed(data)
            await send({"type": "http.response.body", "body": body, "more_body": True})
        if reply.complete:
            end = b"" if array is None else array.end()
            await send({"type": "http.response.body", "body": end, "more_body": False})
        # otherwise the body is left without its end: the server cuts the connection, and nobody takes it for whole
