"""The program itself, as an operator runs it: a process with an environment of its own, ports, logs and events."""

import contextlib
import http.client
import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import httpx
import jwt

from tests.left import programs

T = TypeVar("T")

HOST = "127.0.0.1"
START_PATIENCE = 30.0
STOP_PATIENCE = 20.0
PATIENCE = 10.0
PLANES = ("admin", "proxy", "mcp")
Json = dict[str, Any]


def until(check: Callable[[], T | None], *, patience: float = PATIENCE, what: str = "") -> T:
    """Return the first true result of `check`, asked again and again until the patience is used up."""
    deadline = time.monotonic() + patience
    while not (result := check()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience} s: {what or check}; last saw {result!r}")
        time.sleep(0.01)
    return result


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on, below those that the system gives to whoever connects."""
    found: list[int] = []
    while len(found) < count:
        port = random.SystemRandom().randrange(18_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            found += [port] if port not in found else []
    return found


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Return a whole environment: nothing of whoever runs the tests gets into the program but the search paths.

    Nothing is asked twice, unless `more` says so: most tests count what a provider is asked.
    """
    paths = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return {**paths, "TRUSTGATE_DATA_DIR": str(folder), "SERVER_HOST": HOST, "PROVIDER_MAX_RETRIES": "0", **more}


def command(*arguments: str) -> list[str]:
    """Return how the program is started."""
    return [sys.executable, "-m", "trustgate", *arguments]


def run_once(
    *arguments: str, env: Mapping[str, str], cwd: Path, patience: float = START_PATIENCE
) -> "subprocess.CompletedProcess[str]":
    """Run a command that is expected to end by itself."""
    return subprocess.run(
        command(*arguments), env=env, cwd=cwd, capture_output=True, text=True, timeout=patience, check=False
    )


def mint(secret: str, **claims: object) -> str:
    """Return an admin token."""
    now = int(time.time())
    return jwt.encode({"sub": "tests", "iat": now, "exp": now + 3600, **claims}, secret, algorithm="HS256")


class Program:
    """One process of the program, serving. Its output goes to files, so that no pipe ever fills."""

    def __init__(
        self,
        *arguments: str,
        folder: Path,
        ports: Mapping[str, int] | None = None,
        secret: str = "",
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.arguments = arguments
        self.folder = folder
        self.secret = secret or secrets.token_hex(32)
        self.ports = dict(ports or zip(PLANES, free_ports(3), strict=True))
        self.event_file = folder / f"events-{arguments[0]}.jsonl"
        self.cwd = folder / "cwd"
        self.cwd.mkdir(parents=True, exist_ok=True)
        self.env = environment(
            folder,
            **{f"SERVER_{name.upper()}_PORT": str(port) for name, port in self.ports.items()},
            **{"SERVER_SECRET_KEY": self.secret, "TELEMETRY_LOG": str(self.event_file), **(variables or {})},
        )
        programs.append(self)
        self._stdout = folder / f"stdout-{arguments[0]}.log"
        self._stderr = folder / f"stderr-{arguments[0]}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._read = 0
        self._rest = b""
        self._events: list[Json] = []

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The process; it must have been started."""
        assert self._process is not None
        return self._process

    @property
    def names(self) -> Sequence[str]:
        """The planes that it serves."""
        return PLANES if self.arguments[0] == "run" else (self.arguments[0],)

    @property
    def stdout(self) -> str:
        """What it has written to its standard output so far."""
        return self._stdout.read_text("utf-8", "replace") if self._stdout.exists() else ""

    @property
    def stderr(self) -> str:
        """What it has written to its standard error so far."""
        return self._stderr.read_text("utf-8", "replace") if self._stderr.exists() else ""

    def url(self, plane: str, path: str = "") -> str:
        """Return an address on one of its planes."""
        return f"http://{HOST}:{self.ports[plane]}{path}"

    def start(self, *, ready: bool = True) -> "Program":
        """Start it, and wait until every plane says that it is ready."""
        with self._stdout.open("ab") as stdout, self._stderr.open("ab") as stderr:
            self._process = subprocess.Popen(
                command(*self.arguments),
                env=self.env,
                cwd=self.cwd,
                stdout=stdout,
                stderr=stderr,
                stdin=subprocess.DEVNULL,
            )
        if ready:
            self.wait_ready()
        return self

    def wait_ready(self) -> None:
        """Wait until every plane says that it is ready."""
        for name in self.names:
            until(partial(self._is_ready, name), patience=START_PATIENCE, what=f"{name} ready")

    def _is_ready(self, plane: str) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the program ended with {self.process.returncode}: {self.stderr[-3000:]}")
        return self.readiness(plane) == 200

    def readiness(self, plane: str) -> int:
        """Return the status of /readyz, 0 when nobody answers."""
        try:
            return self.get(plane, "/readyz")[0]
        except (OSError, http.client.HTTPException):
            return 0

    def get(self, plane: str, path: str) -> tuple[int, str]:
        """Return status and text of something that every plane tells."""
        connection = http.client.HTTPConnection(HOST, self.ports[plane], timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self, patience: float = STOP_PATIENCE) -> int:
        """Wait for its end and return the exit code."""
        return self.process.wait(patience)

    def stop(self) -> int:
        """Have it end in good order, or else kill it; return the exit code."""
        if self.process.poll() is None:
            self.signal()
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def abandon(self) -> None:
        """End it at once if it is still there: the test that started it has failed."""
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def kill(self) -> None:
        """End it at once, as `kill -9` does."""
        self.process.kill()
        self.process.wait()

    def events(self) -> list[Json]:
        """Return every event that has been written so far."""
        if not self.event_file.exists():
            return self._events
        with self.event_file.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        self._read += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._events += [json.loads(line) for line in lines if line.startswith(b'{"schema_version"')]
        return self._events

    def event(self, trace_id: str) -> Json:
        """Return the event of a request once it has been written. A scrape has what waits written at once."""
        if self._find(trace_id) is None and self.process.poll() is None:
            self.get(self.names[-1], "/metrics")
        return until(partial(self._find, trace_id), patience=5, what=f"event {trace_id}")

    def _find(self, trace_id: str) -> Json | None:
        return next((event for event in reversed(self.events()) if event["trace_id"] == trace_id), None)

    def metrics(self, plane: str = "proxy") -> dict[str, float]:
        """Return the samples of /metrics by name and labels, as they are written."""
        status, text = self.get(plane, "/metrics")
        assert status == 200
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def admin(self, **claims: object) -> "Admin":
        """Return a client of its admin API."""
        return Admin(self.url("admin"), mint(self.secret, **claims))


@contextlib.contextmanager
def running(*arguments: str, folder: Path, **more: Any) -> Iterator[Program]:
    """Run the program for a while. It must end in good order, and say so with 0, unless it has ended before."""
    program = Program(*arguments, folder=folder, **more).start()
    try:
        yield program
    finally:
        ended = program.process.poll() is not None
        code = program.stop()
    assert ended or code == 0, program.stderr[-3000:]


class Admin:
    """The admin API."""

    def __init__(self, url: str, token: str) -> None:
        self.token = token
        self._client = httpx.Client(
            base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=20, trust_env=False
        )

    def __enter__(self) -> "Admin":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def call(self, method: str, path: str, body: object = None) -> httpx.Response:
        """Make one call, whatever its outcome."""
        return self._client.request(method, path, json=body) if body is not None else self._client.request(method, path)

    def done(self, method: str, path: str, body: object = None) -> Json:
        """Make one call that succeeds and return what it says."""
        answer = self.call(method, path, body)
        assert answer.is_success, (method, path, answer.status_code, answer.text)
        return cast(Json, answer.json()) if answer.content else {}

    def gateway(self, slug: str = "", **more: object) -> "Gateway":
        """Make a gateway, under a slug of its own if none is given."""
        slug = slug or f"gw-{secrets.token_hex(5)}"
        return Gateway(self, self.done("POST", "/v1/gateways", {"name": slug, "slug": slug, **more}))


class Gateway:
    """A gateway, and the few things that tests make in it."""

    def __init__(self, admin: Admin, made: Json) -> None:
        self.admin = admin
        self.id: str = made["id"]
        self.slug: str = made["slug"]

    def path(self, rest: str = "") -> str:
        """Return the admin path of something in it."""
        return f"/v1/gateways/{self.id}{rest}"

    def registry(self, name: str, provider: str, *, key: str = "", **options: object) -> str:
        """Make a registry and return its id. Its failures are asked for, so that it is not left alone for them."""
        body: Json = {"name": name, "provider": provider, "provider_options": options}
        body["health_checks"] = {"passive": False}
        if key:
            body["auth"] = {"type": "api_key", "api_key": {"api_key": key}}
        return cast(str, self.admin.done("POST", self.path("/registries"), body)["id"])

    def consumer(self, name: str, *registries: str, **more: object) -> str:
        """Make a consumer of these registries and return its id; its slug is its name."""
        bound = [{"id": registry} for registry in registries]
        made = self.admin.done("POST", self.path("/consumers"), {"name": name, "registries": bound, **more})
        assert made["slug"] == name
        return cast(str, made["id"])

    def key(self, *consumers: str, name: str = "") -> "Key":
        """Make a key and attach it to these consumers."""
        body = {"name": name or f"key-{secrets.token_hex(3)}", "type": "api_key"}
        made = self.admin.done("POST", self.path("/auths"), body)
        for consumer in consumers:
            self.attach(consumer, "auths", made["id"])
        return Key(self, made["id"], made["api_key"])

    def attach(self, consumer: str, kind: str, id_: str) -> None:
        """Attach an auth, a registry or a policy to a consumer."""
        self.admin.done("POST", self.path(f"/consumers/{consumer}/{kind}/{id_}"))

    def policy(self, slug: str, *consumers: str, **settings: object) -> str:
        """Configure a policy, put these consumers under it, and return its id."""
        body = {"name": f"{slug}-{secrets.token_hex(3)}", "slug": slug, "settings": settings}
        made = self.admin.done("POST", self.path("/policies"), body)
        for consumer in consumers:
            self.attach(consumer, "policies", made["id"])
        return cast(str, made["id"])


class Key:
    """An API key: its id, and the key in clear."""

    def __init__(self, gateway: Gateway, id_: str, text: str) -> None:
        self.gateway = gateway
        self.id = id_
        self.text = text

    @property
    def headers(self) -> dict[str, str]:
        """The two headers of the published first request."""
        return {"X-AG-Gateway-Slug": self.gateway.slug, "X-AG-API-Key": self.text}

    def set(self, **changes: object) -> None:
        """Change the auth."""
        self.gateway.admin.done("PUT", self.gateway.path(f"/auths/{self.id}"), changes)
