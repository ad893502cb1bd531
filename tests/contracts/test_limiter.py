"""What every limiter promises, in whatever store it counts."""

import asyncio

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import astuple

from trustgate.contract.ports import Allowance, StateUnavailable, Take
from trustgate.state.memory import MemoryLimiter

from .benches import Bench, HandClock, Make, memory, redis
from .redis_server import RedisServer

pytestmark = pytest.mark.anyio

WINDOW = 64.0
SLOT = 1.0
ROUNDING = 1e-6


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

    async def ask(number: int) -> None:
        limiter = (bench.limiter, bench.second_limiter)[number % 2]
        allowed.append((await limiter.take("k", limit=50, window=WINDOW)).allowed)

    async with anyio.create_task_group() as group:
        for number in range(200):
            group.start_soon(ask, number)
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


@given(steps=steps, limit=st.integers(1, 7))
@settings(max_examples=300, deadline=None)
def test_no_window_ever_exceeds_and_everything_comes_back(make: Make, steps: list[tuple[int, int]], limit: int) -> None:
    async def scenario() -> None:
        ledger = Ledger()
        async with make() as bench:
            for pause, cost in steps:
                await bench.advance(pause / 1000)
                ledger.now += pause
                allowance = await take(bench, limit, cost=cost)
                if allowance.allowed:
                    ledger.entries.append((ledger.now, cost))
                    assert ledger.within(WINDOW_MS) <= limit, "more than the limit in one window"
                    assert allowance.remaining <= limit - ledger.within(WINDOW_MS)
                else:
                    assert ledger.within(WINDOW_MS + SLOT_MS - 1) + cost > limit, "refused although all was back"
                    assert 0 < allowance.retry_after <= WINDOW + SLOT

    asyncio.run(scenario())


@given(steps=steps, limit=st.integers(1, 7), kept=st.lists(st.booleans(), min_size=60, max_size=60))
@settings(max_examples=300, deadline=None)
def test_a_refund_within_the_window_lets_no_more_through_than_really_happened(
    make: Make, steps: list[tuple[int, int]], limit: int, kept: list[bool]
) -> None:
    async def scenario() -> None:
        ledger, pending = Ledger(), list[tuple[int, int]]()
        async with make() as bench:
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


def wanted(key: str, limit: int = 5, *, cost: int = 1, window: float = WINDOW, until: float = 0.0) -> Take:
    return Take(key=key, limit=limit, window=window, cost=cost, until=until)


async def test_all_are_taken_or_none(bench: Bench) -> None:
    wide, narrow = wanted("wide", 3), wanted("narrow", 1)
    first = await bench.limiter.take_all((wide, narrow))
    assert [(each.allowed, each.remaining, each.limit) for each in first] == [(True, 2, 3), (True, 0, 1)]
    second = await bench.limiter.take_all((wide, narrow))
    assert [(each.allowed, each.remaining) for each in second] == [(True, 2), (False, 0)]
    assert second[0].retry_after == 0.0 < second[1].retry_after
    assert (await take(bench, 3, key="wide", cost=0)).remaining == 2


async def test_what_can_be_taken_at_once_is_taken_of_the_same_counts(bench: Bench) -> None:
    twice = (wanted("k", 2), wanted("other", 9))
    at_once = bench.limiter.take_now(twice)
    first = await bench.limiter.take_all(twice) if at_once is None else at_once
    assert [(each.allowed, each.remaining) for each in first] == [(True, 1), (True, 8)]
    assert (await take(bench, 2)).allowed
    later = bench.limiter.take_now(twice)
    assert later is None or [each.allowed for each in later] == [False, True]
    assert (await bench.limiter.look(twice))[1].remaining == 8, "of none, where one has too little"


async def test_nothing_is_asked_of_nothing(bench: Bench) -> None:
    assert await bench.limiter.take_all(()) == await bench.limiter.look(()) == ()
    await bench.limiter.refund_all(())


async def test_groups_are_taken_one_after_the_other_up_to_one_that_halts(bench: Bench) -> None:
    wide, narrow, last = (wanted("wide", 9), wanted("more", 9)), (wanted("narrow", 1),), (wanted("last", 9),)
    first = await bench.limiter.take_each((wide, narrow, last), (True, True, True))
    assert [group and [each.remaining for each in group] for group in first] == [[8, 8], [0], [8]]
    second = await bench.limiter.take_each((wide, narrow, last), (True, True, True))
    assert [group and [each.allowed for each in group] for group in second] == [[True, True], [False], None]
    third = await bench.limiter.take_each((wide, narrow, last), (True, False, True))
    assert [group and [each.allowed for each in group] for group in third] == [[True, True], [False], [True]]
    assert [each.remaining for each in await bench.limiter.look((*wide, *last))] == [5, 5, 6]
    nothing = await bench.limiter.take_each(((), wide, ()), (True, True, True))
    assert [group and len(group) for group in nothing] == [(), 2, ()]


async def test_one_key_twice_is_taken_of_twice_or_not_at_all(bench: Bench) -> None:
    twice = (wanted("k", 3, cost=2), wanted("k", 3, cost=2))
    assert [each.allowed for each in await bench.limiter.take_all(twice)] == [True, False]
    both = await bench.limiter.take_all((wanted("k", 3, cost=2), wanted("k", 3)))
    assert [(each.allowed, each.remaining) for each in both] == [(True, 1), (True, 0)]


async def test_a_key_with_two_windows_is_two_limits(bench: Bench) -> None:
    both = (wanted("k", 1, window=1.0), wanted("k", 2, window=WINDOW))
    assert all(each.allowed for each in await bench.limiter.take_all(both))
    await bench.advance(1.1)
    assert [each.remaining for each in await bench.limiter.take_all(both)] == [0, 0]


async def test_a_mistake_among_many_takes_nothing(bench: Bench) -> None:
    with pytest.raises(ValueError, match="-1"):
        await bench.limiter.take_all((wanted("a", 1), wanted("b", 1, cost=-1)))
    assert (await take(bench, 1, key="a")).allowed


async def test_what_was_taken_together_is_given_back_together(bench: Bench) -> None:
    both = (wanted("a", 2, cost=2), wanted("b", 3, cost=3, until=bench.clock() + 100))
    await bench.limiter.take_all(both)
    await bench.limiter.refund_all(both)
    assert [each.remaining for each in await bench.limiter.take_all(both)] == [0, 0]
    await bench.limiter.refund_all((*both, *both))
    assert all(each.allowed for each in await bench.limiter.look(both))


async def test_200_concurrent_takers_of_two_get_50_of_50_and_leave_the_rest(bench: Bench) -> None:
    both = (wanted("wide", 1000), wanted("narrow", 50, until=bench.clock() + 100))
    allowed: list[bool] = []

    async def ask(number: int) -> None:
        limiter = (bench.limiter, bench.second_limiter)[number % 2]
        allowed.append(all(each.allowed for each in await limiter.take_all(both)))

    async with anyio.create_task_group() as group:
        for number in range(200):
            group.start_soon(ask, number)
    assert sum(allowed) == 50
    assert (await take(bench, 1000, key="wide", cost=0)).remaining == 950


async def test_a_period_of_the_calendar_comes_back_as_a_whole_when_it_ends(bench: Bench) -> None:
    ends = bench.clock() + 100
    today, tomorrow = wanted("day", 2, until=ends), wanted("day", 2, until=ends + 100)
    await bench.limiter.take_all((today,))
    await bench.advance(60)
    assert (await bench.limiter.take_all((today,)))[0].allowed
    refused = (await bench.limiter.take_all((today,)))[0]
    assert not refused.allowed
    assert refused.retry_after == refused.reset_after == pytest.approx(40, abs=0.001)
    await bench.advance(refused.retry_after)
    assert (await bench.limiter.take_all((tomorrow,)))[0].remaining == 1


takes = st.lists(
    st.builds(
        wanted,
        st.sampled_from(["a", "b"]),
        st.integers(1, 5),
        cost=st.integers(0, 3),
        window=st.sampled_from([WINDOW, 10.0]),
        until=st.sampled_from([0.0, 1e9]),
    ),
    min_size=1,
    max_size=4,
)


@given(rounds=st.lists(st.tuples(pauses, takes), max_size=20))
@settings(max_examples=200, deadline=None)
def test_looking_says_what_taking_says_and_changes_nothing(make: Make, rounds: list[tuple[int, list[Take]]]) -> None:
    async def scenario() -> None:
        async with make() as bench:
            for pause, wants in rounds:
                await bench.advance(pause / 1000)
                looked = await bench.limiter.look(wants)
                assert await bench.limiter.look(wants) == looked == await bench.limiter.take_all(wants)

    asyncio.run(scenario())


@given(rounds=st.lists(st.tuples(pauses, takes, st.booleans()), max_size=20))
@settings(max_examples=100, deadline=None)
def test_every_store_says_the_same(redis_server: RedisServer, rounds: list[tuple[int, list[Take], bool]]) -> None:
    async def scenario() -> None:
        async with memory() as one, redis(redis_server) as other:
            for pause, wants, back in rounds:
                answers = []
                for bench in (one, other):
                    await bench.advance(pause / 1000)
                    answers.append(await bench.limiter.take_all(wants))
                    if back:
                        await bench.limiter.refund_all(wants[:1])
                for left, right in zip(*answers, strict=True):
                    assert astuple(left) == pytest.approx(astuple(right), abs=1e-5)

    asyncio.run(scenario())


groups = st.lists(st.tuples(takes, st.booleans()), min_size=1, max_size=4)


@given(rounds=st.lists(st.tuples(pauses, groups), max_size=12))
@settings(max_examples=150, deadline=None)
def test_groups_taken_in_one_step_are_taken_as_one_after_the_other(
    make: Make, rounds: list[tuple[int, list[tuple[list[Take], bool]]]]
) -> None:
    async def scenario() -> None:
        async with make() as together, memory() as apart:
            for pause, wants in rounds:
                await together.advance(pause / 1000)
                await apart.advance(pause / 1000)
                told = await together.limiter.take_each([each for each, _ in wants], [halt for _, halt in wants])
                ended = False
                for (each, halt), said in zip(wants, told, strict=True):
                    assert (said is None) == ended
                    if said is None:
                        continue
                    for left, right in zip(said, await apart.limiter.take_all(each), strict=True):
                        assert astuple(left) == pytest.approx(astuple(right), abs=1e-5)
                    ended = halt and not all(allowance.allowed for allowance in said)

    asyncio.run(scenario())


async def test_only_so_many_are_inside(bench: Bench) -> None:
    entered = [await bench.limiter.enter("room", f"{number}", limit=2, lease=30) for number in range(3)]
    assert [(each.allowed, each.remaining) for each in entered] == [(True, 1), (True, 0), (False, 0)]
    assert 0 < entered[2].retry_after <= 30
    await bench.limiter.leave("room", "0")
    await bench.limiter.leave("room", "0")
    await bench.limiter.leave("no room", "0")
    assert (await bench.limiter.enter("room", "3", limit=2, lease=30)).allowed
    assert not (await bench.limiter.enter("room", "4", limit=2, lease=30)).allowed


async def test_who_does_not_leave_is_out_when_the_lease_is(bench: Bench) -> None:
    await bench.limiter.enter("room", "long", limit=2, lease=60)
    await bench.limiter.enter("room", "short", limit=2, lease=10)
    await bench.advance(9.9)
    assert not (await bench.limiter.enter("room", "new", limit=2, lease=10)).allowed
    await bench.advance(0.2)
    assert (await bench.limiter.enter("room", "new", limit=2, lease=10)).remaining == 0


async def test_entering_again_renews_the_lease(bench: Bench) -> None:
    for _ in range(3):
        assert (await bench.limiter.enter("room", "me", limit=1, lease=10)).allowed
        await bench.advance(9)
    assert not (await bench.limiter.enter("room", "you", limit=1, lease=10)).allowed


async def test_200_who_enter_at_once_are_50_of_50(bench: Bench) -> None:
    allowed: list[bool] = []

    async def ask(number: int) -> None:
        limiter = (bench.limiter, bench.second_limiter)[number % 2]
        allowed.append((await limiter.enter("room", f"{number}", limit=50, lease=30)).allowed)

    async with anyio.create_task_group() as group:
        for number in range(200):
            group.start_soon(ask, number)
    assert sum(allowed) == 50


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
