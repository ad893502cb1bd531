"""SQLite: WAL, one connection that writes and one that reads, each on a thread of its own.

Rule 1: an acknowledged write survives kill -9 and power loss (`synchronous=FULL`).
Rule 2: several processes may use one file: a write begins with BEGIN IMMEDIATE and waits for another's, bounded.
Rule 3: jobs run on a lane's thread in the order in which they were handed over. So a rollback that nobody waits for,
because its caller was cancelled, still comes before the next transaction.
"""

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from trustgate.storage.database import (
    Course,
    Dangling,
    Params,
    Row,
    StorageError,
    Taken,
    Transaction,
    Unavailable,
    Value,
    spread,
)
from trustgate.storage.settings import SqliteSettings

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], T]

_SETUP = (
    "PRAGMA synchronous = FULL",
    "PRAGMA fullfsync = ON",  # macOS: without it fsync does not reach the disk
    "PRAGMA foreign_keys = ON",
)
_RETRY_SECONDS = 0.02
_UNIQUE = "UNIQUE constraint failed: "


class SqliteDatabase:
    """A database in one file, which is created, readable by its owner only, when it is not there."""

    def __init__(self, settings: SqliteSettings) -> None:
        self._writer = _Lane(settings, read_only=False)
        self._reader = _Lane(settings, read_only=True)

    async def open(self) -> None:
        """Open the file, or create it. Raises Unavailable."""
        try:
            await self._writer.open()
            await self._reader.open()
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Let running transactions end, then close."""
        await self._reader.aclose()
        await self._writer.aclose()

    async def fetch(self, sql: str, **params: Value | Sequence[Value]) -> list[Row]:
        """Run one reading statement."""
        async with self._reader.held():
            return await self._reader.run(lambda connection: _fetch(connection, *spread(sql, params)))

    async def run(self, sql: str, **params: Value) -> list[Row]:
        """Run one statement in a transaction of its own."""
        async with self._writer.held():
            return await self._writer.run(lambda connection: _run(connection, sql, params))

    async def news(self, within: float) -> bool:
        """Wait: nobody tells anybody of a file that has changed."""
        await asyncio.sleep(within)
        return False

    @asynccontextmanager
    async def transaction(self, *, write: bool = True) -> AsyncIterator[Transaction]:
        """Open a transaction; a reading one sees the state at its first statement."""
        lane, begin = (self._writer, "BEGIN IMMEDIATE") if write else (self._reader, "BEGIN")
        async with lane.held():
            try:
                await lane.run(lambda connection: connection.execute(begin))
                transaction = _Transaction(lane)
                yield transaction
                transaction.course.check()
                await lane.run(sqlite3.Connection.commit)
            except BaseException:
                lane.hand_over(sqlite3.Connection.rollback)
                raise


class _Transaction:
    """Statements on a lane whose thread is inside a transaction."""

    def __init__(self, lane: "_Lane") -> None:
        self.course = Course()
        self._lane = lane

    async def fetch(self, sql: str, **params: Value | Sequence[Value]) -> list[Row]:
        with self.course.statement():
            return await self._lane.run(lambda connection: _fetch(connection, *spread(sql, params)))

    async def execute(self, sql: str, **params: Value | Sequence[Value]) -> int:
        with self.course.statement():
            return await self._lane.run(lambda connection: connection.execute(*spread(sql, params)).rowcount)

    async def execute_many(self, sql: str, rows: Sequence[Params]) -> None:
        with self.course.statement():
            await self._lane.run(lambda connection: connection.executemany(sql, rows))

    async def announce(self) -> None:
        """Do nothing: other processes look."""


class _Lane:
    """One connection, the thread that it lives on, and the lock that a transaction holds."""

    def __init__(self, settings: SqliteSettings, *, read_only: bool) -> None:
        self._path = settings.path
        self._patience = settings.patience
        self._read_only = read_only
        self._lock = asyncio.Lock()
        self._thread: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Start the thread and connect on it."""
        if self._thread is not None:
            return
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-read" if self._read_only else "sqlite-write")
        self._connection = await asyncio.get_running_loop().run_in_executor(self._thread, self._connect)

    async def aclose(self) -> None:
        """Close once the running transaction has ended, or when it does not end in time."""
        with suppress(Unavailable):
            async with self.held():
                pass
        connection, self._connection = self._connection, None
        thread, self._thread = self._thread, None
        if thread is None:
            return
        try:
            if connection is not None:
                await asyncio.get_running_loop().run_in_executor(thread, connection.close)
        finally:
            thread.shutdown(wait=False)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Hold the lane, or raise Unavailable: a block that waits for itself must not wait for ever."""
        try:
            async with asyncio.timeout(self._patience):
                await self._lock.acquire()
        except TimeoutError:
            raise Unavailable(_words("busy", self._path, self._patience)) from None
        try:
            yield
        finally:
            self._lock.release()

    async def run(self, job: Job[T]) -> T:
        """Run a job on the thread and wait for it."""
        connection, thread = self._connection, self._thread
        if connection is None or thread is None:
            raise Unavailable("the database is not open")
        return await asyncio.get_running_loop().run_in_executor(thread, self._run, job, connection)

    def hand_over(self, job: Job[Any]) -> None:
        """Run a job on the thread after those before it; nobody waits."""
        if self._connection is not None and self._thread is not None:
            self._thread.submit(self._run, job, self._connection)

    def _run(self, job: Job[T], connection: sqlite3.Connection) -> T:
        with _translated(self._path, self._patience):
            return job(connection)

    def _connect(self) -> sqlite3.Connection:
        with _translated(self._path, self._patience):
            _create(self._path)
            connection = sqlite3.connect(self._path, timeout=self._patience, isolation_level=None)
            try:
                _use_wal(connection, time.monotonic() + self._patience)
                for pragma in _SETUP:
                    connection.execute(pragma)
                if self._read_only:
                    connection.execute("PRAGMA query_only = ON")
            except BaseException:
                connection.close()
                raise
            return connection


def _fetch(connection: sqlite3.Connection, sql: str, params: Mapping[str, Any]) -> list[Row]:
    cursor = connection.execute(sql, params)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def _run(connection: sqlite3.Connection, sql: str, params: Mapping[str, Any]) -> list[Row]:
    cursor = connection.execute(sql, params)  # in a transaction of its own, as the connection is
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def _create(path: Path) -> None:
    """Create the file for its owner's eyes only; SQLite gives the files beside it the same mode."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):  # O_EXCL: closing an open file that exists would drop SQLite's locks on it
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _use_wal(connection: sqlite3.Connection, deadline: float) -> None:
    """Switch to WAL. Of two processes that do so at once SQLite refuses one without the wait it grants elsewhere."""
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if _primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_SECONDS)


@contextmanager
def _translated(path: Path, patience: float) -> Iterator[None]:
    """Turn what SQLite raises into our errors; what is left over is a mistake of ours and passes as it is."""
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise _integrity(error) from error
    except sqlite3.DatabaseError as error:
        word = _REASONS.get(_primary_code(error), "no_table" if "no such table" in str(error) else "")
        if not word:
            raise
        raise Unavailable(_words(word, path, patience)) from error
    except OSError as error:
        raise Unavailable(_words("cannot_open", path, patience)) from error


def _integrity(error: sqlite3.IntegrityError) -> Exception:
    if str(error).startswith(_UNIQUE):
        return Taken(tuple(name.partition(".")[2] for name in str(error).removeprefix(_UNIQUE).split(", ")))
    if error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
        return Dangling("a record refers to another one that does not exist in its gateway")
    return StorageError(str(error))


def _primary_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF  # errors of the module itself carry no code


_REASONS = {
    sqlite3.SQLITE_BUSY: "busy",
    sqlite3.SQLITE_LOCKED: "busy",
    sqlite3.SQLITE_CANTOPEN: "cannot_open",
    sqlite3.SQLITE_PERM: "cannot_open",
    sqlite3.SQLITE_READONLY: "cannot_open",
    sqlite3.SQLITE_IOERR: "broken_disk",
    sqlite3.SQLITE_FULL: "full_disk",
    sqlite3.SQLITE_CORRUPT: "not_ours",
    sqlite3.SQLITE_NOTADB: "not_ours",
}

_WORDS = {
    "busy": "has been locked for {patience:g} s: is another process, or another block of this one, writing for long?",
    "cannot_open": "cannot be opened and written: check that its folder exists and that this user may write there",
    "broken_disk": "cannot be read or written: check the disk",
    "full_disk": "cannot grow: the disk is full",
    "not_ours": "is not a sound SQLite database: move it away, or restore a backup",
    "no_table": "has not been set up: run `trustgate migrate`",
}


def _words(word: str, path: Path, patience: float) -> str:
    return f"the SQLite database {path} " + _WORDS[word].format(patience=patience)
