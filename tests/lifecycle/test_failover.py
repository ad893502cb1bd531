"""The next target: who is asked when one fails, who is left alone for a while, and when it is asked again."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.lifecycle.kit import (
    ASKED,
    JSON,
    House,
    Line,
    Scripted,
    completion,
    configured,
    consumer,
    live,
    registry,
    stream,
    text_of,
    whole,
)
from tests.plugins.house import rule_of
from trustgate.contract.upstream import Call, Header, Upstream, UpstreamFailure
from trustgate.forwarding.health import Health
from trustgate_plugins import token_rate_limiter

pytestmark = pytest.mark.anyio
Answers = Callable[[], Upstream | Exception]


class Hosts(Line):
    """A transport whose hosts answer each in its way."""

    def __init__(self, **answers: Answers) -> None:
        super().__init__()
        self.hosts = answers

    async def send(self, call: Call) -> Upstream:
        self.calls.append(call)
        self.asked.set()
        answer = self.hosts[call.origin.host.partition(".")[0]]()
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def order(self) -> list[str]:
        return [call.origin.host.partition(".")[0] for call in self.calls]


def failing(status: int, *headers: Header) -> Answers:
    error = b'{"error":{"message":"busy","type":"server_error","code":null,"param":null}}'
    return lambda: Scripted(error, status=status, headers=(*JSON, *headers))


def gone() -> Exception:
    return UpstreamFailure("connect_failed", "")


def house(line: Hosts, *rules: Any, **fields: Any) -> House:
    names = tuple(line.hosts)
    records = configured(*(registry(name) for name in names), consumer(*names))
    return House(line, *rules, records=records, **fields)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("first", [gone, failing(429), failing(500), failing(503), failing(401)])
async def test_the_caller_does_not_see_that_one_failed(first: Answers, streamed: bool) -> None:
    line = Hosts(r1=first, r2=lambda: live(*stream("Hi")) if streamed else whole())
    at = house(line)
    told = await at.ask(ASKED | {"stream": streamed})
    assert told.status == 200
    assert (text_of(told.body) if streamed else told.json["choices"][0]["message"]["content"]) in ("Hi", "Hi there")
    assert line.order == ["r1", "r2"]
    event = at.event
    assert [(each.registry_id, each.outcome) for each in event.attempts][1] == ("r2", "success")
    assert event.usage is not None
    assert event.usage.total_tokens == 11, "only the answer that was served is counted"


async def test_with_one_of_three_dead_nobody_fails_and_it_is_left_alone() -> None:
    line = Hosts(r1=failing(500), r2=whole, r3=whole)
    at = house(line)
    assert {(await at.ask()).status for _ in range(60)} == {200}
    assert line.order.count("r1") == 3, "after three failures its turn is over"
    assert abs(line.order.count("r2") - line.order.count("r3")) <= 5, "who stood in for it three times"
    explained = await at.dry()
    (last,) = [each for each in explained.targets if each.registry == "r1"]
    assert last.place == 3
    assert "failed lately" in last.reason


async def test_it_is_tried_by_one_and_then_by_all_again() -> None:
    now = 0.0
    health = Health(now=lambda: now)
    for _ in range(3):
        health.failed("r1", "m")
    assert not health.ready("r1", "m")
    now = 1.01
    assert health.ready("r1", "m")
    assert [health.enter("r1", "m") for _ in range(2)] == [True, False], "one at a time while nobody knows"
    health.failed("r1", "m")
    assert health.pause("r1", "m") == pytest.approx(2.0), "longer, the longer it fails"
    now = 3.1
    assert health.enter("r1", "m")
    health.succeeded("r1", "m")
    assert all(health.enter("r1", "m") for _ in range(5))
    assert not health.anybody_failed


async def test_who_says_when_to_come_back_is_left_alone_until_then() -> None:
    line = Hosts(r1=failing(429, (b"retry-after", b"20")), r2=whole)
    at = house(line)
    for _ in range(10):
        assert (await at.ask()).status == 200
    assert line.order.count("r1") == 1


async def test_one_model_that_fails_is_no_reason_to_avoid_another() -> None:
    line = Hosts(r1=failing(500), r2=whole)
    at = house(line)
    for _ in range(8):
        await at.ask()
    failed = line.order.count("r1")
    line.hosts["r1"] = whole
    for _ in range(4):
        await at.ask(ASKED | {"model": "m-2"})
    assert line.order.count("r1") > failed


async def test_where_all_fail_the_caller_hears_the_last_of_them() -> None:
    line = Hosts(r1=failing(500), r2=failing(503, (b"retry-after", b"7")))
    at = house(line)
    told = await at.ask()
    assert (told.status, told.error["message"], told.header(b"retry-after")) == (503, "busy", "7")
    assert line.order == ["r1", "r2"]
    for _ in range(2):
        assert (await at.ask()).error["message"] == "busy"
    told = await at.ask()
    assert (told.status, told.error["code"]) == (503, "no_backend_available"), "nobody is asked who would only fail"
    assert "r1: it failed lately" in told.error["message"]
    assert "r2: it failed lately" in told.error["message"]
    assert told.header(b"retry-after") == "1"
    assert line.order == ["r1", "r2", "r1", "r1"]


async def test_what_was_reserved_for_the_first_is_given_back() -> None:
    budget = rule_of(token_rate_limiter, {"aggregate": {"max": 100_000, "time_window": "1h"}})
    line = Hosts(r1=failing(500), r2=lambda: whole(completion()))
    at = house(line, budget)
    first = int((await at.ask()).header(b"x-ratelimit-remaining-tokens"))
    line.hosts["r1"] = whole
    assert int((await at.ask()).header(b"x-ratelimit-remaining-tokens")) == first - 11


@pytest.mark.parametrize("status", [400, 404, 413, 422])
async def test_what_is_the_callers_mistake_is_not_tried_elsewhere(status: int) -> None:
    line = Hosts(r1=failing(status), r2=whole)
    assert (await house(line).ask()).status == status
    assert line.order == ["r1"]
