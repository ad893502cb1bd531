"""Storage is written: the port that SQLite and Postgres both implement, and the tree of what can go wrong.

Rule 1: statements are portable and use `:name`; `IN :names` takes a list.
Rule 2: write transactions are serial, on every backend. What one reads stays true until it commits.
Rule 3: a read transaction sees one state of the database from its first statement to its last.
Rule 4: a transaction commits when its block is left normally and rolls back otherwise, cancellation included.

StorageError      the root
  Taken           another row already has this value
  Dangling        a reference to a row that is not there (any more), or is another gateway's
  Unavailable     the database cannot be reached, opened or locked; it may be there again later
  CannotMigrate   the schema and this program do not fit together
  Unreadable      a stored record cannot be decoded
    CannotOpen    a sealed value cannot be opened with this SERVER_SECRET_KEY
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, Protocol

Row = dict[str, Any]
Value = str | int | float | None
Params = Mapping[str, Value | Sequence[Value]]

_PLACEHOLDER = re.compile(r"(?<![:\w]):([a-z_][a-z0-9_]*)")


class StorageError(Exception):
    """The root of everything that storage raises on purpose."""


class Taken(StorageError):
    """A unique value is taken; `columns` are those of the broken constraint, such as `("gateway_id", "name")`."""

    def __init__(self, columns: tuple[str, ...]) -> None:
        super().__init__(f"another row already has this {' and '.join(columns)}")
        self.columns = columns


class Dangling(StorageError):
    """A record refers to another one that does not exist in its gateway."""


class Unavailable(StorageError):
    """The database does not answer. The message says in plain words what to look at; it holds no secret."""


class CannotMigrate(StorageError):
    """The database's schema is not one that this program may work on."""


class Unreadable(StorageError):
    """A stored record does not decode. Names the entity and the id, never the contents."""


class CannotOpen(Unreadable):
    """A sealed value does not open: the secret changed, or the value was moved or altered."""


class Transaction(Protocol):
    """One transaction; usable only inside the block that opened it, one statement at a time.

    After a statement raised, the transaction can only be left: it will not commit, even if the error was caught.
    """

    async def fetch(self, sql: str, **params: Value | Sequence[Value]) -> list[Row]:
        """Run a statement and return its rows."""

    async def execute(self, sql: str, **params: Value | Sequence[Value]) -> int:
        """Run a statement and return how many rows it touched."""

    async def execute_many(self, sql: str, rows: Sequence[Params]) -> None:
        """Run a statement once per row of parameters."""

    async def announce(self) -> None:
        """Wake whoever waits for `news`, once this has committed."""


class Database(Protocol):
    """A database. `open` may be tried again after it raised Unavailable."""

    async def open(self) -> None:
        """Connect. Raises Unavailable."""

    async def aclose(self) -> None:
        """Let running transactions end, then close. Idempotent."""

    async def fetch(self, sql: str, **params: Value | Sequence[Value]) -> list[Row]:
        """Run one reading statement in a transaction of its own."""

    async def run(self, sql: str, **params: Value) -> list[Row]:
        """Run one statement in a transaction of its own, for what is no configuration. Returns its rows, if any."""

    async def news(self, within: float) -> bool:
        """Return once somebody may have committed configuration, at the latest after so many seconds. Never raises.

        False says that nothing was heard because nobody was listening: whoever has to know looks more often.
        """

    def transaction(self, *, write: bool = True) -> AbstractAsyncContextManager[Transaction]:
        """Open a transaction; with `write=False` one that can only read and never waits for a writer."""


class Course:
    """How a transaction is going: once a statement failed, none may follow and the rest must not be committed.

    Postgres is like that by itself, though it only says so with a silent rollback. With this SQLite is the same.
    """

    def __init__(self) -> None:
        self._fault: BaseException | None = None

    @contextmanager
    def statement(self) -> Iterator[None]:
        """Run one statement in here."""
        self.check()
        try:
            yield
        except BaseException as fault:
            self._fault = fault
            raise

    def check(self) -> None:
        """Raise what went wrong before, if somebody swallowed it."""
        if self._fault is not None:
            raise self._fault


def spread(sql: str, params: Params) -> tuple[str, Mapping[str, Any]]:
    """Write `:names` whose parameter is a list as `(:names_0, :names_1)`; an empty list matches nothing."""
    lists = {name: value for name, value in params.items() if isinstance(value, list | tuple)}
    if not lists:
        return sql, params
    single = {name: value for name, value in params.items() if name not in lists}
    for name, values in lists.items():
        single |= {f"{name}_{i}": value for i, value in enumerate(values)}
    return rename(sql, lambda name: _marks(name, len(lists[name])) if name in lists else f":{name}"), single


def rename(sql: str, mark: Callable[[str], str]) -> str:
    """Rewrite every `:name` of a statement to `mark(name)`."""
    return _PLACEHOLDER.sub(lambda match: mark(match[1]), sql)


def _marks(name: str, count: int) -> str:
    return "(" + ", ".join(f":{name}_{i}" for i in range(count)) + ")" if count else "(NULL)"
