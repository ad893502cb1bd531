"""Servers that are spoken to over a line of their own, as if they were spoken to over HTTP.

A line is a pair of pipes or streams on which messages go both ways, for one session. What answers a request goes to
whoever asked it, and what is about its progress too; other things go to whoever asked last, or listens. Ids of requests
and tokens of progress are the line's own on it, because callers without sessions share one.

A line lives in one process. Another process that is asked for its session opens a line of its own for that.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from secrets import token_hex
from time import monotonic
from typing import Any, Final, Protocol

from trustgate.contract import sse
from trustgate.contract.upstream import Call, Clocks, Header, Upstream, UpstreamFailure
from trustgate.mcp.messages import Json, decode, encode, is_request, is_response, params
from trustgate.mcp.reach.answers import Events, Said
from trustgate.mcp.servers import Away, Server

SESSION: Final = b"mcp-session-id"
IDLE: Final = 1800.0
"""Seconds after its last use for which a line is held."""
MOST: Final = 64
"""Lines to one server that a process holds."""
KEPT: Final = 64
"""Things that a server says to nobody, which wait for whoever listens next."""
GONE: Final = 404
APART: Final = ("/list_changed", "notifications/resources/updated")
"""What is about no request."""


class Line(Protocol):
    """What messages go over. They are bytes without line breaks."""

    async def send(self, message: bytes, headers: Sequence[Header], /) -> None:
        """Say something. Raises UpstreamFailure, CannotAuthorise."""

    async def receive(self) -> bytes:
        """Return the next thing that the server says, nothing at its end. Raises UpstreamFailure, Away."""

    async def aclose(self) -> None:
        """Hang up."""


class Opener(Protocol):
    """Opens lines."""

    async def open(self, server: Server, headers: Sequence[Header], clocks: Clocks, /) -> Line:
        """Return a new line. Raises UpstreamFailure, CannotAuthorise, Away."""


class Lines:
    """All lines of one kind that this process holds."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._talks: dict[tuple[str, str], Talk] = {}
        self._opening: dict[str, int] = {}

    async def send(self, server: Server, call: Call) -> Upstream:
        """Answer a call as a server over HTTP would. Raises UpstreamFailure, CannotAuthorise, Away."""
        headers = dict(call.headers)
        session = headers.get(SESSION, b"").decode("latin-1")
        passed = [pair for pair in call.headers if not pair[0].startswith(b"mcp-") and pair[0] != b"accept"]
        talk = self._talks.get((server.stamp, session))
        if call.method == "DELETE":
            if talk is not None:
                await self._end(server.stamp, session)
            return Said(200)
        if call.method == "GET":
            return Said(GONE) if talk is None else talk.listen(call.clocks)
        message = decode(b"".join(call.body) if isinstance(call.body, tuple) else call.body)
        if message.get("method") == "initialize":
            if talk is not None:
                await self._end(server.stamp, session)
            session = session or token_hex(16)
            talk = await self._begun(server, session, passed, call.clocks)
            return await talk.ask(message, passed, call.clocks, told=((SESSION, session.encode()),))
        if talk is None:
            return Said(400 if not session else GONE)
        if is_request(message):
            return await talk.ask(message, passed, call.clocks)
        await talk.tell(message, passed)
        return Said(202)

    async def aclose(self) -> None:
        """Hang up everywhere."""
        talks = list(self._talks.values())
        self._talks.clear()
        await asyncio.gather(*(talk.aclose() for talk in talks))

    async def _begun(self, server: Server, session: str, headers: Sequence[Header], clocks: Clocks) -> "Talk":
        await self._sweep()
        held = sum(stamp == server.stamp for stamp, _ in self._talks) + self._opening.get(server.stamp, 0)
        if held >= MOST:
            raise Away(f"{server.name} is in use by as many sessions as it may be ({MOST}): try again later")
        self._opening[server.stamp] = self._opening.get(server.stamp, 0) + 1
        try:
            async with asyncio.timeout(clocks.first_byte):
                line = await self._opener.open(server, headers, clocks)
        except TimeoutError:
            raise UpstreamFailure("connect_timeout", f"no line within {clocks.first_byte:g} s") from None
        finally:
            self._opening[server.stamp] -= 1
            if not self._opening[server.stamp]:
                del self._opening[server.stamp]
        talk = self._talks[server.stamp, session] = Talk(server, line)
        return talk

    async def _sweep(self) -> None:
        """Hang up where nobody has spoken for long, or the server has."""
        for (stamp, session), talk in list(self._talks.items()):
            if talk.over or talk.idle_for > IDLE:
                await self._end(stamp, session)

    async def _end(self, stamp: str, session: str) -> None:
        talk = self._talks.pop((stamp, session), None)
        if talk is not None:
            await talk.aclose()


class Talk:
    """What is said over one line. `over` says that the server is gone."""

    def __init__(self, server: Server, line: Line) -> None:
        self._server = server
        self._line = line
        self._asked: dict[int, tuple[Any, Any, Events]] = {}
        self._ids = 0
        self._listener: Events | None = None
        self._unheard: deque[bytes] = deque(maxlen=KEPT)
        self._used = monotonic()
        self.over = False
        self._hearing = asyncio.create_task(self._hear())

    @property
    def idle_for(self) -> float:
        """Seconds since it was last used."""
        return 0.0 if self._asked or self._listener is not None else monotonic() - self._used

    async def ask(
        self, message: Json, headers: Sequence[Header], clocks: Clocks, *, told: Sequence[Header] = ()
    ) -> Upstream:
        """Ask the server, and return what it says to that as it comes. Raises UpstreamFailure, CannotAuthorise."""
        if self.over:
            return Said(GONE)
        self._used = monotonic()
        self._ids += 1
        own = self._ids
        meta = params(message).get("_meta")
        token = meta.get("progressToken") if isinstance(meta, dict) else None
        worded: Json = {**message, "id": own}
        if isinstance(meta, dict) and token is not None:
            worded["params"] = {**params(message), "_meta": {**meta, "progressToken": own}}
        events = Events(clocks, lambda: self._forget(own), told)
        self._asked[own] = message["id"], token, events
        with ExitStack() as undone:
            undone.callback(self._forget, own)
            await self._line.send(encode(worded), headers)
            undone.pop_all()
        return events

    async def tell(self, message: Json, headers: Sequence[Header]) -> None:
        """Tell the server something that it does not answer. Raises UpstreamFailure, CannotAuthorise."""
        self._used = monotonic()
        if message.get("method") == "notifications/cancelled":
            about = params(message).get("requestId")
            own = next((own for own, (id_, _, _) in self._asked.items() if id_ == about), None)
            if own is None:
                return
            message = {**message, "params": {**params(message), "requestId": own}}
        await self._line.send(encode(message), headers)

    def listen(self, clocks: Clocks) -> Upstream:
        """Return what the server says by itself, as it comes. Who listened before does so no longer."""
        if self._listener is not None:
            self._listener.end()
        events = Events(clocks, lambda: self._deafen(events))
        self._listener = events
        while self._unheard:
            events.put(self._unheard.popleft())
        return events

    async def aclose(self) -> None:
        """Hang up."""
        self._hearing.cancel()
        await asyncio.gather(self._hearing, return_exceptions=True)
        await self._line.aclose()
        self._break(UpstreamFailure("connection_lost", "the line was closed"))

    async def _hear(self) -> None:
        try:
            while raw := await self._line.receive():
                self._heard(raw)
            failure = UpstreamFailure("connection_lost", "the server has gone")
        except UpstreamFailure as broken:
            failure = broken
        except Away as away:
            failure = UpstreamFailure("malformed_answer", str(away))
        self._break(failure)
        await self._line.aclose()

    def _heard(self, raw: bytes) -> None:
        try:
            message = decode(raw)
        except ValueError:
            return  # what programs print besides
        for each in message if isinstance(message, list) else (message,):
            if isinstance(each, dict):
                self._passed(each)

    def _passed(self, message: Json) -> None:
        if is_response(message):
            found = self._asked.pop(message["id"], None) if isinstance(message["id"], int) else None
            if found is not None:
                message_id, _, events = found
                events.put(sse.frame("message", encode({**message, "id": message_id})))
                events.end()
            return
        method = str(message.get("method", ""))
        if method == "notifications/progress":
            given = params(message)
            about = self._asked.get(given["progressToken"]) if isinstance(given.get("progressToken"), int) else None
            if about is not None:
                message = {**message, "params": {**given, "progressToken": about[1]}}
                about[2].put(sse.frame("message", encode(message)))
            return
        event = sse.frame("message", encode(message))
        apart = method.endswith(APART)
        newest = next(reversed(self._asked.values()), None)
        if self._listener is not None and (apart or newest is None):
            self._listener.put(event)
        elif newest is not None:
            newest[2].put(event)
        else:
            self._unheard.append(event)

    def _forget(self, own: int) -> None:
        self._asked.pop(own, None)

    def _deafen(self, events: Events) -> None:
        if self._listener is events:
            self._listener = None

    def _break(self, failure: UpstreamFailure) -> None:
        self.over = True
        for _, _, events in self._asked.values():
            events.fail(failure)
        self._asked.clear()
        if self._listener is not None:
            self._listener.end()
            self._listener = None
