"""One program and one upstream for the whole session; what a test changes in either is its own or is put back."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI

from .place import Place, open_place
from .program import Admin, Program, running
from .sdk import options
from .upstream import Upstream


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """`trustgate run`."""
    with running("run", folder=tmp_path_factory.mktemp("run")) as program:
        yield program


@pytest.fixture(scope="session")
def admin(program: Program) -> Iterator[Admin]:
    with program.admin() as admin:
        yield admin


@pytest.fixture(scope="session")
def place(program: Program, admin: Admin, server: Upstream) -> Place:
    """A gateway of the session's program with what most tests need in it."""
    return open_place(program, admin, server.url)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder for a program of the test's own."""
    return tmp_path / "data"


@pytest.fixture(scope="session")
def only_key(place: Place) -> str:
    """A key that is attached to one consumer, so that it names it."""
    return place.gateway.key(place.consumers["my-app"]).text


@pytest.fixture
def sdk(place: Place) -> Iterator[OpenAI]:
    """The SDK in front of the upstream."""
    with OpenAI(**options(place, "/my-app")) as client:
        yield client
