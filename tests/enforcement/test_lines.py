"""Waiting in line: in the order in which they came, within a bound, and whoever leaves lets the next one on."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from trustgate.contract.verdict import Deny
from trustgate.enforcement.lines import LONGEST_LINE, Lines, Passed

pytestmark = pytest.mark.anyio
NAME = ("policy", "line")


class Door:
    """Lets in while it is open; `order` is who got in."""

    def __init__(self, *, wait: float = 0.01) -> None:
        self.places = 0
        self.order: list[int] = []
        self.asked: list[int] = []
        self._no = Deny(code="full", message="Full.", status=429, retry_after=wait)

    def ask(self, number: int) -> Callable[[], Awaitable[object]]:
        async def ask() -> object:
            self.asked.append(number)
            await asyncio.sleep(0)  # as a store that is asked
            if not self.places:
                return self._no
            self.places -= 1
            self.order.append(number)
            return None

        return ask


async def come(lines: Lines, door: Door, number: int, name: tuple[str, str] = NAME) -> "asyncio.Task[Passed]":
    task = asyncio.create_task(lines.through(name, door.ask(number)))
    for _ in range(4):
        await asyncio.sleep(0)
    return task


async def test_who_came_first_gets_in_first_also_before_those_who_come_when_there_is_room() -> None:
    lines, door = Lines(within=5), Door()
    waiting = [await come(lines, door, number) for number in range(4)]
    door.places = 2
    late = await come(lines, door, 9)  # there is room now, and it is not for this one
    await asyncio.wait(waiting[:2], timeout=5)
    assert door.order == [0, 1]
    door.places = 3
    assert [passed.waited for passed in await asyncio.gather(*waiting, late)] == [True] * 5
    assert door.order == [0, 1, 2, 3, 9]


async def test_other_lines_do_not_wait() -> None:
    lines, door, other = Lines(within=5), Door(), Door()
    waiting = await come(lines, door, 0)
    other.places = 1
    passed = await asyncio.wait_for(await come(lines, other, 1, ("policy", "other")), 5)
    assert (passed.verdict, passed.waited) == (None, False)
    door.places = 1
    await waiting


async def test_nobody_waits_longer_than_the_bound_wherever_in_the_line() -> None:
    lines, door = Lines(within=0.1), Door(wait=0.03)
    began = asyncio.get_running_loop().time()
    waiting = [await come(lines, door, number) for number in range(5)]
    ends = await asyncio.gather(*waiting)
    assert asyncio.get_running_loop().time() - began < 1
    assert all(isinstance(passed.verdict, Deny) for passed in ends)
    assert set(door.asked) == set(range(5))  # each is told how things stand, and not how they stood for another
    door.places = 1
    assert await lines.through(NAME, door.ask(7)) == Passed(None, waited=False)  # the line is gone


async def test_whoever_leaves_the_line_lets_the_next_one_on() -> None:
    lines, door = Lines(within=5), Door(wait=0.01)
    first, second, third = [await come(lines, door, number) for number in range(3)]
    second.cancel()
    first.cancel()
    await asyncio.wait((first, second), timeout=5)
    door.places = 1
    assert (await asyncio.wait_for(third, 5)).verdict is None
    assert door.order == [2]


async def test_a_failure_is_of_the_one_it_happens_to() -> None:
    lines, door = Lines(within=5), Door()

    async def fail() -> object:
        raise ConnectionError("the store is away")

    first = await come(lines, door, 0)
    broken = asyncio.create_task(lines.through(NAME, fail))
    await asyncio.sleep(0)
    last = await come(lines, door, 2)
    door.places = 2
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(broken, 5)
    assert [(await asyncio.wait_for(each, 5)).verdict for each in (first, last)] == [None, None]


async def test_a_line_has_an_end() -> None:
    lines, door = Lines(within=0.5), Door(wait=0.2)
    waiting = [asyncio.create_task(lines.through(NAME, door.ask(number))) for number in range(LONGEST_LINE + 50)]
    await asyncio.sleep(0.05)
    told = [each for each in waiting if each.done()]
    assert len(told) == 50
    assert all(isinstance(each.result().verdict, Deny) for each in told)
    door.places = len(waiting)
    assert sum(passed.verdict is None for passed in await asyncio.gather(*waiting)) == LONGEST_LINE
