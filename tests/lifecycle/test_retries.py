"""Asking again: other rounds, how long they wait and when they stop; and streams that have not proved themselves."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from tests.lifecycle.kit import (
    ASKED,
    DONE,
    EVENTS,
    House,
    Line,
    Scripted,
    completion,
    configured,
    consumer,
    event,
    live,
    registry,
    says,
    stream,
    text_of,
    whole,
)
from tests.lifecycle.test_failover import Hosts, failing
from trustgate.config.records import Budget, Fallback
from trustgate.contract.upstream import Clocks, UpstreamFailure
from trustgate.forwarding.health import Health
from trustgate.settings import Limits

pytestmark = pytest.mark.anyio
TWICE = Limits(provider_max_retries=1)
LOST = UpstreamFailure("connection_lost", "10.0.0.7")
STREAMED = ASKED | {"stream": True}


def alone(*answers: Any, limits: Limits = TWICE) -> House:
    return House(Line(*answers), limits=limits)


# Rounds.


@pytest.mark.parametrize("status", [408, 429, 500, 503, 529])
async def test_who_is_alone_is_asked_again(status: int) -> None:
    at = alone(failing(status), whole)
    assert (await at.ask()).status == 200
    assert [(each.status_code, each.outcome) for each in at.event.attempts] == [(status, "retryable"), (200, "success")]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
async def test_what_would_fail_again_is_not_asked_again(status: int) -> None:
    at = alone(failing(status), whole)
    assert (await at.ask()).status == status
    assert len(at.event.attempts) == 1


async def test_after_the_last_round_the_callers_see_the_last_answer() -> None:
    at = alone(failing(500), failing(503), limits=Limits(provider_max_retries=1))
    told = await at.ask()
    assert (told.status, told.error["message"]) == (503, "busy")


async def test_a_provider_that_says_when_is_asked_then() -> None:
    at = alone(failing(429, (b"retry-after", b"1")), whole)
    started = time.monotonic()
    assert (await at.ask()).status == 200
    assert 1.0 <= time.monotonic() - started < 2.0


async def test_a_provider_that_says_too_late_is_not_waited_for() -> None:
    at = alone(failing(429, (b"retry-after", b"6")), whole)
    told = await at.ask()
    assert (told.status, told.header(b"retry-after")) == (429, "6")


@pytest.mark.parametrize("name", [b"x-stainless-read-timeout", b"x-stainless-timeout"])
async def test_nobody_waits_longer_than_the_caller(name: bytes) -> None:
    at = alone(failing(429, (b"retry-after", b"2")), whole)
    started = time.monotonic()
    assert (await at.ask(headers={name: b"1"})).status == 429
    assert time.monotonic() - started < 1.0
    calls = at.line.calls
    assert calls[0].clocks.first_byte <= 1.0, "nor is the provider given longer"


@pytest.mark.parametrize("name", [b"x-stainless-read-timeout", b"x-stainless-timeout"])
async def test_a_stream_may_go_on_for_longer_than_its_caller_waits_for_a_byte(name: bytes) -> None:
    """SDKs say how long they wait for the next byte: https://www.python-httpx.org/advanced/timeouts/ (`read`)."""
    line = Line(live(*stream("Hi")))
    told = await House(line, limits=TWICE).ask(STREAMED, headers={name: b"1"})
    assert text_of(told.body) == "Hi"
    clocks = line.calls[0].clocks
    assert clocks.first_byte <= 1.0
    assert (clocks.idle, clocks.total) == (Clocks().idle, Clocks().total)


async def test_a_limit_that_is_no_number_is_none() -> None:
    at = alone(failing(500), whole)
    assert (await at.ask(headers={b"x-stainless-timeout": b"soon"})).status == 200


def budgeted(budget: Budget, *answers: Any) -> House:
    fallback = Fallback(triggers=("http_5xx",), chain=("r2",), budget=budget)
    records = configured(registry("r1"), registry("r2"), consumer("r1", "r2", fallback=fallback))
    return House(Line(*answers), records=records, limits=Limits())


async def test_a_budget_of_attempts() -> None:
    at = budgeted(Budget(max_attempts=2), failing(500))
    assert (await at.ask()).status == 500
    assert len(at.event.attempts) == 2


async def test_a_budget_of_time() -> None:
    at = budgeted(Budget(max_total_latency_ms=50), failing(500))
    assert (await at.ask()).status == 500
    assert len(at.event.attempts) == 2, "both were asked at once, and there was no time for another round"


async def test_policies_hear_only_of_the_answer_that_was_served() -> None:
    at = alone(whole(completion("no usage", usage=None), status=500), whole)
    await at.ask()
    assert at.event.usage is not None
    assert at.event.usage.total_tokens == 11


# Streams.


BROKEN = event({"error": {"message": "Overloaded.", "type": "server_error", "code": None, "param": None}})


@pytest.mark.parametrize(
    ("pieces", "code"),
    [
        ([LOST], "connection_lost"),
        ([b": ping\n\n", LOST], "connection_lost"),
        ([says("He")[:10], LOST], "connection_lost"),
        ([], "provider_incomplete_stream"),
        ([b": ping\n\n"], "provider_incomplete_stream"),
        ([b"data: {oh\n\n", DONE], "malformed_answer"),
        ([BROKEN], "provider_error"),
        ([b": ping\n\n", BROKEN], "provider_error"),
    ],
)
async def test_a_stream_that_fails_before_its_first_event_is_replaced(pieces: Sequence[Any], code: str) -> None:
    line = Hosts(r1=lambda: live(*pieces), r2=lambda: live(*stream("Hi")))
    at = House(line, records=configured(registry("r1"), registry("r2"), consumer("r1", "r2")))
    told = await at.ask(STREAMED)
    assert (told.status, text_of(told.body), told.ended) == (200, "Hi", True)
    assert line.order == ["r1", "r2"]
    assert [each.failure for each in at.event.attempts] == [code, ""]
    assert at.event.usage is not None
    assert at.event.usage.total_tokens == 11


async def test_a_stream_is_not_replaced_once_it_has_begun() -> None:
    line = Hosts(r1=lambda: live(says("Hel"), LOST), r2=lambda: live(*stream("Hi")))
    at = House(line, records=configured(registry("r1"), registry("r2"), consumer("r1", "r2")))
    told = await at.ask(STREAMED)
    assert told.status == 200
    assert text_of(told.body) == "Hel"
    assert told.error["code"] == "provider_connection_lost"
    assert not told.ended
    assert line.order == ["r1"]


async def test_whoever_takes_long_is_let_through() -> None:
    gate = asyncio.Event()
    at = House(Line(live(b": ping\n\n", gate, *stream("Hi"))), limits=Limits(stream_hold=0.05))
    caller = at.caller(STREAMED)
    asking = asyncio.create_task(caller.call())
    await caller.until(b"ping")
    gate.set()
    told = await asking
    assert text_of(told.body) == "Hi"
    assert told.ended


async def test_what_is_too_much_is_let_through() -> None:
    comment = b": " + b"x" * 100 + b"\n\n"
    gate = asyncio.Event()
    at = House(Line(live(comment, gate, *stream("Hi"))), limits=Limits(stream_hold_bytes=50, stream_hold=60.0))
    caller = at.caller(STREAMED)
    asking = asyncio.create_task(caller.call())
    await caller.until(b"xxx")
    gate.set()
    assert text_of((await asking).body) == "Hi"


async def test_a_caller_who_leaves_while_a_stream_is_held_stops_the_provider() -> None:
    upstream = live(asyncio.Event(), headers=EVENTS)
    at = House(Line(upstream), limits=Limits(stream_hold=60.0))
    caller = at.caller(STREAMED)
    asking = asyncio.create_task(caller.call())
    await upstream.waiting.wait()
    caller.left.set()
    await asking
    await at.settled()
    assert upstream.closed
    assert at.event.client_disconnected


# One at a time.


async def test_two_requests_do_not_try_it_at_once() -> None:
    now = 0.0
    gate = asyncio.Event()
    line = Hosts(r1=failing(500), r2=whole)
    health = Health(now=lambda: now)
    records = configured(registry("r1"), registry("r2"), consumer("r1", "r2"))
    at = House(line, records=records, health=health)
    for _ in range(6):
        await at.ask()
    now = 1.5
    line.hosts["r1"] = lambda: Scripted(gate, completion())
    before = len(line.order)
    pending = {asyncio.create_task(at.caller().call()) for _ in range(4)}
    done = set[asyncio.Task[Any]]()
    while len(done) < 3:
        ended, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        done |= ended
    assert line.order[before:].count("r1") == 1
    gate.set()
    assert {(await each).status for each in done | pending} == {200}
