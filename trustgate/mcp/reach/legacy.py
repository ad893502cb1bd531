"""Servers of 2024-11-05 over HTTP: one stream of events says everything, and where to send what is said to it.

https://modelcontextprotocol.io/specification/2024-11-05/basic/transports#http-with-sse
"""

from collections import deque
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final
from urllib.parse import urljoin

from trustgate.contract import sse
from trustgate.contract.upstream import Call, Clocks, Header, Transport, Upstream, UpstreamFailure
from trustgate.mcp.reach.lines import Line
from trustgate.mcp.servers import Away, Server, authorised, origin_of

EVENT_STREAM: Final = b"text/event-stream"
DAY: Final = 86_400.0


class SseOpener:
    """Opens streams of events."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def open(self, server: Server, headers: Sequence[Header], clocks: Clocks) -> Line:
        """Return the line that a stream is. Raises UpstreamFailure, CannotAuthorise, Away."""
        told = [(b"accept", EVENT_STREAM), *(pair for pair in headers if pair[0] != b"content-type")]
        patient = Clocks(connect=clocks.connect, first_byte=clocks.first_byte, idle=DAY, total=DAY)
        origin, target = origin_of(server.url)
        call = Call(method="GET", origin=origin, target=target, headers=told, clocks=patient)
        upstream = await authorised(self._transport, server, call)
        line = SseLine(self._transport, server, upstream, clocks)
        async with AsyncExitStack() as undone:
            undone.push_async_callback(line.aclose)
            kind = dict(upstream.headers).get(b"content-type", b"").lower()
            if upstream.status != 200 or not kind.startswith(EVENT_STREAM):
                raise Away(f"{server.name} answered with status {upstream.status} and no stream of events")
            await line.begin()
            undone.pop_all()
        return line


class SseLine:
    """One stream, and the address to which its server listens."""

    def __init__(self, transport: Transport, server: Server, upstream: Upstream, clocks: Clocks) -> None:
        self._transport = transport
        self._server = server
        self._upstream = upstream
        self._clocks = clocks
        self._aligner = sse.Aligner()
        self._heard: deque[bytes] = deque()
        self._endpoint = ""

    async def begin(self) -> None:
        """Hear where to send messages: it is the first thing that is said. Raises UpstreamFailure, Away."""
        while not self._endpoint:
            for raw in await self._next():
                name, data = sse.read(raw)
                if name == "endpoint" and not self._endpoint:
                    self._endpoint = self._checked(data.decode("utf-8", "replace").strip())
                elif data:
                    self._heard.append(data)

    async def send(self, message: bytes, headers: Sequence[Header]) -> None:
        """Post a message. Raises UpstreamFailure, CannotAuthorise."""
        origin, target = origin_of(self._endpoint)
        told = [*headers] if any(name == b"content-type" for name, _ in headers) else [
            (b"content-type", b"application/json"),
            *headers,
        ]  # fmt: skip
        call = Call(method="POST", origin=origin, target=target, headers=told, body=message, clocks=self._clocks)
        upstream = await authorised(self._transport, self._server, call)
        await upstream.aclose()
        if upstream.status >= 400:
            raise UpstreamFailure("connection_lost", f"a message was answered with status {upstream.status}")

    async def receive(self) -> bytes:
        """Return the data of the next event, nothing at the end. Raises UpstreamFailure, Away."""
        while not self._heard:
            events = await self._next()
            if not events:
                return b""
            self._heard += [data for raw in events if (data := sse.data_of(raw))]
        return self._heard.popleft()

    async def aclose(self) -> None:
        """Let go of the stream."""
        await self._upstream.aclose()

    async def _next(self) -> list[bytes]:
        """Return the next events, none at the end. Raises UpstreamFailure, Away."""
        while part := await self._upstream.chunk():
            if found := sse.split(self._aligner.feed(part)):
                return found
            if self._aligner.size > self._server.most:
                raise Away(f"{self._server.name} says more than the {self._server.most} bytes that it may")
        if not self._endpoint:
            raise UpstreamFailure("malformed_answer", "the stream ended before it said where to send messages")
        return []

    def _checked(self, told: str) -> str:
        """Return the address of messages: secrets go nowhere but to where the stream comes from. Raises Away."""
        address = urljoin(self._server.url, told)
        if not address.isascii() or origin_of(address)[0] != origin_of(self._server.url)[0]:
            raise Away(f"{self._server.name} wants messages sent elsewhere, and secrets go only to where it is")
        return address
