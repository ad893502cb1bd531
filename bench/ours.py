"""TrustGate itself: the bare pass-through, and `trustgate run` configured over its admin API as any operator would."""

import json
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import jwt

from bench import wire
from bench.launch import CHAT, Running, Site, launch
from bench.processes import CannotRun, fresh_port, wait_until

POLICIES: Mapping[str, Mapping[str, object]] = {
    "rate_limiter": {"limit": 1_000_000_000, "window": "1h"},
    "request_size_limiter": {"allowed_payload_size": 8},
}
SLUG = "bench"
WRITERS = 8


def _need(module: str) -> str:
    if find_spec(module) is None:
        raise CannotRun(f"could not be started: there is no {module} yet")
    return version("trustgate")


def pool_version() -> str:
    """Return our version, once there is a pool to measure."""
    return f"{_need('trustgate.forwarding.transport')} (granian {version('granian')})"


def trustgate_version() -> str:
    """Return our version, once there is a command to run."""
    return f"{_need('trustgate.cli')} (granian {version('granian')})"


def start_bare(site: Site) -> Running:
    """Start the pool behind an embedded Granian, without any policy."""
    port = fresh_port()
    command = [sys.executable, "-m", "bench.apps.bare", str(site.upstream_port), str(port)]
    return launch(site, command, [(port, "/")], at_home=True)


def start_trustgate(site: Site, *, consumers: int = 1) -> Running:
    """Start `trustgate run` on an empty folder and configure it: key check, limiters, so many consumers."""
    secret = secrets.token_hex(32)
    admin, proxy, mcp = fresh_port(), fresh_port(), fresh_port()
    env = {
        "TRUSTGATE_DATA_DIR": str(site.folder / "data"),
        "SERVER_ADMIN_PORT": str(admin),
        "SERVER_PROXY_PORT": str(proxy),
        "SERVER_MCP_PORT": str(mcp),
        "SERVER_SECRET_KEY": secret,
        "LOG_LEVEL": "WARNING",
    }
    (site.folder / "data").mkdir()
    command = [sys.executable, "-m", "trustgate", "run"]
    running = launch(site, command, [(admin, "/readyz"), (proxy, "/readyz")], env=env)
    try:
        headers = configure(Admin(admin, secret), site, consumers)
        ready = running._replace(path=f"/{SLUG}{CHAT}", headers=headers)
        limit = time.monotonic() - running.child.began + 60
        wait_until(lambda: _forwards(ready), running.child, limit=limit, what="forwarding")
        return ready
    except BaseException:
        running.child.end()
        raise


IDLE = 20.0
"""Seconds after which a connection that nobody used is not used again."""


class Admin:
    """The admin API over kept-alive connections, one for each thread that calls."""

    def __init__(self, port: int, secret: str) -> None:
        now = int(time.time())
        token = jwt.encode({"sub": "bench", "iat": now, "exp": now + 3600}, secret, algorithm="HS256")
        self.headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        self.port = port
        self.local = threading.local()

    def post(self, path: str, body: object = None) -> Any:
        """Create something and return it. Raises CannotRun with the answer when it was refused."""
        raw = b"" if body is None else json.dumps(body).encode()
        with self._connection() as connection:
            connection.request("POST", path, raw, self.headers)
            answer = connection.getresponse()
            said = answer.read()
        if answer.status >= 300:
            raise CannotRun(f"POST {path}: {answer.status} {said[:200].decode(errors='replace')}")
        return json.loads(said) if said else None

    @contextmanager
    def _connection(self) -> Iterator[HTTPConnection]:
        used = getattr(self.local, "used", -IDLE)
        if time.monotonic() - used >= IDLE:  # the server may have closed one that was not used for long
            self.local.connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            yield self.local.connection
            self.local.used = time.monotonic()
        except OSError as error:
            raise CannotRun(f"the admin API broke off: {error!r}") from error


def configure(admin: Admin, site: Site, consumers: int) -> dict[str, str]:
    """Make the gateway, its upstream, policies, consumers and one key; return the headers that carry the key.

    The consumer that is measured comes last: when its key works, everything before it is in the snapshot too.
    """
    gateway = admin.post("/v1/gateways", {"name": "Bench", "slug": SLUG})["id"]
    root = f"/v1/gateways/{gateway}"
    auth = {"type": "api_key", "api_key": {"api_key": "sk-upstream"}}
    options = {"base_url": f"{site.upstream}/v1"}
    fields = {"name": "mock", "provider": "openai", "provider_options": options, "auth": auth}
    registries = [{"id": admin.post(f"{root}/registries", fields)["id"]}]
    for slug, settings in POLICIES.items():
        policy = admin.post(f"{root}/policies", {"name": slug, "slug": slug, "settings": settings})
        admin.post(f"{root}/policies/{policy['id']}/global")
    _crowd(
        lambda number: admin.post(f"{root}/consumers", {"name": f"crowd-{number}", "registries": registries}),
        consumers - 1,
    )
    consumer = admin.post(f"{root}/consumers", {"name": SLUG, "slug": SLUG, "registries": registries})
    key = admin.post(f"{root}/auths", {"name": "bench-key", "type": "api_key"})
    admin.post(f"{root}/consumers/{consumer['id']}/auths/{key['id']}")
    return {"x-ag-gateway-slug": SLUG, "x-ag-api-key": key["api_key"]}


def _crowd(create: Callable[[int], object], count: int) -> None:
    with ThreadPoolExecutor(WRITERS) as writers:
        for done, _ in enumerate(writers.map(create, range(count)), 1):
            if done % 1000 == 0:
                print(f"    {done} consumers created", flush=True)


def _forwards(running: Running) -> bool:
    connection = HTTPConnection("127.0.0.1", running.port, timeout=30)
    try:
        headers = {**running.headers, "content-type": "application/json"}
        connection.request("POST", running.path, wire.request_body(stream=False), headers)
        answer = connection.getresponse()
        return answer.read() != b"" and answer.status == 200
    except OSError:
        return False
    finally:
        connection.close()
