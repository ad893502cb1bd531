"""What every limiter promises, in whatever store it counts.

An implementation joins by a line in `IMPLEMENTATIONS`: how to make one whose clock the test moves.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustgate.contract.ports import Allowance, Limiter, StateUnavailable
from trustgate.state.memory import MemoryLimiter

pytestmark = pytest.mark.anyio

WINDOW = 64.0
SLOT = 1.0
ROUNDING = 1e-6


class Bench(NamedTuple):
    """A limiter and the way to let time pass for it."""

    limiter: Limiter
    advance: Callable[[float], Awaitable[None]]


class HandClock:
    """Nanoseconds that pass when a test says so. It starts at no round number."""

    def __init__(self) -> None:
        self.now = 1_234_567_891

    def __call__(self) -> int:
        return self.now

    async def advance(self, seconds: float) -> None:
        self.now += round(seconds * 1e9)


def memory() -> Bench:
    clock = HandClock()
    return Bench(MemoryLimiter(clock=clock), clock.advance)


IMPLEMENTATIONS: dict[str, Callable[[], Bench]] = {"memory": memory}


@pytest.fixture(params=IMPLEMENTATIONS)
def bench(request: pytest.FixtureRequest) -> Bench:
    return IMPLEMENTATIONS[request.param]()


each_implementation = pytest.mark.parametrize("make", IMPLEMENTATIONS.values(), ids=IMPLEMENTATIONS.keys())


async def take(bench: Bench, limit: int = 5, *, key: str = "k", window: float = WINDOW, cost: int = 1) -> Allowance:
    return await bench.limiter.take(key, limit=limit, window=window, cost=cost)


async def test_it_counts_down_and_then_refuses(bench: Bench) -> None:
    taken = [await take(bench, 3) for _ in range(4)]
    assert [allowance.allowed for allowance in taken] == [True, True, True, False]
    assert [allowance.remaining for allowance in taken] == [2, 1, 0, 0]
    assert {allowance.limit for allowance in taken} == {3}


async def test_what_was_refused_was_not_taken(bench: Bench) -> None:
    assert (await take(bench, 5, cost=4)).allowed
    refused = await take(bench, 5, cost=2)
    assert (refused.allowed, refused.remaining) == (False, 1)
    assert (await take(bench, 5, cost=1)).allowed


async def test_looking_costs_nothing(bench: Bench) -> None:
    await take(bench, 5, cost=2)
    looked = [await take(bench, 5, cost=0) for _ in range(9)]
    assert {(allowance.allowed, allowance.remaining) for allowance in looked} == {(True, 3)}


async def test_a_negative_cost_is_a_mistake(bench: Bench) -> None:
    with pytest.raises(ValueError, match="-1"):
        await take(bench, 5, cost=-1)


async def test_keys_are_counted_apart(bench: Bench) -> None:
    assert (await take(bench, 1, key="a")).allowed
    assert (await take(bench, 1, key="b")).allowed
    assert not (await take(bench, 1, key="a")).allowed


async def test_within_the_window_nothing_comes_back(bench: Bench) -> None:
    await take(bench, 1)
    await bench.advance(WINDOW)
    assert not (await take(bench, 1)).allowed


async def test_a_slot_after_the_window_everything_is_back(bench: Bench) -> None:
    await take(bench, 1)
    await bench.advance(WINDOW + SLOT + ROUNDING)
    assert (await take(bench, 1)).allowed


async def test_who_comes_back_when_told_is_let_through(bench: Bench) -> None:
    await take(bench, 5, cost=2)
    await bench.advance(10)
    await take(bench, 5, cost=3)
    one, four = await take(bench, 5), await take(bench, 5, cost=4)
    assert 0 < one.retry_after < four.retry_after <= WINDOW + SLOT + ROUNDING
    assert one.retry_after == one.reset_after == (await take(bench, 5, cost=2)).retry_after
    await bench.advance(one.retry_after)
    assert (await take(bench, 5, cost=0)).remaining == 2
    await bench.advance(four.retry_after - one.retry_after)
    assert (await take(bench, 5, cost=4)).allowed


async def test_what_can_never_fit_is_refused_with_a_finite_wait(bench: Bench) -> None:
    refused = await take(bench, 5, cost=6)
    assert not refused.allowed
    assert WINDOW <= refused.retry_after <= WINDOW + SLOT + ROUNDING


async def test_a_lowered_limit_holds_at_once(bench: Bench) -> None:
    await take(bench, 10, cost=8)
    lowered = await take(bench, 5)
    assert (lowered.allowed, lowered.remaining) == (False, 0)


async def test_a_refund_can_be_taken_again(bench: Bench) -> None:
    await take(bench, 5, cost=5)
    await bench.limiter.refund("k", window=WINDOW, cost=2)
    assert (await take(bench, 5, cost=2)).allowed
    assert not (await take(bench, 5)).allowed


async def test_a_refund_of_more_than_was_taken_adds_nothing(bench: Bench) -> None:
    await take(bench, 5, cost=2)
    await bench.limiter.refund("k", window=WINDOW, cost=99)
    await bench.limiter.refund("never seen", window=WINDOW)
    assert (await take(bench, 5, cost=5)).allowed
    assert not (await take(bench, 5)).allowed


async def test_a_refund_of_what_came_first_leaves_what_came_last(bench: Bench) -> None:
    await take(bench, 2)
    await bench.advance(10)
    await take(bench, 2)
    await bench.limiter.refund("k", window=WINDOW)
    await bench.advance(WINDOW - 8)
    assert (await take(bench, 2, cost=0)).remaining == 1


async def test_200_concurrent_takers_get_50_of_50(bench: Bench) -> None:
    allowed: list[bool] = []

    async def ask() -> None:
        allowed.append((await take(bench, 50)).allowed)

    async with anyio.create_task_group() as group:
        for _ in range(200):
            group.start_soon(ask)
    assert sum(allowed) == 50
    assert len(allowed) == 200


WINDOW_MS, SLOT_MS = round(WINDOW * 1000), round(SLOT * 1000)
# whole milliseconds, so that the edges of windows and slots are met exactly
pauses = st.one_of(
    st.just(0),
    st.integers(0, 3 * SLOT_MS),
    st.sampled_from([SLOT_MS, WINDOW_MS, WINDOW_MS - SLOT_MS, WINDOW_MS + SLOT_MS, WINDOW_MS - 1, SLOT_MS - 1]),
)
steps = st.lists(st.tuples(pauses, st.integers(0, 4)), max_size=60)


class Ledger:
    """What was taken when, in milliseconds: the truth that a limiter is held to."""

    def __init__(self) -> None:
        self.now = 0
        self.entries: list[tuple[int, int]] = []

    def within(self, span: int) -> int:
        """Sum up the closed interval of that length which ends now."""
        return sum(cost for at, cost in self.entries if at >= self.now - span)


@each_implementation
@given(steps=steps, limit=st.integers(1, 7))
@settings(max_examples=300, deadline=None)
def test_no_window_ever_exceeds_and_everything_comes_back(
    make: Callable[[], Bench], steps: list[tuple[int, int]], limit: int
) -> None:
    async def scenario() -> None:
        bench, ledger = make(), Ledger()
        for pause, cost in steps:
            await bench.advance(pause / 1000)
            ledger.now += pause
            allowance = await take(bench, limit, cost=cost)
            if allowance.allowed:
                ledger.entries.append((ledger.now, cost))
                assert ledger.within(WINDOW_MS) <= limit, "more than the limit in one window"
                assert allowance.remaining <= limit - ledger.within(WINDOW_MS)
            else:
                assert ledger.within(WINDOW_MS + SLOT_MS - 1) + cost > limit, "refused although everything was back"
                assert 0 < allowance.retry_after <= WINDOW + SLOT

    asyncio.run(scenario())


@each_implementation
@given(steps=steps, limit=st.integers(1, 7), kept=st.lists(st.booleans(), min_size=60, max_size=60))
@settings(max_examples=300, deadline=None)
def test_a_refund_within_the_window_lets_no_more_through_than_really_happened(
    make: Callable[[], Bench], steps: list[tuple[int, int]], limit: int, kept: list[bool]
) -> None:
    async def scenario() -> None:
        bench, ledger, pending = make(), Ledger(), list[tuple[int, int]]()
        for (pause, cost), keep in zip(steps, kept, strict=False):
            await bench.advance(pause / 1000)
            ledger.now += pause
            if (await take(bench, limit, cost=cost)).allowed:
                (ledger.entries if keep else pending).append((ledger.now, cost))
                assert ledger.within(WINDOW_MS) <= limit
            # every second step gives back what is still in the window; what is late was never owed
            if keep:
                for at, amount in pending:
                    if at >= ledger.now - WINDOW_MS:
                        await bench.limiter.refund("k", window=WINDOW, cost=amount)
                pending.clear()

    asyncio.run(scenario())


@pytest.mark.parametrize("window", [1.0, 0.001, 7.3, 86_400.0 * 30])
async def test_windows_of_any_length(bench: Bench, window: float) -> None:
    assert (await take(bench, 1, window=window)).allowed
    await bench.advance(window * 0.999)
    refused = await take(bench, 1, window=window)
    assert not refused.allowed
    await bench.advance(refused.retry_after)
    assert (await take(bench, 1, window=window)).allowed


async def test_memory_forgets_keys_that_are_idle() -> None:
    clock = HandClock()
    limiter = MemoryLimiter(clock=clock)
    for number in range(20_000):
        await limiter.take(f"key {number}", limit=5, window=1.0)
        await clock.advance(0.01)
    assert len(limiter) <= 250  # about a hundred are live at any time


async def test_memory_says_that_it_is_full_rather_than_forget_what_was_taken() -> None:
    clock = HandClock()
    limiter = MemoryLimiter(clock=clock, max_keys=100)
    for number in range(100):
        assert (await limiter.take(f"key {number}", limit=1, window=1.0)).allowed
    with pytest.raises(StateUnavailable, match="100 keys"):
        await limiter.take("one more", limit=1, window=1.0)
    assert not (await limiter.take("key 0", limit=1, window=1.0)).allowed
    await clock.advance(1.1)
    assert (await limiter.take("one more", limit=1, window=1.0)).allowed
