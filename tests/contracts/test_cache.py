"""What every cache promises: bytes for a while, and one winner where many add at once."""

import asyncio

import pytest

from trustgate.state.memory_cache import MemoryCache

from .benches import Bench

pytestmark = pytest.mark.anyio

LONG = 60.0


async def test_what_is_kept_is_there_and_what_is_forgotten_is_not(bench: Bench) -> None:
    assert await bench.cache.get("k") is None
    await bench.cache.set("k", b"\x00v\r\n", ttl=LONG)
    assert await bench.cache.get("k") == b"\x00v\r\n"
    await bench.cache.set("k", b"other", ttl=LONG)
    assert await bench.cache.get("k") == b"other"
    await bench.cache.delete("k")
    assert await bench.cache.get("k") is None


async def test_of_many_who_add_one_is_the_first(bench: Bench) -> None:
    added = await asyncio.gather(*(bench.cache.add("k", b"%d" % at, ttl=LONG) for at in range(100)))
    assert added.count(True) == 1
    assert await bench.cache.get("k") == b"%d" % added.index(True)


async def test_a_cache_in_memory_is_bounded_and_forgets_what_was_used_longest_ago() -> None:
    cache = MemoryCache(max_bytes=10_000)
    for at in range(100):
        await cache.set(f"k{at}", bytes(1000), ttl=LONG)
        await cache.get("k0")
    kept = [at for at in range(100) if await cache.get(f"k{at}") is not None]
    assert 2 <= len(kept) <= 10
    assert (kept[0], kept[-1]) == (0, 99)


async def test_a_cache_in_memory_keeps_nothing_beyond_its_time() -> None:
    now = 0.0
    cache = MemoryCache(clock=lambda: now)
    await cache.set("k", b"v", ttl=5)
    now = 4.9
    assert await cache.get("k") == b"v"
    now = 5.1
    assert await cache.get("k") is None
    assert await cache.add("k", b"w", ttl=5)
