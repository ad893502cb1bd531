"""What it takes to start any gateway: where it must run, and what is known of it once it is ready."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.processes import ROOT, Child, Cores, answers, clean_env, pinned, wait_until

CHAT = "/v1/chat/completions"
BEARER = {"authorization": "Bearer sk-bench-0123456789"}


class Site(NamedTuple):
    """Where a gateway is started: the mock upstream it must talk to, a folder for its files, and its core."""

    upstream_port: int
    folder: Path
    cores: Cores

    @property
    def upstream(self) -> str:
        """Return the origin of the mock upstream."""
        return f"http://127.0.0.1:{self.upstream_port}"


class Running(NamedTuple):
    """A gateway that is ready: where it listens, how long that took, and what a request to it looks like."""

    child: Child
    port: int
    ready_seconds: float
    path: str = CHAT
    headers: Mapping[str, str] = BEARER


class Row(NamedTuple):
    """One row of the table: `prepare` installs what is missing and returns a version, `start` starts it."""

    name: str
    title: str
    prepare: Callable[[], str]
    start: Callable[[Site], Running]
    in_quick: bool = True


def launch(
    site: Site,
    command: Sequence[str | Path],
    ready: Sequence[tuple[int, str]],
    *,
    env: Mapping[str, str] | None = None,
    at_home: bool = False,
    limit: float = 60,
) -> Running:
    """Start a gateway on its core and wait until every `(port, path)` answers; the last one takes the load.

    `at_home` starts it in the repository's root, where `bench` can be imported. Raises CannotRun.
    """
    folder = ROOT if at_home else site.folder
    with pinned(site.cores.gateway):
        child = Child(command, env=clean_env(**(env or {})), folder=folder, log=site.folder / "log")
    try:
        seconds = wait_until(lambda: all(answers(*at) for at in ready), child, limit=limit, what="ready")
        for port, _ in ready:
            child.check_alone(port)
    except BaseException:
        child.end()
        raise
    return Running(child, ready[-1][0], seconds)
