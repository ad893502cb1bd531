"""Vectors kept in Postgres by pgvector: https://github.com/pgvector/pgvector. Its table is made by whoever comes first.

It is no part of the migrations, because a server without the extension serves everything else.
"""

import asyncio
from base64 import b64decode, b64encode
from collections.abc import Sequence

from trustgate.contract.ports import Match, StateUnavailable
from trustgate.storage.database import Row, StorageError, Taken
from trustgate.storage.postgres import PostgresDatabase

MAX_ENTRIES = 1024
"""Entries of one partition, of which every lookup compares all: what is over soonest goes first."""
_TABLE = (
    "CREATE EXTENSION IF NOT EXISTS vector",
    "CREATE TABLE IF NOT EXISTS kept_vectors (partition text NOT NULL, key text NOT NULL, vector vector NOT NULL,"
    " value text NOT NULL, over_at timestamptz NOT NULL, PRIMARY KEY (partition, key))",
    "CREATE INDEX IF NOT EXISTS kept_vectors__over_at ON kept_vectors (over_at)",
)
_ADD = """
WITH gone AS (DELETE FROM kept_vectors WHERE over_at <= now() RETURNING 1),
surplus AS (
  DELETE FROM kept_vectors WHERE (partition, key) IN (
    SELECT partition, key FROM kept_vectors
    WHERE partition = :partition AND key <> :key AND over_at > now() ORDER BY over_at DESC OFFSET :most)
  RETURNING 1)
INSERT INTO kept_vectors (partition, key, vector, value, over_at)
VALUES (:partition, :key, CAST(:vector AS vector), :value, now() + CAST(:ttl AS double precision) * interval '1 second')
ON CONFLICT (partition, key) DO UPDATE
SET vector = excluded.vector, value = excluded.value, over_at = excluded.over_at
"""
_NEAREST = """
SELECT value, 1 - (vector <=> CAST(:vector AS vector)) AS similarity FROM kept_vectors
WHERE partition = :partition AND over_at > now() AND vector_dims(vector) = :size
ORDER BY vector <=> CAST(:vector AS vector) LIMIT 1
"""


class PostgresVectors:
    """The vectors of all processes that share a database."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database
        self._lock = asyncio.Lock()
        self._made = False

    async def add(self, partition: str, key: str, vector: Sequence[float], value: bytes, *, ttl: float) -> None:
        """Keep a value."""
        await self._run(
            _ADD,
            partition=partition,
            key=key,
            vector=_text(vector),
            value=b64encode(value).decode(),
            ttl=ttl,
            most=MAX_ENTRIES - 1,
        )

    async def nearest(self, partition: str, vector: Sequence[float], *, at_least: float) -> Match | None:
        """Return the most similar value."""
        found = await self._run(_NEAREST, partition=partition, vector=_text(vector), size=len(vector))
        if not found or found[0]["similarity"] < at_least:
            return None
        return Match(similarity=min(1.0, found[0]["similarity"]), value=b64decode(found[0]["value"]))

    async def _run(self, sql: str, **params: str | float) -> Sequence[Row]:
        try:
            await self._make()
            return await self._database.run(sql, **params)
        except StorageError as error:
            raise StateUnavailable(f"vectors cannot be kept in Postgres: {error}") from error

    async def _make(self) -> None:
        """Make the table unless it is there. Of two processes that make it at once one is told that it is taken."""
        async with self._lock:
            if self._made:
                return
            for statement in _TABLE:
                try:
                    await self._database.run(statement)
                except Taken:
                    await self._database.run(statement)
            self._made = True


def _text(vector: Sequence[float]) -> str:
    return "[" + ",".join(map(repr, vector)) + "]"
