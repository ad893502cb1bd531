"""What it costs a request to count in Redis instead of in memory: key check and three limiters.

`python -m bench.redis` starts a Redis of its own on loopback and prints CPU and round trips. It is `bench.policies`
with another store behind the same port: everything but callers' sockets is the product's own path.
"""

import asyncio
import time
from collections.abc import Sequence

import uvloop

from bench.policies import THREE_LIMITERS, Arrived, house
from tests.contracts.redis_server import RedisServer
from trustgate.lifecycle import Lifecycle
from trustgate.planes.serve import settle_interpreter
from trustgate.state.redis_limiter import RedisLimiter
from trustgate.state.redis_link import Link

ROUNDS, REQUESTS, AT_A_TIME = 40, 400, 32


async def cost(lifecycle: Lifecycle, number: int) -> float:
    """Return the CPU time of one request in microseconds, of so many at a time."""

    async def ask(share: int) -> None:
        for _ in range(share):
            exchange = await lifecycle.handle(Arrived())
            assert exchange.reply is not None
            assert exchange.reply.status == 200, exchange.record.reason
            lifecycle.finish(exchange)

    started = time.process_time()
    await asyncio.gather(*(ask(number // AT_A_TIME) for _ in range(AT_A_TIME)))
    return (time.process_time() - started) / (number // AT_A_TIME * AT_A_TIME) * 1e6


async def trips(lifecycle: Lifecycle, link: Link, number: int) -> float:
    """Return the round trips of one request that is alone."""
    before = link.round_trips
    for _ in range(number):
        lifecycle.finish(await lifecycle.handle(Arrived()))
    return (link.round_trips - before) / number


async def measure(server: RedisServer) -> None:
    """Measure and print."""
    link = Link(server.place())
    await link.open()
    limiters: Sequence[tuple[str, dict[str, object]]] = THREE_LIMITERS
    memory, _ = house(limiters, priorities=(0, 0, 0))
    redis, _ = house(limiters, priorities=(0, 0, 0), limiter=RedisLimiter(link))
    ordered, _ = house(limiters, priorities=(0, 1, 2), limiter=RedisLimiter(link))
    kinds = {"memory": memory, "redis": redis}
    found: dict[str, list[float]] = {name: [] for name in kinds}
    for lifecycle in kinds.values():
        await cost(lifecycle, 400)
    settle_interpreter()
    for _ in range(ROUNDS):
        for name, lifecycle in kinds.items():
            found[name].append(await cost(lifecycle, REQUESTS))
    best = {name: min(times) for name, times in found.items()}
    print("| counts are in | CPU µs a request | round trips of one alone |")
    print("|---|---|---|")
    print(f"| memory | {best['memory']:.1f} | 0 |")
    print(f"| Redis, limiters of one priority | {best['redis']:.1f} | {await trips(redis, link, 200):.2f} |")
    print(f"| Redis, limiters one after the other | | {await trips(ordered, link, 200):.2f} |")
    print(f"\n{best['redis'] - best['memory']:.1f} µs more (wanted: at most 40)")
    await link.aclose()


def main() -> None:
    """Start a Redis and measure."""
    server = RedisServer()
    server.start()
    try:
        uvloop.run(measure(server))
    finally:
        server.close()


if __name__ == "__main__":
    main()
