"""Sessions of the MCP plane, wherever they are kept: for an hour after their last use, and of one caller."""

import pytest
from msgspec.structs import replace

from trustgate.contract.context import Caller
from trustgate.mcp.sessions import LIFE, Sessions, Up
from trustgate.state.memory_cache import MemoryCache

pytestmark = pytest.mark.anyio

ANN = Caller(
    gateway_id="g1",
    gateway_slug="g",
    tenant_id="",
    consumer_id="c1",
    consumer_slug="agent",
    consumer_name="Agent",
    auth_id="a1",
    auth_name="key",
)


class Time:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


async def test_a_session_that_is_used_lives_and_one_that_is_not_ends() -> None:
    clock = Time()
    sessions = Sessions(MemoryCache(clock=clock), clock=clock)
    session = await sessions.begin(
        ANN, "2025-11-25", {"capabilities": {}}, {"r1": Up(session="s", revision="2025-11-25")}
    )
    for _ in range(5):
        clock.now += LIFE - 120
        found = await sessions.find(ANN, session.id)
        assert found is not None
        assert found.ups == session.ups
    clock.now += LIFE + 1
    assert await sessions.find(ANN, session.id) is None


async def test_using_it_again_at_once_writes_nothing() -> None:
    class Counting(MemoryCache):
        writes = 0

        async def set(self, key: str, value: bytes, *, ttl: float) -> None:
            self.writes += 1
            await super().set(key, value, ttl=ttl)

    clock, cache = Time(), Counting()
    sessions = Sessions(cache, clock=clock)
    session = await sessions.begin(ANN, "2025-11-25", {}, {})
    for _ in range(10):
        assert await sessions.find(ANN, session.id) is not None
    assert cache.writes == 1


@pytest.mark.parametrize("other", [{"gateway_id": "g2"}, {"consumer_id": "c2"}, {"auth_id": "a2"}])
async def test_nobody_else_finds_it(other: dict[str, str]) -> None:
    sessions = Sessions(MemoryCache())
    session = await sessions.begin(ANN, "2025-11-25", {}, {})
    assert await sessions.find(replace(ANN, **other), session.id) is None
    assert await sessions.find(ANN, session.id + "/..") is None
    await sessions.end(ANN, session)
    assert await sessions.find(ANN, session.id) is None
