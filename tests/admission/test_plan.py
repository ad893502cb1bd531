"""What a plan allows: a burst a minute and a quota a month, and what a caller hears beyond it."""

from datetime import UTC, datetime

import pytest

from trustgate.admission.plan import LONGEST_MONTH, MINUTE, charge
from trustgate.config.records import Entitlements
from trustgate.contract.errors import Refused
from trustgate.contract.ports import StateUnavailable
from trustgate.state.memory import MemoryLimiter

pytestmark = pytest.mark.anyio
SECOND = 1_000_000_000


class Clock:
    """Nanoseconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1_000 * SECOND

    def __call__(self) -> int:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += int(seconds * SECOND)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limiter(clock: Clock) -> MemoryLimiter:
    return MemoryLimiter(clock=clock)


def plan(burst: int, quota: int = 0) -> Entitlements:
    return Entitlements(burst_per_min=burst, quota_per_month=quota, max_instances=0)


async def refused(limiter: MemoryLimiter, entitlements: Entitlements, gateway: str = "g1") -> Refused:
    with pytest.raises(Refused) as told:
        await charge(limiter, gateway, entitlements)
    return told.value


async def burst_left(limiter: MemoryLimiter, entitlements: Entitlements, gateway: str = "g1") -> int:
    looked = await limiter.take(f"{gateway}:plan:burst", limit=entitlements.burst_per_min, window=MINUTE, cost=0)
    return looked.remaining


async def test_a_burst_passes_and_one_more_does_not(limiter: MemoryLimiter, clock: Clock) -> None:
    for _ in range(3):
        await charge(limiter, "g1", plan(3))
    told = await refused(limiter, plan(3))
    headers = dict(told.headers)
    assert (told.code, told.status) == ("plan_limit_exceeded", 429)
    assert headers[b"x-ratelimit-limit"] == b"3"
    assert headers[b"x-ratelimit-remaining"] == b"0"
    assert headers[b"x-ratelimit-reason"] == b"burst"
    wait = int(headers[b"retry-after"])
    assert 60 <= wait <= 61
    assert told.message == f"This gateway's plan allows 3 requests per minute, all used. Retry after {wait}s."
    clock.pass_(wait)
    await charge(limiter, "g1", plan(3))


async def test_a_wait_that_is_short_enough_is_worth_a_retry(limiter: MemoryLimiter, clock: Clock) -> None:
    await charge(limiter, "g1", plan(1))
    clock.pass_(30)
    told = await refused(limiter, plan(1))
    assert told.retry is True
    assert 30 <= int(dict(told.headers)[b"retry-after"]) <= 31


async def test_gateways_do_not_share_a_plan(limiter: MemoryLimiter) -> None:
    await charge(limiter, "g1", plan(1))
    await charge(limiter, "g2", plan(1))
    await refused(limiter, plan(1), "g1")


async def test_no_quota_is_no_limit(limiter: MemoryLimiter) -> None:
    for _ in range(50):
        await charge(limiter, "g1", plan(100, quota=0))
    assert await burst_left(limiter, plan(100)) == 50


async def test_a_quota_that_is_used_up(limiter: MemoryLimiter) -> None:
    before = datetime.now(UTC)
    for _ in range(2):
        await charge(limiter, "g1", plan(10, quota=2))
    told = await refused(limiter, plan(10, quota=2))
    headers = dict(told.headers)
    assert (told.code, told.status) == ("plan_limit_exceeded", 429)
    assert headers[b"x-ratelimit-reason"] == b"quota"
    assert headers[b"x-ratelimit-limit"] == b"2"
    wait = int(headers[b"retry-after"])
    assert told.retry == (wait <= MINUTE)
    back = datetime.fromtimestamp(before.timestamp() + wait, UTC)
    assert (back.day, back.hour, back.minute) == (1, 0, 0), "a quota is whole again at the first of next month"
    assert back.month == before.month % 12 + 1


async def test_what_the_quota_refuses_costs_no_burst(limiter: MemoryLimiter) -> None:
    entitlements = plan(10, quota=1)
    await charge(limiter, "g1", entitlements)
    for _ in range(5):
        await refused(limiter, entitlements)
    assert await burst_left(limiter, entitlements) == 9


async def test_what_the_burst_refuses_costs_no_quota(limiter: MemoryLimiter, clock: Clock) -> None:
    entitlements = plan(1, quota=2)
    await charge(limiter, "g1", entitlements)
    for _ in range(5):
        assert dict((await refused(limiter, entitlements)).headers)[b"x-ratelimit-reason"] == b"burst"
    clock.pass_(MINUTE + 1)
    await charge(limiter, "g1", entitlements)
    key = f"g1:plan:quota:{datetime.now(UTC):%Y-%m}"
    assert (await limiter.take(key, limit=2, window=LONGEST_MONTH, cost=0)).remaining == 0


async def test_a_store_that_cannot_count_says_so() -> None:
    limiter = MemoryLimiter(max_keys=1)
    await charge(limiter, "g1", plan(5))
    with pytest.raises(StateUnavailable):
        await charge(limiter, "g2", plan(5))
