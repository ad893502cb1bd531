"""Tests of storage run on SQLite and a real Postgres, each on a database of its own; tests of state on both stores."""

import functools
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.postgres_server import fresh_database, serving_postgres
from trustgate.storage.database import Database
from trustgate.storage.factory import open_database
from trustgate.storage.migrate import migrate
from trustgate.storage.seal import Sealer
from trustgate.storage.settings import PostgresSettings, SqliteSettings
from trustgate.storage.store import Store

from .benches import Bench, Make, in_cluster, memory, redis
from .redis_fleet import Cluster, started
from .redis_server import RedisServer
from .samples import SECRET


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresSettings]:
    """A Postgres of our own."""
    with serving_postgres() as place:
        yield place


@pytest.fixture
def postgres(postgres_server: PostgresSettings) -> PostgresSettings:
    """An empty Postgres database."""
    return fresh_database(postgres_server)


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


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[Cluster]:
    """A Redis Cluster of our own."""
    with started(Cluster()) as cluster:
        yield cluster


STORES = ["memory", "redis", *(["cluster"] if os.environ.get("TEST_REDIS_CLUSTER") else [])]
"""A cluster takes its time to come up: the service tests ask for it."""


@pytest.fixture(scope="session", params=STORES)
def make(request: pytest.FixtureRequest) -> Make:
    """The way to an empty store. Examples of one property each make their own."""
    if request.param == "memory":
        return memory
    if request.param == "cluster":
        return functools.partial(in_cluster, request.getfixturevalue("redis_cluster"))
    return functools.partial(redis, request.getfixturevalue("redis_server"))


@pytest.fixture
async def bench(make: Make) -> AsyncIterator[Bench]:
    """An empty store."""
    async with make() as bench:
        yield bench
