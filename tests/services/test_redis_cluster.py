"""What is special of a Redis Cluster, and of a master behind Sentinels: where keys are, and a node that is lost."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.contracts.redis_fleet import Cluster, Sentinels, ask, copied, started
from trustgate.contract.ports import StateUnavailable, Take
from trustgate.state.redis_cluster import ClusterLink, slot_of
from trustgate.state.redis_limiter import RedisLimiter
from trustgate.state.redis_link import Link

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with started(Cluster()) as cluster:
        yield cluster


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
        await asyncio.to_thread(copied, cluster.servers[0])
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
        await asyncio.to_thread(copied, sentinels.master)
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
