"""What every ledger promises, in whatever store it keeps budgets: reserved before, settled after, exact at the end."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustgate.contract.ports import Ledger, Reservation, Standing, Want

from .benches import Bench, Make

pytestmark = pytest.mark.anyio

LEASE = 30.0


def want(amount: int, limit: int = 100, *, key: str = "k", strict: bool = False, until: float = 0.0) -> Want:
    return Want(key=key, limit=limit, window=60.0, amount=amount, strict=strict, until=until)


async def standing(ledger: Ledger, asked: Want | None = None) -> Standing:
    (found,) = await ledger.look([asked or want(0)])
    return found


async def reserved(bench: Bench, amount: int, *, strict: bool = False) -> Reservation:
    return await bench.ledger.reserve([want(amount, strict=strict)], lease=LEASE)


async def test_what_is_reserved_is_replaced_by_what_was_used(bench: Bench) -> None:
    held = await reserved(bench, 40)
    assert held.allowed
    found = await standing(bench.second_ledger)
    assert (found.used, found.reserved, found.remaining) == (0, 40, 60)
    (settled,) = await bench.ledger.settle(held, [25])
    assert (settled.used, settled.reserved, settled.remaining) == (25, 0, 75)


async def test_while_anything_is_left_one_is_let_through_and_no_more(bench: Bench) -> None:
    await bench.ledger.settle(await reserved(bench, 99), [99])
    last = await reserved(bench, 50)
    assert last.allowed
    refused = await reserved(bench, 1)
    assert not refused.allowed
    assert refused.standings[0].short
    assert refused.standings[0].remaining == 0


async def test_a_strict_one_has_to_fit(bench: Bench) -> None:
    assert not (await reserved(bench, 101, strict=True)).allowed
    assert (await reserved(bench, 100, strict=True)).allowed
    assert not (await reserved(bench, 1, strict=True)).allowed


async def test_whoever_only_looks_on_reserves_beyond_what_is_left_and_is_told(bench: Bench) -> None:
    await bench.ledger.settle(await reserved(bench, 100), [100])
    held = await bench.ledger.reserve([want(30), want(5, key="free")], lease=LEASE, beyond=True)
    assert (held.allowed, [each.short for each in held.standings]) == (False, [True, False])
    found = await standing(bench.second_ledger)
    assert (found.used, found.reserved, found.remaining) == (100, 30, 0)
    await bench.second_ledger.settle(held, [20, 3])
    assert [(await standing(bench.ledger, want(0, key=key))).used for key in ("k", "free")] == [120, 3]


async def test_of_several_budgets_all_are_reserved_or_none(bench: Bench) -> None:
    await bench.ledger.reserve([want(100, key="full")], lease=LEASE)
    both = await bench.ledger.reserve([want(10, key="free"), want(10, key="full")], lease=LEASE)
    assert (both.allowed, [each.short for each in both.standings]) == (False, [False, True])
    assert (await standing(bench.ledger, want(0, key="free"))).reserved == 0


async def test_settling_twice_is_settling_once(bench: Bench) -> None:
    held = await reserved(bench, 40)
    await bench.ledger.settle(held, [30])
    await bench.second_ledger.settle(held, [30])
    found = await standing(bench.ledger)
    assert (found.used, found.reserved) == (30, 0)


async def test_zero_gives_back(bench: Bench) -> None:
    await bench.ledger.settle(await reserved(bench, 100), [0])
    assert (await standing(bench.ledger)).remaining == 100


async def test_what_is_not_settled_is_free_after_its_lease_and_counts_when_it_is_settled_late(bench: Bench) -> None:
    held = await reserved(bench, 100)
    assert not (await reserved(bench, 1)).allowed
    await bench.advance(LEASE + 1)
    assert (await standing(bench.ledger)).reserved == 0
    await bench.ledger.settle(held, [70])
    found = await standing(bench.ledger)
    assert (found.used, found.reserved) == (70, 0)


async def test_use_comes_back_after_the_window(bench: Bench) -> None:
    await bench.ledger.settle(await reserved(bench, 100), [100])
    await bench.advance(59)
    assert (await standing(bench.ledger)).used == 100
    await bench.advance(3)
    assert (await standing(bench.ledger)).used == 0


async def test_a_period_of_the_calendar_is_full_until_the_next_one_begins(bench: Bench) -> None:
    until = bench.clock() + 10
    october = want(100, key="2026-10", until=until)
    await bench.ledger.settle(await bench.ledger.reserve([october], lease=LEASE), [100])
    refused = await bench.second_ledger.reserve([october], lease=LEASE)
    assert not refused.allowed
    assert refused.standings[0].retry_after == pytest.approx(10, abs=0.5)
    november = want(100, key="2026-11", until=until + 10)
    assert (await bench.ledger.reserve([november], lease=LEASE)).allowed


async def test_200_at_once_never_exceed_the_limit_by_more_than_what_is_in_flight(bench: Bench) -> None:
    limit, used, flying, most = 1000, 0, 0, 0
    passed: list[int] = []

    async def one(number: int) -> None:
        nonlocal used, flying, most
        ledger = bench.ledger if number % 2 else bench.second_ledger
        estimate, real = 20 + number % 30, 5 + number % 45
        held = await ledger.reserve([want(estimate, limit)], lease=LEASE)
        if not held.allowed:
            return
        flying += estimate
        await asyncio.sleep(0)
        # while this one is in flight, what is settled is within the limit and all that is reserved
        most = max(most, used - limit - flying)
        await ledger.settle(held, [real])
        flying -= estimate
        used += real
        passed.append(real)

    await asyncio.gather(*map(one, range(200)))
    assert most <= 0
    assert 0 < len(passed) < 200
    found = await standing(bench.ledger, want(0, limit))
    assert (found.used, found.reserved) == (sum(passed), 0)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.booleans()), max_size=12))
def test_it_agrees_with_a_sheet_of_paper(make: Make, steps: list[tuple[int, int, bool]]) -> None:
    async def run() -> None:
        async with make() as bench:
            used = pending = 0
            for amount, real, settles in steps:
                held = await bench.ledger.reserve([want(amount)], lease=LEASE)
                assert held.allowed == (used + pending < 100)
                if held.allowed and settles:
                    await bench.ledger.settle(held, [real])
                    used += real
                elif held.allowed:
                    pending += amount
                found = await standing(bench.ledger)
                assert (found.used, found.reserved, found.remaining) == (used, pending, max(0, 100 - used - pending))

    asyncio.run(run())
