"""The MCP plane's door: a plain ASGI callable, Starlette beside it for the probes.

It reads a request, has it answered, and sends whole answers or events as they come. A caller who leaves ends what is
done for it.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from trustgate.mcp.asking import Reply
from trustgate.mcp.gate import Gate
from trustgate.mcp.servers import Away
from trustgate.planes import probes
from trustgate.planes.arrival import HttpArrival
from trustgate.underway import CallerLeft

CLOSE: Final = (b"connection", b"close")
log = logging.getLogger("trustgate.mcp")


class McpArrival(HttpArrival):
    """A request to this plane, which also wants to know under which address it was reached."""

    __slots__ = ("base",)

    def __init__(self, scope: Scope, receive: Receive) -> None:
        super().__init__(scope, receive)
        host = next((value for name, value in self.headers if name == b"host"), b"localhost").decode("latin-1")
        self.base = f"{scope.get('scheme', 'http')}://{host}"


class McpApp:
    """The MCP plane: everything that is no probe is a request for a virtual server."""

    def __init__(self, gate: Gate, probe_app: ASGIApp) -> None:
        self._gate = gate
        self._probes = probe_app
        self._parting = False
        self._tasks: dict[asyncio.Task[object], McpArrival] = {}
        self._idle: asyncio.Event | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http" or scope["path"] in probes.PATHS:
            await self._probes(scope, receive, send)
            return
        task = asyncio.current_task()
        assert task is not None, "ASGI serves in tasks"
        arrival = self._tasks[task] = McpArrival(scope, receive)
        try:
            await self._serve(arrival, receive, send, task)
        except CallerLeft:
            log.debug("a caller left before its request was complete")
        except Away as away:
            log.info("an answer broke off: %s", away)  # and so does the caller's: its body is left without an end
        except asyncio.CancelledError:
            if not arrival.gone:
                raise
            task.uncancel()
        finally:
            del self._tasks[task]
            if self._idle is not None and not self._tasks:
                self._idle.set()

    def part(self) -> None:
        """Have each connection closed after its next answer. Those who only listen are sent off to listen elsewhere."""
        self._parting = True
        for task, arrival in self._tasks.items():
            if arrival.method == "GET":
                arrival.gone = True
                task.cancel()

    async def idle(self) -> None:
        """Return when nothing is under way."""
        if self._tasks:
            self._idle = asyncio.Event()
            await self._idle.wait()

    async def cut(self) -> int:
        """End every request that is still under way. Returns how many there were."""
        left = list(self._tasks)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=1.0)
        return len(left)

    async def _serve(self, arrival: McpArrival, receive: Receive, send: Send, task: "asyncio.Task[object]") -> None:
        answering = asyncio.ensure_future(self._gate.handle(arrival))
        reply = await self._while_here(answering, arrival, receive)
        headers = [*reply.headers]
        if self._parting or (reply.status >= 400 and not await arrival.drain()):
            headers.append(CLOSE)
        if reply.events is None:
            headers.append((b"content-length", str(len(reply.body)).encode()))
            await send({"type": "http.response.start", "status": reply.status, "headers": headers})
            await send({"type": "http.response.body", "body": reply.body, "more_body": False})
            return
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await self._stream(reply.events, arrival, receive, send, task)

    async def _while_here(self, answering: "asyncio.Future[Reply]", arrival: McpArrival, receive: Receive) -> Reply:
        """Wait for the answer, as long as the caller does."""
        try:
            await asyncio.wait((answering,), timeout=0.2)
            if not answering.done() and not arrival.reading:
                watching = asyncio.ensure_future(_gone(receive))
                await asyncio.wait((answering, watching), return_when=asyncio.FIRST_COMPLETED)
                if not answering.done():
                    arrival.gone = True
                    raise CallerLeft
                watching.cancel()
            return await answering
        finally:
            if not answering.done():
                answering.cancel()
                await asyncio.gather(answering, return_exceptions=True)

    async def _stream(
        self,
        events: AsyncGenerator[bytes, None],
        arrival: McpArrival,
        receive: Receive,
        send: Send,
        task: "asyncio.Task[object]",
    ) -> None:
        def told(watching: "asyncio.Task[None]") -> None:
            if not watching.cancelled():
                arrival.gone = True
                task.cancel()

        watching = asyncio.create_task(_gone(receive))
        watching.add_done_callback(told)
        try:
            async with contextlib.aclosing(events) as passing:
                async for raw in passing:
                    await send({"type": "http.response.body", "body": raw, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            watching.remove_done_callback(told)
            watching.cancel()


async def _gone(receive: Receive) -> None:
    """Return when the caller has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
