"""What only SQLite must prove: kill -9, several processes on one file, files that nobody else reads."""

import random
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from trustgate.config.records import ApiKeyAuth, Gateway, ProviderAuth, Registry
from trustgate.storage.database import Unavailable
from trustgate.storage.factory import open_database
from trustgate.storage.migrate import migrate
from trustgate.storage.seal import Sealer
from trustgate.storage.settings import SqliteSettings
from trustgate.storage.sqlite import _use_wal
from trustgate.storage.store import Query, Store

pytestmark = pytest.mark.anyio

SECRET = "a server secret of at least thirty-two bytes"

WRITER = """
import asyncio, itertools, os, sys
from pathlib import Path
from trustgate.config.records import Gateway
from trustgate.storage.factory import open_database
from trustgate.storage.migrate import migrate
from trustgate.storage.seal import Sealer
from trustgate.storage.settings import SqliteSettings
from trustgate.storage.store import Store

async def main(path, name, count):
    database = open_database(SqliteSettings(path=Path(path), patience=60))
    await database.open()
    await migrate(database)
    store = Store(database, Sealer("a server secret of at least thirty-two bytes"))
    for number in itertools.count() if count < 0 else range(count):
        record_id = f"{name}-{number}"
        async with store.unit() as unit:
            await unit.gateways.insert(Gateway(id=record_id, slug=record_id, name="x" * 500))
            await unit.gateways.insert(Gateway(id=record_id + "-twin", slug=record_id + "-twin", name="x" * 500))
        os.write(1, f"{record_id}\\n".encode())
    await database.aclose()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def start_writer(path: Path, name: str, count: int = -1) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WRITER, str(path), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def acknowledged_before_kill(path: Path, name: str, lines: int) -> list[str]:
    """Let a writer acknowledge some units, kill it wherever it is then, and return all that it acknowledged."""
    with start_writer(path, name) as process:
        assert process.stdout is not None
        seen = [process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        return [line.strip() for line in [*seen, *process.stdout] if line.endswith("\n")]


async def stored_ids(path: Path) -> set[str]:
    database = open_database(SqliteSettings(path=path))
    await database.open()
    try:
        async with Store(database, Sealer(SECRET)).read() as unit:
            return {record.id for record in (await unit.gateways.page(Query(limit=1_000_000))).items}
    finally:
        await database.aclose()


async def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "trustgate.db"
    acknowledged: list[str] = []
    for life in range(5):
        acknowledged += acknowledged_before_kill(path, f"life{life}", random.randint(1, 120))
        stored = await stored_ids(path)
        assert stored >= set(acknowledged)
        assert {each.removesuffix("-twin") for each in stored if each.endswith("-twin")} == {
            each for each in stored if not each.endswith("-twin")
        }
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


async def test_several_processes_create_and_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "trustgate.db"
    writers = [start_writer(path, f"process{i}", 15) for i in range(4)]
    for writer in writers:
        with writer:
            assert writer.stdout is not None
            assert len(writer.stdout.readlines()) == 15
        assert writer.returncode == 0
    assert len(await stored_ids(path)) == 4 * 15 * 2
    database = open_database(SqliteSettings(path=path))
    await database.open()
    assert await database.fetch("SELECT revision FROM config_revision") == [{"revision": 60}]
    await database.aclose()


class Reluctant(sqlite3.Connection):
    """A connection that is locked out a few times, as happens when several processes create one file at once."""

    refusals = 3

    def execute(self, *args: Any) -> sqlite3.Cursor:
        if self.refusals:
            self.refusals -= 1
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise error
        return super().execute(*args)


def test_a_lost_race_for_creating_the_file_is_run_again(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "trustgate.db", factory=Reluctant)
    _use_wal(connection, time.monotonic() + 60)
    assert connection.execute("PRAGMA journal_mode").fetchall() == [("wal",)]
    connection.refusals = 3
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        _use_wal(connection, time.monotonic() - 1)
    connection.close()


async def test_files_hold_no_secret_and_are_their_owners_only(tmp_path: Path) -> None:
    path = tmp_path / "trustgate.db"
    database = open_database(SqliteSettings(path=path))
    await database.open()
    await migrate(database)
    store = Store(database, Sealer(SECRET))
    async with store.unit() as unit:
        await unit.gateways.insert(Gateway(id="g", slug="visible-slug", name="g"))
        await unit.registries.insert(
            Registry(
                id="r",
                gateway_id="g",
                name="r",
                provider="openai",
                auth=ProviderAuth(type="api_key", api_key=ApiKeyAuth(api_key="sk-the-provider-key")),
                provider_options={"headers": {"x-token": "the-header-token"}},
            )
        )
    files = [path, tmp_path / "trustgate.db-wal", tmp_path / "trustgate.db-shm"]
    stored = b"".join(file.read_bytes() for file in files)
    assert b"visible-slug" in stored
    for secret in (b"sk-the-provider-key", b"the-header-token", SECRET.encode()):
        assert secret not in stored
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    await database.aclose()
    assert b"sk-the-provider-key" not in path.read_bytes()


async def test_another_process_that_writes_for_long_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "trustgate.db"
    database = open_database(SqliteSettings(path=path, patience=0.05))
    await database.open()
    await migrate(database)
    hog = sqlite3.connect(path, isolation_level=None)
    hog.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked"):
        async with database.transaction():
            pass
    assert await database.fetch("SELECT revision FROM config_revision") == [{"revision": 0}]
    hog.close()
    async with database.transaction() as transaction:
        await transaction.execute("UPDATE config_revision SET revision = 1")
    await database.aclose()


async def test_a_block_that_waits_for_itself_does_not_wait_for_ever(tmp_path: Path) -> None:
    database = open_database(SqliteSettings(path=tmp_path / "trustgate.db", patience=0.05))
    await database.open()
    with pytest.raises(Unavailable, match="another block of this one"):
        async with database.transaction(), database.transaction():
            pass
    async with database.transaction():
        pass
    await database.aclose()


async def test_a_file_that_cannot_be_used_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "text.db").write_text("not a database, but long enough to be taken for one" * 100)
    (tmp_path / "folder.db").mkdir()
    for name, words in (
        ("file/x.db", "may write there"),
        ("text.db", "sound SQLite"),
        ("folder.db", "may write there"),
    ):
        database = open_database(SqliteSettings(path=tmp_path / name))
        with pytest.raises(Unavailable, match=words):
            await database.open()
        with pytest.raises(Unavailable, match="not open"):
            await database.fetch("SELECT 1 AS one")


async def test_a_file_that_could_not_be_used_may_be_used_later(tmp_path: Path) -> None:
    path = tmp_path / "text.db"
    path.write_text("not a database, but long enough to be taken for one" * 100)
    database = open_database(SqliteSettings(path=path))
    with pytest.raises(Unavailable):
        await database.open()
    path.unlink()
    await database.open()
    assert await migrate(database)
    await database.aclose()
