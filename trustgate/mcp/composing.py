"""Several servers as one: lists of all of them, names that lead to one of them, and who is missing."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple

import msgspec

from trustgate.contract.ports import Cache
from trustgate.mcp import finding
from trustgate.mcp.asking import Asking
from trustgate.mcp.house import House, Route
from trustgate.mcp.meeting import Meeting, in_time
from trustgate.mcp.messages import DENIED, INTERNAL_ERROR, INVALID_PARAMS, RESOURCE_NOT_FOUND, Json, Wrong
from trustgate.mcp.naming import FIELD, Kind, Offer, allowed, offers
from trustgate.mcp.pinning import Pins
from trustgate.mcp.servers import Away, Server
from trustgate.mcp.sessions import Up

LISTS: Final[Mapping[str, tuple[Kind, str]]] = {
    "tools/list": ("tool", "tools"),
    "prompts/list": ("prompt", "prompts"),
    "resources/list": ("resource", "resources"),
    "resources/templates/list": ("template", "resourceTemplates"),
}
_METHOD: Final[Mapping[Kind, tuple[str, str, str]]] = {
    kind: (method, field, "resources" if kind == "template" else field) for method, (kind, field) in LISTS.items()
}
MISSING: Final = "io.trustgate/missing"
MONTH: Final = 30 * 86_400.0
Missing = list[dict[str, str]]


class _Listed(NamedTuple):
    """What a server has, and what of it agents may see. What they may not has its name all the same."""

    items: Sequence[Json]
    shown: Sequence[Json]


class Composer:
    """Makes one server of several. What each of them last had is remembered, so that names stay when one is away."""

    def __init__(self, meeting: Meeting, cache: Cache, pins: Pins) -> None:
        self._meeting = meeting
        self._pins = pins
        self._cache = cache
        self._names: dict[tuple[str, Kind], tuple[str, ...]] = {}

    async def listed(self, asking: Asking, kind: Kind) -> tuple[list[Offer], Missing]:
        """Return all that a caller may use, and which servers could not be asked. Raises Wrong."""
        house = asking.house
        servers = list(house.servers.values())

        async def ask(server: Server) -> _Listed:
            return await self._all(asking, server, kind)

        found = await asyncio.gather(*(in_time(server, ask) for server in servers))
        listed: dict[str, Sequence[Json]] = {}
        missing: Missing = [{"registry": name, "reason": why} for name, why in house.broken.items()]
        shown: set[tuple[str, Any]] = set()
        answered = 0
        for server, has in zip(servers, found, strict=True):
            if isinstance(has, Exception):
                missing.append({"registry": server.name, "reason": reason(has)})
                known = await self._last_names(asking, server, kind)
                listed[server.registry_id] = [{FIELD[kind]: name} for name in known]
            else:
                answered += 1
                listed[server.registry_id] = has.items
                shown |= {(server.registry_id, item.get(FIELD[kind])) for item in has.shown}
                await self._remember(asking, server, kind, has.items)
        self._check(house, missing, answered=answered)
        made = offers(kind, house.holders, listed, house.toolkit)
        house.remember(kind, made)
        return [offer for offer in made if (offer.registry_id, offer.name) in shown], missing

    async def page(self, asking: Asking, method: str) -> Json:
        """Return the one page that a list is. Raises Wrong."""
        kind, field = LISTS[method]
        found, missing = await self.listed(asking, kind)
        said: Json = {field: [offer.item for offer in found]}
        if kind == "tool" and asking.house.searches:
            said = {field: list(finding.TOOLS)}
            asking.tokens_saved = finding.saved(found)
        if missing:
            said["_meta"] = {MISSING: missing}
        return said

    async def route(self, asking: Asking, kind: Kind, name: Any) -> Route:
        """Return where a name leads. Raises Wrong where it leads nowhere, or the caller may not go."""
        if not isinstance(name, str):
            raise Wrong(INVALID_PARAMS, f"params needs a {FIELD[kind]}.")
        known = asking.house.route(kind, name)
        if known is None:
            await asking.house.learn(kind, lambda: self.listed(asking, kind))
            known = asking.house.route(kind, name)
        if known is not None:
            return known
        if kind in ("tool", "prompt") and self._is_denied(asking.house, kind, name):
            raise Wrong(DENIED, f'The {kind} "{name}" may not be used by this consumer.')
        if kind == "resource":
            raise Wrong(RESOURCE_NOT_FOUND, "Resource not found", data={"uri": name})
        raise Wrong(INVALID_PARAMS, f"Unknown {kind}: {name}")

    async def holder_of(self, asking: Asking, uri: Any) -> Server:
        """Return the server that has a resource: one that lists it, else the first whose templates may make it."""
        house = asking.house
        try:
            return house.servers[(await self.route(asking, "resource", uri)).registry_id]
        except Wrong as wrong:
            if wrong.code != RESOURCE_NOT_FOUND:
                raise
        made, _ = await self.listed(asking, "template")
        scheme = uri.partition(":")[0]
        for offer in made:
            fits = offer.name.partition("{")[0]
            may = allowed(house.toolkit, offer.registry_id, "resource", uri)
            if may and uri.startswith(fits or scheme):
                return house.servers[offer.registry_id]
        raise Wrong(RESOURCE_NOT_FOUND, "Resource not found", data={"uri": uri})

    async def met(self, asking: Asking, ups: Mapping[str, Up | Exception]) -> Json:
        """Return what all servers together say of themselves. Raises Wrong."""
        house = asking.house
        missing: Missing = [{"registry": name, "reason": why} for name, why in house.broken.items()]
        found: list[tuple[Server, Json]] = []
        for registry_id, up in ups.items():
            server = house.servers[registry_id]
            if isinstance(up, Up):
                found.append((server, up.said))
            else:
                missing.append({"registry": server.name, "reason": reason(up)})
        self._check(house, missing, answered=len(found))
        said: Json = {
            "capabilities": _capabilities([each.get("capabilities") or {} for _, each in found]),
            "serverInfo": {"name": "trustgate", "version": f"1.0+{_fingerprint(house)}"},
        }
        told = [f"{server.name}: {each['instructions']}" for server, each in found if each.get("instructions")]
        if told:
            said["instructions"] = "\n\n".join(told)
        if missing:
            said["_meta"] = {MISSING: missing}
        return said

    async def _all(self, asking: Asking, server: Server, kind: Kind) -> _Listed:
        method, field, capability = _METHOD[kind]
        up = await self._meeting.up(asking, server)
        if capability not in (up.said.get("capabilities") or {}):
            return _Listed([], [])
        items = await self._meeting.all_pages(asking, server, method, field)
        return _Listed(items, await self._pins.judged(asking, server, items) if kind == "tool" else items)

    def _check(self, house: House, missing: Missing, *, answered: int) -> None:
        if not house.servers and not house.broken:
            raise Wrong(-32600, "No MCP server is attached to this consumer.")
        if missing and house.closed:
            named = ", ".join(each["registry"] for each in missing)
            raise Wrong(INTERNAL_ERROR, f"Not every MCP server can be reached: {named}.", data={"missing": missing})
        if not answered:
            raise Wrong(INTERNAL_ERROR, "No MCP server can be reached.", data={"missing": missing})

    def _is_denied(self, house: House, kind: Kind, name: str) -> bool:
        if house.toolkit is None:
            return False
        return any(
            name in names and not allowed(house.toolkit, server.registry_id, kind, name)
            for server in house.servers.values()
            for names in (self._names.get((server.stamp, kind), ()),)
        )

    async def _remember(self, asking: Asking, server: Server, kind: Kind, items: Iterable[Json]) -> None:
        names = tuple(name for item in items if isinstance(name := item.get(FIELD[kind]), str))
        if self._names.get((server.stamp, kind)) != names:
            self._names[server.stamp, kind] = names
            key = f"{asking.caller.gateway_id}:mcp_names:{server.stamp}:{kind}"
            await self._cache.set(key, msgspec.json.encode(names), ttl=MONTH)

    async def _last_names(self, asking: Asking, server: Server, kind: Kind) -> Sequence[str]:
        known = self._names.get((server.stamp, kind))
        if known is None:
            raw = await self._cache.get(f"{asking.caller.gateway_id}:mcp_names:{server.stamp}:{kind}")
            known = () if raw is None else msgspec.json.decode(raw, type=tuple[str, ...])
            self._names[server.stamp, kind] = known
        return known


def reason(error: Exception) -> str:
    """Return why a server is missing, without its own words."""
    if isinstance(error, Away):
        return str(error)
    return f"it refused (code {error.code})" if isinstance(error, Wrong) else type(error).__name__


def _capabilities(all_of: Sequence[Json]) -> Json:
    """Return what at least one of several servers can do."""
    made: Json = {}
    for each in all_of:
        for name in ("tools", "prompts", "resources", "logging", "completions"):
            if name not in each:
                continue
            mine = made.setdefault(name, {})
            for flag, value in (each[name] if isinstance(each[name], dict) else {}).items():
                mine[flag] = bool(mine.get(flag)) or value is True
    return made


def _fingerprint(house: House) -> str:
    """Return what changes when the servers or the toolkit do."""
    told = sorted(server.stamp for server in house.servers.values()), sorted(map(repr, house.toolkit or ()))
    return sha256(repr(told).encode()).hexdigest()[:12]
