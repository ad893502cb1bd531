"""Redis as fleets run it: a cluster of three nodes with a replica each, and a master with a replica under Sentinels."""

import asyncio
import contextlib
import random
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from msgspec.structs import replace

from tests.e2e.program import free_ports
from tests.e2e.program import until as wait_until
from trustgate.connections import RedisVariables
from trustgate.state.redis_link import Link

from .redis_server import RedisServer, executable

SLOTS = 16_384
MASTERS = 3
PATIENCE = 40.0


def ask(server: RedisServer, *words: str | int) -> Any:
    """Ask one server something."""

    async def asking() -> Any:
        link = Link(server.place())
        await link.open()
        try:
            return await link.ask(*words)
        finally:
            await link.aclose()

    return asyncio.run(asking())


def until(check: Callable[[], bool], what: str) -> None:
    """Wait until it is so."""
    wait_until(lambda: check() or None, patience=PATIENCE, what=what)


class Cluster:
    """Three masters with a third of the slots each, and a replica for each of them."""

    def __init__(self) -> None:
        options = {"cluster_enabled": "yes", "cluster_node_timeout": "1000", "cluster_config_file": "nodes.conf"}
        self.servers = [RedisServer(port=port, **options) for port in _pairs_of_ports(2 * MASTERS)]

    @property
    def masters(self) -> list[RedisServer]:
        return self.servers[:MASTERS]

    def place(self) -> RedisVariables:
        """Return how to reach it, by any of its nodes."""
        return replace(self.servers[-1].place(), mode="cluster")

    def start(self) -> None:
        for server in self.servers:
            server.start()
        for at, server in enumerate(self.masters):
            ask(server, "CLUSTER", "ADDSLOTS", *range(SLOTS * at // MASTERS, SLOTS * (at + 1) // MASTERS))
        first = self.servers[0]
        for server in self.servers[1:]:
            ask(server, "CLUSTER", "MEET", "127.0.0.1", first.port)
        until(lambda: all(self._knows_all(server) for server in self.servers), "the nodes do not find one another")
        for master, copy in zip(self.masters, self.servers[MASTERS:], strict=True):
            ask(copy, "CLUSTER", "REPLICATE", ask(master, "CLUSTER", "MYID").decode())
        until(lambda: all(self._is_ok(server) for server in self.servers), "the cluster does not come up")
        until(lambda: all(b"slave" in ask(server, "CLUSTER", "NODES") for server in self.servers), "no replicas")

    def close(self) -> None:
        for server in self.servers:
            server.close()

    def _knows_all(self, server: RedisServer) -> bool:
        return len(ask(server, "CLUSTER", "NODES").splitlines()) == len(self.servers)

    def _is_ok(self, server: RedisServer) -> bool:
        return b"cluster_state:ok" in ask(server, "CLUSTER", "INFO")


def _pairs_of_ports(number: int) -> list[int]:
    """Return ports of which the one that is ten thousand higher is free too: by that nodes speak to one another.

    Both are below those that the system gives to whoever connects.
    """
    found: list[int] = []
    while len(found) < number:
        port = random.SystemRandom().randrange(12_000, 22_000)
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + 10_000))
            found += [port] if port not in found else []
    return found


class Sentinels:
    """A master, a replica, and one Sentinel that is enough to name another master."""

    def __init__(self) -> None:
        self.master = RedisServer()
        self.copy = RedisServer()
        self.port = free_ports(1)[0]
        self._folder = TemporaryDirectory(prefix="trustgate-sentinel-")
        self._process: subprocess.Popen[bytes] | None = None

    def place(self) -> RedisVariables:
        """Return how to reach the master, by asking the Sentinel."""
        return RedisVariables(host="127.0.0.1", port=self.port, mode="sentinel", sentinel_master="gate", timeout=1.0)

    def start(self) -> None:
        self.master.start()
        self.copy.start()
        ask(self.copy, "REPLICAOF", "127.0.0.1", self.master.port)
        until(lambda: ask(self.copy, "ROLE")[3] == b"connected", "the replica does not follow")
        config = Path(self._folder.name, "sentinel.conf")
        config.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self._folder.name}\n"
            f"sentinel monitor gate 127.0.0.1 {self.master.port} 1\n"
            "sentinel down-after-milliseconds gate 500\nsentinel failover-timeout gate 3000\n"
        )
        with Path(self._folder.name, "log").open("wb") as log:
            self._process = subprocess.Popen([executable(), str(config), "--sentinel"], stdout=log, stderr=log)
        until(lambda: b"num-slaves" in b" ".join(self._about()) and self._copies() == 1, "the Sentinel sees no replica")

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self.master.close()
        self.copy.close()
        self._folder.cleanup()

    def _about(self) -> list[bytes]:
        async def asking() -> Any:
            link = Link(RedisVariables(host="127.0.0.1", port=self.port, timeout=1.0))
            wire = await link._dial()
            try:
                return await wire.ask("SENTINEL", "MASTER", "gate")
            finally:
                wire.end("was asked")

        with contextlib.suppress(OSError):
            told = asyncio.run(asking())
            return told if isinstance(told, list) else []
        return []

    def _copies(self) -> int:
        told = self._about()
        fields = dict(zip(told[::2], told[1::2], strict=False))
        return int(fields.get(b"num-slaves", 0))


@contextlib.contextmanager
def started(made: Any) -> Iterator[Any]:
    """Start it, and end it."""
    try:
        made.start()
        yield made
    finally:
        made.close()


def copied(master: RedisServer) -> None:
    """Wait until a master's replicas have all that it has."""

    def is_copied() -> bool:
        _, written, replicas = ask(master, "ROLE")
        return bool(replicas) and all(int(offset) >= written for _, _, offset in replicas)

    until(is_copied, "the replicas do not follow")
