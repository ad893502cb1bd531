"""Several workers behind one port: they count together, tell their figures together, and are replaced under load."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import httpx
import pytest

from tests.contracts.redis_server import RedisServer
from tests.e2e.program import Admin, Program, environment, run_once, running, until
from tests.fleet.kit import ASKED, Town


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    yield server
    server.close()


@pytest.fixture
def variables(redis: RedisServer) -> dict[str, str]:
    place = redis.place()
    return {"REDIS_HOST": place.host, "REDIS_PORT": str(place.port), "REDIS_TIMEOUT": "5s"}


@contextmanager
def two_workers(folder: Path, variables: dict[str, str]) -> Iterator[tuple[Program, Admin]]:
    with (
        running("run", "--workers", "2", folder=folder / "data", variables=variables) as program,
        program.admin() as admin,
    ):
        yield program, admin


def pids(town: Town) -> set[int]:
    return {each["pid"] for each in town.admin.done("GET", "/v1/config/processes")["processes"]}


def everywhere(town: Town) -> None:
    """Wait until both workers know of the town."""
    told = town.admin.call("PUT", town.gateway.path() + "?wait=applied", {"name": "Renamed"})
    assert told.headers["x-ag-applied"] == "2/2"


def alive(pid: int) -> bool:
    """Whether a process is there, and not only what is left of one that nobody has asked for its end."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def one(program: Program, town: Town) -> int:
    """Ask on a connection of its own, so that any worker may get it."""
    return town.ask(program).status_code


def test_two_workers_count_and_tell_together(variables: dict[str, str], tmp_path: Path) -> None:
    with (
        running("run", "--workers", "2", folder=tmp_path / "data", variables=variables) as program,
        program.admin() as admin,
    ):
        town = Town(admin)
        town.gateway.policy("rate_limiter", town.consumer, limit=50, window="1h")
        until(lambda: len(pids(town)) == 2 or None)
        everywhere(town)
        assert program.process.pid not in pids(town), "the supervisor serves nothing"
        with ThreadPoolExecutor(10) as callers:
            told = Counter(callers.map(lambda _: one(program, town), range(120)))
        assert told == {200: 50, 429: 70}
        name = f'trustgate_requests_total{{gateway="{town.gateway.slug}",operation="chat_completions"'
        for _ in range(6):  # whichever of the two is asked
            metrics = program.metrics()
            counts = {key: value for key, value in metrics.items() if key.startswith(name)}
            assert sum(counts.values()) == 120, counts
            assert metrics["trustgate_snapshot_revision"] >= 1
            assert metrics["process_start_time_seconds"] < 1e11, "what is one for all is not added up"


AGAIN = -1
"""What is counted for a request that was sent twice."""


def test_workers_are_replaced_under_load_and_nobody_notices(variables: dict[str, str], tmp_path: Path) -> None:
    with (
        running("run", "--workers", "2", folder=tmp_path / "data", variables=variables) as program,
        program.admin() as admin,
    ):
        town = Town(admin)
        before = until(lambda: (len(found := pids(town)) == 2 and found) or None)
        everywhere(town)
        done = Event()

        def load() -> Counter[int]:
            told: Counter[int] = Counter()
            url = program.url("proxy", "/app/v1/chat/completions")
            while not done.is_set():
                with httpx.Client(headers=town.key.headers, trust_env=False, timeout=20) as client:
                    for _ in range(5):
                        told[ask(client, url, told)] += 1
            return told

        def ask(client: httpx.Client, url: str, told: Counter[int]) -> int:
            """Ask, and once more where the connection was closed before the request was read: a worker that leaves may
            have taken it the moment before, and SDKs do so too (RFC 9112, section 9.3.1)."""
            try:
                return client.post(url, json=ASKED).status_code
            except httpx.RemoteProtocolError as closed:
                assert "without sending a response" in str(closed)
                told[AGAIN] += 1
                return client.post(url, json=ASKED).status_code

        with ThreadPoolExecutor(4) as callers:
            asking = [callers.submit(load) for _ in range(4)]
            program.signal(signal.SIGHUP)
            try:
                until(lambda: "all workers were replaced" in program.stderr or None, patience=60)
                after = until(lambda: (len(found := pids(town)) == 2 and found) or None)
            finally:
                done.set()
            told = sum((each.result() for each in asking), Counter[int]())
        assert told.keys() - {AGAIN} == {200}
        assert told[200] > 50
        assert told[AGAIN] <= 2, "of two workers that left"
        assert not before & after


def test_a_worker_that_is_killed_is_replaced(variables: dict[str, str], tmp_path: Path) -> None:
    with (
        running("run", "--workers", "2", folder=tmp_path / "data", variables=variables) as program,
        program.admin() as admin,
    ):
        town = Town(admin)
        before = until(lambda: (len(found := pids(town)) == 2 and found) or None)
        os.kill(min(before), signal.SIGKILL)
        until(lambda: "another one takes its place" in program.stderr or None)
        until(lambda: len(pids(town) - before) == 1 or None, patience=30)
        assert {one(program, town) for _ in range(20)} == {200}
        assert program.metrics()["trustgate_requests_total" + labels(program)] >= 20


def labels(program: Program) -> str:
    name = "trustgate_requests_total"
    (found,) = [key.removeprefix(name) for key in program.metrics() if key.startswith(name + "{")]
    return found


def test_workers_end_with_their_supervisor(variables: dict[str, str], tmp_path: Path) -> None:
    program = Program("run", "--workers", "2", folder=tmp_path / "data", variables=variables).start()
    with program.admin() as admin:
        found = until(lambda: (len(said := pids(Town(admin))) == 2 and said) or None)
    program.kill()
    until(lambda: not any(map(alive, found)) or None, patience=20)


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        (("proxy", "--workers", "2"), {}, "ALLOW_LOCAL_LIMITS=true"),
        (("proxy",), {"DB_HOST": "127.0.0.1"}, "DB_HOST is set and REDIS_HOST is not"),
        (("proxy", "--workers", "0"), {}, "--workers is 0"),
        (("run", "--workers", "2", "--demo"), {"ALLOW_LOCAL_LIMITS": "true"}, "--demo is for one process"),
    ],
)
def test_what_cannot_be_is_said(
    arguments: tuple[str, ...], variables: dict[str, str], said: str, tmp_path: Path
) -> None:
    told = run_once(*arguments, env=environment(tmp_path, **variables), cwd=tmp_path)
    assert told.returncode == 2
    assert said in told.stderr


def test_workers_that_cannot_start_are_given_up(tmp_path: Path) -> None:
    env = environment(
        tmp_path,
        ALLOW_LOCAL_LIMITS="true",
        DB_HOST="127.0.0.1",
        DB_PORT="1",
        DB_CONNECT_TIMEOUT="1s",
        SERVER_PROXY_PORT="28531",
    )
    told = run_once("proxy", "--workers", "2", env=env, cwd=tmp_path, patience=60)
    assert told.returncode == 1
    assert "cannot be reached: check DB_HOST" in told.stderr
    assert "giving up" in told.stderr
