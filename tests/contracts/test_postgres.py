"""What only Postgres can do to us: be away, come back, refuse the password, drop a connection."""

import asyncio
import socket

import msgspec
import pytest

from trustgate.storage.database import Unavailable
from trustgate.storage.factory import open_database
from trustgate.storage.migrate import migrate
from trustgate.storage.postgres import PostgresDatabase
from trustgate.storage.settings import PostgresSettings

pytestmark = pytest.mark.anyio


async def test_a_server_that_is_not_there_is_unavailable_in_plain_words() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        settings = PostgresSettings(host="127.0.0.1", port=port, user="u", password="pa55word", name="n")
        with pytest.raises(Unavailable, match="DB_HOST") as refused:
            await open_database(settings).open()
    assert f"n at 127.0.0.1:{port} (user u)" in str(refused.value)
    assert "pa55word" not in f"{refused.value!r} {settings!r}"


async def test_a_database_that_is_not_there_is_unavailable(postgres: PostgresSettings) -> None:
    database = open_database(msgspec.structs.replace(postgres, name="nobody_made_this"))
    with pytest.raises(Unavailable, match="nobody_made_this"):
        await database.open()
    await database.aclose()


async def test_dropped_connections_are_replaced(postgres: PostgresSettings) -> None:
    database, other = PostgresDatabase(postgres), PostgresDatabase(postgres)
    await database.open()
    await other.open()
    try:
        await asyncio.gather(*(database.fetch("SELECT 1 AS one") for _ in range(5)))
        await other.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name AND pid <> pg_backend_pid()",
            name=postgres.name,
        )
        assert await database.fetch("SELECT 1 AS one") == [{"one": 1}]
    finally:
        await database.aclose()
        await other.aclose()


async def test_a_connection_lost_inside_a_transaction_is_unavailable(postgres: PostgresSettings) -> None:
    database = PostgresDatabase(postgres)
    await database.open()
    try:
        await migrate(database)
        with pytest.raises(Unavailable):
            async with database.transaction() as transaction:
                await transaction.execute("UPDATE config_revision SET revision = 5")
                await transaction.fetch("SELECT pg_terminate_backend(pg_backend_pid())")
        assert (await database.fetch("SELECT revision FROM config_revision"))[0]["revision"] == 0
    finally:
        await database.aclose()


async def test_no_connection_is_lost_to_cancelled_callers(postgres: PostgresSettings) -> None:
    database = PostgresDatabase(msgspec.structs.replace(postgres, max_conns=2))
    await database.open()
    try:
        for steps in range(40):
            callers = [asyncio.create_task(database.fetch("SELECT 1 AS one")) for _ in range(4)]
            for _ in range(steps):
                await asyncio.sleep(0)
            for caller in callers:
                caller.cancel()
            await asyncio.gather(*callers, return_exceptions=True)
        async with database.transaction(write=False) as one, database.transaction(write=False) as two:
            assert await one.fetch("SELECT 1 AS one") == await two.fetch("SELECT 1 AS one")
    finally:
        await database.aclose()
