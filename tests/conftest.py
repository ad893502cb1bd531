"""What tests of all folders share: asyncio, an upstream, and that no program outlives the session."""

from collections.abc import Iterator

import pytest

from tests.e2e.upstream import Upstream, completion
from tests.left import programs

pytest.register_assert_rewrite("tests.e2e.first_request", "e2e.first_request")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """A test that fails may leave programs behind: they end with the session."""
    yield
    for program in programs:
        program.abandon()


@pytest.fixture(scope="session")
def server() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture
def upstream(server: Upstream) -> Iterator[Upstream]:
    """The upstream, answering properly until the test says otherwise. No script of the test may have failed."""
    server.play(completion())
    yield server
    errors, server.errors = server.errors, []
    assert not errors, errors
