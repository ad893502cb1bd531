"""What every limiter, ledger, cache and store of vectors promises, kept on a Redis Cluster; and a node that is lost."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from tests.contracts.benches import Bench, HandClock, Make
from tests.contracts.conftest import anyio_backend  # noqa: F401 - a fixture
from tests.contracts.test_cache import *  # noqa: F403 - the same tests, on another store
from tests.contracts.test_ledger import *  # noqa: F403
from tests.contracts.test_limiter import *  # noqa: F403
from tests.services.redis_fleet import Cluster, Sentinels, ask, started
from trustgate.contract.ports import StateUnavailable, Take
from trustgate.state.redis_cache import RedisCache
from trustgate.state.redis_cluster import ClusterLink, slot_of
from trustgate.state.redis_ledger import RedisLedger
from trustgate.state.redis_limiter import RedisLimiter
from trustgate.state.redis_link import Link

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with started(Cluster()) as cluster:
        yield cluster


del test_every_store_says_the_same  # noqa: F821 - which wants to have them all


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


@pytest.fixture(scope="module")
def make(cluster: Cluster) -> Make:
    return partial(in_cluster, cluster)


@pytest.fixture
async def bench(make: Make) -> AsyncIterator[Bench]:
    async with make() as bench:
        yield bench


@pytest.mark.parametrize(
    ("key", "slot"),
    [("foo", 12182), ("{user1000}.following", 3443), ("{user1000}.followers", 3443), ("", 0)],
)
def test_the_slot_of_a_key(key: str, slot: int) -> None:
    """Figures of the specification, and of `CLUSTER KEYSLOT`."""
    assert slot_of(key) == slot


def test_redis_itself_has_the_same_slots(cluster: Cluster) -> None:
    for key in ("a", "tg:w:{g1}:rate_limiter", "{}", "x{y}z{w}", "{a", "}{b}"):
        assert slot_of(key) == ask(cluster.servers[0], "CLUSTER", "KEYSLOT", key)


async def test_gateways_are_spread_over_the_nodes(cluster: Cluster) -> None:
    link = ClusterLink(cluster.place())
    await link.open()
    limiter = RedisLimiter(link)
    for number in range(60):
        assert (await limiter.take(f"gateway-{number}:k", limit=5, window=60)).allowed
    held = [len(await asyncio.to_thread(ask, server, "KEYS", "tg:*gateway-*")) for server in cluster.masters]
    assert sum(held) == 60
    assert min(held) > 5
    await link.aclose()


async def test_a_master_that_dies_is_replaced_by_its_replica() -> None:
    cluster = Cluster()
    try:
        await asyncio.to_thread(cluster.start)
        link = ClusterLink(cluster.place())
        await link.open()
        limiter = RedisLimiter(link)
        keys = [f"gateway-{number}:k" for number in range(30)]
        for key in keys:
            await limiter.take(key, limit=5, window=600)
        await asyncio.sleep(0.2)  # copies are made a moment later
        cluster.servers[0].kill()
        deadline = asyncio.get_running_loop().time() + 30
        told: list[int] = []
        while len(told) < len(keys):
            assert asyncio.get_running_loop().time() < deadline, "nobody has taken its place"
            try:
                told = [(await limiter.look((Take(key=key, limit=5, window=600),)))[0].remaining for key in keys]
            except StateUnavailable:
                await asyncio.sleep(0.1)
        assert set(told) == {3}, "what was counted before counts still: one was taken, and another is looked at"
        assert link.up
        await link.aclose()
    finally:
        cluster.close()


async def test_the_master_that_a_sentinel_names() -> None:
    sentinels = Sentinels()
    try:
        await asyncio.to_thread(sentinels.start)
        link = Link(sentinels.place())
        await link.open()
        limiter = RedisLimiter(link)
        assert (await limiter.take("g:k", limit=5, window=600)).remaining == 4
        await asyncio.sleep(0.2)
        sentinels.master.kill()
        with pytest.raises(StateUnavailable):
            for _ in range(2):
                await limiter.take("g:k", limit=5, window=600)
        deadline = asyncio.get_running_loop().time() + 30
        while not link.up:
            assert asyncio.get_running_loop().time() < deadline, "no other master was found"
            await asyncio.sleep(0.1)
        assert (await limiter.take("g:k", limit=5, window=600)).remaining == 3
        await link.aclose()
    finally:
        sentinels.close()
