"""A second target at the same time: when, which answer counts, what becomes of the other, and what it may not cost."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.lifecycle.kit import ASKED, House, configured, consumer, live, registry, rule, stream, text_of, whole
from tests.lifecycle.test_failover import Hosts, failing
from trustgate.config.records import Hedging, LoadBalancing
from trustgate.contract.upstream import Call, Upstream
from trustgate.forwarding.health import Health

pytestmark = pytest.mark.anyio
SOON = Hedging(after_ms=20)


class Slow(Hosts):
    """Hosts whose heads come when their gate opens; the others answer at once."""

    def __init__(self, *gated: str, **answers: Any) -> None:
        super().__init__(**answers)
        self.gates = {name: asyncio.Event() for name in gated}
        self.cancelled: list[str] = []
        self._both = asyncio.Event()

    async def both(self) -> None:
        """Wait until two are asked."""
        async with asyncio.timeout(5):
            await self._both.wait()

    async def send(self, call: Call) -> Upstream:
        name = call.origin.host.partition(".")[0]
        if self.calls:
            self._both.set()
        if name in self.gates:
            self.calls.append(call)
            try:
                await self.gates[name].wait()
            except asyncio.CancelledError:
                self.cancelled.append(name)
                raise
            answer = self.hosts[name]()
            assert not isinstance(answer, Exception)
            return answer
        return await super().send(call)


def house(line: Hosts, hedging: Hedging | None = SOON, *rules: Any, **fields: Any) -> House:
    names = tuple(line.hosts)
    balancing = LoadBalancing(algorithm="round-robin", hedging=hedging)
    records = configured(*(registry(name) for name in names), consumer(*names, lb_config=balancing))
    return House(line, *rules, records=records, **fields)


async def in_time_for_a_second() -> None:
    """Return when a second target was asked for a request that came later: so it would have been for one before."""
    line = Slow("r1", r1=whole, r2=whole)
    assert (await house(line).ask()).status == 200
    assert line.cancelled == ["r1"]


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_second_answers_and_the_first_is_cancelled(streamed: bool) -> None:
    answer: Callable[[], Upstream] = (lambda: live(*stream("Hi"))) if streamed else whole
    line = Slow("r1", r1=answer, r2=answer)
    health = Health()
    at = house(line, health=health)
    told = await at.ask(ASKED | {"stream": streamed})
    assert told.status == 200
    assert (text_of(told.body) if streamed else told.json["choices"][0]["message"]["content"]) in ("Hi", "Hi there")
    assert line.order == ["r1", "r2"]
    assert line.cancelled == ["r1"]
    event = at.event
    assert [(each.registry_id, each.outcome, each.failure) for each in event.attempts] == [
        ("r1", "terminal", "cancelled"),
        ("r2", "success", ""),
    ]
    assert event.request.registry_id == "r2"
    assert event.usage is not None
    assert event.usage.total_tokens == 11
    assert health.ready("r1", "m-1"), "it was slow, and did not fail"


async def test_whoever_answers_in_time_is_alone() -> None:
    line = Hosts(r1=whole, r2=whole)
    at = house(line)
    await at.ask()
    assert line.order == ["r1"]


async def test_the_first_may_still_answer_before_the_second() -> None:
    line = Slow("r1", "r2", r1=whole, r2=whole)
    at = house(line)
    asking = asyncio.create_task(at.ask())
    await line.both()
    line.gates["r1"].set()
    assert (await asking).status == 200
    assert line.cancelled == ["r2"]
    assert [each.registry_id for each in at.event.attempts] == ["r2", "r1"], "the one that counts is the last"


async def test_a_second_that_fails_leaves_the_first_to_answer() -> None:
    line = Slow("r1", r1=whole, r2=failing(500))
    at = house(line)
    asking = asyncio.create_task(at.ask())
    await line.both()
    line.gates["r1"].set()
    assert (await asking).status == 200
    assert line.cancelled == []


async def test_where_both_fail_the_rest_is_asked() -> None:
    line = Slow("r1", r1=failing(500), r2=failing(500), r3=whole)
    at = house(line)
    asking = asyncio.create_task(at.ask())
    await line.both()
    line.gates["r1"].set()
    assert (await asking).status == 200
    assert line.order == ["r1", "r2", "r3"]


async def test_without_a_figure_it_is_what_is_usual_for_a_target() -> None:
    line = Slow(r1=whole, r2=whole)
    at = house(line, Hedging())
    for _ in range(50):
        assert (await at.ask()).status == 200
    line.gates["r1"] = asyncio.Event()  # from now on it is slower than ever
    before = len(line.calls)
    for _ in range(2):
        assert (await at.ask()).status == 200
    assert "r1" in line.cancelled
    assert line.order[before:].count("r2") == 2


async def test_while_too_little_is_known_nobody_is_asked_twice() -> None:
    line = Slow("r1", r1=whole, r2=whole)
    at = house(line, Hedging())
    asking = asyncio.create_task(at.ask())
    await in_time_for_a_second()
    assert line.order == ["r1"]
    line.gates["r1"].set()
    assert (await asking).status == 200


async def test_it_is_off_unless_it_is_asked_for() -> None:
    line = Slow("r1", r1=whole, r2=whole)
    at = house(line, None)
    asking = asyncio.create_task(at.ask())
    await in_time_for_a_second()
    assert line.order == ["r1"]
    line.gates["r1"].set()
    assert (await asking).status == 200


async def test_where_policies_decide_about_targets_nobody_is_asked_twice() -> None:
    line = Slow("r1", r1=whole, r2=whole)
    at = house(line, SOON, rule(pre_call=lambda: None))
    asking = asyncio.create_task(at.ask())
    await in_time_for_a_second()
    assert line.order == ["r1"]
    line.gates["r1"].set()
    assert (await asking).status == 200


async def test_a_caller_who_leaves_ends_both() -> None:
    line = Slow("r1", "r2", r1=whole, r2=whole)
    at = house(line)
    caller = at.caller()
    asking = asyncio.create_task(caller.call())
    await line.both()
    caller.left.set()
    await asking
    assert sorted(line.cancelled) == ["r1", "r2"]


async def test_places_are_given_back() -> None:
    line = Slow("r1", r1=whole, r2=whole)
    names = ("r1", "r2")
    balancing = LoadBalancing(algorithm="round-robin", hedging=SOON)
    records = configured(*(registry(name, max_concurrency=1) for name in names), consumer(*names, lb_config=balancing))
    at = House(line, records=records)
    for _ in range(5):
        assert (await at.ask()).status == 200


def under_way(health: Health, *names: str) -> list[int]:
    return [health.figures(name, "m-1").in_flight for name in names]


async def test_whoever_failed_is_under_way_no_more() -> None:
    line = Slow("r1", r1=failing(500), r2=failing(500), r3=whole)
    health = Health()
    at = house(line, health=health)
    asking = asyncio.create_task(at.ask())
    await line.both()
    line.gates["r1"].set()
    assert (await asking).status == 200
    assert under_way(health, "r1", "r2", "r3") == [0, 0, 0]


async def test_two_that_answer_at_once_are_one_answer() -> None:
    answers = {name: whole() for name in ("r1", "r2")}
    line = Slow("r1", "r2", r1=lambda: answers["r1"], r2=lambda: answers["r2"])
    health = Health()
    at = house(line, health=health)
    asking = asyncio.create_task(at.ask())
    await line.both()
    for gate in line.gates.values():
        gate.set()
    assert (await asking).status == 200
    assert under_way(health, "r1", "r2") == [0, 0]
    assert [answer.closed for answer in answers.values()] == [True, True]
    event = at.event
    assert event.request.registry_id == event.attempts[-1].registry_id
    assert [each.attempt for each in event.attempts] == [1, 2]


async def test_a_second_that_cannot_be_told_leaves_the_first_alone() -> None:
    """Who refuses to lose a parameter is not asked in a language that has none for it."""
    line = Slow("r1", r1=whole, r2=whole)
    balancing = LoadBalancing(algorithm="round-robin", hedging=SOON)
    strict = consumer("r1", "r2", lb_config=balancing, strict_translation=True)
    health = Health()
    at = House(line, records=configured(registry("r1"), registry("r2", provider="anthropic"), strict), health=health)
    asking = asyncio.create_task(at.ask(ASKED | {"logit_bias": {"50256": -100}}))
    await in_time_for_a_second()
    line.gates["r1"].set()
    assert (await asking).status == 200
    assert line.order == ["r1"]
    assert under_way(health, "r1", "r2") == [0, 0]


async def test_one_that_is_being_tried_is_no_second() -> None:
    now = 0.0
    health = Health(now=lambda: now)
    for _ in range(3):
        health.failed("r2", "m-1")
    now = 1.5
    assert health.enter("r2", "m-1"), "somebody else tries it"
    line = Slow("r1", r1=whole, r2=whole)
    at = house(line, health=health)
    asking = asyncio.create_task(at.ask())
    await in_time_for_a_second()
    line.gates["r1"].set()
    assert (await asking).status == 200
    assert line.order == ["r1"]
