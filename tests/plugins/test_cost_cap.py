"""cost_cap, through a whole proxy: what is too dear is refused or replaced, and no unknown price is taken for zero."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lifecycle.kit import ASKED, House, Line, Told, configured, consumer, registry, whole
from tests.plugins.house import rule_of
from trustgate import PriceRule
from trustgate.config.records import ModelPolicy
from trustgate.contract.upstream import UpstreamFailure
from trustgate_plugins import cost_cap
from trustgate_plugins.cost_cap.settings import CostCapSettings

pytestmark = pytest.mark.anyio

PRICES = {"custom_pricing": [{"model": f"m-{at}", "input": str(at), "output": str(10 * at)} for at in range(1, 10)]}


def house(settings: dict[str, Any], *, line: Line | None = None, records: Any = None, **fields: Any) -> House:
    return House(line or Line(whole), rule_of(cost_cap, PRICES | settings, **fields), records=records)


async def ask(at: House, model: str, **more: Any) -> Told:
    return await at.ask(ASKED | {"model": model, **more})


@pytest.mark.parametrize(
    ("caps", "dearest"),
    [
        ({"max_input_price": "3"}, 3),
        ({"max_input_price": "3.999999999999"}, 3),
        ({"max_output_price": "50"}, 5),
        ({"max_input_price": "7", "max_output_price": "20"}, 2),
    ],
)
async def test_the_dearest_model_that_may_be_asked(caps: dict[str, str], dearest: int) -> None:
    at = house(caps)
    told = [await ask(at, f"m-{model}") for model in range(1, 10)]
    assert [each.status for each in told] == [200] * dearest + [403] * (9 - dearest)
    assert {each.error["code"] for each in told[dearest:]} == {"model_too_expensive"}
    assert len(at.line.calls) == dearest
    details = at.events[-1].policy_chain[0].details
    assert (details["input_price"], details["output_price"]) == ("9", "90")
    assert {name: details[name] for name in caps} == caps


async def test_a_request_costs_what_it_may_use_at_most() -> None:
    at = house({"max_request_cost": "0.01"})  # m-1: 10 dollars for a million tokens of output, a thousand for a cent
    for asked, status in (
        ({"max_tokens": 950}, 200),
        ({"max_tokens": 1000}, 403),
        ({"max_tokens": 500, "n": 2}, 403),
        ({"max_tokens": 400, "n": 2}, 200),
        ({}, 403),  # 1024 are expected of an answer whose length is left open
    ):
        assert (await ask(at, "m-1", **asked)).status == status, asked


async def test_the_ceiling_of_the_most_telling_name_counts() -> None:
    caps = [{"model": "m-*", "max_input_price": "2"}, {"model": "m-5", "max_input_price": "5"}]
    at = house({"max_input_price": "1", "per_model": caps})
    told = [(await ask(at, model)).status for model in ("m-2", "m-3", "m-5", "m-6")]
    assert told == [200, 403, 200, 403]


async def test_the_first_cheap_enough_of_the_chain_is_asked_instead() -> None:
    chain = ["m-8", "m-4", "m-2"]
    at = house({"max_input_price": "3", "behavior_on_violation": "downgrade", "downgrade_chain": chain})
    told = [await ask(at, model) for model in ("m-9", "m-4", "m-1")]
    assert [each.status for each in told] == [200, 200, 200]
    assert [body["model"] for body in at.line.bodies] == ["m-2", "m-2", "m-1"]
    assert told[0].header(b"x-ag-model-downgraded") == "m-4 -> m-2"
    assert told[2].header(b"x-ag-model-downgraded") == ""


async def test_a_chain_that_is_too_dear_to_its_end_refuses() -> None:
    at = house({"max_input_price": "1", "behavior_on_violation": "downgrade", "downgrade_chain": ["m-8", "m-4"]})
    told = await ask(at, "m-9")
    assert (told.status, told.error["code"], at.line.calls) == (403, "model_too_expensive", [])


async def test_each_target_is_held_to_the_ceiling() -> None:
    records = configured(
        registry("r1"),
        registry("r2"),
        consumer(
            "r1",
            "r2",
            model_policies=(
                ModelPolicy(registry_id="r1", default="m-1"),
                ModelPolicy(registry_id="r2", default="m-9"),
            ),
        ),
    )
    line = Line(UpstreamFailure("connect_failed", "nobody listens"), whole)
    told = await ask(house({"max_input_price": "3"}, line=line, records=records), "auto")
    assert (told.status, told.error["code"]) == (403, "model_too_expensive")
    assert [body["model"] for body in line.bodies] == ["m-1"]


@pytest.mark.parametrize(
    ("decision", "status", "code"),
    [("reject", 403, "price_unknown"), ("assume_max", 403, "model_too_expensive"), ("pass_through", 200, "")],
)
async def test_a_price_that_nobody_knows_is_a_decision(decision: str, status: int, code: str) -> None:
    at = house({"max_input_price": "100", "unknown_price": decision})
    told = await ask(at, "nobody-knows")
    assert told.status == status
    assert not code or told.error["code"] == code
    assert at.event.policy_chain[0].details["unpriced"] == decision


async def test_what_is_assumed_passes_a_ceiling_above_it() -> None:
    at = house({"max_input_price": "1000", "unknown_price": "assume_max"})
    assert (await ask(at, "nobody-knows")).status == 200


async def test_prices_of_the_policy_count_before_those_of_the_registry_and_those_before_the_book() -> None:
    records = configured(registry(provider="openai", prices=(PriceRule(model="gpt-4o-mini", input="90", output="90"),)))
    at = House(Line(whole), rule_of(cost_cap, PRICES | {"max_input_price": "3"}), records=records)
    told = [(await ask(at, model)).status for model in ("gpt-4o", "gpt-4o-mini", "o1", "m-1", "m-4")]
    assert told == [200, 403, 403, 200, 403]


async def test_observing_refuses_nobody_and_says_what_it_saw() -> None:
    at = house({"max_input_price": "3"}, mode="observe")
    assert (await ask(at, "m-9")).status == 200
    (finding,) = at.event.policy_chain
    assert (finding.decision, finding.code) == ("observe", "model_too_expensive")


prices = st.decimals(min_value=0, max_value=1000, places=6).map(lambda each: format(each, "f"))


@given(price=prices, most=prices)
def test_a_ceiling_is_compared_exactly(price: str, most: str) -> None:
    def amounts(told: str) -> int | None:
        return msgspec.convert({"max_input_price": told.rstrip("0").rstrip(".")}, CostCapSettings).cap_of("m").input

    asked, cap = amounts(price), amounts(most)
    assert asked is not None
    assert cap is not None
    assert (asked > cap) is (float(price) > float(most))


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({}, "ceiling"),
        ({"max_input_price": 3}, "max_input_price"),
        ({"max_input_price": "-3"}, "max_input_price"),
        ({"max_input_price": "1e3"}, "max_input_price"),
        ({"max_input_price": "3", "behavior_on_violation": "downgrade"}, "downgrade_chain"),
        ({"max_input_price": "3", "downgrade_chain": ["m"]}, "downgrade_chain"),
        ({"max_input_price": "3", "behavior_on_violation": "downgrade", "downgrade_chain": ["m", "m"]}, "twice"),
        ({"per_model": [{"model": "m", "max_input_price": "3"}] * 2}, "twice"),
        ({"max_input_price": "3", "unknown_price": "free"}, "unknown_price"),
        ({"max_input_price": "3", "max_price": "3"}, "max_price"),
    ],
)
def test_settings_that_are_wrong_are_named(settings: dict[str, Any], word: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=word):
        msgspec.convert(settings, CostCapSettings)
