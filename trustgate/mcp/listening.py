"""What servers say by themselves, to a caller who listens; and the rest of what a caller has missed."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from trustgate.contract import sse
from trustgate.contract.ports import StateUnavailable
from trustgate.mcp.asking import EVENTS, Asking, Reply
from trustgate.mcp.meeting import Meeting
from trustgate.mcp.merging import for_ever, merged
from trustgate.mcp.messages import INVALID_REQUEST, Wrong, encode
from trustgate.mcp.relaying import Edit, Relay
from trustgate.mcp.revisions import STATELESS
from trustgate.mcp.servers import Away, Server
from trustgate.mcp.sessions import Up
from trustgate.mcp.speaking import Incoming
from trustgate.mcp.subscribing import EVERY_LIST, Subscriber

DAY: Final = 86_400.0
OK: Final = 200


class Listener:
    """Listens to servers on behalf of callers."""

    def __init__(self, meeting: Meeting, relay: Relay, subscriber: Subscriber) -> None:
        self._meeting = meeting
        self._subscriber = subscriber
        self._relay = relay

    async def listen(self, asking: Asking, edit: Edit | None) -> Reply:
        """Return what the caller's servers say, their questions as `edit` has them.

        With one server the caller is told where that one says nothing.
        """
        last = asking.headers.get(b"last-event-id", b"").decode("latin-1")
        only = asking.house.transparent
        if only is not None:
            up = await self._meeting.up(asking, only)
            if up.revision != STATELESS:
                incoming = await self._open(asking, only, up, last)
                if incoming.status != OK or not incoming.streams:
                    await incoming.aclose()
                    status = incoming.status if incoming.status >= 400 else 405
                    raise Wrong(INVALID_REQUEST, f"{only.name} does not speak by itself.", status=status)
                return Reply(
                    headers=EVENTS, events=self._relay.listen(asking, only, up, incoming, edit=edit, marks=False)
                )
        return Reply(headers=EVENTS, events=self._all(asking, last, edit))

    async def _open(self, asking: Asking, server: Server, up: Up, last: str) -> Incoming:
        missed = ((b"last-event-id", last.encode("latin-1")),) if last else ()
        return await self._meeting.say(asking, server, up, method="GET", within=DAY, more=missed)

    async def _all(self, asking: Asking, last: str, edit: Edit | None) -> AsyncGenerator[bytes, None]:
        """Yield what all servers say by themselves. A stream that was broken goes on where its server left it.

        It stays open when no server speaks any more: callers that find it closed would come back at once.
        """
        whose, _, own = last.partition(":")

        async def hear(server: Server) -> AsyncGenerator[bytes, None]:
            try:
                up = await self._meeting.up(asking, server)
                if up.revision == STATELESS:
                    async with aclosing(self._subscriber.changes(asking, server, EVERY_LIST)) as changes:
                        async for change in changes:
                            yield sse.frame("message", encode(change))
                    return
                incoming = await self._open(asking, server, up, own if server.registry_id == whose else "")
                if incoming.status != OK or not incoming.streams:
                    await incoming.aclose()
                    return
                async with aclosing(self._relay.listen(asking, server, up, incoming, edit=edit, marks=True)) as events:
                    async for raw in events:
                        yield raw
            except (Away, Wrong, StateUnavailable):
                return  # the others are heard all the same

        yield b": listening\n\n"
        async with aclosing(for_ever(merged([hear(server) for server in asking.met()]))) as events:
            async for raw in events:
                yield raw
