"""The installer without Docker, as somebody runs it: from nothing to a gateway that answers, and again."""

import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.program import free_ports, until

ROOT = Path(__file__).parents[2]
SCRIPTS = ("scripts/install.sh", "tests/services/install.sh")


class Machine:
    """A home, and what the installer leaves in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = folder / "tg"
        self.bin = folder / "bin"

    def install(self, **variables: str) -> "subprocess.CompletedProcess[str]":
        env = {name: os.environ[name] for name in os.environ if not name.startswith(("AG_", "SERVER_", "DB_"))}
        env |= {"HOME": str(self.folder), "AG_DIR": str(self.place), "AG_REPO_URL": str(ROOT), "AG_MODE": "python"}
        env |= {"AG_BIN_DIR": str(self.bin), "AG_REF": "HEAD", **variables}
        return subprocess.run(
            ["sh", str(ROOT / "scripts" / "install.sh")],
            env={name: value for name, value in env.items() if value},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def end(self) -> None:
        pid_file = self.place / "var" / "trustgate.pid"
        if pid_file.exists():
            try:
                os.kill(int(pid_file.read_text()), signal.SIGTERM)
            except ProcessLookupError:
                return


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("home"))
    yield machine
    machine.end()


@pytest.mark.parametrize("script", SCRIPTS)
def test_shellcheck(script: str) -> None:
    done = subprocess.run(["shellcheck", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_from_nothing_to_a_gateway_that_answers(machine: Machine) -> None:
    installed = machine.install(AG_NO_START="1")
    assert installed.returncode == 0, installed.stderr
    assert "not started" in installed.stdout
    env_file = machine.place / ".env"
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
    secrets = [line.partition("=")[2] for line in env_file.read_text().splitlines() if "=" in line]
    assert len(set(secrets)) == len(secrets) == 3
    assert all(len(secret) == 64 for secret in secrets)
    assert not any(secret in installed.stdout + installed.stderr for secret in secrets)

    ports = free_ports(3)
    names = ("SERVER_ADMIN_PORT", "SERVER_PROXY_PORT", "SERVER_MCP_PORT")
    with env_file.open("a") as file:
        file.writelines(f"{name}={port}\n" for name, port in zip(names, ports, strict=True))
    before = env_file.read_text()
    started = machine.install()
    assert started.returncode == 0, started.stderr
    assert "TrustGate is ready." in started.stdout
    assert f"http://localhost:{ports[1]}" in started.stdout
    assert env_file.read_text() == before, "an .env that is there is left as it is"

    command = str(machine.bin / "trustgate")
    token = subprocess.run([command, "token"], cwd="/", capture_output=True, text=True, check=True).stdout.strip()
    made = httpx.post(
        f"http://127.0.0.1:{ports[0]}/v1/gateways",
        json={"name": "Mine", "slug": "mine"},
        headers={"authorization": f"Bearer {token}"},
        trust_env=False,
    )
    assert made.status_code == 201, made.text
    doctor = subprocess.run([command, "doctor"], cwd="/", capture_output=True, text=True, check=False)
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    assert "FAIL" not in doctor.stdout

    again = machine.install()
    assert again.returncode == 0, again.stderr
    assert "It runs already" in again.stdout
    machine.end()
    until(
        lambda: subprocess.run([command, "healthy"], cwd="/", capture_output=True, check=False).returncode == 1 or None
    )


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"AG_MODE": "podman"}, "AG_MODE is podman"),
        ({"AG_REPO_URL": "", "AG_DIR": "/tmp/nowhere-that-is"}, "AG_REPO_URL is not set"),
        ({"AG_REPO_URL": "/nowhere"}, "cannot be cloned"),
        ({"AG_REF": "no-such-branch"}, "no branch, tag or commit"),
        ({"PYTHON": "python2.7"}, "install one of them"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, variables: dict[str, str], said: str) -> None:
    done = Machine(tmp_path).install(**variables)
    assert done.returncode == 1
    assert said in done.stderr
