"""How soon a write is in force in five proxies, and whether any request sees half of one.

One writer makes a thousand writes, each of which gives an alias another meaning. Every proxy is asked for the alias all
the while: an answer names its revision and the model that the alias then stood for, and both have to be of one write.
`python -m tests.fleet.measure` prints what it was.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import httpx

from tests.fleet.kit import Fleet, Town
from tests.fleet.relay import Relay, to_socket
from tests.postgres_server import fresh_database, serving_postgres

PROXIES, WRITES = 5, 1000
BETWEEN = 0.02
"""Seconds between two questions to one proxy, which is as exact as the answer can be."""


class Seen:
    """What one proxy has answered: when each revision was first seen."""

    def __init__(self) -> None:
        self.at: dict[int, float] = {}
        self.answers: list[tuple[int, str]] = []

    def note(self, answer: httpx.Response) -> None:
        revision = int(answer.headers["x-ag-revision"])
        self.at.setdefault(revision, time.monotonic())
        self.answers.append((revision, answer.json()["model"] if answer.status_code == 200 else ""))

    def since(self, revision: int) -> float:
        """Return when this revision or a later one was first seen."""
        return min(at for seen, at in self.at.items() if seen >= revision)


async def watch(client: httpx.AsyncClient, url: str, headers: dict[str, str], seen: Seen) -> None:
    asked = {"model": "best", "messages": [{"role": "user", "content": "Hello!"}]}
    while True:
        seen.note(await client.post(url, json=asked, headers=headers))
        await asyncio.sleep(BETWEEN)


async def until(check: Callable[[], bool]) -> None:
    for _ in range(6000):
        if check():
            return
        await asyncio.sleep(0.005)
    raise TimeoutError


async def measure(fleet: Fleet, writes: int) -> None:
    admin_plane = fleet.start("admin")
    proxies = [fleet.start("proxy") for _ in range(PROXIES)]
    with admin_plane.admin() as admin:
        town = Town(admin)
        path = town.gateway.path(f"/consumers/{town.consumer}")
        written: dict[int, tuple[str, float]] = {}
        first = admin.call("PUT", path + "?wait=applied", {"aliases": {"best": "echo-0"}})
        written[int(first.headers["x-ag-revision"])] = ("echo-0", time.monotonic())
        assert first.headers["x-ag-applied"] == f"{PROXIES}/{PROXIES}"
        seen = [Seen() for _ in proxies]
        async with (
            httpx.AsyncClient(trust_env=False, timeout=30) as client,
            httpx.AsyncClient(
                base_url=admin_plane.url("admin"),
                headers={"authorization": f"Bearer {admin.token}"},
                trust_env=False,
                timeout=30,
            ) as writer,
        ):
            watching = [
                asyncio.create_task(
                    watch(client, proxy.url("proxy", "/app/v1/chat/completions"), town.key.headers, each)
                )
                for proxy, each in zip(proxies, seen, strict=True)
            ]
            for number in range(1, writes + 1):
                told = await writer.put(path, json={"aliases": {"best": f"echo-{number}"}})
                written[int(told.headers["x-ag-revision"])] = (f"echo-{number}", time.monotonic())
                await asyncio.sleep(0.01)
            last = max(written)
            await until(lambda: all(each.at and max(each.at) >= last for each in seen))
            revoked = time.monotonic()
            await writer.delete(town.gateway.path(f"/auths/{town.key.id}"))
            await until(lambda: all(each.answers[-1][1] == "" for each in seen))
            refused = time.monotonic() - revoked
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)
    report(written, seen, refused)


def report(written: dict[int, tuple[str, float]], seen: list[Seen], refused: float) -> None:
    answers = [(revision, model) for each in seen for revision, model in each.answers if model]
    mixed = [pair for pair in answers if pair[0] in written and written[pair[0]][0] != pair[1]]
    delays = sorted(max(0.0, each.since(revision) - at) for revision, (_, at) in written.items() for each in seen)
    print(f"{len(seen)} proxies, {len(written)} writes, {len(answers)} answers, {len(mixed)} of two revisions")
    print(
        f"from the answer to the write to its effect, ms: p50 {median(delays) * 1000:.0f}, "
        f"p99 {delays[int(len(delays) * 0.99)] * 1000:.0f}, most {delays[-1] * 1000:.0f}"
    )
    print(f"a revoked key was refused by all after {refused * 1000:.0f} ms")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--writes", type=int, default=WRITES)
    chosen = parser.parse_args()
    with serving_postgres() as server, tempfile.TemporaryDirectory() as folder:
        database = fresh_database(server)
        with Relay(to_socket(f"{database.host}/.s.PGSQL.5432")) as line:
            fleet = Fleet(Path(folder), database.name, line)
            try:
                asyncio.run(measure(fleet, chosen.writes))
            finally:
                fleet.stop()


if __name__ == "__main__":
    main()
