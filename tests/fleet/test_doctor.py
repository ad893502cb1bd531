"""`trustgate doctor` finds what is wrong before a roll-out does, and `migrate --dry-run` shows what would be done."""

from pathlib import Path

import pytest

from tests.contracts.redis_server import RedisServer
from tests.e2e.program import environment, free_ports, run_once
from tests.fleet.kit import Fleet, Town
from trustgate.storage.settings import PostgresSettings

SECRET = "a secret of more than thirty-two bytes"


def lines(said: str) -> dict[str, str]:
    """Return the mark of each check by its name."""
    found = [line.split(None, 1) for line in said.splitlines() if not line.startswith(" ")]
    return {rest.partition(":")[0]: mark for mark, rest in found}


def test_where_all_is_well(tmp_path: Path) -> None:
    env = environment(tmp_path / "data")
    run_once("migrate", env=env, cwd=tmp_path)
    told = run_once("doctor", env=env, cwd=tmp_path)
    assert told.returncode == 0, told.stdout + told.stderr
    assert set(lines(told.stdout).values()) == {"ok"}
    assert {"secret", "folder", "plugins", "database", "migrations", "redis", "kafka"} <= lines(told.stdout).keys()


def test_everything_that_is_wrong_is_said_with_what_to_do(tmp_path: Path) -> None:
    one, two, three = (str(port) for port in free_ports(3))
    (tmp_path / "data").write_text("a file")
    env = environment(
        tmp_path / "data",
        APP_ENV="production",
        DB_HOST="127.0.0.1",
        DB_PORT=one,
        DB_PASSWORD="not-to-be-shown",
        REDIS_HOST="127.0.0.1",
        REDIS_PORT=two,
        REDIS_PASSWORD="not-to-be-shown",
        KAFKA_BROKERS=f"127.0.0.1:{three}",
    )
    told = run_once("doctor", env=env, cwd=tmp_path)
    assert told.returncode == 1
    marks = lines(told.stdout)
    assert [name for name, mark in marks.items() if mark == "FAIL"] == [
        "secret",
        "folder",
        "database",
        "redis",
        "kafka",
    ]
    assert "openssl rand -hex 32" in told.stdout
    assert "check DB_HOST" in told.stdout
    assert "check REDIS_HOST" in told.stdout
    assert "check KAFKA_BROKERS" in told.stdout
    assert "not-to-be-shown" not in told.stdout + told.stderr
    assert told.stderr == "trustgate: 5 of these have to be mended\n"


def test_a_secret_that_does_not_open_what_was_sealed(fleet: Fleet, tmp_path: Path) -> None:
    admin_plane = fleet.start("admin")
    with admin_plane.admin() as admin:
        town = Town(admin)
        town.gateway.registry("secretive", "openai", key="sk-secret")
    right = run_once("doctor", env=admin_plane.env, cwd=tmp_path)
    assert lines(right.stdout)["sealed values"] == "ok", right.stdout
    assert {lines(right.stdout)[name] for name in ("clock", "connections", "migrations")} == {"ok"}
    wrong = run_once("doctor", env=admin_plane.env | {"SERVER_SECRET_KEY": SECRET}, cwd=tmp_path)
    assert wrong.returncode == 1
    assert lines(wrong.stdout)["sealed values"] == "FAIL"
    assert "SERVER_SECRET_KEY that sealed them" in wrong.stdout


def test_a_redis_that_may_throw_away_what_is_counted(tmp_path: Path) -> None:
    server = RedisServer(password="pw-not-shown")
    server.start()
    try:
        place = server.place()
        env = environment(tmp_path / "data", REDIS_HOST=place.host, REDIS_PORT=str(place.port))
        refused = run_once("doctor", env=env, cwd=tmp_path)
        assert lines(refused.stdout)["redis"] == "FAIL"
        told = run_once("doctor", env=env | {"REDIS_PASSWORD": "pw-not-shown"}, cwd=tmp_path)
        assert lines(told.stdout)["redis"] == "ok"
        assert "noeviction" in told.stdout
        assert "pw-not-shown" not in told.stdout + told.stderr
    finally:
        server.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_dry_run_shows_the_statements_and_applies_none(
    kind: str, tmp_path: Path, postgres_server: PostgresSettings, fleet: Fleet
) -> None:
    env = environment(tmp_path / "data", **(fleet.variables if kind == "postgres" else {}))
    first = run_once("migrate", "--dry-run", env=env, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "-- 0001_configuration.sql" in first.stdout
    assert "CREATE TABLE processes" in first.stdout
    assert run_once("migrate", "--dry-run", env=env, cwd=tmp_path).stdout == first.stdout
    applied = run_once("migrate", env=env, cwd=tmp_path)
    assert "applied 0002_processes.sql" in applied.stdout
    assert run_once("migrate", "--dry-run", env=env, cwd=tmp_path).stdout == "-- nothing to apply\n"


def test_healthy_says_who_is_not(fleet: Fleet, tmp_path: Path) -> None:
    proxy = fleet.start("admin")
    assert run_once("healthy", env=proxy.env, cwd=tmp_path).returncode == 0
    proxy.stop()
    told = run_once("healthy", env=proxy.env, cwd=tmp_path)
    assert (told.returncode, told.stderr) == (1, "trustgate: no plane answers\n")
