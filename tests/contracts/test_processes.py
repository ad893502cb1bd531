"""Who serves and with which revision, news of what was committed, and the configuration that is kept in a file."""

import asyncio
import stat
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from trustgate.config.snapshot import Snapshot
from trustgate.storage.configuration import StoredConfig
from trustgate.storage.database import CannotOpen, Database
from trustgate.storage.factory import open_database
from trustgate.storage.kept import KeptSnapshot
from trustgate.storage.migrate import migrate
from trustgate.storage.processes import ALIVE, KEPT, Process, Processes
from trustgate.storage.seal import Sealer
from trustgate.storage.settings import PostgresSettings, SqliteSettings
from trustgate.storage.store import Store

from .samples import auth, consumer, gateway, policy, pool, registry
from .test_configuration import PROVIDER_KEY, SECRETIVE, fill

pytestmark = pytest.mark.anyio


def process(process_id: str = "p1", **fields: object) -> Process:
    now = time.time()
    given = {"id": process_id, "planes": "proxy", "version": "1", "host": "h", "pid": 7, "revision": 3}
    return Process(**given | {"started_at": now, "seen_at": now} | fields)  # type: ignore[arg-type]


async def test_who_lives_is_listed_with_its_revision(store: Store, database: Database) -> None:
    processes, now = Processes(database), time.time()
    first, second = process("p1", started_at=now - 9), process("p2", started_at=now - 5)
    for each in (second, first, replace(first, revision=4)):
        await processes.put(each)
    assert await processes.living() == [replace(first, revision=4), second]


async def test_who_has_not_been_heard_of_is_not_listed_and_forgotten_in_the_end(
    store: Store, database: Database
) -> None:
    processes, now = Processes(database), time.time()
    await processes.put(process("silent", seen_at=now - ALIVE - 1))
    await processes.put(process("long-gone", seen_at=now - KEPT - 1))
    await processes.put(process("p1"))
    assert [each.id for each in await processes.living()] == ["p1"]
    await processes.remove("p1")
    rows = await database.fetch("SELECT id FROM processes")
    assert [row["id"] for row in rows] == ["silent"]


async def test_rows_of_processes_are_no_revision(store: Store, database: Database, sealer: Sealer) -> None:
    await Processes(database).put(process())
    assert await StoredConfig(database, sealer).revision() == 0


@pytest.fixture
async def on_postgres(postgres: PostgresSettings) -> AsyncIterator[Database]:
    """A migrated database on a server: a file has one writer at a time, and tells nobody that it has changed."""
    database = open_database(postgres)
    await database.open()
    await migrate(database)
    yield database
    await database.aclose()


async def test_it_waits_for_no_writer(on_postgres: Database, sealer: Sealer) -> None:
    async with Store(on_postgres, sealer).unit() as unit, asyncio.timeout(5):
        await unit.gateways.insert(gateway())
        await Processes(on_postgres).put(process())


async def test_whoever_waits_hears_of_a_commit_at_once(
    on_postgres: Database, postgres: PostgresSettings, sealer: Sealer
) -> None:
    elsewhere = open_database(postgres)
    await elsewhere.open()
    config = StoredConfig(elsewhere, sealer)
    try:
        assert await config.news(10.0), "it listens, and looks once for what was announced before"
        hearing = asyncio.create_task(config.news(60.0))
        started = time.monotonic()
        await fill(Store(on_postgres, sealer))
        assert await hearing
        assert time.monotonic() - started < 5.0
        assert await config.revision() == 1
    finally:
        await elsewhere.aclose()


async def test_what_was_committed_while_nobody_waited_is_news(on_postgres: Database, sealer: Sealer) -> None:
    config = StoredConfig(on_postgres, sealer)
    assert await config.news(10.0)
    await fill(Store(on_postgres, sealer))
    async with asyncio.timeout(10):
        assert await config.news(60.0)


async def test_without_news_the_time_is_over(store: Store, database: Database, sealer: Sealer) -> None:
    config = StoredConfig(database, sealer)
    await config.news(0.2)
    started = time.monotonic()
    await config.news(0.05)
    assert time.monotonic() - started >= 0.04


async def snapshot_of(database: Database, sealer: Sealer) -> Snapshot:
    return Snapshot().apply(await StoredConfig(database, sealer).changes(0))


async def test_what_is_kept_is_what_was_served(
    store: Store, database: Database, sealer: Sealer, tmp_path: Path
) -> None:
    await fill(store)
    snapshot = await snapshot_of(database, sealer)
    file = tmp_path / "deep" / "snapshot.sealed"
    kept = KeptSnapshot(file, sealer)
    assert kept.read() is None
    await kept.write(snapshot)
    read = KeptSnapshot(file, sealer).read()
    assert read == snapshot
    assert read is not None
    assert read.tenants["g1"].registries["r1"] == registry(auth=SECRETIVE)
    assert PROVIDER_KEY.encode() not in file.read_bytes()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [each.name for each in file.parent.iterdir()] == [file.name]


async def test_only_the_secret_that_sealed_it_opens_it(tmp_path: Path, sealer: Sealer) -> None:
    file = tmp_path / "snapshot.sealed"
    await KeptSnapshot(file, sealer).write(Snapshot(revision=3))
    with pytest.raises(CannotOpen, match="SERVER_SECRET_KEY"):
        KeptSnapshot(file, Sealer("another secret of at least 32 bytes")).read()
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(CannotOpen):
        KeptSnapshot(file, sealer).read()


async def test_a_thousand_consumers_come_back(tmp_path: Path, sealer: Sealer) -> None:
    database = open_database(SqliteSettings(path=tmp_path / "trustgate.db"))
    await database.open()
    try:
        await migrate(database)
        store = Store(database, sealer)
        async with store.unit() as unit:
            await unit.gateways.insert(gateway())
            await unit.registries.insert(registry())
            await unit.auths.insert(auth())
            await unit.policies.insert(policy())
            for at in range(1100):
                await unit.consumers.insert(
                    consumer(f"c{at}", name=f"c{at}", slug=f"c{at}", registries=pool("r1"), auth_ids=("a1",))
                )
        snapshot = await snapshot_of(database, sealer)
    finally:
        await database.aclose()
    kept = KeptSnapshot(tmp_path / "kept", sealer)
    await kept.write(snapshot)
    assert kept.read() == snapshot
