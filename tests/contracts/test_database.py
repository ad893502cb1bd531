"""What every database promises: portable statements, serial writers, steady readers, and nothing left half done."""

import asyncio
from collections.abc import AsyncIterator

import anyio
import pytest

from trustgate.storage.database import Dangling, Database, Row, StorageError, Taken, Unavailable
from trustgate.storage.factory import open_database
from trustgate.storage.settings import PostgresSettings, SqliteSettings

pytestmark = pytest.mark.anyio

PARENTS = "CREATE TABLE parents (id TEXT PRIMARY KEY, tag TEXT NOT NULL, grade BIGINT)"
UNIQUE = "CREATE UNIQUE INDEX parents__tag__grade ON parents (tag, grade)"
CHILDREN = "CREATE TABLE children (id TEXT PRIMARY KEY, parent_id TEXT NOT NULL REFERENCES parents (id))"
INSERT = "INSERT INTO parents (id, tag, grade) VALUES (:id, :tag, :grade)"
ALL = "SELECT id, tag, grade FROM parents ORDER BY id"


@pytest.fixture
async def tables(database: Database) -> AsyncIterator[Database]:
    async with database.transaction() as transaction:
        for statement in (PARENTS, UNIQUE, CHILDREN):
            await transaction.execute(statement)
    yield database


async def ids(database: Database) -> list[str]:
    return [row["id"] for row in await database.fetch(ALL)]


async def test_rows_come_back_as_they_were_written(tables: Database) -> None:
    rows: list[Row] = [
        {"id": "a", "tag": "100% :sure_thing 'quoted' \\ \"twice\"", "grade": 2**62},
        {"id": "b", "tag": "ünïcödé 🦜", "grade": None},
    ]
    async with tables.transaction() as transaction:
        for row in rows:
            assert await transaction.execute(INSERT, **row) == 1
    assert await tables.fetch(ALL) == rows


async def test_execute_says_how_many_rows_it_touched(tables: Database) -> None:
    async with tables.transaction() as transaction:
        await transaction.execute_many(INSERT, [{"id": str(i), "tag": "t", "grade": i} for i in range(5)])
        await transaction.execute_many(INSERT, [])
        assert await transaction.execute("UPDATE parents SET tag = :tag WHERE grade > 1", tag="new") == 3
        assert await transaction.execute("DELETE FROM parents WHERE id = 'nobody'") == 0


async def test_a_list_is_one_of(tables: Database) -> None:
    async with tables.transaction() as transaction:
        await transaction.execute_many(INSERT, [{"id": str(i), "tag": "t", "grade": i} for i in range(5)])
    some = "SELECT id FROM parents WHERE id IN :ids AND grade < :grade ORDER BY id"
    assert [row["id"] for row in await tables.fetch(some, ids=("0", "3", "4", "x"), grade=4)] == ["0", "3"]
    assert await tables.fetch(some, ids=(), grade=4) == []


async def test_an_exception_rolls_back(tables: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        async with tables.transaction() as transaction:
            await transaction.execute(INSERT, id="a", tag="t", grade=1)
            raise ZeroDivisionError
    assert await ids(tables) == []


async def test_a_swallowed_error_still_does_not_commit(tables: Database) -> None:
    with pytest.raises(Taken):
        async with tables.transaction() as transaction:
            await transaction.execute(INSERT, id="a", tag="t", grade=1)
            for _ in range(2):  # the second attempt is refused although it would work
                with pytest.raises(Taken):
                    await transaction.execute(INSERT, id="b", tag="t", grade=1)
    assert await ids(tables) == []


async def test_a_taken_value_names_its_columns(tables: Database) -> None:
    async with tables.transaction() as transaction:
        await transaction.execute(INSERT, id="a", tag="t", grade=1)
    for row, columns in (({"id": "b", "tag": "t", "grade": 1}, ("tag", "grade")), ({"id": "a", "tag": "x"}, ("id",))):
        with pytest.raises(Taken) as taken:
            async with tables.transaction() as transaction:
                await transaction.execute(INSERT, **{"grade": 1} | row)
        assert taken.value.columns == columns


async def test_a_dangling_reference_is_refused(tables: Database) -> None:
    with pytest.raises(Dangling):
        async with tables.transaction() as transaction:
            await transaction.execute("INSERT INTO children (id, parent_id) VALUES ('c', 'nobody')")


async def test_other_broken_constraints_are_storage_errors_too(tables: Database) -> None:
    with pytest.raises(StorageError):
        async with tables.transaction() as transaction:
            await transaction.execute(INSERT, id="a", tag=None, grade=1)


async def test_writers_are_serial(tables: Database) -> None:
    async def raise_grade() -> None:
        async with tables.transaction() as transaction:
            grade = (await transaction.fetch("SELECT grade FROM parents"))[0]["grade"]
            await asyncio.sleep(0)
            await transaction.execute("UPDATE parents SET grade = :grade", grade=grade + 1)

    async with tables.transaction() as transaction:
        await transaction.execute(INSERT, id="a", tag="t", grade=0)
    await asyncio.gather(*(raise_grade() for _ in range(25)))
    assert (await tables.fetch("SELECT grade FROM parents"))[0]["grade"] == 25


async def test_a_reader_keeps_its_state(tables: Database) -> None:
    async with tables.transaction(write=False) as reader:
        assert await reader.fetch(ALL) == []
        async with tables.transaction() as writer:
            await writer.execute(INSERT, id="a", tag="t", grade=1)
        assert await reader.fetch(ALL) == []
    assert await ids(tables) == ["a"]


async def test_a_reader_waits_for_no_writer(tables: Database) -> None:
    async with tables.transaction() as writer:
        await writer.execute(INSERT, id="a", tag="t", grade=1)
        assert await ids(tables) == []
        async with tables.transaction(write=False) as reader:
            assert await reader.fetch(ALL) == []


async def test_a_reader_cannot_write(tables: Database) -> None:
    with pytest.raises(StorageError):
        async with tables.transaction(write=False) as transaction:
            await transaction.execute(INSERT, id="a", tag="t", grade=1)
    assert await ids(tables) == []


async def test_a_cancelled_writer_leaves_nothing_and_blocks_nobody(tables: Database) -> None:
    inside = asyncio.Event()

    async def hang() -> None:
        async with tables.transaction() as transaction:
            await transaction.execute(INSERT, id="a", tag="t", grade=1)
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    await inside.wait()
    task.cancel()
    async with tables.transaction() as transaction:  # at once: nobody waits for the cancelled one
        await transaction.execute(INSERT, id="b", tag="t", grade=2)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await ids(tables) == ["b"]


async def test_cancelling_at_any_step_leaves_the_database_usable(
    tables: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """A cancelled anyio scope cancels every further wait too, also those of the cleaning up."""

    async def write(number: int) -> None:
        async with tables.transaction() as transaction:
            await transaction.execute(INSERT, id=f"{number}-1", tag="t", grade=number)
            await transaction.fetch(ALL)
            await transaction.execute(INSERT, id=f"{number}-2", tag="u", grade=number)

    for number in range(100):
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(write, number)
                tasks.start_soon(tables.fetch, ALL)
                for _ in range(number):
                    await asyncio.sleep(0)
                scope.cancel()
    found = await ids(tables)
    assert len(found) % 2 == 0
    assert {each.split("-")[0] for each in found[::2]} == {each.split("-")[0] for each in found[1::2]}
    async with tables.transaction() as transaction:
        await transaction.execute(INSERT, id="last", tag="t", grade=-1)
    assert caplog.messages == []  # such as a pool's about connections that it had to close


async def test_many_callers_at_once(tables: Database) -> None:
    async with tables.transaction() as transaction:
        await transaction.execute(INSERT, id="a", tag="t", grade=1)
    answers = await asyncio.gather(*(tables.fetch(ALL) for _ in range(100)))
    assert all(answer == answers[0] for answer in answers)


async def test_two_openers_share_one_database(tables: Database, place: SqliteSettings | PostgresSettings) -> None:
    other = open_database(place)
    await other.open()
    try:
        async with tables.transaction() as transaction:
            await transaction.execute(INSERT, id="a", tag="t", grade=1)
        assert await ids(other) == ["a"]
    finally:
        await other.aclose()


async def test_closed_is_unavailable_and_may_be_opened_again(tables: Database) -> None:
    await tables.aclose()
    await tables.aclose()
    with pytest.raises(Unavailable, match="not open"):
        await tables.fetch(ALL)
    with pytest.raises(Unavailable, match="not open"):
        async with tables.transaction():
            pass
    await tables.open()
    await tables.open()
    assert await ids(tables) == []


async def test_a_database_that_was_not_set_up_says_so(database: Database) -> None:
    with pytest.raises(Unavailable, match="trustgate migrate"):
        await database.fetch("SELECT revision FROM config_revision")
