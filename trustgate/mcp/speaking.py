"""Speaking to servers: one exchange with one of them, whichever way it is reached."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from time import monotonic
from typing import Any, Final, Protocol

from msgspec import Struct

from trustgate.config.mcp import Reach
from trustgate.contract import sse
from trustgate.contract.upstream import (
    Call,
    CannotAuthorise,
    Clocks,
    Header,
    Transport,
    Upstream,
    UpstreamFailure,
)
from trustgate.forwarding.circuits import Circuits
from trustgate.mcp.messages import Json, decode, is_message
from trustgate.mcp.reach.api import Apis
from trustgate.mcp.reach.legacy import SseOpener
from trustgate.mcp.reach.lines import Lines
from trustgate.mcp.reach.programs import NO_PROGRAMS, Allowed, ProgramOpener
from trustgate.mcp.servers import Away, Server, authorised, away, read_up_to

ACCEPTED: Final = (b"accept", b"application/json, text/event-stream")
JSON_BODY: Final = (b"content-type", b"application/json")
CONNECT: Final = 10.0
BROKEN: Final = 500
DAY: Final = 86_400.0


class Event(Struct, frozen=True, kw_only=True):
    """One thing that a server said: the bytes that it came in, their id, and the message in them, if there is one."""

    raw: bytes
    id: str = ""
    message: Json | None = None


class Incoming:
    """A server's answer, whose messages come one by one. Its holder reads it out or closes it."""

    def __init__(self, server: Server, upstream: Upstream) -> None:
        self.server = server
        self.status = upstream.status
        self.headers = dict(upstream.headers)
        self._upstream = upstream

    @property
    def streams(self) -> bool:
        """Whether messages come as events."""
        return self.headers.get(b"content-type", b"").lower().startswith(b"text/event-stream")

    async def body(self) -> bytes:
        """Return all of it. Raises Away."""
        try:
            return await read_up_to(self.server, self._upstream, self.server.most)
        except UpstreamFailure as failure:
            raise away(self.server, failure) from None

    async def events(self) -> AsyncIterator[Event]:
        """Yield what it says as it comes. Raises Away."""
        if not self.streams:
            raw = await self.body()
            message = _message(raw)
            if raw:
                yield Event(raw=raw, message=message)
            return
        aligner = sse.Aligner()
        try:
            while part := await self._upstream.chunk():
                for raw in sse.split(aligner.feed(part)):
                    yield _event(raw, self.server)
                if aligner.size > self.server.most:
                    raise Away(f"{self.server.name} says more than the {self.server.most} bytes that it may")
        except UpstreamFailure as failure:
            raise away(self.server, failure) from None

    async def aclose(self) -> None:
        """Let go."""
        await self._upstream.aclose()


class Reaches(Protocol):
    """A way to servers."""

    async def send(self, server: Server, call: Call) -> Upstream:
        """Return the answer to a call once its head is there. Raises UpstreamFailure, CannotAuthorise, Away."""

    async def aclose(self) -> None:
        """Let go of everything."""


class OverHttp:
    """The way to servers over HTTP: the transport that everything else uses too."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def send(self, server: Server, call: Call) -> Upstream:
        """Send the call with the server's credential. Raises UpstreamFailure, CannotAuthorise."""
        return await authorised(self._transport, server, call)

    async def aclose(self) -> None:
        """The transport is closed by whoever made it."""


class Speaker:
    """Speaks to servers, each in the way in which it is reached."""

    def __init__(self, transport: Transport, programs: Allowed = NO_PROGRAMS) -> None:
        self._circuits: Circuits[str] = Circuits()
        self._reaches: dict[Reach, Reaches] = {
            "streamable-http": OverHttp(transport),
            "openapi": Apis(transport),
            "sse": Lines(SseOpener(transport)),
            "stdio": Lines(ProgramOpener(programs)),
        }

    async def aclose(self) -> None:
        """Let go of the servers that are held by a line of their own."""
        for reach in self._reaches.values():
            await reach.aclose()

    async def say(
        self,
        server: Server,
        method: str,
        body: bytes = b"",
        *,
        headers: Sequence[Header],
        within: float,
        whole: bool = False,
    ) -> Incoming:
        """Return what a server answers, once its head has come. Raises Away.

        `within` seconds is how long that may take, and (`whole`) all of it; what comes later may be apart as long.
        """
        clocks = Clocks(connect=min(CONNECT, within), first_byte=within, idle=within, total=within if whole else DAY)
        told = [ACCEPTED, *([JSON_BODY] if body else []), *server.headers, *headers]
        call = Call(method=method, origin=server.origin, target=server.path, headers=told, body=body, clocks=clocks)
        incoming = await self._send(server, call)
        if 300 <= incoming.status < 400:
            await incoming.aclose()
            raise Away(f"{server.name} sends callers elsewhere, and nobody is followed: correct its url")
        return incoming

    async def _send(self, server: Server, call: Call) -> Incoming:
        """Send a call, unless its server keeps failing. A stream that somebody listens to says nothing of that."""
        circuit, began = self._circuits.of(server.stamp), monotonic()
        if not circuit.enter():
            raise Away(f"{server.name} keeps failing and is not asked for another {circuit.closed_for:.1f} s")
        try:
            incoming = Incoming(server, await self._reaches[server.reach].send(server, call))
        except UpstreamFailure as failure:
            circuit.failed()
            raise away(server, failure) from None
        except Away:
            circuit.failed()
            raise
        except CannotAuthorise as error:
            circuit.left()
            raise Away(f"{server.name} cannot be asked: {error}") from None
        except asyncio.CancelledError:
            # whoever gave up after the time that it may take has seen a failure; who left earlier knows nothing
            (circuit.failed if call.method == "POST" and self._late(server, began) else circuit.left)()
            raise
        if incoming.status >= BROKEN:
            circuit.failed()
        else:
            circuit.succeeded()
        return incoming

    def _late(self, server: Server, began: float) -> bool:
        return monotonic() - began > server.discovery / 2


def _event(raw: bytes, server: Server) -> Event:
    if len(raw) > server.most:
        raise Away(f"{server.name} says more than the {server.most} bytes that it may")
    found = b""
    for line in raw.splitlines():
        if line.startswith(b"id:"):
            found = line[3:].strip()
    return Event(raw=raw, id=found.decode("latin-1"), message=_message(sse.data_of(raw)))


def _message(data: bytes) -> Json | None:
    try:
        message: Any = decode(data)
    except ValueError:
        return None
    return message if is_message(message) else None
