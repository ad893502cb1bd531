"""Where a database is. Plain values, so that choosing one imports no driver."""

from pathlib import Path

from msgspec import Struct


class SqliteSettings(Struct, frozen=True, kw_only=True):
    """A database in a file. `patience` is how many seconds a write waits for another process's write."""

    path: Path
    patience: float = 10.0


class PostgresSettings(Struct, frozen=True, kw_only=True):
    """A Postgres server and the pool of connections to it; `host` may be the folder of a socket."""

    host: str = "localhost"
    port: int = 5432
    user: str
    password: str = ""
    name: str
    ssl_mode: str = "disable"
    ssl_root_cert: str = ""
    min_conns: int = 1
    max_conns: int = 10
    connect_timeout: float = 5.0

    def __repr__(self) -> str:
        """Name the place, never the password."""
        return f"PostgresSettings({self.user}@{self.host}:{self.port}/{self.name})"
