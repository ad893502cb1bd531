"""Servers and the program, shared by the tests of a module."""

from collections.abc import Iterator

import pytest

from tests.e2e.program import Admin, Program, running

from .kit import everything


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """A server that has something of everything."""
    with everything() as url:
        yield url


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with running("run", folder=tmp_path_factory.mktemp("gateway")) as program:
        yield program


@pytest.fixture
def admin(program: Program) -> Iterator[Admin]:
    with program.admin() as admin:
        yield admin
