"""One repository for every record type, bound to one transaction. What it touches, the unit writes into the change log.

Rule 1: everything below a gateway is asked for with that gateway's id; another gateway's rows do not exist.
Rule 2: a page costs the same few statements whatever its size: links are loaded for all of its records at once.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic

from msgspec import Struct

from trustgate.storage import totals
from trustgate.storage.database import Params, Transaction, Value
from trustgate.storage.seal import Sealer
from trustgate.storage.table import NOTHING, Link, LinkRows, R, Table, collect, fold, gateway_of

Where = Params
Touched = dict[tuple[str, str], str]
"""What a unit wrote: (entity, id) → gateway id."""

_BATCH = 1000
_LONGEST_SEARCH = 10_000  # SQLite refuses patterns beyond 50 000 bytes, and no name is nearly that long
_WILD = re.compile(r"[\\%_]")


class Query(Struct, frozen=True, kw_only=True):
    """Which records, in which order, and which part of them.

    `where` compares columns: a list is "one of"; a link field (`auth_ids`) is "contains". `search` is a substring, in
    any case, of any of the `search_in` columns. Without `sort` the newest come first.
    """

    gateway_id: str | None = None
    where: Where = {}
    search: str = ""
    search_in: tuple[str, ...] = ("name",)
    sort: str = ""
    descending: bool = False
    offset: int = 0
    limit: int = 20


class Page(Struct, Generic[R], frozen=True, kw_only=True):
    """One part of a result, and how many records match in all."""

    items: Sequence[R]
    total: int


class Repository(Generic[R]):
    """Reads and writes the records of one table inside one transaction."""

    def __init__(
        self, table: Table[R], transaction: Transaction, sealer: Sealer, touched: Touched, added: totals.Added
    ) -> None:
        self._table = table
        self._transaction = transaction
        self._sealer = sealer
        self._touched = touched
        self._added = added

    async def get(self, record_id: str, /, *, gateway_id: str | None = None) -> R | None:
        """Return one record, or None when there is none (in that gateway)."""
        return await self.find(id=record_id, **_scope(gateway_id))

    async def find(self, **columns: Value | Sequence[Value]) -> R | None:
        """Return the newest record whose columns have these values."""
        found = await self._select(Query(where=columns, limit=1))
        return found[0] if found else None

    async def page(self, query: Query) -> Page[R]:
        """Return the part of the matching records that the query asks for."""
        items = await self._select(query)
        if len(items) < query.limit and (items or not query.offset):  # the last page knows the total
            return Page(items=items, total=query.offset + len(items))
        return Page(items=items, total=await self._count(query))

    async def count(self, **columns: Value | Sequence[Value]) -> int:
        """Return how many records have these column values."""
        return await self._count(Query(where=columns))

    async def insert(self, record: R) -> None:
        """Write a new record. Raises Taken, and Dangling when its gateway or a link's target is not there."""
        await self._transaction.execute(self._table.insert, **self._table.encode(record, self._sealer))
        for link in self._table.links:
            await self._transaction.execute_many(link.insert, link.rows(record))
        self._touch(record)
        self._added[self._table.entity, self._table.counted_under(gateway_of(record))] += 1

    async def replace(self, record: R) -> bool:
        """Write a record over the stored one; False when it is gone from its gateway. Raises Taken and Dangling."""
        if not await self._transaction.execute(self._table.update, **self._table.encode(record, self._sealer)):
            return False
        for link in self._table.links:
            await self._relink(link, record)
        self._touch(record)
        return True

    async def delete(self, record_id: str, /, *, gateway_id: str | None = None) -> bool:
        """Delete a record with everything below it, and detach it wherever it was attached; False when it is gone."""
        condition, params = self._conditions(Query(where={"id": record_id}, gateway_id=gateway_id))
        holders = [
            (link.entity, row)
            for link in self._table.referrers
            for row in await self._transaction.fetch(link.owners, id=record_id)
        ]
        deleted = await self._transaction.fetch(_join(self._table.delete, condition, self._table.returning), **params)
        for entity, row in [*((self._table.entity, row) for row in deleted), *(holders if deleted else [])]:
            self._touched[entity, row["id"]] = row["gateway_id"]
        for row in deleted:
            self._added[self._table.entity, self._table.counted_under(row["gateway_id"])] -= 1
            if not self._table.owned:
                await totals.forget(self._transaction, self._added, row["id"])
        return bool(deleted)

    def _touch(self, record: R) -> None:
        self._touched[self._table.entity, record.id] = gateway_of(record)

    async def _relink(self, link: Link, record: R) -> None:
        """Write a link again only if it changed: a policy may list ten thousand consumers."""
        wanted = link.rows(record)
        if link.agrees(await self._transaction.fetch(link.select, owners=(record.id,)), wanted):
            return
        await self._transaction.execute(link.clear, gateway_id=gateway_of(record), owner=record.id)
        await self._transaction.execute_many(link.insert, wanted)

    async def _select(self, query: Query) -> list[R]:
        condition, params = self._conditions(query)
        if _matches_nothing(params):
            return []
        order = self._order(query)
        statement = _join(self._table.select, condition, order, "LIMIT :limit OFFSET :offset")
        rows = await self._transaction.fetch(statement, **params, limit=query.limit, offset=query.offset)
        links = collect(await fetch_links(self._table.links, [row["id"] for row in rows], self._transaction))
        return [self._table.decode(row, links.get(row["id"], NOTHING), self._sealer) for row in rows]

    async def _count(self, query: Query) -> int:
        if not query.where and not query.search and self._table.owned == (query.gateway_id is not None):
            return await totals.read(self._transaction, self._added, self._table.entity, query.gateway_id or "")
        condition, params = self._conditions(query)
        if _matches_nothing(params):
            return 0
        rows = await self._transaction.fetch(_join(self._table.count, condition), **params)
        return int(rows[0]["total"])

    def _order(self, query: Query) -> str:
        if not query.sort:
            return self._table.order["created_at", True]
        return self._table.order[query.sort, query.descending]

    def _conditions(self, query: Query) -> tuple[str, dict[str, Any]]:
        """Return the WHERE clause of a query, made of the table's own conditions, and its parameters."""
        params = {name: _parameter(value) for name, value in {**query.where, **_scope(query.gateway_id)}.items()}
        parts = [
            (self._table.among if isinstance(value, tuple) else self._table.equal)[name]
            for name, value in params.items()
        ]
        if query.search:
            parts.append("(" + " OR ".join(self._table.like[name] for name in query.search_in) + ")")
            params["search"] = "%" + _WILD.sub(r"\\\g<0>", fold(query.search)) + "%"
        return ("WHERE " + " AND ".join(parts) if parts else ""), params


async def fetch_links(links: Sequence[Link], ids: Sequence[str], transaction: Transaction) -> list[LinkRows]:
    """Return the junction rows of many records, in a fixed few statements per thousand records."""
    return [(link, await transaction.fetch(link.select, owners=batch)) for link in links for batch in batches(ids)]


def batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut a list of ids into what one statement may carry."""
    return (ids[start : start + _BATCH] for start in range(0, len(ids), _BATCH))


def _scope(gateway_id: str | None) -> dict[str, str]:
    return {} if gateway_id is None else {"gateway_id": gateway_id}


def _join(*parts: str) -> str:
    return " ".join(parts)


def _parameter(value: Value | Sequence[Value]) -> Value | Sequence[Value]:
    """Make flags numbers, as the columns are, and "one of" a tuple."""
    if value is None or isinstance(value, str | int | float):
        return int(value) if isinstance(value, bool) else value
    return tuple(value)


def _matches_nothing(params: Mapping[str, Any]) -> bool:
    """Say whether a parameter is text that no row can hold, and that a database may refuse to look for."""
    return any(isinstance(value, str) and ("\0" in value or len(value) > _LONGEST_SEARCH) for value in params.values())
