"""A Redis that is gone: whoever asks is told so at once, and it is used again as soon as it is back."""

import asyncio
from collections.abc import AsyncIterator
from time import perf_counter

import pytest

from trustgate.contract.ports import StateUnavailable
from trustgate.state.redis_limiter import RedisLimiter
from trustgate.state.redis_link import Link

from .redis_server import RedisServer

pytestmark = pytest.mark.anyio

BOUND = 0.05
MARGIN = 0.5
"""Seconds that a busy machine may add."""


@pytest.fixture
async def server() -> AsyncIterator[RedisServer]:
    server = RedisServer(password="a password that nobody reads")
    server.start()
    yield server
    server.close()


@pytest.fixture
async def limiter(server: RedisServer) -> AsyncIterator[RedisLimiter]:
    link = Link(server.place(timeout=BOUND))
    await link.open()
    yield RedisLimiter(link)
    await link.aclose()


async def take(limiter: RedisLimiter) -> bool:
    return (await limiter.take("k", limit=1_000_000, window=60.0)).allowed


async def until_back(limiter: RedisLimiter) -> None:
    async with asyncio.timeout(5):
        while True:
            try:
                assert await take(limiter)
                return
            except StateUnavailable:
                await asyncio.sleep(0.02)  # it is looked for a few times a second; nothing tells us when


@pytest.mark.parametrize("pauses", [False, True], ids=["killed", "hanging"])
async def test_it_is_said_within_the_bound_then_at_once_and_it_comes_back(
    server: RedisServer, limiter: RedisLimiter, pauses: bool
) -> None:
    assert await take(limiter)
    if pauses:
        server.pause()
    else:
        server.kill()
    began = perf_counter()
    with pytest.raises(StateUnavailable) as told:
        await take(limiter)
    assert perf_counter() - began < BOUND + MARGIN
    assert "password" not in str(told.value)
    began = perf_counter()
    for _ in range(100):
        with pytest.raises(StateUnavailable):
            await take(limiter)
    assert perf_counter() - began < MARGIN
    if pauses:
        server.resume()
    else:
        server.start()
    await until_back(limiter)


async def test_everybody_who_waits_is_told(server: RedisServer, limiter: RedisLimiter) -> None:
    assert await take(limiter)
    server.pause()
    began = perf_counter()
    told = await asyncio.gather(*(take(limiter) for _ in range(200)), return_exceptions=True)
    assert all(isinstance(each, StateUnavailable) for each in told)
    assert perf_counter() - began < BOUND + MARGIN
    server.resume()
    await until_back(limiter)
