"""Starting and the other commands: what is wrong is said in one line that names it, and nothing is half started."""

import re
import secrets
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import jwt
import pytest

from .program import HOST, PLANES, Program, environment, free_ports, run_once, running, until

GOOD_KEY = secrets.token_hex(32)
SHORT_KEY = "only-31-bytes-long-is-too-short"
Completed = subprocess.CompletedProcess[str]

WRONG: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "a port that is a word": ({"SERVER_PROXY_PORT": "http"}, ("SERVER_PROXY_PORT", "'http'", "1 to 65535")),
    "a port that is too high": ({"SERVER_ADMIN_PORT": "65536"}, ("SERVER_ADMIN_PORT", "'65536'", "1 to 65535")),
    "port 0": ({"SERVER_MCP_PORT": "0"}, ("SERVER_MCP_PORT", "'0'", "1 to 65535")),
    "a duration without a unit": ({"SERVER_SHUTDOWN_GRACE": "30"}, ("SERVER_SHUTDOWN_GRACE", "'30'", "500ms")),
    "a duration of nothing": ({"PROVIDER_CONNECT_TIMEOUT": "0s"}, ("PROVIDER_CONNECT_TIMEOUT", "'0s'", "above zero")),
    "a negative duration": ({"PROVIDER_REQUEST_TIMEOUT": "-5s"}, ("PROVIDER_REQUEST_TIMEOUT", "'-5s'", "30s")),
    "a clock in words": ({"PROVIDER_STREAM_IDLE_TIMEOUT": "soon"}, ("PROVIDER_STREAM_IDLE_TIMEOUT", "'soon'", "5m")),
    "a size": ({"SERVER_MAX_BODY_BYTES": "8MB"}, ("SERVER_MAX_BODY_BYTES", "'8MB'", "a whole number")),
    "no room for headers": ({"SERVER_MAX_HEADER_BYTES": "10"}, ("SERVER_MAX_HEADER_BYTES", "'10'", "1024 to 409600")),
    "a queue of nothing": ({"METRICS_QUEUE_SIZE": "0"}, ("METRICS_QUEUE_SIZE", "'0'", "a whole number 1")),
    "a level": ({"LOG_LEVEL": "LOUD"}, ("LOG_LEVEL", "'LOUD'", "DEBUG, INFO, WARNING, ERROR")),
    "a format": ({"LOG_FORMAT": "xml"}, ("LOG_FORMAT", "'xml'", "json, text")),
    "a maybe": ({"TELEMETRY_ENABLED": "maybe"}, ("TELEMETRY_ENABLED", "'maybe'", "true, yes, on, 0, false, no or off")),
    "an SSL mode": ({"DB_SSL_MODE": "yes"}, ("DB_SSL_MODE", "'yes'", "verify-full")),
    "a short key": ({"SERVER_SECRET_KEY": SHORT_KEY}, ("SERVER_SECRET_KEY", "31 bytes", "at least 32")),
    "no key in production": ({"APP_ENV": "production"}, ("SERVER_SECRET_KEY", "APP_ENV=production", "at least 32")),
    "no key in staging": ({"APP_ENV": "Staging"}, ("SERVER_SECRET_KEY", "APP_ENV=Staging", "at least 32")),
    "an unknown plugin": ({"TRUSTGATE_PLUGINS": "no_such"}, ("TRUSTGATE_PLUGINS", "no_such", "rate_limiter")),
    "an event log that cannot be written": (
        {"TELEMETRY_LOG": "/proc/no/such/file"},
        ("TELEMETRY_LOG", "/proc/no/such/file"),
    ),
    "a data folder that cannot be made": (
        {"TRUSTGATE_DATA_DIR": "/dev/null/data"},
        ("TRUSTGATE_DATA_DIR", "/dev/null/data"),
    ),
    "a host that does not exist": ({"SERVER_HOST": "no.such.host.invalid"}, ("SERVER_HOST", "no.such.host.invalid")),
    "a proxy that is no address": ({"HTTPS_PROXY": "ftp://x:y"}, ("HTTPS_PROXY",)),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Future[Completed]]]:
    """Every wrong start, two at a time."""

    def start(name: str) -> Completed:
        folder = tmp_path_factory.mktemp("wrong")
        ports = dict(zip((f"SERVER_{plane.upper()}_PORT" for plane in PLANES), map(str, free_ports(3)), strict=True))
        env = {**environment(folder / "data"), **ports, **WRONG[name][0]}
        return run_once("run", env=env, cwd=folder)

    with ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(start, name) for name in WRONG}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_setting_stops_the_start_and_is_named(outcomes: Mapping[str, Future[Completed]], name: str) -> None:
    """Which variable, its value, and what is accepted; no traceback, and nothing of a secret."""
    ended = outcomes[name].result()
    assert ended.returncode in (1, 2)
    assert "Traceback" not in ended.stderr, ended.stderr[-2000:]
    message = ended.stderr.strip().splitlines()[-1]
    assert message.startswith("trustgate: ")
    for part in WRONG[name][1]:
        assert part in message
    assert SHORT_KEY not in ended.stderr
    assert ended.stdout == ""


@pytest.mark.parametrize("plane", PLANES)
def test_a_port_that_is_in_use_is_named(folder: Path, plane: str) -> None:
    program = Program("run", folder=folder)
    with socket.socket() as taken:
        taken.bind((HOST, program.ports[plane]))
        taken.listen()
        ended = run_once("run", env=program.env, cwd=program.cwd)
    assert ended.returncode == 2
    assert f"SERVER_{plane.upper()}_PORT is {program.ports[plane]}" in ended.stderr
    assert "another process uses" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_second_process_on_the_same_ports_is_refused(folder: Path) -> None:
    """Servers can share ports on Linux: two of ours must not, or each would get half of the requests."""
    with running("run", folder=folder) as program:
        ended = run_once("run", env=program.env, cwd=program.cwd)
        assert ended.returncode == 2
        assert "SERVER_ADMIN_PORT" in ended.stderr
        assert program.readiness("admin") == 200


def test_two_planes_on_one_port_are_refused(folder: Path) -> None:
    [port] = free_ports(1)
    program = Program("run", folder=folder, ports=dict.fromkeys(PLANES, port))
    ended = start_briefly(program)
    assert ended == 2
    assert "SERVER_PROXY_PORT" in program.stderr or "SERVER_ADMIN_PORT" in program.stderr


def start_briefly(program: Program) -> int:
    """Start what should end by itself; what does not is stopped, and counts as 0."""
    program.start(ready=False)
    try:
        return program.wait(8)
    except subprocess.TimeoutExpired:
        program.stop()
        return 0


def test_a_damaged_database_is_named(folder: Path) -> None:
    folder.mkdir()
    (folder / "trustgate.db").write_bytes(b"this is no database" * 500)
    ended = run_once("run", env=environment(folder), cwd=folder)
    assert ended.returncode == 1
    assert "trustgate.db" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_environment_file_counts_in_development_only(folder: Path) -> None:
    folder.mkdir()
    (folder / ".env").write_text("# ours\nexport APPLICATION_VERSION='7.7.7'\nLOG_LEVEL=INFO\n")
    env = environment(folder)
    assert run_once("version", env=env, cwd=folder).stdout == "trustgate 7.7.7\n"
    assert run_once("version", env={**env, "APPLICATION_VERSION": "8"}, cwd=folder).stdout == "trustgate 8\n"
    assert "7.7.7" not in run_once("version", env={**env, "APP_ENV": "production"}, cwd=folder).stdout


# The other commands.


def test_help_says_what_there_is(tmp_path: Path) -> None:
    said = run_once("--help", env=environment(tmp_path), cwd=tmp_path)
    assert said.returncode == 0
    for word in ("proxy", "admin", "mcp", "run", "migrate", "token", "version", "--demo", ".env"):
        assert word in said.stdout
    for command in ("run", "token"):
        assert run_once(command, "--help", env=environment(tmp_path), cwd=tmp_path).returncode == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["nonsense"], ["run", "--nonsense"], ["token", "--lifetime", "long"]])
def test_a_wrong_argument_is_refused(tmp_path: Path, arguments: list[str]) -> None:
    said = run_once(*arguments, env=environment(tmp_path), cwd=tmp_path)
    assert said.returncode == 2
    assert arguments[-1] in said.stderr
    assert "Traceback" not in said.stderr


def test_version(tmp_path: Path) -> None:
    said = run_once("version", env=environment(tmp_path), cwd=tmp_path)
    assert re.fullmatch(r"trustgate \d+\.\d+\.\d+\n", said.stdout)
    assert said.returncode == 0


def test_the_script_is_the_module(tmp_path: Path) -> None:
    """`trustgate` and `python -m trustgate` are one program."""
    script = Path(sys.prefix) / "bin" / "trustgate"
    assert script.exists(), "the distribution installs the command"
    said = subprocess.run([script, "version"], env=environment(tmp_path), capture_output=True, text=True, check=True)
    assert said.stdout == run_once("version", env=environment(tmp_path), cwd=tmp_path).stdout


def test_a_token_is_printed_alone_and_good(folder: Path) -> None:
    env = environment(folder, SERVER_SECRET_KEY=GOOD_KEY)
    folder.mkdir()
    said = run_once("token", "--subject", "ops", "--tenant", "acme", "--lifetime", "90s", env=env, cwd=folder)
    claims = jwt.decode(said.stdout.strip(), GOOD_KEY, algorithms=["HS256"])
    assert (claims["sub"], claims["tenant_id"], claims["exp"] - claims["iat"]) == ("ops", "acme", 90)
    assert said.stdout.count("\n") == 1


def test_the_key_is_made_once_and_for_its_owner_alone(folder: Path) -> None:
    """Two tokens printed at the same time are signed with the same key, which nobody else may read."""
    folder.mkdir()
    env = environment(folder)
    with ThreadPoolExecutor(2) as pool:
        tokens = list(pool.map(lambda _: run_once("token", env=env, cwd=folder).stdout.strip(), range(2)))
    [file] = folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    key = file.read_text().strip()
    assert len(key) >= 32
    for token in tokens:
        assert jwt.decode(token, key, algorithms=["HS256"])["sub"] == "admin"


def test_migrate_twice(folder: Path) -> None:
    folder.mkdir()
    env = environment(folder)
    first, second = (run_once("migrate", env=env, cwd=folder) for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 0)
    assert first.stdout.startswith("applied ")
    assert second.stdout == "nothing to apply: the database is up to date\n"
    program = Program("run", folder=folder).start()
    assert program.stop() == 0


@pytest.mark.parametrize("plane", PLANES)
def test_a_plane_alone_serves_itself_alone(folder: Path, plane: str) -> None:
    with running(plane, folder=folder) as program:
        assert httpx.get(program.url(plane, "/healthz"), trust_env=False).json()["status"] == "healthy"
        assert [name for name in PLANES if program.readiness(name)] == [plane]


def test_proxy_is_the_command_when_none_is_named(folder: Path) -> None:
    program = Program("proxy", folder=folder)
    program.arguments = ()
    program.start(ready=False)
    try:
        until(lambda: program.readiness("proxy") == 200, patience=20, what="the proxy")
    finally:
        assert program.stop() == 0
