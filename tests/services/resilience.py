"""What becomes of requests while each dependency is away: `python -m tests.services.resilience` measures and prints it.

Two proxies and an admin plane over Postgres, Redis, Kafka and a Collector, under a steady load of short requests that a
rate limiter counts. Each dependency is taken away for some seconds, and comes back.
"""

import asyncio
import contextlib
import json
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import httpx
from aiokafka import AIOKafkaConsumer
from msgspec import Struct

from tests.contracts.redis_server import RedisServer
from tests.e2e.program import Program
from tests.fleet.collector import Collector
from tests.fleet.kit import ASKED, Fleet, Town
from tests.fleet.relay import Relay, to_socket
from tests.postgres_server import fresh_database, serving_postgres
from tests.services.kafka_server import KafkaServer


class Times(Struct, frozen=True, kw_only=True):
    """Seconds of each part."""

    before: float = 4.0
    away: float = 6.0
    after: float = 6.0


QUICK: Final = Times(before=1.0, away=2.5, after=1.0)
EVERY: Final = 0.02
"""Seconds between two requests to one proxy."""
TOPIC: Final = "trustgate.requests"


class Answer(Struct, frozen=True):
    """One request: when it was asked, how long it took (seconds), and what it came to."""

    at: float
    took: float
    status: int
    trace_id: str


class Fault(Struct, frozen=True, kw_only=True):
    """How something is taken away and brought back, and how it is seen that all is well again."""

    name: str
    take: Callable[[], object]
    give: Callable[[], object]
    entry: str


class World:
    """All of it, running."""

    def __init__(self, fleet: Fleet, proxies: list[Program], admin: Program, town: Town, times: Times) -> None:
        self.fleet = fleet
        self.proxies = proxies
        self.admin = admin
        self.town = town
        self.answers: list[Answer] = []
        self.times = times


async def ask_on_and_on(world: World, proxy: Program, client: httpx.AsyncClient) -> None:
    url = proxy.url("proxy", "/app/v1/chat/completions")
    under_way: set[asyncio.Task[None]] = set()

    async def ask() -> None:
        started = time.monotonic()
        try:
            told = await client.post(url, json=ASKED, headers=world.town.key.headers)
            status, trace_id = told.status_code, told.headers.get("x-ag-trace-id", "")
        except httpx.HTTPError:
            status, trace_id = 0, ""
        world.answers.append(Answer(started, time.monotonic() - started, status, trace_id))

    try:
        while True:
            task = asyncio.create_task(ask())
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            await asyncio.sleep(EVERY)
    finally:
        await asyncio.gather(*under_way)


def p99(answers: list[Answer]) -> float:
    took = sorted(answer.took for answer in answers)
    return took[len(took) * 99 // 100] * 1000 if took else 0.0


async def well(proxy: Program, entry: str) -> bool:
    """Whether a proxy says that what was away is back."""
    status, told = await asyncio.to_thread(proxy.get, "proxy", "/readyz")
    return status == 200 and json.loads(told)["dependencies"].get(entry, "ok") == "ok"


async def suffer(world: World, fault: Fault) -> str:
    """Return the row of one fault."""
    begun = time.monotonic()
    await asyncio.sleep(world.times.before)
    taken = time.monotonic()
    await asyncio.to_thread(fault.take)
    await asyncio.sleep(world.times.away)
    given = time.monotonic()
    await asyncio.to_thread(fault.give)
    recovered = time.monotonic()
    while not all([await well(proxy, fault.entry) for proxy in world.proxies]):
        await asyncio.sleep(0.05)
        if time.monotonic() - recovered > 60:
            raise TimeoutError(f"{fault.name} is back, and the proxies do not say so")
    back = time.monotonic() - given
    await asyncio.sleep(world.times.after)
    before = [answer for answer in world.answers if begun <= answer.at < taken]
    during = [answer for answer in world.answers if taken <= answer.at < given]
    statuses = Counter(answer.status for answer in during)
    told = ", ".join(f"{number} x {status or 'no answer'}" for status, number in sorted(statuses.items()))
    return (
        f"| {fault.name} | {len(during)} | {told} | {p99(before):.1f} | {p99(during):.1f} "
        f"| {max(0.0, p99(during) - p99(before)):.1f} | {back:.1f} |"
    )


async def arrived(kafka: KafkaServer, number: int) -> list[str]:
    consumer = AIOKafkaConsumer(TOPIC, bootstrap_servers=kafka.brokers, auto_offset_reset="earliest", group_id=None)
    found: list[str] = []
    await consumer.start()
    try:
        quiet = 0
        while quiet < 5:
            got = await consumer.getmany(timeout_ms=500)
            quiet = 0 if got else quiet + 1
            found += [dict(record.headers)["trace_id"].decode() for records in got.values() for record in records]
            if len(found) >= number and quiet > 1:
                break
    finally:
        await consumer.stop()
    return found


@contextlib.contextmanager
def settled(collector: Collector, kafka: KafkaServer, redis: RedisServer, line: Relay) -> Iterator[None]:
    """Whatever happened in between, everything is there again."""
    try:
        yield
    finally:
        collector.flows.set()
        line.release()


async def measure(
    world: World, *, kafka: KafkaServer, redis: RedisServer, collector: Collector, line: Relay
) -> list[str]:
    def restart_admin() -> None:
        world.admin.start()

    faults = [
        Fault(name="Postgres stopped", take=line.cut, give=line.mend, entry="database"),
        Fault(name="Postgres hanging", take=line.hold, give=line.release, entry="database"),
        Fault(name="Redis stopped", take=redis.kill, give=redis.start, entry="redis"),
        Fault(name="Redis hanging", take=redis.pause, give=redis.resume, entry="redis"),
        Fault(name="Kafka stopped", take=kafka.kill, give=kafka.start, entry="kafka"),
        Fault(name="Collector hanging", take=collector.flows.clear, give=collector.flows.set, entry="otlp"),
        Fault(name="admin killed", take=world.admin.kill, give=restart_admin, entry="admin"),
    ]
    rows = []
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        load = [asyncio.create_task(ask_on_and_on(world, proxy, client)) for proxy in world.proxies]
        with settled(collector, kafka, redis, line):
            for fault in faults:
                rows.append(await suffer(world, fault))
                print(rows[-1], flush=True)
        for task in load:
            task.cancel()
        await asyncio.gather(*load, return_exceptions=True)
    asked = [answer.trace_id for answer in world.answers if answer.trace_id]
    found = Counter(await arrived(kafka, len(asked)))
    missing, twice = set(asked) - set(found), [each for each in asked if found[each] > 1]
    rows.append(
        f"\nOf {len(asked)} requests {len(asked) - len(missing)} have their event in Kafka, {len(twice)} of them twice."
    )
    return rows


HEAD = (
    "| what | requests meanwhile | answered with | p99 before, ms | p99 meanwhile, ms | added, ms | well after, s |\n"
    "|---|---|---|---|---|---|---|"
)


async def main(times: Times) -> None:
    """Measure and print the table."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving_postgres())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kafka = stack.enter_context(KafkaServer())
        collector = stack.enter_context(Collector())
        redis = RedisServer()
        redis.start()
        stack.callback(redis.close)
        database = fresh_database(server)
        line = stack.enter_context(Relay(to_socket(f"{database.host}/.s.PGSQL.5432")))
        fleet = Fleet(folder, database.name, line)
        stack.callback(fleet.stop)
        place = redis.place()
        fleet.variables |= {
            "REDIS_HOST": place.host,
            "REDIS_PORT": str(place.port),
            "KAFKA_BROKERS": kafka.brokers,
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.http,
        }
        admin_plane = fleet.start("admin")
        proxies = [fleet.start("proxy"), fleet.start("proxy")]
        with admin_plane.admin() as admin:
            town = Town(admin)
            town.gateway.policy("rate_limiter", town.consumer, limit=1_000_000, window="1h")
            told = admin.call("PUT", town.gateway.path() + "?wait=applied", {"name": "Ready"})
            assert told.headers["x-ag-applied"] == "2/2"
            print(HEAD, flush=True)
            world = World(fleet, proxies, admin_plane, town, times)
            rows = await measure(world, kafka=kafka, redis=redis, collector=collector, line=line)
            print(rows[-1])


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    asyncio.run(main(QUICK if "--quick" in sys.argv else Times()))
