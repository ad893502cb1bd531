"""Which server a request is for, and asking it: of several servers, the one that has the name."""

import asyncio
from collections.abc import Mapping
from time import perf_counter
from typing import Any, Final

from trustgate.mcp import finding
from trustgate.mcp.asking import Asking, Reply, Way, whole
from trustgate.mcp.composing import LISTS, Composer
from trustgate.mcp.meeting import GONE, Meeting, in_time
from trustgate.mcp.messages import INTERNAL_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, Json, Wrong, params, result
from trustgate.mcp.naming import Kind
from trustgate.mcp.pinning import Pins
from trustgate.mcp.relaying import Asked, Edit, Relay
from trustgate.mcp.revisions import STATELESS
from trustgate.mcp.servers import HELD, Away, Server
from trustgate.mcp.sessions import Sessions
from trustgate.mcp.subscribing import DAY, LISTEN, Subscriber

BY_NAME: Final[Mapping[str, Kind]] = {"tools/call": "tool", "prompts/get": "prompt"}
BY_URI: Final = ("resources/read", "resources/subscribe", "resources/unsubscribe")


class Asker:
    """Asks servers what callers ask."""

    def __init__(
        self,
        meeting: Meeting,
        composer: Composer,
        relay: Relay,
        sessions: Sessions,
        *,
        pins: Pins,
        subscriber: Subscriber,
    ) -> None:
        self._meeting = meeting
        self._pins = pins
        self._subscriber = subscriber
        self._composer = composer
        self._relay = relay
        self._sessions = sessions

    async def find(self, asking: Asking) -> None:
        """Find the server that a request is for, where it is for one. Raises Wrong where the caller may not go."""
        house, method = asking.house, asking.message["method"]
        if house.transparent is not None:
            asking.way = Way(server=house.transparent)
        elif house.searches and method == "tools/call" and params(asking.message).get("name") == finding.SEARCH:
            asking.way = None
        elif method in BY_NAME:
            route = await self._composer.route(asking, BY_NAME[method], params(asking.message).get("name"))
            asking.way = Way(server=house.servers[route.registry_id], name=route.name, marks=True)
        elif method in BY_URI:
            holder = await self._composer.holder_of(asking, params(asking.message).get("uri"))
            asking.way = Way(server=holder, marks=True)
        elif method == "completion/complete":
            asking.way = await self._completing(asking)
        if asking.way is not None and method == "tools/call":
            called = str(params(asking.message).get("name"))
            await self._pins.check(asking, asking.way.server, asking.way.name or called, called)

    async def ask(self, asking: Asking, edit: Edit | None) -> Reply:
        """Ask, and return what comes back: from one server, or from all of them. Raises Wrong, Away."""
        method, way = asking.message["method"], asking.way
        if method == LISTEN and asking.stateless and (way is None or await self._has_sessions(asking, way.server)):
            asking.way = None
            return await self._subscriber.listen(asking)
        if way is not None:
            pinned = method == "tools/list" and way.server.pinning != "off"
            return await self._forward(asking, way, self._pinned(asking, way.server, edit) if pinned else edit)
        if method in LISTS:
            return await self._said(asking, await self._composer.page(asking, method), edit)
        if method == "tools/call":
            tools, _ = await self._composer.listed(asking, "tool")
            return await self._said(asking, finding.found(tools, params(asking.message).get("arguments")), edit)
        if method == "logging/setLevel":
            await self._tell_all(asking, method, "logging")
            return await self._said(asking, {}, None)
        if method == "ping":
            return await self._said(asking, {}, None)
        raise Wrong(METHOD_NOT_FOUND, f"Method not found: {method}", status=404 if asking.stateless else 200)

    async def _said(self, asking: Asking, said: Json, edit: Edit | None) -> Reply:
        """Return what the gateway answers itself. Nobody keeps a list of it: servers change what they have."""
        if asking.stateless:
            said = {"ttlMs": 0, "cacheScope": "private", "resultType": "complete", **said}
        answer = result(asking.id, said)
        return whole(await edit(answer) if edit is not None else answer)

    async def _has_sessions(self, asking: Asking, server: Server) -> bool:
        return (await self._meeting.up(asking, server)).revision != STATELESS

    def _pinned(self, asking: Asking, server: Server, then: Edit | None) -> Edit:
        """Return what keeps tools that are not what was accepted out of a server's own list."""

        async def edit(message: Json) -> Json:
            said = message["result"]
            tools = said.get("tools") if isinstance(said, dict) else None
            if isinstance(tools, list):
                seen = (
                    tools
                    if all(isinstance(tool, dict) for tool in tools)
                    else [it for it in tools if isinstance(it, dict)]
                )
                try:
                    held = await self._pins.judged(asking, server, seen)
                except Away as away:
                    raise Wrong(INTERNAL_ERROR, str(away)) from None
                if held is not tools:
                    message = {**message, "result": {**said, "tools": held}}
            return message if then is None else await then(message)

        return edit

    async def _tell_all(self, asking: Asking, method: str, capability: str) -> None:
        """Ask the same of every server that can, whatever they say to it."""

        async def ask(server: Server) -> Json:
            up = await self._meeting.up(asking, server)
            if capability not in (up.said.get("capabilities") or {}):
                return {}
            return await self._meeting.call(asking, server, method, params(asking.message), within=server.discovery)

        await asyncio.gather(*(in_time(server, ask) for server in asking.met()))

    async def _completing(self, asking: Asking) -> Way:
        said = params(asking.message).get("ref")
        ref: Mapping[str, Any] = said if isinstance(said, dict) else {}
        servers = asking.house.servers
        if ref.get("type") == "ref/prompt":
            route = await self._composer.route(asking, "prompt", ref.get("name"))
            return Way(server=servers[route.registry_id], name=route.name, marks=True, names="ref")
        try:
            route = await self._composer.route(asking, "template", ref.get("uri"))
            return Way(server=servers[route.registry_id], marks=True)
        except Wrong:
            return Way(server=await self._composer.holder_of(asking, ref.get("uri")), marks=True)

    async def _forward(self, asking: Asking, way: Way, edit: Edit | None) -> Reply:
        """Send a request to its server and carry the answer back. A session that the server has forgotten is begun anew
        where it stands for several; with one server the caller is told, as it would be there."""
        server, message = way.server, way.reworded(asking.message)
        began = perf_counter()
        patience = DAY if message["method"] == LISTEN else server.patience
        up = await self._meeting.up(asking, server)
        for again in (False, True):
            worded = self._meeting.worded(asking, up, message)
            as_it_came = asking.raw if worded is asking.message else b""
            asking.asked = True
            incoming = await self._meeting.say(
                asking, server, up, worded, within=patience, raw=as_it_came, more=asking.repeated(up.revision)
            )
            asking.account.record.forwarded_at = perf_counter()
            asking.answered_in = asking.account.record.forwarded_at - began
            if incoming.status != GONE or not up.session:
                asked = Asked(server=server, up=up, message=message)
                return await self._relay.carry(asking, asked, incoming, edit=edit, marks=way.marks)
            await incoming.aclose()
            if asking.session is not None and asking.house.transparent is not None and server.reach not in HELD:
                await self._sessions.end(asking.caller, asking.session)
                raise Wrong(INVALID_REQUEST, "There is no such session: initialize again.", status=404)
            if not again:
                up = await self._meeting.again(asking, server, up)
        raise Away(f"{server.name} forgets sessions as soon as they begin")
