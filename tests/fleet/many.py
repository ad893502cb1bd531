"""How a hundred thousand consumers are served: `python -m tests.fleet.many [sqlite|postgres]`.

They are made in the store, read as a data plane reads them, changed one at a time, and listed as the admin API does.
"""

import asyncio
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import Final

from msgspec.structs import replace

from tests.postgres_server import fresh_database, serving_postgres
from trustgate.config.records import Auth, Binding, Consumer, Gateway, Registry
from trustgate.config.snapshot import Snapshot
from trustgate.config.watch import Watch
from trustgate.contract.chance import uuid7
from trustgate.storage.configuration import StoredConfig
from trustgate.storage.factory import open_database
from trustgate.storage.migrate import migrate
from trustgate.storage.seal import Sealer
from trustgate.storage.settings import PostgresSettings, SqliteSettings
from trustgate.storage.store import Query, Store

MANY: Final = 100_000
AT_ONCE: Final = 5_000
CREATED: Final = "2026-01-01T00:00:00Z"


async def fill(store: Store) -> tuple[Gateway, list[Consumer]]:
    """Make a gateway with so many consumers, each with a key of its own."""
    gateway = Gateway(id=uuid7(), slug="many", name="Many", created_at=CREATED)
    registry = Registry(id=uuid7(), gateway_id=gateway.id, name="echo", provider="echo", created_at=CREATED)
    made: list[Consumer] = []
    async with store.unit() as unit:
        await unit.gateways.insert(gateway)
        await unit.registries.insert(registry)
    for start in range(0, MANY, AT_ONCE):
        async with store.unit() as unit:
            for number in range(start, start + AT_ONCE):
                digest = sha256(str(number).encode()).hexdigest()
                auth = Auth(id=uuid7(), gateway_id=gateway.id, name=f"k{number}", key_hash=digest, created_at=CREATED)
                consumer = Consumer(
                    id=uuid7(),
                    gateway_id=gateway.id,
                    name=f"c{number}",
                    slug=f"c{number}",
                    registries=(Binding(registry_id=registry.id),),
                    auth_ids=(auth.id,),
                    created_at=CREATED,
                )
                await unit.auths.insert(auth)
                await unit.consumers.insert(consumer)
                made.append(consumer)
        print(f"\r{start + AT_ONCE} consumers made", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return gateway, made


def served_by_nobody(_: Snapshot) -> None:
    """Take a snapshot."""


async def measure(place: SqliteSettings | PostgresSettings) -> None:
    """Measure and print."""
    database = open_database(place)
    await database.open()
    try:
        await migrate(database)
        sealer = Sealer("a secret of more than thirty-two bytes")
        store = Store(database, sealer)
        gateway, made = await fill(store)
        watch = Watch(StoredConfig(database, sealer), served_by_nobody, every=1.0)
        started = time.perf_counter()
        await watch.load()
        print(f"all of them read: {time.perf_counter() - started:.1f} s (wanted: at most 5)")
        assert len(watch.snapshot.tenants[gateway.id].consumers) == MANY
        changes = []
        for number in range(20):
            async with store.unit() as unit:
                await unit.consumers.replace(replace(made[number * 37], name=f"changed {number}"))
            started = time.perf_counter()
            await watch.load()
            changes.append((time.perf_counter() - started) * 1000)
        print(f"one change: median {median(changes):.0f} ms, most {max(changes):.0f} ms (wanted: at most 50)")
        for offset in (0, MANY - 1000):
            started = time.perf_counter()
            async with store.read() as unit:
                page = await unit.consumers.page(Query(gateway_id=gateway.id, limit=50, offset=offset))
            took = (time.perf_counter() - started) * 1000
            assert (len(page.items), page.total) == (50, MANY)
            print(f"a page of 50 from {offset} on: {took:.0f} ms (wanted: at most 50)")
    finally:
        await database.aclose()


def main() -> None:
    """Measure on the database that is named."""
    if "postgres" in sys.argv:
        with serving_postgres() as server:
            asyncio.run(measure(fresh_database(server)))
    else:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(measure(SqliteSettings(path=Path(folder) / "many.db")))


if __name__ == "__main__":
    main()
