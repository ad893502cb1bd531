"""Chooses the database. Postgres' driver is imported only when Postgres is asked for."""

from trustgate.contract.ports import Vectors
from trustgate.storage.database import Database
from trustgate.storage.settings import PostgresSettings, SqliteSettings
from trustgate.storage.sqlite import SqliteDatabase


def open_database(settings: SqliteSettings | PostgresSettings) -> Database:
    """Return the database that the settings name. It is not connected yet: `await database.open()`."""
    match settings:
        case SqliteSettings():
            return SqliteDatabase(settings)
        case PostgresSettings():
            from trustgate.storage.postgres import PostgresDatabase  # noqa: PLC0415 - see the module's law

            return PostgresDatabase(settings)


def open_vectors(database: Database) -> Vectors | None:
    """Return what keeps vectors in a database; None for SQLite, which cannot."""
    if isinstance(database, SqliteDatabase):
        return None
    from trustgate.storage.postgres import PostgresDatabase  # noqa: PLC0415 - see the module's law
    from trustgate.storage.vectors import PostgresVectors  # noqa: PLC0415

    assert isinstance(database, PostgresDatabase), "there are two kinds of databases"
    return PostgresVectors(database)
