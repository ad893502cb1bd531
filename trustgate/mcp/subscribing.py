"""What changes at servers, told to whoever wants to know, in the words of either side's revision.

Since 2026-07-28 a caller says in `subscriptions/listen` what it wants to hear of; before that servers say what they
like on a stream that is got, and of resources that were subscribed to. A server tells only one of a session's streams
of a change, so whoever listens has a session of its own there.
https://modelcontextprotocol.io/specification/2026-07-28/basic/patterns/subscriptions
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from itertools import count
from secrets import token_hex
from typing import Any, Final

from msgspec import Struct

from trustgate.contract import sse
from trustgate.contract.ports import StateUnavailable
from trustgate.mcp.asking import EVENTS, Asking, Reply
from trustgate.mcp.composing import Composer
from trustgate.mcp.meeting import Meeting, in_time
from trustgate.mcp.merging import for_ever, merged
from trustgate.mcp.messages import INVALID_PARAMS, METHOD_NOT_FOUND, Json, Wrong, encode, error, is_request, params
from trustgate.mcp.revisions import STATELESS
from trustgate.mcp.servers import Away, Server
from trustgate.mcp.sessions import Up

LISTEN: Final = "subscriptions/listen"
ID_KEY: Final = "io.modelcontextprotocol/subscriptionId"
UPDATED: Final = "notifications/resources/updated"
FLAGS: Final[Mapping[str, str]] = {
    "toolsListChanged": "notifications/tools/list_changed",
    "promptsListChanged": "notifications/prompts/list_changed",
    "resourcesListChanged": "notifications/resources/list_changed",
}
MOST_URIS: Final = 1000
DAY: Final = 86_400.0
OK: Final = 200
_ids = count(1)


class Wanted(Struct, frozen=True, kw_only=True):
    """What somebody wants to hear of: changes of lists, by their flags, and of resources."""

    flags: frozenset[str]
    uris: tuple[str, ...] = ()

    def has(self, message: Json) -> bool:
        """Say whether a message is about one of them."""
        if message["method"] == UPDATED:
            return params(message).get("uri") in self.uris
        return any(FLAGS[flag] == message["method"] for flag in self.flags)

    @property
    def said(self) -> Json:
        """What it is in a message."""
        return {
            **dict.fromkeys(sorted(self.flags), True),
            **({"resourceSubscriptions": self.uris} if self.uris else {}),
        }


EVERY_LIST: Final = Wanted(flags=frozenset(FLAGS))


class Subscriber:
    """Hears of changes on behalf of callers."""

    def __init__(self, meeting: Meeting, composer: Composer) -> None:
        self._meeting = meeting
        self._composer = composer

    async def listen(self, asking: Asking) -> Reply:
        """Return what a caller wants to hear of its servers, as it comes. Raises Wrong."""
        asked = _wanted(params(asking.message).get("notifications"))
        shares: dict[str, list[str]] = {}
        for uri in asked.uris:
            holder = await self._holder(asking, uri)
            shares.setdefault(holder.registry_id, []).append(uri)
        servers = asking.house.servers.values()
        ups = await asyncio.gather(*(in_time(server, lambda it: self._meeting.up(asking, it)) for server in servers))
        told = set().union(*(_tells(up.said) for up in ups if isinstance(up, Up)))
        asking.own = f"listening:{token_hex(16)}"
        honored = Wanted(flags=asked.flags & told, uris=asked.uris)
        return Reply(headers=EVENTS, events=self._all(asking, honored, shares))

    async def changes(self, asking: Asking, server: Server, wanted: Wanted) -> AsyncGenerator[Json, None]:
        """Yield what changes at a server, in nobody's stream yet. Raises Away, Wrong."""
        up = await self._meeting.up(asking, server)
        if up.revision == STATELESS:
            request = {"jsonrpc": "2.0", "id": f"listen-{next(_ids)}", "method": LISTEN}
            message = self._meeting.worded(asking, up, {**request, "params": {"notifications": wanted.said}})
            incoming = await self._meeting.say(asking, server, up, message, within=DAY)
        else:
            for uri in wanted.uris:
                await self._meeting.call(asking, server, "resources/subscribe", {"uri": uri}, within=server.discovery)
            incoming = await self._meeting.say(asking, server, up, method="GET", within=DAY)
        try:
            if incoming.status != OK or not incoming.streams:
                return
            async for event in incoming.events():
                said = event.message
                if said is not None and is_request(said):
                    text = f"{said['method']} cannot be asked of whoever only listens"
                    await self._meeting.tell(asking, server, error(said["id"], METHOD_NOT_FOUND, text))
                elif said is not None and "method" in said and wanted.has(said):
                    if said["method"].endswith("/list_changed"):
                        asking.house.forget()
                    kept = {name: value for name, value in params(said).items() if name != "_meta"}
                    yield {"jsonrpc": "2.0", "method": said["method"], **({"params": kept} if kept else {})}
        finally:
            await incoming.aclose()

    async def _holder(self, asking: Asking, uri: str) -> Server:
        only = asking.house.transparent
        return only if only is not None else await self._composer.holder_of(asking, uri)

    async def _all(self, asking: Asking, asked: Wanted, shares: Mapping[str, list[str]]) -> AsyncGenerator[bytes, None]:
        """Yield what was agreed first, then what changes at all servers; nobody who is away ends it for the others."""
        mark = {"_meta": {ID_KEY: asking.id}}

        async def hear(server: Server) -> AsyncGenerator[Json, None]:
            wanted = Wanted(flags=asked.flags, uris=tuple(shares.get(server.registry_id, ())))
            if not wanted.flags and not wanted.uris:
                return
            try:
                async with aclosing(self.changes(asking, server, wanted)) as changes:
                    async for change in changes:
                        yield change
            except (Away, Wrong, StateUnavailable):
                return
            finally:
                await in_time(server, lambda it: self._meeting.part(asking, it))

        yield _framed("notifications/subscriptions/acknowledged", {"notifications": asked.said, **mark})
        heard = merged([hear(server) for server in asking.house.servers.values()])
        async with aclosing(for_ever(heard)) as changes:
            async for change in changes:
                yield _framed(change["method"], {**params(change), **mark})


def _tells(said: Json) -> set[str]:
    """Return of which lists a server says that it tells of their changes."""
    able = said.get("capabilities") or {}
    kinds = {"toolsListChanged": "tools", "promptsListChanged": "prompts", "resourcesListChanged": "resources"}
    return {flag for flag, kind in kinds.items() if isinstance(able.get(kind), dict) and able[kind].get("listChanged")}


def _wanted(said: Any) -> Wanted:
    """Return what a caller asks to hear of. Raises Wrong."""
    if not isinstance(said, dict):
        raise Wrong(INVALID_PARAMS, "params needs notifications: say what to listen for.", status=400)
    uris = said.get("resourceSubscriptions") or []
    if not isinstance(uris, list) or not all(isinstance(uri, str) for uri in uris) or len(uris) > MOST_URIS:
        text = f"resourceSubscriptions is a list of at most {MOST_URIS} addresses."
        raise Wrong(INVALID_PARAMS, text, status=400)
    return Wanted(flags=frozenset(flag for flag in FLAGS if said.get(flag) is True), uris=tuple(dict.fromkeys(uris)))


def _framed(method: str, given: Json) -> bytes:
    return sse.frame("message", encode({"jsonrpc": "2.0", "method": method, "params": given}))
