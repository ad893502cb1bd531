"""What servers say of their tools, held against what was accepted: a description is read by a model and can command it.

The first definition that is seen of a tool is accepted. Another one is noted, and told in events and logs; where the
registry has `pinning: enforce` the tool is kept from agents until an admin accepts it, or it is again what it was.
"""

import asyncio
import logging
from collections.abc import Sequence
from hashlib import sha256
from time import monotonic
from typing import Final

import msgspec

from trustgate.mcp.asking import Asking
from trustgate.mcp.meeting import Meeting, in_time
from trustgate.mcp.messages import DENIED, Json, Wrong
from trustgate.mcp.once import Once
from trustgate.mcp.servers import Away, Server
from trustgate.storage.database import Unavailable
from trustgate.storage.definitions import MOST, Definitions, Pin, Said

PINNED: Final = ("name", "title", "description", "inputSchema", "outputSchema", "annotations")
"""What of a tool a model reads, or its program goes by."""
LONGEST_NAME: Final = 512
AGE: Final = {"enforce": 1.0, "observe": 60.0}
"""Seconds after which what is stored is read again: for so long an admin's word is not heard."""
APART: Final = 1.0
"""Seconds between two notes about one tool, of servers that say something else to everybody, and between two looks for
tools that nobody has seen."""
PATIENCE: Final = 2.0
"""Seconds that a caller waits for the database."""
REMEMBERED: Final = 10_000
log = logging.getLogger("trustgate.mcp.pinning")


def said_of(tool: Json) -> Said | None:
    """Return the definition of a tool in its one form; None for what has no name that can be kept."""
    name = tool.get("name")
    if not isinstance(name, str) or not name or len(name) > LONGEST_NAME or "\0" in name:
        return None
    text = msgspec.json.encode({field: tool[field] for field in PINNED if field in tool}, order="sorted")
    return Said(name, sha256(text).hexdigest(), text.decode())


class Pins:
    """Holds tools against what was accepted. `changes` counts definitions that were another thing than that.

    What is remembered is under the server's stamp: another configuration is another server.
    """

    def __init__(self, definitions: Definitions, meeting: Meeting) -> None:
        self._definitions = definitions
        self._meeting = meeting
        self._known: dict[str, tuple[dict[str, Pin], float]] = {}
        self._reads: Once[str, dict[str, Pin]] = Once()
        self._looks: Once[str, None] = Once(apart=APART)
        self._noted: dict[tuple[str, str], float] = {}
        self.changes = 0

    async def judged(self, asking: Asking, server: Server, tools: Sequence[Json]) -> Sequence[Json]:
        """Return those of a server's tools that agents may see: the very same where that is all of them.

        Raises Away where nobody knows which those are.
        """
        if server.pinning == "off" or not tools:
            return tools
        said = [said_of(tool) for tool in tools]
        try:
            pins = await self._pins(asking, server, [each for each in said if each is not None])
        except Away:
            if server.pinning == "enforce":
                raise
            return tools
        strange = {each.name for each in said if each is not None and not _holds(pins, each)}
        asking.changed_tools += tuple(sorted(strange & pins.keys()))
        if server.pinning != "enforce" or (not strange and None not in said):
            return tools
        return [tool for tool, mine in zip(tools, said, strict=True) if mine is not None and mine.name not in strange]

    async def check(self, asking: Asking, server: Server, name: str, called: str) -> None:
        """Return where a tool of a server may be called; `called` is what the caller calls it.

        Raises Wrong where it has changed or nobody has seen what it is, and Away where that cannot be known.
        """
        if server.pinning != "enforce":
            return
        pins = await self._pins(asking, server)
        if name not in pins:
            await self._look(asking, server)
            pins = await self._pins(asking, server)
        if name not in pins:
            raise Wrong(DENIED, f'The tool "{called}" is not one that its server lists, and may not be called.')
        if not pins[name].holds:
            asking.changed_tools = (name,)
            raise Wrong(DENIED, f'The tool "{called}" is not what it was, and waits for an administrator to accept it.')

    async def _look(self, asking: Asking, server: Server) -> None:
        """List a server's tools, to learn what they are; not for everybody who calls something that is not there."""

        async def ask(it: Server) -> list[Json]:
            return await self._meeting.all_pages(asking, it, "tools/list", "tools")

        async def look() -> None:
            found = await in_time(server, ask)
            if isinstance(found, Exception):
                raise found
            await self.judged(asking, server, found)

        await self._looks.do(server.stamp, look)

    async def _pins(self, asking: Asking, server: Server, said: Sequence[Said] = ()) -> dict[str, Pin]:
        """Return what is stored, with what a server says now; without a database what was stored when there was one.

        Raises Away where nothing is known.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._held_against(asking, server, said)
        except (Unavailable, TimeoutError):
            log.warning("tools of registry %s cannot be held against what was accepted", server.registry_id)
            if (known := self._known.get(server.stamp)) is not None:
                return known[0]
            raise Away(f"{server.name} has tools that cannot be held against what was accepted") from None

    async def _read(self, asking: Asking, server: Server) -> dict[str, Pin]:
        """Return what is stored, as it was read lately; all who need it at once read it once."""
        pins, until = self._known.get(server.stamp, ({}, 0.0))
        if monotonic() < until:
            return pins
        found = await self._reads.do(server.stamp, lambda: self._fetched(asking, server))
        assert found is not None, "it may be read again at once"
        return found

    async def _fetched(self, asking: Asking, server: Server) -> dict[str, Pin]:
        pins = await self._definitions.pins(asking.caller.gateway_id, server.registry_id)
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[server.stamp] = pins, monotonic() + AGE[server.pinning]
        return pins

    async def _held_against(self, asking: Asking, server: Server, said: Sequence[Said]) -> dict[str, Pin]:
        """Store what is new of what a server says, and return what is stored then."""
        pins = await self._read(asking, server)
        new = [each for each in said if each.name not in pins] if len(pins) < MOST else []
        other = [each for each in said if each.name in pins and pins[each.name].seen != each.digest]
        other = [each for each in other if _holds(pins, each) or self._is_due(server, each)]
        if not new and not other:
            return pins
        where = asking.caller.gateway_id, server.registry_id
        if new:
            await self._definitions.pin(*where, new)
        if other:
            await self._definitions.note(*where, other)
            self._tell(server, [each.name for each in other if pins[each.name].accepted != each.digest])
        return await self._fetched(asking, server)

    def _is_due(self, server: Server, tool: Said) -> bool:
        """Say whether nobody wrote just now what a tool has become; from here on somebody did."""
        now, key = monotonic(), (server.stamp, tool.name)
        if now - self._noted.get(key, -APART) < APART:
            return False
        if len(self._noted) >= REMEMBERED:
            self._noted.clear()
        self._noted[key] = now
        return True

    def _tell(self, server: Server, names: Sequence[str]) -> None:
        self.changes += len(names)
        for name in names:
            log.warning(
                "tool %.200r of registry %s is not what was accepted: see its tool-definitions",
                name,
                server.registry_id,
            )


def _holds(pins: dict[str, Pin], said: Said) -> bool:
    pin = pins.get(said.name)
    return pin is not None and pin.accepted == said.digest
