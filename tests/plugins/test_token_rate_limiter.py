"""token_rate_limiter, through a whole proxy: reserved before the call, settled after it, whatever the end was."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from time import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lifecycle.kit import (
    ASKED,
    DONE,
    KEY,
    USAGE,
    House,
    Line,
    Piece,
    Rule,
    Scripted,
    Told,
    completion,
    configured,
    consumer,
    live,
    registry,
    rule,
    stream,
    whole,
)
from tests.plugins.house import rule_of
from trustgate import Deny, PriceRule, StateUnavailable, Usage, Want
from trustgate.config.records import ModelPolicy
from trustgate.contract.upstream import UpstreamFailure
from trustgate.state.memory_ledger import MemoryLedger
from trustgate_plugins import token_rate_limiter
from trustgate_plugins.token_rate_limiter.settings import TokenRateLimiterSettings

pytestmark = pytest.mark.anyio

TOTAL = USAGE["total_tokens"]


def budget(most: float, **others: Any) -> dict[str, Any]:
    return {"aggregate": {"max": most, "time_window": "1h"}, "default_output_tokens": 10, **others}


def limited(settings: dict[str, Any], **fields: Any) -> Rule:
    return rule_of(token_rate_limiter, settings, **fields)


def remaining(told: Told) -> int:
    return int(told.header(b"x-ratelimit-remaining-tokens"))


async def used(house: House, *, name: str = "all", who: str = "consumer:c1", policy: str = "p0") -> tuple[int, int]:
    """Return what is used and what is reserved of a budget."""
    key = f"g1:token_rate_limiter:{policy}:{who}:{name}"
    want = Want(key=key, limit=10**12, window=3600, amount=0)
    (found,) = await house.services.ledger.look([want])
    return found.used, found.reserved


async def test_what_was_really_used_takes_the_place_of_what_was_reserved() -> None:
    house = House(Line(whole), limited(budget(1000)))
    first = await house.ask()
    assert await used(house) == (TOTAL, 0)
    second = await house.ask()
    assert remaining(first) - remaining(second) == TOTAL
    assert await used(house) == (2 * TOTAL, 0)


async def test_a_stream_is_settled_with_what_its_provider_says() -> None:
    house = House(Line(lambda: live(*stream("Hi"))), limited(budget(1000)))
    await house.ask(ASKED | {"stream": True})
    assert await used(house) == (TOTAL, 0)


@pytest.mark.parametrize("pieces", [1, 3, 8])
async def test_a_stream_that_breaks_off_is_settled_with_what_was_relayed(pieces: int) -> None:
    words = [f"word number {at} of it " for at in range(pieces)]
    broken: list[Piece] = [*stream(*words)[:pieces], UpstreamFailure("connection_lost", "gone")]
    house = House(Line(live(*broken)), limited(budget(1000)))
    await house.ask(ASKED | {"stream": True})
    usage = house.event.usage
    assert usage is not None
    assert usage.estimated
    assert usage.completion_tokens >= 4 * pieces
    assert await used(house) == (usage.total_tokens, 0)


async def test_a_budget_that_is_used_up_refuses_and_nobody_is_asked() -> None:
    line = Line(whole)
    house = House(line, limited(budget(TOTAL)))
    assert (await house.ask()).status == 200
    told = await house.ask()
    assert (told.status, told.error["code"]) == (429, "token_budget_exceeded")
    assert remaining(told) == 0
    assert int(told.header(b"retry-after")) >= 3500
    assert len(line.calls) == 1
    assert [each.code for each in house.events[-1].policy_chain if each.decision == "block"] == [
        "token_budget_exceeded"
    ]
    assert await used(house) == (TOTAL, 0)


@pytest.mark.parametrize("failure", [UpstreamFailure("connect_failed", "nobody"), Scripted(b"{}", status=500)])
async def test_what_came_to_nothing_uses_nothing(failure: Any) -> None:
    house = House(Line(failure), limited(budget(1000)))
    assert (await house.ask()).status >= 500
    assert await used(house) == (0, 0)


async def test_a_refusal_behind_it_gives_its_reservation_back() -> None:
    async def pre_call() -> Deny:
        return Deny(code="no", message="No.")

    house = House(Line(whole), limited(budget(1000)), rule(pre_call=pre_call, fields={"priority": 1}))
    assert (await house.ask()).status == 403
    assert await used(house) == (0, 0)


@pytest.mark.parametrize(
    ("path", "body", "estimate"),
    [
        ("/my-app/v1/chat/completions", ASKED | {"max_tokens": 500}, 500),
        ("/my-app/v1/chat/completions", ASKED | {"max_completion_tokens": 300, "n": 2}, 600),
        ("/my-app/v1/chat/completions", ASKED, 10),
        ("/my-app/v1/messages", ASKED | {"max_tokens": 500}, 500),
        ("/my-app/v1/responses", {"model": "m-1", "input": "Hello!", "max_output_tokens": 500}, 500),
        (
            "/my-app/v1beta/models/m-1:generateContent",
            {"contents": [{"parts": [{"text": "Hello!"}]}], "generationConfig": {"maxOutputTokens": 500}},
            500,
        ),
    ],
)
async def test_what_a_request_allows_is_reserved_in_every_dialect(path: str, body: Any, estimate: int) -> None:
    told = await House(Line(whole), limited(budget(10_000, counting="output"))).ask(body, path=path)
    assert remaining(told) == 10_000 - estimate


async def test_strict_refuses_what_might_not_fit() -> None:
    asked = ASKED | {"max_tokens": 5000}
    assert (await House(Line(whole), limited(budget(1000, strict=True))).ask(asked)).status == 429
    assert (await House(Line(whole), limited(budget(1000))).ask(asked)).status == 200


@pytest.mark.parametrize(
    ("counting", "reads", "counted"),
    [("input", False, 5), ("input", True, 9), ("output", False, 2), ("total", False, 7)],
)
async def test_what_counts(counting: str, reads: bool, counted: int) -> None:
    usage = USAGE | {"prompt_tokens_details": {"cached_tokens": 4}}
    settings = budget(1000, counting=counting, count_cache_reads=reads)
    house = House(Line(whole(completion(usage=usage))), limited(settings))
    await house.ask()
    assert await used(house) == (counted, 0)


async def test_dollars_are_those_of_the_event() -> None:
    settings = {"unit": "dollars", "aggregate": {"max": 5, "time_window": "24h"}}
    records = configured(registry(provider="openai"))
    house = House(Line(whole(completion(model="gpt-4o"))), limited(settings), records=records)
    told = await house.ask(ASKED | {"model": "gpt-4o"})
    assert (told.header(b"x-budget-unit"), told.header(b"x-budget-limit-usd")) == ("usd", "5.000000")
    key = "g1:token_rate_limiter:p0:consumer:c1:all"
    (found,) = await house.services.ledger.look([Want(key=key, limit=1, window=86400, amount=0)])
    assert found.used == 9 * 2500 + 2 * 10_000  # billionths, at 2.50 and 10 dollars a million


async def test_the_most_specific_rule_counts_and_the_aggregate_beside_it() -> None:
    rules = [{"model": name, "max": 1000, "time_window": "1h"} for name in ("*", "m-*", "m-1", "m-1*")]
    house = House(Line(whole), limited(budget(2000, rules=rules)))
    await house.ask()
    await house.ask(ASKED | {"model": "m-10"})
    counts = {name: (await used(house, name=f"model:{name}"))[0] for name in ("*", "m-*", "m-1", "m-1*")}
    assert counts == {"*": 0, "m-*": 0, "m-1": TOTAL, "m-1*": TOTAL}
    assert await used(house) == (2 * TOTAL, 0)


async def test_the_model_that_counts_is_the_one_that_is_really_asked_for() -> None:
    rules = [{"model": "m-7", "max": 1000, "time_window": "1h"}]
    records = configured(consumer(model_policies=(ModelPolicy(registry_id="r1", default="m-7"),)))
    house = House(Line(whole), limited({"rules": rules}), records=records)
    await house.ask(ASKED | {"model": "auto"})
    assert await used(house, name="model:m-7") == (TOTAL, 0)


async def test_a_downgrade_asks_the_other_model_whose_own_budget_counts_then() -> None:
    rules = [{"model": name, "max": TOTAL, "time_window": "1h"} for name in ("m-1", "m-0")]
    line = Line(whole)
    settings = {"rules": rules, "behavior_on_exceeded": "downgrade_model", "downgrade_to": "m-0"}
    house = House(line, limited(settings))
    told = [await house.ask() for _ in range(3)]
    assert [each.status for each in told] == [200, 200, 429]
    assert [body["model"] for body in line.bodies] == ["m-1", "m-0"]
    assert told[1].header(b"x-ag-model-downgraded") == "m-1 -> m-0"
    assert await used(house, name="model:m-0") == (TOTAL, 0)


async def test_consumers_have_their_own_and_a_global_one_is_shared() -> None:
    records = configured(consumer(), consumer(id="c2", slug="other", name="Other"))
    for fields, statuses in (({"consumer_ids": ("c1", "c2")}, [200, 200]), ({"is_global": True}, [200, 429])):
        house = House(Line(whole), limited(budget(TOTAL), **fields), records=records)
        told = [await house.ask(path=f"/{slug}/v1/chat/completions", key=KEY) for slug in ("my-app", "other")]
        assert [each.status for each in told] == statuses


async def test_each_value_of_a_header_has_its_own() -> None:
    house = House(Line(whole), limited(budget(TOTAL, group_by_header="X-User")))
    statuses = [(await house.ask(headers={b"x-user": name})).status for name in (b"ann", b"bob", b"ann")]
    assert statuses == [200, 200, 429]


async def test_two_budgets_of_one_kind_both_hold() -> None:
    house = House(Line(whole), limited(budget(1000)), limited(budget(TOTAL)))
    assert [(await house.ask()).status for _ in range(2)] == [200, 429]
    assert await used(house, policy="p0") == (TOTAL, 0)
    assert await used(house, policy="p1") == (TOTAL, 0)


async def test_observing_refuses_nobody() -> None:
    house = House(Line(whole), limited(budget(TOTAL), mode="observe"))
    assert [(await house.ask()).status for _ in range(3)] == [200, 200, 200]
    assert "observe" in {finding.decision for finding in house.events[-1].policy_chain}
    assert await used(house) == (3 * TOTAL, 0)  # also what a budget would not have had


@pytest.mark.parametrize("mode", ["enforce", "observe"])
async def test_an_observed_downgrade_counts_the_model_that_is_asked(mode: str) -> None:
    settings = budget(TOTAL, behavior_on_exceeded="downgrade_model", downgrade_to="m-0")
    house = House(Line(whole), limited(settings, mode=mode))
    told = [(await house.ask()).status for _ in range(2)]
    assert told == ([200, 200] if mode == "observe" else [200, 429])
    assert [body["model"] for body in house.line.bodies] == ["m-1", "m-1"][: told.count(200)]
    assert await used(house) == (told.count(200) * TOTAL, 0)


class Wall:
    """A clock that the test moves, in Unix seconds."""

    def __init__(self, told: str) -> None:
        self.be(told)

    def __call__(self) -> float:
        return self.now

    def be(self, told: str) -> None:
        self.now = datetime.fromisoformat(told).timestamp()


async def test_a_budget_of_a_month_begins_anew_with_the_month_where_the_people_are() -> None:
    wall = Wall("2026-03-31T21:59:58+00:00")
    settings = {"aggregate": {"max": TOTAL, "period": "month"}, "time_zone": "Europe/Madrid"}
    house = House(Line(whole), limited(settings), clock=wall, ledger=MemoryLedger(wall=wall))
    told = [await house.ask() for _ in range(2)]
    assert [each.status for each in told] == [200, 429]
    assert told[1].header(b"retry-after") == "2"
    assert "this month" in told[1].error["message"]
    wall.be("2026-03-31T22:00:00+00:00")
    assert (await house.ask()).status == 200


async def test_a_day_and_a_week_that_end_together_are_two_budgets() -> None:
    wall = Wall("2026-03-01T12:00:00+00:00")
    settings = {
        "aggregate": {"max": 10_000, "period": "week"},
        "rules": [{"model": "*", "max": 10_000, "period": "day"}],
    }
    house = House(Line(whole), limited(settings), clock=wall, ledger=MemoryLedger(wall=wall))
    assert remaining(await house.ask()) == remaining(await house.ask()) + TOTAL


# Dollars whose price nobody knows.


def dollars(most: float = 5, **others: Any) -> dict[str, Any]:
    return {"unit": "dollars", "aggregate": {"max": most, "time_window": "24h"}, **others}


async def spent(house: House) -> int:
    """Return billionths of a dollar."""
    want = Want(key="g1:token_rate_limiter:p0:consumer:c1:all", limit=1, window=86400, amount=0)
    (found,) = await house.services.ledger.look([want])
    assert found.reserved == 0
    return found.used


def prices(dollars_in: str, dollars_out: str, model: str = "*") -> dict[str, str]:
    return {"model": model, "input": dollars_in, "output": dollars_out}


async def test_an_unknown_price_is_refused_where_that_is_the_decision() -> None:
    line = Line(whole)
    house = House(line, limited(dollars(unknown_price="reject")))
    told = await house.ask()
    assert (told.status, told.error["code"]) == (403, "price_unknown")
    assert (line.calls, await spent(house)) == ([], 0)


async def test_an_unknown_price_that_passes_is_marked_and_counts_nothing() -> None:
    house = House(Line(whole), limited(dollars(unknown_price="pass_through")))
    assert (await house.ask()).status == 200
    assert await spent(house) == 0
    assert house.event.policy_chain[0].details["unpriced"] == "pass_through"


async def test_an_unknown_price_is_taken_for_the_dearest_of_its_provider() -> None:
    house = House(Line(whole), limited(dollars()))
    assert (await house.ask()).status == 200
    assert house.event.policy_chain[0].details["unpriced"] == "assume_max"
    dearest = house.services.pricing.dearest("openai_compatible", Usage(input=9, output=2), at=time())
    assert await spent(house) == -(-dearest.total // 10**15) > 0


async def test_prices_of_a_policys_own_count_before_those_of_the_registry() -> None:
    own = dollars(custom_pricing=[prices("1000", "2000", "m-*"), prices("1", "1")])
    records = configured(registry(prices=(PriceRule(model="*", input="7", output="7"),)))
    house = House(Line(whole), limited(own), records=records)
    await house.ask()
    assert await spent(house) == 9 * 1_000_000 + 2 * 2_000_000  # billionths, at 1000 and 2000 dollars a million
    cost = house.event.cost
    assert cost is not None
    assert cost.total_usd == "0.000077"  # what is paid is what the registry says


names = st.text(alphabet="abm-1", min_size=1, max_size=6)
patterns = st.lists(
    st.one_of(names, st.tuples(names, names).map("*".join), names.map("{}*".format), st.just("*")),
    min_size=1,
    max_size=6,
    unique=True,
)


@given(patterns=patterns, model=names)
def test_the_exact_rule_counts_then_the_one_with_the_most_letters(patterns: list[str], model: str) -> None:
    rules = [{"model": each, "max": 10, "time_window": "1h"} for each in patterns]
    settings = msgspec.convert({"rules": rules}, TokenRateLimiterSettings)
    matching = [each for each in patterns if fnmatchcase(model, each)]
    found = [budget.name.removeprefix("model:") for budget in settings.of(model)]
    if model in patterns:
        assert found == [model]
    elif matching:
        letters = max(len(each.replace("*", "")) for each in matching)
        assert found == [min(each for each in matching if len(each.replace("*", "")) == letters)]
    else:
        assert found == []


class Away:
    """A ledger whose store is gone."""

    async def reserve(self, wants: Sequence[Want], *, lease: float, beyond: bool) -> None:
        raise StateUnavailable("the store is away")


@pytest.mark.parametrize(("on_error", "status"), [("", 200), ("allow", 200), ("deny", 503)])
async def test_a_ledger_that_is_away_is_for_on_error_to_judge(on_error: str, status: int) -> None:
    house = House(Line(whole), limited(budget(TOTAL), on_error=on_error), ledger=Away())
    told = await house.ask()
    assert (told.status, told.header(b"x-ag-policy-degraded")) == (status, "guard_0")


async def test_200_at_once_exceed_a_budget_by_no_more_than_what_is_in_flight() -> None:
    limit, gate = 400, asyncio.Event()

    def slow() -> Scripted:
        return Scripted(gate, completion(), DONE[:0])

    house = House(Line(slow), limited(budget(limit, default_output_tokens=40)))
    callers = [asyncio.create_task(house.caller().call()) for _ in range(200)]
    while sum(task.done() for task in callers) + len(house.line.calls) < 200:  # noqa: ASYNC110 - nobody tells us
        await asyncio.sleep(0)
    settled, reserved = await used(house)
    estimate = reserved // len(house.line.calls)
    assert settled == 0
    assert limit <= reserved < limit + estimate
    gate.set()
    told = await asyncio.gather(*callers)
    await house.settled()
    passed = sum(each.status == 200 for each in told)
    assert passed == len(house.line.calls)
    assert await used(house) == (sum(event.usage.total_tokens for event in house.events if event.usage), 0)
    assert await used(house) == (passed * TOTAL, 0)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({}, "aggregate"),
        (budget(0), "max"),
        (budget(10.5), "whole"),
        ({"aggregate": {"max": 10, "time_window": "59s"}}, "time_window"),
        ({"aggregate": {"max": 10, "time_window": "an hour"}}, "time_window"),
        (budget(10, behavior_on_exceeded="downgrade_model"), "downgrade_to"),
        (budget(10, downgrade_to="m-0"), "downgrade_to"),
        (budget(10, group_by_header="a b"), "group_by_header"),
        ({"rules": [{"model": "a", "max": 1, "time_window": "1h"}] * 2}, "twice"),
        (budget(10, limit=5), "limit"),
        ({"aggregate": {"max": 10}}, "period"),
        ({"aggregate": {"max": 10, "time_window": "1h", "period": "day"}}, "period"),
        ({"aggregate": {"max": 10, "period": "second"}}, "period"),
        (budget(10, time_zone="Mars"), "Mars"),
        (budget(10, unknown_price="free"), "unknown_price"),
        (budget(10, custom_pricing=[{"model": "*", "input": 1.5, "output": "1"}]), "custom_pricing"),
    ],
)
def test_settings_that_are_wrong_are_named(settings: dict[str, Any], word: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=word):
        msgspec.convert(settings, TokenRateLimiterSettings)
