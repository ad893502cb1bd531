"""Meeting servers: who they are and which revision they speak; and asking them something on the gateway's own account.

A caller's session has a session of its own at each server. Callers without sessions share, by credential, those that
older servers need.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import Any, Final, TypeVar

from trustgate.contract.upstream import Header
from trustgate.mcp.asking import Asking
from trustgate.mcp.messages import Json, Wrong, encode, is_response, params
from trustgate.mcp.revisions import (
    CAPABILITIES_KEY,
    CLIENT_KEY,
    NEWEST_WITH_SESSIONS,
    STATELESS,
    VERSION_KEY,
    WITH_SESSIONS,
    envelope_headers,
)
from trustgate.mcp.servers import HELD, Away, Server, proof
from trustgate.mcp.sessions import Sessions, Up
from trustgate.mcp.speaking import Incoming, Speaker

_ids = count(1)
T = TypeVar("T")
US: Final[Json] = {"name": "trustgate", "version": "1.0"}
INITIALIZED: Final[Json] = {"jsonrpc": "2.0", "method": "notifications/initialized"}
GONE: Final = 404
MOST_PAGES: Final = 100
MOST_SAID: Final = 256 * 1024


class Meeting:
    """Meets servers, and remembers how."""

    def __init__(self, speaker: Speaker, sessions: Sessions) -> None:
        self._speaker = speaker
        self._sessions = sessions

    async def up(self, asking: Asking, server: Server) -> Up:
        """Return how a server was met for this caller; one that was not met yet is met now. Raises Away, Wrong."""
        session = asking.session
        if session is not None and (known := session.ups.get(server.registry_id)) is not None:
            return known
        known = await self._sessions.up(asking.caller, asking.owner, server.registry_id)
        return known if known is not None else await self._meet(asking, server)

    async def _meet(self, asking: Asking, server: Server, session: str = "") -> Up:
        met = await self.greet(asking, server, *self._hello(asking), session=session)
        await self.keep(asking, server, met)
        return met

    async def keep(self, asking: Asking, server: Server, up: Up) -> None:
        """Remember how a server was met, and tell it that it was."""
        if up.revision != STATELESS:
            incoming = await self.say(asking, server, up, INITIALIZED, within=server.discovery, whole=True)
            await incoming.aclose()
        await self._sessions.meet(asking.caller, asking.owner, server.registry_id, up)

    async def again(self, asking: Asking, server: Server, up: Up) -> Up:
        """Meet a server anew that has forgotten the caller. Raises Away, Wrong.

        Where a session is a line, it may be another process that has it: here it gets one of its own.
        """
        if server.reach in HELD:
            return await self._meet(asking, server, up.session)
        if asking.session is not None:
            asking.session.ups.pop(server.registry_id, None)
        await self._sessions.part(asking.caller, asking.owner, server.registry_id)
        return await self.up(asking, server)

    async def part(self, asking: Asking, server: Server) -> None:
        """End what a caller has at a server, if it was met. Raises Away."""
        up = await self._sessions.up(asking.caller, asking.owner, server.registry_id)
        if up is not None:
            await self.end(asking, server, up)
            await self._sessions.part(asking.caller, asking.owner, server.registry_id)

    async def end(self, asking: Asking, server: Server, up: Up) -> None:
        """Tell a server that a session is over. Raises Away."""
        if up.session:
            incoming = await self.say(asking, server, up, method="DELETE", within=server.discovery, whole=True)
            await incoming.aclose()

    async def greet(self, asking: Asking, server: Server, revision: str, hello: Json, *, session: str = "") -> Up:
        """Say hello to a server in a caller's name, in a session that is known elsewhere if there is one.

        Raises Away, and Wrong with what the server says of it.
        """
        if asking.stateless:
            found = await self._discover(asking, server, revision)
            if found is not None:
                return found
        message = _request("initialize", {**hello, "protocolVersion": revision})
        more = ((b"mcp-session-id", session.encode("latin-1")),) if session else ()
        incoming = await self.say(asking, server, None, message, within=server.discovery, whole=True, more=more)
        try:
            answer = await self._answer(incoming, message["id"])
            session = incoming.headers.get(b"mcp-session-id", b"").decode("latin-1")
        finally:
            await incoming.aclose()
        if answer is not None and "result" in answer:
            said = answer["result"]
            spoken = said.get("protocolVersion") if isinstance(said, dict) else None
            if len(encode(said)) > MOST_SAID:
                raise Away(f"{server.name} says more of itself than the {MOST_SAID} bytes that are kept")
            if spoken not in WITH_SESSIONS:
                raise Away(f"{server.name} speaks a revision that is not known here")
            return Up(session=session, revision=spoken, said=said)
        found = None if asking.stateless else await self._discover(asking, server, revision)
        if found is not None:
            return found
        if answer is None:
            raise Away(f"{server.name} answered with status {incoming.status} and no message")
        raise _told(answer)

    async def call(self, asking: Asking, server: Server, method: str, given: Json, *, within: float) -> Json:
        """Ask a server something and return its result. Raises Away, and Wrong with what the server says instead."""
        up = await self.up(asking, server)
        for again in (False, True):
            message = self.worded(asking, up, _request(method, given))
            incoming = await self.say(asking, server, up, message, within=within, whole=True)
            try:
                if incoming.status == GONE and up.session and not again:
                    up = await self.again(asking, server, up)
                    continue
                answer = await self._answer(incoming, message["id"])
            finally:
                await incoming.aclose()
            if answer is None:
                raise Away(f"{server.name} answered with status {incoming.status} and no message")
            if "error" in answer:
                raise _told(answer)
            found = answer["result"]
            return found if isinstance(found, dict) else {}
        raise Away(f"{server.name} forgets sessions as soon as they begin")

    async def all_pages(self, asking: Asking, server: Server, method: str, field: str) -> list[Json]:
        """Return what a server lists, however many pages that is. Raises Away, Wrong."""
        items: list[Json] = []
        given: Json = {}
        for _ in range(MOST_PAGES):
            page = await self.call(asking, server, method, given, within=server.discovery)
            items += [item for item in page.get(field) or () if isinstance(item, dict)]
            if not (cursor := page.get("nextCursor")):
                break
            given = {"cursor": cursor}
        return items

    def worded(self, asking: Asking, up: Up, message: Json) -> Json:
        """Return a message in the words of the revision that a server speaks."""
        if up.revision != STATELESS or (asking.stateless and VERSION_KEY in (params(message).get("_meta") or {})):
            return message
        hello = asking.session.hello if asking.session is not None else {}
        meta = {
            **(params(message).get("_meta") or {}),
            VERSION_KEY: STATELESS,
            CAPABILITIES_KEY: hello.get("capabilities") or {},
            CLIENT_KEY: hello.get("clientInfo") or US,
        }
        return {**message, "params": {**params(message), "_meta": meta}}

    async def say(
        self,
        asking: Asking,
        server: Server,
        up: Up | None,
        message: Json | None = None,
        *,
        within: float,
        method: str = "POST",
        whole: bool = False,
        raw: bytes = b"",
        more: Sequence[Header] = (),
    ) -> Incoming:
        """Say something to a server as it was met (None: it is about to be), with the caller's proof, as a part of the
        request's trace. Raises Away.

        `raw` is the message as it came, where it is; `more` are headers besides.
        """
        trace = (b"traceparent", asking.account.trace.traceparent())
        told = [*(self._headers(up, message) if up is not None else ()), trace, *more, *proof(server, asking.bearer)]
        body = raw or (encode(message) if message is not None else b"")
        return await self._speaker.say(server, method, body, headers=told, within=within, whole=whole)

    async def tell(self, asking: Asking, server: Server, message: Json) -> None:
        """Tell a server with sessions something that needs no answer. Raises Away, Wrong."""
        up = await self.up(asking, server)
        if up.revision != STATELESS:
            incoming = await self.say(asking, server, up, message, within=server.discovery, whole=True)
            await incoming.aclose()

    def _headers(self, up: Up, message: Json | None) -> list[Header]:
        """Return what headers say to a server beside a message."""
        if up.revision == STATELESS:
            return envelope_headers(message) if message is not None else []
        found = [(b"mcp-protocol-version", up.revision.encode())] if up.revision >= "2025-06-18" else []
        if up.session:
            found.append((b"mcp-session-id", up.session.encode("latin-1")))
        return found

    def _hello(self, asking: Asking) -> tuple[str, Json]:
        if asking.session is not None:
            return asking.session.revision, asking.session.hello
        return NEWEST_WITH_SESSIONS, {"capabilities": {}, "clientInfo": US}

    async def _discover(self, asking: Asking, server: Server, revision: str) -> Up | None:
        """Ask a server whether it speaks the revision without sessions; None where it does not."""
        supposed = Up(revision=STATELESS)
        message = self.worded(asking, supposed, _request("server/discover", {}))
        incoming = await self.say(asking, server, supposed, message, within=server.discovery, whole=True)
        try:
            answer = await self._answer(incoming, message["id"])
        finally:
            await incoming.aclose()
        said: Any = (answer or {}).get("result")
        if not isinstance(said, dict) or STATELESS not in (said.get("supportedVersions") or ()):
            return None
        known = {name: said[name] for name in ("capabilities", "serverInfo", "instructions") if name in said}
        usual = {"capabilities": {}, "serverInfo": {"name": server.name, "version": ""}}
        return Up(revision=STATELESS, said={**usual, **known, "protocolVersion": revision})

    async def _answer(self, incoming: Incoming, message_id: Any) -> Json | None:
        """Return the answer with that id; what comes before it is nobody's. Raises Away."""
        async for event in incoming.events():
            message = event.message
            if message is not None and is_response(message) and message["id"] == message_id:
                return message
            if message is not None and "error" in message and message["id"] is None:
                return message
        return None


async def in_time(server: Server, ask: Callable[[Server], Awaitable[T]]) -> T | Exception:
    """Ask a server something within the time that it has to say what it has; else return why there is no answer."""
    try:
        async with asyncio.timeout(server.discovery):
            return await ask(server)
    except (Away, Wrong) as error:
        return error
    except TimeoutError:
        return Away(f"{server.name} did not answer within {server.discovery:g} s")


def _request(method: str, given: Json) -> Json:
    return {"jsonrpc": "2.0", "id": f"tg-{next(_ids)}", "method": method, "params": given}


def _told(answer: Json) -> Wrong:
    """Return what a server says is wrong, in its own code and words."""
    said = answer["error"] if isinstance(answer["error"], dict) else {}
    code = said.get("code")
    return Wrong(code if isinstance(code, int) else -32603, str(said.get("message", "")), data=said.get("data"))
