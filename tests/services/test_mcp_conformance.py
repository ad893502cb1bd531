"""The official conformance tests of MCP: the gateway before a conforming server says what that server says alone."""

from collections.abc import Iterator

import pytest

from tests.agents import npm
from tests.agents.kit import Agency, Door, everything, scenarios
from tests.e2e.program import Program, running

TOOL = str(npm.MODULES / "conformance" / "dist" / "index.js")


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    npm.install()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with everything() as url:
        yield url


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with running("run", folder=tmp_path_factory.mktemp("gateway")) as program:
        yield program


def conformance(url: str, revision: str) -> tuple[dict[str, str], set[str]]:
    """Return what was found, and which scenarios that the revision requires have failed."""
    told = npm.run(TOOL, "server", "--url", url, "--requirements", revision, timeout=300)
    found = scenarios(told.stdout)
    assert len(found) > 30, told.stdout[-3000:] + told.stderr[-3000:]
    unscored = {
        line.split()[1]
        for line in told.stdout.partition("Not scored")[2].splitlines()
        if line.strip()[:1] in ("✓", "✗")
    }
    return found, {name for name, said in found.items() if said.startswith("✗") and name not in unscored}


@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
def test_the_gateway_says_what_the_server_says(program: Program, server: str, revision: str) -> None:
    alone, failed_alone = conformance(server, revision)
    assert failed_alone == set(), "the server of the tests conforms"
    with program.admin() as admin:
        agency = Agency(admin, {"one": server})
        with Door(agency.url(program), agency.key.text) as door:
            through, failed = conformance(door.url, revision)
    assert failed == set()
    assert through.keys() == alone.keys()
    worse = {name: (alone[name], through[name]) for name in alone if passed(through[name]) < passed(alone[name])}
    assert worse == {}


def passed(said: str) -> int:
    """Return how many checks of a scenario passed."""
    return int(said.split()[1])
