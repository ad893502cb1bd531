"""The configuration as the data planes read it: everything once, then only what changed.

Rule 1: an answer is one state of the database; reading it waits for no writer, and decoding stays off the event loop.
Rule 2: a record that cannot be read costs that record, never the plane: it is skipped, and the log names it. A plane
that knew an older state of it keeps that one.
Rule 3: a policy is never lost that way, since requests would pass it unseen: one that cannot be read is handed on as
its outline, which refuses.
"""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from typing import Any

from trustgate.config.records import AnyRecord
from trustgate.config.source import Change, Changes
from trustgate.storage import changelog
from trustgate.storage.database import Database, Row, Transaction, Unreadable
from trustgate.storage.repository import batches, fetch_links
from trustgate.storage.seal import Sealer
from trustgate.storage.table import NOTHING, LinkRows, Table, collect, gateway_of
from trustgate.storage.tables import POLICIES, TABLES

_log = logging.getLogger(__name__)

AnyTable = Table[Any]
Loaded = tuple[AnyTable, Sequence[Row], Sequence[LinkRows]]
"""A table, its rows, and the junction rows of its links."""

_MANY = 5000  # beyond this a whole load is about as quick, and simpler


class StoredConfig:
    """A ConfigSource over a database. `revision` and `changes` raise Unavailable while it cannot be reached."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer
        self.skipped: list[str] = []
        """Which records could not be read the last time."""

    async def revision(self) -> int:
        """Return the newest committed revision."""
        return int((await self._database.fetch(changelog.REVISION))[0]["revision"])

    async def news(self, within: float) -> bool:
        """Return once something may have been committed, at the latest after so many seconds."""
        return await self._database.news(within)

    async def changes(self, since: int) -> Changes:
        """Return what changed after `since`, gateways first."""
        async with self._database.transaction(write=False) as transaction:
            state = (await transaction.fetch(changelog.REVISION))[0]
            changed: Sequence[Row] | None = None
            if since and state["pruned"] <= since <= state["revision"]:
                changed = await changelog.since(transaction, since, at_most=_MANY)
            whole = changed is None or len(changed) > _MANY
            loaded = await (_load_all(transaction) if whole else _load_some(transaction, changed or ()))
        items = await asyncio.to_thread(lambda: list(self._decode(loaded)))
        if not whole:
            items += _gone(changed or (), loaded)
            items.sort(key=lambda change: change.entity != "gateway")
        return Changes(revision=state["revision"], whole=whole, items=items)

    def _decode(self, loaded: Sequence[Loaded]) -> Iterator[Change]:
        self.skipped = []
        for table, rows, link_rows in loaded:
            links = collect(link_rows)
            for row in rows:
                try:
                    record: AnyRecord = table.decode(row, links.get(row["id"], NOTHING), self._sealer)
                except Unreadable as fault:
                    _log.error("skipped %s %s: %s", table.entity, row["id"], fault)
                    self.skipped.append(f"{table.entity} {row['id']}")
                    if table is not POLICIES:
                        continue
                    record = POLICIES.outline(row, links.get(row["id"], NOTHING), readable=False)
                yield Change(entity=table.entity, id=record.id, gateway_id=gateway_of(record), record=record)


async def _load_all(transaction: Transaction) -> list[Loaded]:
    return [await _load_table(transaction, table) for table in TABLES]


async def _load_table(transaction: Transaction, table: AnyTable) -> Loaded:
    links = [(link, await transaction.fetch(link.select_all)) for link in table.links]
    return table, await transaction.fetch(table.select), links


async def _load_some(transaction: Transaction, changed: Sequence[Row]) -> list[Loaded]:
    loaded: list[Loaded] = []
    for table in TABLES:
        ids = [row["entity_id"] for row in changed if row["entity"] == table.entity]
        rows = [row for batch in batches(ids) for row in await transaction.fetch(table.select_some, ids=batch)]
        loaded.append((table, rows, await fetch_links(table.links, [row["id"] for row in rows], transaction)))
    return loaded


def _gone(changed: Sequence[Row], loaded: Sequence[Loaded]) -> list[Change]:
    """Return a change for every entity that the log names and that is no longer stored."""
    there = {(table.entity, row["id"]) for table, rows, _ in loaded for row in rows}
    return [
        Change(entity=row["entity"], id=row["entity_id"], gateway_id=row["gateway_id"], record=None)
        for row in changed
        if (row["entity"], row["entity_id"]) not in there
    ]
