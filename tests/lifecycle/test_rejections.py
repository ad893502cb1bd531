"""An answer that a policy rejects, and the next target in its place: one request, two answers paid for."""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from tests.lifecycle.kit import (
    ASKED,
    DONE,
    Buffering,
    House,
    Rule,
    completion,
    configured,
    consumer,
    event,
    live,
    registry,
    rule,
    text_of,
    whole,
)
from tests.lifecycle.test_failover import Answers, Hosts, failing
from tests.plugins.house import rule_of
from trustgate import AnswerView, Deny, Outcome, Proceed
from trustgate.config.records import Budget, Fallback
from trustgate.contract.cost import PriceRule
from trustgate.settings import Limits
from trustgate.telemetry.record import build_event
from trustgate_plugins import token_rate_limiter

pytestmark = pytest.mark.anyio

CHEAP = (PriceRule(model="*", input="1", output="10"),)
DEAR = (PriceRule(model="*", input="3", output="100"),)
STREAMED = ASKED | {"stream": True}


def says(text: str) -> Answers:
    return lambda: whole(completion(text))


def streams(text: str) -> Answers:
    chunk = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m-1-2026"}
    said = event(chunk | {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}]})
    used = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
    return lambda: live(said, event(chunk | {"choices": [], "usage": used}), DONE)


async def no_secrets(answer: AnswerView) -> Deny | Proceed:
    if "secret" in answer.text:
        return Deny(code="secret_found", message="The answer holds a secret.", headers=((b"x-why", b"secret"),))
    return Proceed(headers=((b"x-judged", b"fine"),))


def guard() -> Rule:
    return rule(Buffering, pre_response=no_secrets)


def house(
    line: Hosts,
    *rules: Any,
    triggers: Sequence[Any] = ("plugin_rejection",),
    budget: Budget = Budget(),  # noqa: B008 - frozen
    chain: Sequence[str] = ("r2",),
    priced: Sequence[str] = ("r1", "r2"),
    **fields: Any,
) -> House:
    names = tuple(line.hosts)
    prices = {"r1": CHEAP, "r2": DEAR}
    pool = [registry(name, prices=prices[name] if name in priced else ()) for name in names]
    fallback = Fallback(triggers=tuple(triggers), chain=tuple(chain), budget=budget)
    return House(line, *rules, records=configured(*pool, consumer(*names, fallback=fallback)), **fields)


def paid(at: House) -> Decimal | None:
    """Return what the last request cost, as its event says it."""
    cost = build_event(at.records[-1], at.services.pricing).cost
    return None if cost is None else Decimal(cost.total_usd)


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_next_one_answers_for_one_whose_answer_was_rejected(streamed: bool) -> None:
    answer = streams if streamed else says
    line = Hosts(r1=answer("a secret"), r2=answer("a word"))
    at = house(line, guard())
    told = await at.ask(STREAMED if streamed else ASKED)
    assert told.status == 200
    assert (text_of(told.body) if streamed else told.json["choices"][0]["message"]["content"]) == "a word"
    assert line.order == ["r1", "r2"]
    names = [name for name, _ in told.headers]
    assert names.count(b"x-selected-provider") == 1
    assert names.count(b"cache-control") == int(streamed)
    assert told.header(b"x-judged") == "fine"
    assert b"x-why" not in names


@pytest.mark.parametrize("streamed", [False, True])
async def test_both_answers_are_counted_and_paid_for(streamed: bool) -> None:
    answer = streams if streamed else says
    heard: list[Outcome] = []

    async def listen(outcome: Outcome) -> None:
        heard.append(outcome)

    at = house(Hosts(r1=answer("a secret"), r2=answer("a word")), guard(), rule(post_response=listen))
    await at.ask(STREAMED if streamed else ASKED)
    found = at.event
    assert found.usage is not None
    assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (18, 4)
    cheap, dear = Decimal("0.000029"), Decimal("0.000227")
    assert found.cost is not None
    assert Decimal(found.cost.total_usd) == cheap + dear
    rejected, served = found.attempts
    assert (rejected.registry_id, rejected.outcome, rejected.failure) == ("r1", "retryable", "plugin_rejection")
    assert rejected.usage is not None
    assert rejected.usage.total_tokens == 11
    assert rejected.cost is not None
    assert Decimal(rejected.cost.total_usd) == cheap
    assert (served.registry_id, served.outcome, served.usage, served.cost) == ("r2", "success", None, None)
    (outcome,) = heard
    assert outcome.usage is not None
    assert outcome.usage.total == 22
    assert outcome.cost is not None
    assert outcome.cost.total == (cheap + dear) * 10**24
    assert outcome.target is not None
    assert outcome.target.registry_id == "r2"
    assert [each.decision for each in found.policy_chain if each.stage == "pre_response"] == ["block", "allowed"]


async def test_a_budget_is_charged_for_both() -> None:
    budget = rule_of(token_rate_limiter, {"aggregate": {"max": 100_000, "time_window": "1h"}})
    at = house(Hosts(r1=says("a secret"), r2=says("a word")), guard(), budget)
    assert (await at.ask(ASKED | {"max_tokens": 100})).status == 200
    left = int((await at.ask(ASKED | {"max_tokens": 100})).header(b"x-ratelimit-remaining-tokens"))
    alone = house(Hosts(r1=says("a word"), r2=says("a word")), budget)
    assert (await alone.ask(ASKED | {"max_tokens": 100})).status == 200
    assert left == int((await alone.ask(ASKED | {"max_tokens": 100})).header(b"x-ratelimit-remaining-tokens")) - 11


async def test_of_a_price_that_nobody_knows_the_sum_is_not_known_but_the_parts_are() -> None:
    at = house(Hosts(r1=says("a secret"), r2=says("a word")), guard(), priced=("r1",))
    await at.ask()
    assert paid(at) is None
    assert at.event.attempts[0].cost is not None


async def test_a_rejection_that_triggers_nothing_is_the_callers_answer() -> None:
    line = Hosts(r1=says("a secret"), r2=says("a word"))
    at = house(line, guard(), triggers=("http_5xx",))
    told = await at.ask()
    assert (told.status, told.error["code"], told.header(b"x-why")) == (403, "secret_found", "secret")
    assert line.order == ["r1"]
    assert at.event.attempts[0].outcome == "success"
    assert at.event.attempts[0].usage is None, "what it used is the event's own usage"
    assert at.event.usage is not None


async def test_the_rest_of_the_pool_is_asked_before_the_chain() -> None:
    line = Hosts(r1=says("a secret"), r2=says("the chain"), r3=says("the pool"))
    records = configured(
        *(registry(name) for name in ("r1", "r2", "r3")),
        consumer("r1", "r2", "r3", fallback=Fallback(triggers=("plugin_rejection",), chain=("r2",))),
    )
    told = await House(line, guard(), records=records).ask()
    assert told.json["choices"][0]["message"]["content"] == "the pool"
    assert line.order == ["r1", "r3"]


async def test_where_all_are_rejected_the_caller_hears_why_and_all_are_paid_for() -> None:
    line = Hosts(r1=says("a secret"), r2=says("another secret"))
    at = house(line, guard(), limits=Limits())
    told = await at.ask()
    assert (told.status, told.error["code"]) == (403, "secret_found")
    assert [name for name, _ in told.headers].count(b"x-why") == 1
    assert line.order == ["r1", "r2"], "whose answer was rejected is not asked again"
    assert at.event.usage is not None
    assert at.event.usage.total_tokens == 22
    assert paid(at) == Decimal("0.000256")


async def test_one_that_fails_after_a_rejection_is_told_and_the_rejected_answer_paid_for() -> None:
    line = Hosts(r1=says("a secret"), r2=failing(500))
    at = house(line, guard(), limits=Limits())
    told = await at.ask()
    assert (told.status, told.error["message"]) == (500, "busy")
    assert line.order == ["r1", "r2"]
    assert at.event.usage is not None
    assert at.event.usage.total_tokens == 11
    assert paid(at) == Decimal("0.000029")


async def test_the_budget_of_attempts_holds_for_rejections_too() -> None:
    line = Hosts(r1=says("a secret"), r2=says("a word"))
    told = await house(line, guard(), budget=Budget(max_attempts=1)).ask()
    assert told.error["code"] == "secret_found"
    assert line.order == ["r1"]


async def test_policies_of_the_target_decide_about_the_one_that_is_asked_instead() -> None:
    asked: list[str] = []

    async def pre_call(target: Any) -> Deny | None:
        asked.append(target.registry_id)
        return None if target.registry_id == "r1" else Deny(code="not_there", message="Not there.")

    line = Hosts(r1=says("a secret"), r2=says("a word"))
    told = await house(line, guard(), rule(pre_call=pre_call)).ask()
    assert told.error["code"] == "not_there"
    assert asked == ["r1", "r2"]
    assert line.order == ["r1"]


async def test_the_next_one_is_asked_in_its_own_language() -> None:
    """What is said to the second, and what was lost on the way, is the second's alone."""
    line = Hosts(r1=lambda: whole(json.dumps(ANTHROPIC).encode()), r2=says("a word"))
    records = configured(
        registry("r1", provider="anthropic"),
        registry("r2"),
        consumer("r1", "r2", fallback=Fallback(triggers=("plugin_rejection",), chain=("r2",))),
    )
    at = House(line, guard(), records=records)
    told = await at.ask(ASKED | {"logit_bias": {"1": 1}})
    assert told.json["choices"][0]["message"]["content"] == "a word"
    assert told.header(b"x-ag-dropped-params") == ""
    assert at.event.dropped_params == ()


ANTHROPIC = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m-1",
    "content": [{"type": "text", "text": "a secret"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 1},
}
