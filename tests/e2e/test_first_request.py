"""The published first request: six calls from nothing to a completion, by one process and by two."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .first_request import SLACK, FirstRequest, Pair
from .program import Admin, Program, free_ports, run_once, running, until
from .upstream import Upstream
from .wire import chat


@pytest.fixture(scope="module", params=["run", "admin and proxy"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    if request.param == "run":
        with running("run", folder=folder) as program:
            yield Pair(program, program)
        return
    ports = dict(zip(("admin", "proxy", "mcp"), free_ports(3), strict=True))
    with (
        running("admin", folder=folder, ports=ports) as admin,
        running("proxy", folder=folder, ports=ports, secret=admin.secret) as proxy,
    ):
        yield Pair(admin, proxy)


class TestFirstRequest(FirstRequest):
    """By one process, and by two."""


def test_two_that_start_at_once_in_an_empty_folder_agree_on_everything(folder: Path, upstream: Upstream) -> None:
    """Both make the database and the secret key: there is one of each, and what one writes the other can unseal."""
    ports = dict(zip(("admin", "proxy", "mcp"), free_ports(3), strict=True))
    programs = [Program(name, folder=folder, ports=ports) for name in ("admin", "proxy")]
    try:
        for program in programs:
            program.env.pop("SERVER_SECRET_KEY")
            program.start(ready=False)
        for program in programs:
            program.wait_ready()
        printed = run_once("token", env=programs[0].env, cwd=programs[0].cwd).stdout.strip()
        with Admin(programs[0].url("admin"), printed) as admin:
            gateway = admin.gateway()
            registry = gateway.registry("openai", "openai", key="sk-both", base_url=upstream.url)
            key = gateway.key(gateway.consumer("my-app", registry))
            until(lambda: chat(ports["proxy"], key.headers).status == 200, patience=SLACK)
        assert upstream.last().header("authorization") == "Bearer sk-both"
    finally:
        codes = [program.stop() for program in programs]
    assert codes == [0, 0]
