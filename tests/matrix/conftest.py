"""One gateway, and all providers on one port, for the whole session."""

from collections.abc import Iterator

import pytest

from . import npm
from .gateway import Place, open_place
from .upstream import Providers


@pytest.fixture(scope="session")
def server() -> Iterator[Providers]:
    with Providers() as providers:
        yield providers


@pytest.fixture
def providers(server: Providers) -> Iterator[Providers]:
    """The providers, answering properly until the test says otherwise. No script of the test may have failed."""
    server.think()
    yield server
    errors, server.errors = server.errors, []
    assert not errors, errors


@pytest.fixture(scope="session")
def place(server: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """`trustgate run`, with a consumer in front of each provider."""
    with open_place(server, tmp_path_factory.mktemp("matrix")) as place:
        yield place


@pytest.fixture(scope="session")
def packages() -> None:
    """What npm has to install is installed. Without npm this fails, and so do the tests that need it."""
    npm.install()
