"""What ten minutes of half the load that it can carry leave behind: `python -m tests.services.soak` prints it.

One process with all planes over Postgres and Redis, in front of an upstream in another process. Short requests, streams
that are read to their end, streams whose caller leaves in the middle, and a write of configuration every second.
Memory, tasks and file descriptors are read all the while from `/metrics`.
"""

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean

import httpx
from msgspec import Struct

from tests.contracts.redis_server import RedisServer
from tests.e2e.program import HOST, Admin, Program
from tests.fleet.kit import Fleet
from tests.fleet.relay import Relay, to_socket
from tests.postgres_server import fresh_database, serving_postgres

CALLERS = 96
SHARES = ((0.96, "short"), (0.98, "stream"), (1.0, "left"))
"""Of every hundred requests, how many are of which kind (by what the sum is below)."""
CHUNKS_READ = 20
EVERY = 2.0
"""Seconds between two readings."""
GAUGES = {
    "memory": "process_resident_memory_bytes",
    "tasks": "trustgate_event_loop_tasks",
    "files": "process_open_fds",
}
MEGABYTE = 1e6


class Reading(Struct, frozen=True):
    """What the process had at a moment, in seconds since the start."""

    at: float
    memory: float
    tasks: float
    files: float


class Found(Struct, frozen=True, kw_only=True):
    """What a soak found."""

    seconds: float
    capacity: float
    outcomes: Counter[str]
    writes: int
    idle: Reading
    readings: list[Reading]
    after: Reading

    def slope(self) -> tuple[float, float]:
        """Return how memory grew, in bytes a second, and how far readings lie from that line (bytes). The first half
        of the time is left out: pools, caches and what allocators keep fill in it."""
        steady = [each for each in self.readings if each.at > self.seconds / 2]
        at, memory = fmean(each.at for each in steady), fmean(each.memory for each in steady)
        spread = sum((each.at - at) ** 2 for each in steady)
        slope = sum((each.at - at) * (each.memory - memory) for each in steady) / spread
        rest = [each.memory - memory - slope * (each.at - at) for each in steady]
        return slope, (sum(each**2 for each in rest) / len(rest)) ** 0.5

    def tell(self) -> Iterator[str]:
        """Yield what it came to, for a reader."""
        slope, noise = self.slope()
        grown = slope * self.seconds / 2
        eighths = [self.readings[len(self.readings) * at // 8].memory for at in range(1, 8)]
        told = ", ".join(f"{number} {kind}" for kind, number in sorted(self.outcomes.items()))
        yield f"{self.seconds:.0f} s at half of {self.capacity:.0f} requests a second, {self.writes} writes: {told}"
        yield (
            f"memory: {self.idle.memory / MEGABYTE:.1f} MB before, {self.after.memory / MEGABYTE:.1f} after; "
            f"{grown / MEGABYTE:+.2f} MB over the second half, readings differ by {noise / MEGABYTE:.2f} MB; after "
            f"each eighth: {', '.join(f'{each / MEGABYTE:.1f}' for each in eighths)}"
        )
        most = max(self.readings, key=lambda each: each.files)
        yield (
            f"tasks: {self.idle.tasks:.0f} before, {max(each.tasks for each in self.readings):.0f} at most, "
            f"{self.after.tasks:.0f} after; file descriptors: {self.idle.files:.0f}, {most.files:.0f}, "
            f"{self.after.files:.0f}"
        )


class Caller:
    """One application: asks over a connection that it keeps, and dials again where it left."""

    def __init__(self, port: int, key: str, outcomes: Counter[str]) -> None:
        self._port = port
        self._outcomes = outcomes
        self._wire: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        asked = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
        short, stream = self._write(key, asked), self._write(key, {**asked, "stream": True})
        self._said = {"short": short, "stream": stream, "left": stream}

    def _write(self, key: str, body: Mapping[str, object]) -> bytes:
        raw = json.dumps(body).encode()
        head = f"POST /app/v1/chat/completions HTTP/1.1\r\nhost: {HOST}\r\nauthorization: Bearer {key}\r\n"
        return f"{head}content-type: application/json\r\ncontent-length: {len(raw)}\r\n\r\n".encode() + raw

    async def ask(self, kind: str) -> None:
        """Ask once, and count what came of it."""
        try:
            async with asyncio.timeout(30):
                self._outcomes[await self._ask(kind)] += 1
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            self._outcomes[f"failed ({type(error).__name__})"] += 1
            self.leave()

    async def _ask(self, kind: str) -> str:
        reader, writer = self._wire or await asyncio.open_connection(HOST, self._port)
        self._wire = reader, writer
        writer.write(self._said[kind])
        head = await reader.readuntil(b"\r\n\r\n")
        status = head[9:12].decode()
        if kind == "left":
            for _ in range(CHUNKS_READ):
                await reader.readuntil(b"\n\n")
            self.leave()
        elif kind == "stream":
            await reader.readuntil(b"data: [DONE]\n\n")
            await reader.readuntil(b"0\r\n\r\n")
        else:
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
        return kind if status == "200" else f"answered {status}"

    def leave(self) -> None:
        """Hang up."""
        if self._wire is not None:
            self._wire[1].transport.abort()
            self._wire = None


def kind_of(number: int) -> str:
    """Return which kind the nth request is: the same mixture in any hundred."""
    at = (number * 37 % 100 + 0.5) / 100
    return next(kind for below, kind in SHARES if at < below)


async def keep_asking(callers: list[Caller], pause: float, until: float) -> None:
    """Have each caller ask again and again, all together once in `pause` seconds; without one, as often as it goes."""
    turn = iter(range(10**9))

    async def go(caller: Caller, first: float) -> None:
        due = first
        while (now := time.monotonic()) < until:
            if pause and now < due:
                await asyncio.sleep(due - now)
            due += pause * len(callers)
            await caller.ask(kind_of(next(turn)) if pause else "short")

    begun = time.monotonic()
    await asyncio.gather(*(go(caller, begun + at * pause) for at, caller in enumerate(callers)))


async def read(program: Program, begun: float) -> Reading:
    """Return what the process has now."""
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        told = (await client.get(program.url("admin", "/metrics"))).text
    values = {line.split()[0]: float(line.split()[1]) for line in told.splitlines() if line and line[0] != "#"}
    return Reading(time.monotonic() - begun, *(values[name] for name in GAUGES.values()))


async def settled(program: Program, begun: float, like: Reading | None = None) -> Reading:
    """Return a reading once nothing is under way any more; what does not end within a while is what is looked for."""
    reading = await read(program, begun)
    for _ in range(60):
        await asyncio.sleep(0.5)
        before, reading = reading, await read(program, begun)
        quiet = reading.tasks == before.tasks and reading.files == before.files
        if quiet and (like is None or (reading.tasks <= like.tasks and reading.files <= like.files)):
            break
    return reading


async def soak(program: Program, admin: Admin, key: str, consumer: str, seconds: float) -> Found:
    """Load the program and read what it has."""
    outcomes: Counter[str] = Counter()
    callers = [Caller(program.ports["proxy"], key, outcomes) for _ in range(CALLERS)]
    await keep_asking(callers, 0.0, time.monotonic() + 1)
    outcomes.clear()
    begun = time.monotonic()
    await keep_asking(callers, 0.0, begun + 4)
    capacity = outcomes["short"] / (time.monotonic() - begun)
    outcomes.clear()
    for caller in callers:
        caller.leave()
    begun = time.monotonic()
    idle = await settled(program, begun)
    begun = time.monotonic()
    readings: list[Reading] = []
    writes = 0

    async def keep_reading() -> None:
        nonlocal writes
        while True:
            readings.append(await read(program, begun))
            for _ in range(round(EVERY)):
                writes += 1
                await asyncio.to_thread(admin.call, "PUT", consumer, {"aliases": {"best": f"m{writes}"}})
                await asyncio.sleep(1)
            if sys.stderr.isatty():
                print(f"\r{time.monotonic() - begun:.0f} of {seconds:.0f} s", end="", file=sys.stderr)

    reading = asyncio.create_task(keep_reading())
    await keep_asking(callers, 2 / capacity, begun + seconds)
    reading.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await reading
    for caller in callers:
        caller.leave()
    after = await settled(program, begun, idle)
    return Found(
        seconds=seconds,
        capacity=capacity,
        outcomes=outcomes,
        writes=writes,
        idle=idle,
        readings=readings,
        after=after,
    )


@contextlib.contextmanager
def upstream() -> Iterator[int]:
    """Start the bench's upstream, and end it by closing what it reads."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.upstream"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.communicate(timeout=10)


def run(seconds: float) -> Found:
    """Start everything, soak, and stop everything."""
    with (
        serving_postgres() as server,
        tempfile.TemporaryDirectory() as folder,
        upstream() as port,
        contextlib.closing(RedisServer()) as redis,
    ):
        redis.start()
        database = fresh_database(server)
        with Relay(to_socket(f"{database.host}/.s.PGSQL.5432")) as line:
            fleet = Fleet(Path(folder), database.name, line)
            program = fleet.start("run", REDIS_HOST=HOST, REDIS_PORT=str(redis.port))
            try:
                with program.admin() as admin:
                    gateway = admin.gateway()
                    registry = gateway.registry(
                        "up", "openai_compatible", key="sk-1", base_url=f"http://{HOST}:{port}/v1"
                    )
                    consumer = gateway.consumer("app", registry)
                    key = gateway.key(consumer)
                    gateway.policy("rate_limiter", consumer, limit=10**9, window="1m")
                    path = gateway.path(f"/consumers/{consumer}")
                    return asyncio.run(soak(program, admin, key.text, path, seconds))
            finally:
                fleet.stop()


def main() -> None:
    """Soak and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    found = run(parser.parse_args().seconds)
    print(*found.tell(), sep="\n")


if __name__ == "__main__":
    main()
