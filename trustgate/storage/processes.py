"""Who serves, and with which revision: every data plane keeps one row up to date, and whoever wrote something reads
them to know that all have it."""

from collections.abc import Sequence
from time import time
from typing import Any, Final

import msgspec
from msgspec import Struct

from trustgate.storage.database import Database

ALIVE: Final = 15.0
"""Seconds without a word after which a process is taken for dead."""
KEPT: Final = 3600.0
"""Seconds after which the row of a dead one is removed."""

_PUT: Final = (
    "INSERT INTO processes (id, planes, version, host, pid, revision, started_at, seen_at)"
    " VALUES (:id, :planes, :version, :host, :pid, :revision, :started_at, :seen_at)"
    " ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, seen_at = excluded.seen_at"
)
_GONE: Final = "DELETE FROM processes WHERE id = :id OR seen_at < :before"
_LIST: Final = "SELECT * FROM processes WHERE seen_at >= :after ORDER BY started_at, id"


class Process(Struct, frozen=True, kw_only=True):
    """One process that serves. `planes` are its planes, `revision` the one that it serves; times are Unix seconds."""

    id: str
    planes: str
    version: str
    host: str
    pid: int
    revision: int
    started_at: float
    seen_at: float


class Processes:
    """The rows. All methods raise Unavailable while the database cannot be reached."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, process: Process) -> None:
        """Say that a process lives, and which revision it serves."""
        row: dict[str, Any] = msgspec.structs.asdict(process)
        await self._database.run(_PUT, **row)

    async def remove(self, process_id: str) -> None:
        """Say that a process is gone; those that went without a word long ago are forgotten too."""
        await self._database.run(_GONE, id=process_id, before=time() - KEPT)

    async def living(self) -> Sequence[Process]:
        """Return those that were heard of lately, the oldest first."""
        rows = await self._database.fetch(_LIST, after=time() - ALIVE)
        return [msgspec.convert(row, Process) for row in rows]
