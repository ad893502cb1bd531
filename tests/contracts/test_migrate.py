"""What migrating promises: all or nothing, once, forward only, and not over somebody else's schema."""

import asyncio
from pathlib import Path

import pytest

from trustgate.storage.database import CannotMigrate, Database, Unavailable
from trustgate.storage.factory import open_database
from trustgate.storage.migrate import migrate, migrations_folder
from trustgate.storage.settings import PostgresSettings, SqliteSettings

pytestmark = pytest.mark.anyio


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "0001_first.sql").write_text(
        "-- a comment; with a semicolon\nCREATE TABLE first (\n  id TEXT PRIMARY KEY\n);\n"
        "INSERT INTO first (id) VALUES ('100% :it; really');\n"
    )
    return folder


async def test_ours_are_applied_once(database: Database) -> None:
    names = sorted(path.name for path in migrations_folder().glob("*.sql"))
    assert await migrate(database) == names
    assert await migrate(database) == []
    assert await database.fetch("SELECT revision, pruned FROM config_revision") == [{"revision": 0, "pruned": 0}]


async def test_only_what_is_pending_is_applied(database: Database, folder: Path) -> None:
    assert await migrate(database, folder) == ["0001_first.sql"]
    (folder / "0002_second.sql").write_text("CREATE TABLE second (id TEXT PRIMARY KEY);")
    (folder / "0003_third.sql").write_text("DROP TABLE second;\n")
    assert await migrate(database, folder) == ["0002_second.sql", "0003_third.sql"]
    assert await database.fetch("SELECT id FROM first") == [{"id": "100% :it; really"}]


async def test_a_failure_undoes_all_of_them(database: Database, folder: Path) -> None:
    broken = folder / "0002_second.sql"
    broken.write_text("CREATE TABLE second (id TEXT PRIMARY KEY);\nINSERT INTO nowhere (id) VALUES ('x');\n")
    with pytest.raises(Unavailable):
        await migrate(database, folder)
    broken.write_text("CREATE TABLE second (id TEXT PRIMARY KEY);\n")
    assert await migrate(database, folder) == ["0001_first.sql", "0002_second.sql"]


async def test_many_at_once_apply_each_file_once(database: Database, place: SqliteSettings | PostgresSettings) -> None:
    others = [open_database(place) for _ in range(4)]
    try:
        await asyncio.gather(*(other.open() for other in others))
        applied = await asyncio.gather(*(migrate(other) for other in others))
    finally:
        await asyncio.gather(*(other.aclose() for other in others))
    assert sorted(applied, key=len)[:-1] == [[]] * 3
    assert await migrate(database) == []


async def test_a_newer_schema_is_refused(database: Database, folder: Path) -> None:
    (folder / "0002_tomorrow.sql").write_text("CREATE TABLE tomorrow (id TEXT PRIMARY KEY);")
    await migrate(database, folder)
    (folder / "0002_tomorrow.sql").unlink()
    with pytest.raises(CannotMigrate, match=r"newer TrustGate \(0002_tomorrow\.sql\)"):
        await migrate(database, folder)


async def test_a_changed_file_is_refused(database: Database, folder: Path) -> None:
    await migrate(database, folder)
    first = folder / "0001_first.sql"
    first.write_bytes(first.read_bytes().replace(b"\n", b"\r\n"))  # a checkout on Windows changes nothing
    assert await migrate(database, folder) == []
    first.write_text("CREATE TABLE first (id BIGINT PRIMARY KEY);")
    with pytest.raises(CannotMigrate, match=r"0001_first\.sql differs"):
        await migrate(database, folder)


async def test_a_file_in_the_past_is_refused(database: Database, folder: Path) -> None:
    (folder / "0003_third.sql").write_text("CREATE TABLE third (id TEXT PRIMARY KEY);")
    await migrate(database, folder)
    (folder / "0002_second.sql").write_text("CREATE TABLE second (id TEXT PRIMARY KEY);")
    with pytest.raises(CannotMigrate, match="next free number"):
        await migrate(database, folder)


@pytest.mark.parametrize("name", ["0001_twice.sql", "2_short.sql", "0002-dash.sql"])
async def test_misnamed_files_are_refused(database: Database, folder: Path, name: str) -> None:
    (folder / name).write_text("SELECT 1;")
    with pytest.raises(CannotMigrate, match="each number once"):
        await migrate(database, folder)


async def test_an_empty_folder_is_refused(database: Database, tmp_path: Path) -> None:
    with pytest.raises(CannotMigrate):
        await migrate(database, tmp_path)
