"""Postgres, through a psycopg pool. Nothing outside this module knows that psycopg exists.

Rule 1: write transactions take one advisory lock first, so they are serial here as they are on SQLite.
Rule 2: work runs in tasks of its own, and a connection returns to the pool when its work is done. So a cancelled
caller leaves no open transaction, no half sent commit and no lost connection, whoever cancels it and however often.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import lru_cache
from typing import Any, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

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
    rename,
    spread,
)
from trustgate.storage.settings import PostgresSettings

__all__ = ["PostgresDatabase", "PostgresSettings"]

T = TypeVar("T")
Connection = AsyncConnection[DictRow]
Pool = AsyncConnectionPool[Connection]
Start = Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]]

RELISTEN = 1.0
"""Seconds after which a listener that lost its connection tries again."""
_LOCK = 0x7472757374  # "trust": our writers' advisory lock
_BEGIN_WRITE = (
    # A writer that hangs must not stop all others for good: neither the waiting nor the idling is without end.
    "BEGIN; SET LOCAL lock_timeout = '10s'; SET LOCAL idle_in_transaction_session_timeout = '60s';"
    f" SELECT pg_advisory_xact_lock({_LOCK})"
)
CHANNEL = "trustgate_configuration"
_ANNOUNCE = f"SELECT pg_notify('{CHANNEL}', '')"
_BEGIN_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class PostgresDatabase:
    """A database on a Postgres server."""

    def __init__(self, settings: PostgresSettings) -> None:
        self._settings = settings
        self._pool: Pool | None = None
        self._ear = _Ear(settings)
        self._running: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        """Connect, and keep a pool of connections. Raises Unavailable, with the server's own words."""
        if self._pool is not None:
            return
        with _translated(self._settings):
            await (await Connection.connect(**_options(self._settings))).close()  # a pool would hide why it cannot
            pool = _pool(self._settings)
            await pool.open(wait=True, timeout=self._settings.connect_timeout)
        self._pool = pool

    async def aclose(self) -> None:
        """Let running work end, then close every connection."""
        pool, self._pool = self._pool, None
        await self._ear.aclose()
        while self._running:
            await asyncio.wait(self._running)
        if pool is not None:
            await pool.close()

    async def fetch(self, sql: str, **params: Value | Sequence[Value]) -> list[Row]:
        """Run one reading statement."""
        async with self._borrowed() as session:
            return await session.run(_fetch(session.connection, sql, params))

    async def run(self, sql: str, **params: Value) -> list[Row]:
        """Run one statement in a transaction of its own that waits for no writer: for what is no configuration.

        Returns its rows, none for a statement that returns none.
        """
        async with self._borrowed() as session:
            return await session.run(_run(session.connection, sql, params))

    async def news(self, within: float) -> bool:
        """Wait until a writer announces something, at most for so many seconds."""
        return await self._ear.hear(within)

    @asynccontextmanager
    async def transaction(self, *, write: bool = True) -> AsyncIterator[Transaction]:
        """Open a transaction: a serial one that writes, or a reading one over one snapshot."""
        async with self._borrowed() as session:
            await session.run(session.connection.execute(_BEGIN_WRITE if write else _BEGIN_READ, prepare=False))
            transaction = _Transaction(session)
            yield transaction
            transaction.course.check()
            await session.run(session.connection.commit())

    @asynccontextmanager
    async def _borrowed(self) -> AsyncIterator["_Session"]:
        """Lend a connection; what it did and did not commit is rolled back when it returns."""
        if self._pool is None:
            raise Unavailable("the database is not open")
        pool = self._pool
        lending = self._start(pool.getconn())
        try:
            with _translated(self._settings):
                session = _Session(await asyncio.shield(lending), self._start, self._settings)
        except asyncio.CancelledError:
            lending.add_done_callback(lambda lent: self._return_unused(pool, lent))
            raise
        try:
            yield session
        finally:
            await asyncio.shield(self._start(_return(pool, session)))

    def _return_unused(self, pool: Pool, lent: asyncio.Task[Connection]) -> None:
        """Return a connection whose borrower left before it came."""
        if not lent.cancelled() and lent.exception() is None:
            self._start(pool.putconn(lent.result()))

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # whoever still waits gets it; if nobody does, it need not be reported as lost


class _Session:
    """A borrowed connection. Its work runs in tasks, which go on when the borrower is cancelled."""

    def __init__(self, connection: Connection, start: Start, settings: PostgresSettings) -> None:
        self.connection = connection
        self._start = start
        self._settings = settings

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for one piece of work, such as a statement."""
        with _translated(self._settings):
            result: T = await asyncio.shield(self._start(work))
        return result


class _Transaction:
    """Statements on a connection that is inside a transaction."""

    def __init__(self, session: _Session) -> None:
        self.course = Course()
        self._session = session

    async def fetch(self, sql: str, **params: Value | Sequence[Value]) -> list[Row]:
        with self.course.statement():
            return await self._session.run(_fetch(self._session.connection, sql, params))

    async def execute(self, sql: str, **params: Value | Sequence[Value]) -> int:
        with self.course.statement():
            return (await self._session.run(self._session.connection.execute(*_statement(sql, params)))).rowcount

    async def execute_many(self, sql: str, rows: Sequence[Params]) -> None:
        with self.course.statement():
            await self._session.run(self._session.connection.cursor().executemany(_renamed(sql), rows))

    async def announce(self) -> None:
        with self.course.statement():
            await self._session.run(self._session.connection.execute(_ANNOUNCE))


class _Ear:
    """Listens on a connection of its own, from the first time that somebody wants to hear something.

    Behind a pooler of transactions nothing is ever heard: whoever waits looks then when its time is up.
    """

    def __init__(self, settings: PostgresSettings) -> None:
        self._settings = settings
        self._heard = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None
        self._connected = False

    async def hear(self, within: float) -> bool:
        """Return once something was announced since the last time, or after so many seconds."""
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen())
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._heard.wait()
        self._heard.clear()
        return self._connected

    async def aclose(self) -> None:
        """Listen no more."""
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _listen(self) -> None:
        while True:
            with suppress(psycopg.Error, OSError):
                async with await Connection.connect(**_options(self._settings)) as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    self._connected = True
                    self._heard.set()  # what was announced before
                    async for _ in connection.notifies():
                        self._heard.set()
            self._connected = False
            await asyncio.sleep(RELISTEN)


async def _fetch(connection: Connection, sql: str, params: Params) -> list[Row]:
    return await (await connection.execute(*_statement(sql, params))).fetchall()


async def _run(connection: Connection, sql: str, params: Params) -> list[Row]:
    cursor = await connection.execute(*_statement(sql, params))
    return await cursor.fetchall() if cursor.description else []


async def _return(pool: Pool, session: _Session) -> None:
    """Return a connection to its pool; psycopg lets the work that is under way, such as a commit, end first."""
    try:
        await session.connection.rollback()
    except psycopg.Error:
        await session.connection.close()  # it broke: the pool replaces it
    finally:
        await pool.putconn(session.connection)


def _statement(sql: str, params: Params) -> tuple[str, Mapping[str, Any] | None]:
    """Return a statement as psycopg wants it; without parameters it stays as it is, `%` and all."""
    if not params:
        return sql, None
    spread_sql, spread_params = spread(sql, params)
    return _renamed(spread_sql), spread_params


@lru_cache(maxsize=512)
def _renamed(sql: str) -> str:
    return rename(sql.replace("%", "%%"), "%({})s".format)


def _options(settings: PostgresSettings) -> dict[str, Any]:
    options = {
        "host": settings.host,
        "port": settings.port,
        "user": settings.user,
        "password": settings.password,
        "dbname": settings.name,
        "sslmode": settings.ssl_mode,
        "sslrootcert": settings.ssl_root_cert,
        "connect_timeout": max(2, round(settings.connect_timeout)),
        "application_name": "trustgate",
        # A server that vanished without a word is noticed within a minute, not after TCP's quarter of an hour.
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 60_000,
    }
    given = {name: value for name, value in options.items() if value != ""}
    # a pooler of transactions may hand each of them to another connection, which has prepared nothing
    return given | {"autocommit": True, "row_factory": dict_row, "prepare_threshold": None}


def _pool(settings: PostgresSettings) -> Pool:
    return AsyncConnectionPool(
        connection_class=Connection,
        kwargs=_options(settings),
        min_size=settings.min_conns,
        max_size=max(settings.min_conns, settings.max_conns),
        timeout=settings.connect_timeout,
        # Giving up early lets the next caller try at once, instead of waiting for the end of a long pause.
        reconnect_timeout=settings.connect_timeout,
        check=AsyncConnectionPool.check_connection,
        name="trustgate",
        open=False,
    )


@contextmanager
def _translated(settings: PostgresSettings) -> Iterator[None]:
    """Turn what psycopg raises into our errors; what is left over is a mistake of ours and passes as it is."""
    try:
        yield
    except psycopg.errors.UniqueViolation as error:
        raise Taken(_columns(error.diag.constraint_name or "")) from error
    except psycopg.errors.ForeignKeyViolation as error:
        raise Dangling("a record refers to another one that does not exist in its gateway") from error
    except psycopg.IntegrityError as error:
        raise StorageError(error.diag.message_primary or "a constraint is broken") from error
    except tuple(_WORDS) as error:
        words = next(words for kind, words in _WORDS.items() if isinstance(error, kind))
        raise Unavailable(f"the Postgres database {_place(settings)} {words} ({_reason(error)})") from error


def _columns(constraint: str) -> tuple[str, ...]:
    """Read the columns off a constraint's name: `registries__gateway_id__name`; a primary key is always the id."""
    return tuple(constraint.split("__")[1:]) or ("id",)


def _place(settings: PostgresSettings) -> str:
    return f"{settings.name} at {settings.host}:{settings.port} (user {settings.user})"


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


_WORDS: Mapping[type[Exception], str] = {
    psycopg.errors.LockNotAvailable: "has been locked for 10 s: is another process writing for long?",
    psycopg.errors.UndefinedTable: "has not been set up: run `trustgate migrate`",
    psycopg.errors.ReadOnlySqlTransaction: "can only be read here: is it a standby?",
    psycopg.errors.InsufficientPrivilege: "does not let this user do that: check the user's rights",
    PoolTimeout: "has no connection to give: check that it runs and accepts connections, or raise DB_MAX_CONNS",
    PoolClosed: "is closed",
    psycopg.errors.FeatureNotSupported: "lacks something that is wanted of it",
    psycopg.errors.UndefinedFile: "lacks an extension that is wanted of it",
    psycopg.OperationalError: "cannot be reached: check DB_HOST, DB_PORT, DB_USER, DB_PASSWORD, DB_NAME, DB_SSL_MODE",
    psycopg.InterfaceError: "lost the connection",
}
"""What each kind of failure means to an operator; the first that fits is taken."""
