"""What is kept until it expires: one fetch for all, renewed in time, and what happens when it fails."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from trustgate.contract.upstream import CannotAuthorise
from trustgate.providers.credentials import tokens
from trustgate.providers.credentials.tokens import Bearer, Fetched, Kept, with_headers

from .kit import Hand, call

pytestmark = pytest.mark.anyio


class Source:
    """Gives 1, 2, 3 … for an hour each, when it is let; fails while `failure` is set."""

    def __init__(self) -> None:
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None
        self.lifetime = 3600.0

    async def __call__(self) -> Fetched[int]:
        self.asked += 1
        number = self.asked
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return Fetched(number, self.lifetime)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop work until something is so."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to that")


def kept(source: Callable[[], Awaitable[Fetched[int]]], clock: Hand) -> Kept[int]:
    """What is tested."""
    return Kept(source, what="the source", now=clock)


async def test_a_hundred_ask_and_one_fetch_is_made() -> None:
    source, clock = Source(), Hand()
    source.gate.clear()
    value = kept(source, clock)
    asking = [asyncio.create_task(value.get()) for _ in range(100)]
    await until(lambda: source.asked > 0)
    source.gate.set()
    assert await asyncio.gather(*asking) == [1] * 100
    assert await value.get() == 1
    assert source.asked == 1


async def test_who_leaves_takes_nothing_away_from_the_others() -> None:
    source, clock = Source(), Hand()
    source.gate.clear()
    value = kept(source, clock)
    first, second = asyncio.create_task(value.get()), asyncio.create_task(value.get())
    await until(lambda: source.asked > 0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    source.gate.set()
    assert await second == 1
    assert source.asked == 1


async def test_it_is_renewed_behind_the_back_of_those_who_may_use_it() -> None:
    source, clock = Source(), Hand()
    value = kept(source, clock)
    assert await value.get() == 1
    clock.turn(3299)
    assert await value.get() == 1
    assert source.asked == 1
    clock.turn(2)
    source.gate.clear()
    assert [await value.get() for _ in range(5)] == [1] * 5  # nobody waits
    await until(lambda: source.asked == 2)
    source.gate.set()
    await until(lambda: value._value == 2)
    assert await value.get() == 2
    assert source.asked == 2


async def test_one_that_ran_out_is_never_used() -> None:
    source, clock = Source(), Hand()
    value = kept(source, clock)
    assert await value.get() == 1
    clock.turn(3600 - 9)
    assert await value.get() == 2


async def test_a_short_life_is_used_for_most_of_it() -> None:
    source, clock = Source(), Hand()
    source.lifetime = 10.0
    value = kept(source, clock)
    assert await value.get() == 1
    clock.turn(7)
    assert await value.get() == 1
    clock.turn(2.5)
    assert await value.get() == 2


@pytest.mark.parametrize("retryable", [True, False])
async def test_after_a_failure_nobody_is_asked_for_a_second(retryable: bool) -> None:
    source, clock = Source(), Hand()
    source.failure = CannotAuthorise("no", retryable=retryable)
    value = kept(source, clock)
    for _ in range(5):
        with pytest.raises(CannotAuthorise, match=r"^no$") as told:
            await value.get()
        assert told.value.retryable is retryable
    assert source.asked == 1
    clock.turn(1.1)
    source.failure = None
    assert await value.get() == 2


async def test_while_it_is_good_a_failure_to_renew_is_nobodys_concern(caplog: pytest.LogCaptureFixture) -> None:
    source, clock = Source(), Hand()
    value = kept(source, clock)
    await value.get()
    clock.turn(3400)
    source.failure = CannotAuthorise("no", retryable=True)
    for _ in range(3):
        assert await value.get() == 1
        await until(lambda: value._flight is None or value._flight.done())
    assert source.asked == 2
    clock.turn(195)
    with pytest.raises(CannotAuthorise):
        await value.get()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_one_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "PATIENCE", 0.01)
    source, clock = Source(), Hand()
    source.gate.clear()
    with pytest.raises(CannotAuthorise, match=r"^the source took too long$") as told:
        await kept(source, clock).get()
    assert told.value.retryable


async def test_what_is_refused_is_fetched_anew_but_not_at_once() -> None:
    source, clock = Source(), Hand()
    value = kept(source, clock)
    await value.get()
    for _ in range(100):
        value.drop()
        assert await value.get() == 1  # a key without permission does not cost a token per call
    clock.turn(6)
    value.drop()
    assert await value.get() == 2
    value.drop()
    assert await value.get() == 2


async def test_a_mistake_of_ours_is_no_failure_to_authorise() -> None:
    source, clock = Source(), Hand()
    source.failure = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        await kept(source, clock).get()


def test_every_loop_has_a_fetch_of_its_own() -> None:
    clock, asked = Hand(), 0

    async def never() -> Fetched[int]:
        nonlocal asked
        asked += 1
        if asked == 1:
            await asyncio.Event().wait()
        return Fetched(asked, 1.0)

    value = Kept(never, what="it", now=clock)

    async def leave() -> None:
        asking = asyncio.create_task(value.get())
        await until(lambda: asked == 1)
        asking.cancel()

    asyncio.run(leave())
    assert asyncio.run(value.get()) == 2


def test_headers_are_replaced_whatever_their_case() -> None:
    made = with_headers(call(b"", (b"Authorization", b"old"), (b"x", b"1")), ((b"authorization", b"new"),))
    assert [value for name, value in made.headers if name.lower() == b"authorization"] == [b"new"]
    assert (b"x", b"1") in made.headers


async def test_nothing_is_told() -> None:
    async def fetch() -> Fetched[bytes]:
        return Fetched(b"secret-token", 60.0)

    bearer = Bearer(Kept(fetch, what="it"))
    assert (b"authorization", b"Bearer secret-token") in (await bearer.authorise(call())).headers
    assert "secret" not in repr(bearer) + repr(bearer._token)
