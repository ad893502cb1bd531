"""What several policies take of a limiter in another process: together, in their order, in one round trip."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from msgspec import Struct

from tests.enforcement.kit import context, policy, reread
from tests.world import services
from trustgate import Deny
from trustgate.contract.context import Chosen
from trustgate.enforcement.chain import Chains, compile_chains, effective
from trustgate.enforcement.plugins import load_plugins
from trustgate.enforcement.run import Ruling, Runner
from trustgate.enforcement.trail import Trail
from trustgate.state.redis_limiter import RedisLimiter
from trustgate.state.redis_link import Link

from .redis_server import RedisServer

pytestmark = pytest.mark.anyio

TARGET = Chosen(registry_id="r1", registry="r", provider="openai", model="m")


class Counted(Struct):
    """Policies that count in a Redis, and the way there."""

    link: Link
    limiter: RedisLimiter
    runner: Runner

    def chains(self, *limits: dict[str, Any], settings: Sequence[dict[str, Any]] = ()) -> Chains:
        """Return rate limiters of one request a minute unless they say otherwise, one after the other."""
        policies = [
            policy(f"p{at}", "rate_limiter", priority=at, **{"settings": {"limit": 1, "window": "1m"}} | fields)
            for at, fields in enumerate(limits)
        ]
        return compile_chains(effective(policies, "c1"), load_plugins([]), services(limiter=self.limiter), timeout=2.0)

    async def ask(self, chains: Chains, trail: Trail | None = None) -> Ruling:
        return await self.runner.pre_request(chains, context(), trail or Trail(), reread)

    async def left(self, chains: Chains) -> list[int]:
        """Return how many requests each limit has left, by what its next one would be told."""
        trail = Trail()
        await self.ask(chains, trail)
        return [finding.details.remaining for finding in trail.findings]


@pytest.fixture
async def counted(redis_server: RedisServer) -> AsyncIterator[Counted]:
    link = Link(redis_server.place())
    await link.open()
    await link.ask("FLUSHALL")
    yield Counted(link, RedisLimiter(link), Runner(throttle_wait=0.2))
    await link.aclose()


def limit(number: int, **fields: Any) -> dict[str, Any]:
    return {"settings": {"limit": number, "window": "1m"}, **fields}


async def test_the_limits_of_a_stage_are_one_round_trip_whatever_their_priorities(counted: Counted) -> None:
    chains = counted.chains(limit(9), limit(8), limit(7))
    await counted.ask(chains)
    before, trail = counted.link.round_trips, Trail()
    ruling = await counted.ask(chains, trail)
    assert counted.link.round_trips - before == 1
    assert ruling.stop is None
    assert [finding.decision for finding in trail.findings] == ["allowed"] * 3
    assert dict(ruling.headers)[b"x-ratelimit-consumer-limit"] == b"7", "the tightest is told of"
    assert await counted.left(chains) == [6, 5, 4]


async def test_at_the_next_stage_they_are_one_round_trip_again(counted: Counted) -> None:
    per_model = {"limit": 5, "window": "1m", "count_by": ["model"]}
    chains = counted.chains({"settings": per_model}, {"settings": per_model})
    ctx, trail = context(), Trail()
    await counted.runner.pre_call(chains, ctx, TARGET, Trail(), reread)
    before = counted.link.round_trips
    assert (await counted.runner.pre_call(chains, ctx, TARGET, trail, reread)).stop is None
    assert counted.link.round_trips - before == 1
    assert [finding.details.remaining for finding in trail.findings] == [3, 3]


async def test_behind_a_limit_that_refuses_nothing_is_taken(counted: Counted) -> None:
    chains = counted.chains(limit(9), limit(1), limit(7))
    await counted.ask(chains)
    trail = Trail()
    ruling = await counted.ask(chains, trail)
    assert isinstance(ruling.stop, Deny)
    assert ruling.stop.code == "rate_limit_exceeded"
    assert [(each.policy_id, each.decision) for each in trail.findings] == [("p0", "allowed"), ("p1", "block")]
    assert await counted.left(counted.chains(limit(9, mode="observe"), limit(99), limit(7))) == [6, 97, 5]


async def test_a_limit_that_observes_ends_nothing(counted: Counted) -> None:
    chains = counted.chains(limit(1, mode="observe"), limit(7))
    await counted.ask(chains)
    trail = Trail()
    assert (await counted.ask(chains, trail)).stop is None
    assert [each.decision for each in trail.findings] == ["observe", "allowed"]


async def test_without_redis_each_policy_says_what_that_means(counted: Counted) -> None:
    closed = counted.chains(limit(9), limit(9, on_error="deny"), limit(9))
    await counted.link.aclose()
    trail = Trail()
    ruling = await counted.ask(closed, trail)
    assert isinstance(ruling.stop, Deny)
    assert (ruling.stop.code, ruling.stop.status) == ("policy_unavailable", 503)
    assert [each.decision for each in trail.findings] == ["failed_open", "failed_closed"]
    assert (b"x-ag-policy-degraded", b"rate_limiter") in ruling.stop.headers


async def test_one_that_throttles_waits_by_itself_and_is_then_refused(counted: Counted) -> None:
    chains = counted.chains(limit(1, mode="throttle"), limit(9))
    assert (await counted.ask(chains)).stop is None
    assert isinstance((await counted.ask(chains)).stop, Deny)
    assert await counted.left(counted.chains(limit(99), limit(9))) == [97, 7]


async def test_a_request_that_is_left_gives_back_what_its_policies_took_together(counted: Counted) -> None:
    chains, trail = counted.chains(limit(3), limit(5)), Trail()
    await counted.ask(chains, trail)
    left = counted.runner.refund(chains, context(), trail)
    assert left is not None
    await left
    assert await counted.left(chains) == [2, 4]
