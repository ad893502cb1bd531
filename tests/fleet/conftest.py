"""Several processes of the program over one Postgres, which can be taken away from them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.kit import Fleet
from tests.fleet.relay import Relay, to_socket
from tests.postgres_server import fresh_database, serving_postgres
from trustgate.storage.settings import PostgresSettings


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresSettings]:
    with serving_postgres() as place:
        yield place


@pytest.fixture
def fleet(postgres_server: PostgresSettings, tmp_path: Path) -> Iterator[Fleet]:
    """A fleet of nobody yet, over an empty database."""
    database = fresh_database(postgres_server)
    with Relay(to_socket(f"{database.host}/.s.PGSQL.5432")) as line:
        fleet = Fleet(tmp_path, database.name, line)
        try:
            yield fleet
        finally:
            fleet.stop()
