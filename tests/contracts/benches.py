"""Every store with a clock that the test moves: what one contract test runs on all of them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NamedTuple

from msgspec.structs import replace

from trustgate.contract.ports import Cache, Ledger, Limiter
from trustgate.state.memory import MemoryLimiter
from trustgate.state.memory_cache import MemoryCache
from trustgate.state.memory_ledger import MemoryLedger
from trustgate.state.redis_cache import RedisCache
from trustgate.state.redis_cluster import ClusterLink
from trustgate.state.redis_ledger import RedisLedger
from trustgate.state.redis_limiter import RedisLimiter
from trustgate.state.redis_link import Link

from .redis_fleet import Cluster
from .redis_server import RedisServer


class HandClock:
    """Nanoseconds that pass when a test says so. It starts at no round number."""

    def __init__(self) -> None:
        self.now = 1_234_567_891

    def __call__(self) -> int:
        return self.now

    def seconds(self) -> float:
        """Return the time as Unix seconds."""
        return self.now / 1e9

    def microseconds(self) -> int:
        """Return the time as Redis tells it."""
        return self.now // 1000

    async def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += round(seconds * 1e9)


class Bench(NamedTuple):
    """The ports over one store, those of a second process over the same, and the way to let time pass for them.

    Memory is of one process: its second is the first. The time of a cache is real.
    """

    limiter: Limiter
    ledger: Ledger
    cache: Cache
    second_limiter: Limiter
    second_ledger: Ledger
    clock: Callable[[], float]
    advance: Callable[[float], Awaitable[None]]


Make = Callable[[], AbstractAsyncContextManager[Bench]]


@asynccontextmanager
async def memory() -> AsyncIterator[Bench]:
    """Everything in this process."""
    clock = HandClock()
    limiter = MemoryLimiter(clock=clock, wall=clock.seconds)
    ledger = MemoryLedger(clock=clock, wall=clock.seconds)
    yield Bench(limiter, ledger, MemoryCache(), limiter, ledger, clock.seconds, clock.advance)


@asynccontextmanager
async def redis(server: RedisServer) -> AsyncIterator[Bench]:
    """Everything in an empty Redis, seen through two connections. Afterwards no key may live for ever."""
    clock = HandClock()
    first, second = Link(server.place()), Link(server.place())
    await first.open()
    await second.open()
    try:
        await first.ask("FLUSHALL")
        yield Bench(
            RedisLimiter(first, now=clock.microseconds),
            RedisLedger(first, now=clock.microseconds),
            RedisCache(first),
            RedisLimiter(second, now=clock.microseconds),
            RedisLedger(second, now=clock.microseconds),
            clock.seconds,
            clock.advance,
        )
        for key in await first.ask("KEYS", "*"):
            assert await first.ask("PTTL", key) != -1, f"{key!r} lives for ever"
    finally:
        await first.aclose()
        await second.aclose()


class OneGateway:
    """Puts all keys below one gateway, as the product does: calls with several keys need that in a cluster."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        named = name in ("take", "refund", "enter", "leave")

        def call(*given: Any, **more: Any) -> Any:
            first, *rest = given
            if name == "take_each":
                first = [[replace(each, key=f"g:{each.key}") for each in group] for group in first]
            elif isinstance(first, Sequence) and not isinstance(first, str):
                first = [replace(each, key=f"g:{each.key}") for each in first]
            elif named:
                first = f"g:{first}"
            return method(first, *rest, **more)

        return call


@asynccontextmanager
async def in_cluster(cluster: Cluster) -> AsyncIterator[Bench]:
    """Everything in an empty cluster, seen through two links. Afterwards no key may live for ever."""
    clock = HandClock()
    first, second = ClusterLink(cluster.place()), ClusterLink(cluster.place())
    nodes = [Link(server.place()) for server in cluster.masters]
    for link in (first, second, *nodes):
        await link.open()
    try:
        for node in nodes:
            await node.ask("FLUSHALL")
        yield Bench(
            OneGateway(RedisLimiter(first, now=clock.microseconds)),
            OneGateway(RedisLedger(first, now=clock.microseconds)),
            RedisCache(first),
            OneGateway(RedisLimiter(second, now=clock.microseconds)),
            OneGateway(RedisLedger(second, now=clock.microseconds)),
            clock.seconds,
            clock.advance,
        )
        for node in nodes:
            for key in await node.ask("KEYS", "*"):
                assert await node.ask("PTTL", key) != -1, f"{key!r} lives for ever"
    finally:
        for link in (first, second, *nodes):
            await link.aclose()
