"""What servers say of their tools: as it was accepted, and as it was seen last.

The first definition of a name is accepted by being seen. Every statement is about one registry of one gateway.
"""

from collections.abc import Mapping, Sequence
from time import time
from typing import Final

import msgspec
from msgspec import Struct

from trustgate.storage.database import Dangling, Database

MOST: Final = 2000
"""Names of one registry that are kept: a server cannot fill the database."""
LONGEST: Final = 64 * 1024
"""Bytes of a definition that are kept; of a longer one there is its digest."""

_PIN: Final = (
    "INSERT INTO tool_definitions (gateway_id, registry_id, name, accepted_digest, accepted, seen_digest, seen,"
    " first_seen_at, changed_at, accepted_at)"
    " VALUES (:gateway_id, :registry_id, :name, :digest, :text, :digest, :text, :now, 0, 0)"
    " ON CONFLICT (registry_id, name) DO NOTHING"
)
_NOTE: Final = (
    "UPDATE tool_definitions SET seen_digest = :digest, seen = :text, changed_at = :now"
    " WHERE gateway_id = :gateway_id AND registry_id = :registry_id AND name = :name AND seen_digest <> :digest"
)
_ACCEPT: Final = (
    "UPDATE tool_definitions SET accepted_digest = seen_digest, accepted = seen, accepted_at = :now"
    " WHERE gateway_id = :gateway_id AND registry_id = :registry_id AND name = :name AND seen_digest = :digest"
)
_OF: Final = " FROM tool_definitions WHERE gateway_id = :gateway_id AND registry_id = :registry_id"
_CHANGED: Final = " AND seen_digest <> accepted_digest"
_PINS: Final = "SELECT name, accepted_digest AS accepted, seen_digest AS seen" + _OF
_COUNT: Final = "SELECT COUNT(*) AS total" + _OF
_PAGE: Final = "SELECT *" + _OF
_PART: Final = " ORDER BY name LIMIT :limit OFFSET :offset"


class Pin(Struct, frozen=True, gc=False):
    """The digests of one tool's definition: of that which was accepted, and of that which was seen last."""

    accepted: str
    seen: str

    @property
    def holds(self) -> bool:
        """Whether the tool is what was accepted."""
        return self.accepted == self.seen


class Said(Struct, frozen=True, gc=False):
    """What a server says of a tool: the digest and the text of its definition."""

    name: str
    digest: str
    text: str


class Definition(Struct, frozen=True, kw_only=True):
    """One tool as it is stored. Definitions are JSON, or empty where they were too long."""

    name: str
    accepted_digest: str
    accepted: str
    seen_digest: str
    seen: str
    first_seen_at: float
    changed_at: float
    accepted_at: float


class Page(Struct, frozen=True, kw_only=True):
    """Some of the tools of a registry by name, and how many there are."""

    items: Sequence[Definition]
    total: int


class Definitions:
    """The rows. All methods raise Unavailable while the database cannot be reached."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def pins(self, gateway_id: str, registry_id: str) -> dict[str, Pin]:
        """Return what is known of a registry's tools, by name."""
        rows = await self._database.fetch(_PINS, gateway_id=gateway_id, registry_id=registry_id)
        return {row["name"]: Pin(row["accepted"], row["seen"]) for row in rows}

    async def pin(self, gateway_id: str, registry_id: str, tools: Sequence[Said]) -> None:
        """Accept tools that were never seen before; of two processes the first one decides. A registry that is gone
        has no tools."""
        rows = [_row(gateway_id, registry_id, tool) for tool in tools]
        try:
            async with self._database.transaction() as transaction:
                (known,) = await transaction.fetch(_COUNT, gateway_id=gateway_id, registry_id=registry_id)
                await transaction.execute_many(_PIN, rows[: max(0, MOST - known["total"])])
        except Dangling:
            return

    async def note(self, gateway_id: str, registry_id: str, tools: Sequence[Said]) -> None:
        """Remember what tools were seen as last."""
        async with self._database.transaction() as transaction:
            await transaction.execute_many(_NOTE, [_row(gateway_id, registry_id, tool) for tool in tools])

    async def accept(self, gateway_id: str, registry_id: str, digests: Mapping[str, str]) -> str:
        """Accept what tools were seen as last, by name, where that is still what is thought: all, or none of them.

        Returns the name of one that it is not, or nothing.
        """
        where: dict[str, str | float] = {"gateway_id": gateway_id, "registry_id": registry_id, "now": time()}
        try:
            async with self._database.transaction() as transaction:
                for name, digest in digests.items():
                    if not await transaction.execute(_ACCEPT, **where, name=name, digest=digest):
                        raise _ElseThanThought(name)
        except _ElseThanThought as found:
            return found.name
        return ""

    async def page(
        self, gateway_id: str, registry_id: str, *, changed: bool = False, offset: int = 0, limit: int = 20
    ) -> Page:
        """Return tools by name; `changed` are only those that are not what was accepted."""
        which = _CHANGED if changed else ""
        where = {"gateway_id": gateway_id, "registry_id": registry_id}
        (counted,) = await self._database.fetch(_COUNT + which, **where)
        rows = await self._database.fetch(_PAGE + which + _PART, **where, limit=limit, offset=offset)
        return Page(items=[msgspec.convert(row, Definition) for row in rows], total=counted["total"])


class _ElseThanThought(Exception):
    """A tool is not what it is thought to be."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def _row(gateway_id: str, registry_id: str, tool: Said) -> dict[str, str | float]:
    kept = tool.text if len(tool.text) <= LONGEST else ""
    return {
        "gateway_id": gateway_id,
        "registry_id": registry_id,
        "name": tool.name,
        "digest": tool.digest,
        "text": kept,
        "now": time(),
    }
