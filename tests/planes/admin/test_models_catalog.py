"""Models and what they cost: the shipped prices, a registry's own, and whose registry may be asked about."""

from decimal import Decimal
from time import time
from typing import Any

import pytest

from trustgate.contract.cost import PriceRule
from trustgate.contract.usage import Usage
from trustgate.planes.admin.plane import AdminServices
from trustgate.providers.prices import PriceBook

from .api import UNKNOWN, Api, token
from .conftest import World, make_world

pytestmark = pytest.mark.anyio

CATALOG = "/v1/models-catalog"
OWN: list[dict[str, Any]] = [
    {"model": "gpt-4o-mini", "input": "0.05", "output": "0.000001", "cached_input": "0.03"},
    {"model": "our-own", "input": "0", "output": "1"},
    {"model": "gpt-5*", "input": "7", "output": "8", "tiers": [{"above": 1000, "input": "9", "output": "10"}]},
    {"model": "gpt-4.1", "input": "1", "output": "1", "effective_from": "2999-12-31"},
]


async def items(api: Api, query: str = "", **more: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await api.ok("GET", f"{CATALOG}?{query}", **more))["items"]
    return found


def by_slug(found: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {item["slug"]: item for item in found}


async def test_every_model_of_every_provider_in_order(api: Api) -> None:
    found = await items(api)
    keys = [(it["provider"], it["slug"]) for it in found]
    assert len(found) > 1500
    assert keys == sorted(set(keys))
    assert len({it["id"] for it in found}) == len(found)
    providers = {it["code"]: it["id"] for it in (await api.ok("GET", "/v1/providers-catalog"))["items"]}
    assert {it["provider"]: it["provider_id"] for it in found}.items() <= providers.items()
    assert {it["source"] for it in found} == {"genai-prices"}
    assert all(it["enabled"] for it in found)


async def test_one_provider(api: Api) -> None:
    found = by_slug(await items(api, "provider=anthropic"))
    assert {it["provider"] for it in found.values()} == {"anthropic"}
    sonnet = found["claude-sonnet-4-5"]
    assert (sonnet["input_price"], sonnet["output_price"]) == ("0.000003", "0.000015")
    assert (sonnet["cached_input_price"], sonnet["cache_write_price"]) == ("0.0000003", "0.00000375")
    assert sonnet["context_window"] >= 200_000
    assert sonnet["display_name"]
    assert await items(api, "provider=vllm") == await items(api, "provider=nobody") == []


async def test_the_prices_are_those_that_are_charged(api: Api) -> None:
    book, checked = PriceBook(), 0
    for item in await items(api):
        shown = item.get("input_price")
        cost = book.price(item["provider"], item["slug"], Usage(input=1), at=time())
        if cost is None:
            assert shown is None, item
            continue
        assert Decimal(shown or "-1").scaleb(24) == cost.prompt, item
        checked += 1
    assert checked > 1400


async def test_a_model_without_a_known_price_shows_none(api: Api) -> None:
    free = by_slug(await items(api, "provider=openai"))["moderation"]
    assert not {"input_price", "output_price"} & set(free)


async def priced(api: Api, world: World, prices: Any = OWN) -> dict[str, Any]:
    updated: dict[str, Any] = await api.ok("PUT", f"{world.root}/registries/{world.registry}", {"prices": prices})
    return updated


def of(world: World) -> str:
    return f"gateway_id={world.gateway}&registry_id={world.registry}"


async def test_a_registry_s_own_prices(api: Api, world: World) -> None:
    await priced(api, world)
    shown = by_slug(await items(api, of(world)))
    assert {it["provider"] for it in shown.values()} == {"openai"}
    mini = shown["gpt-4o-mini"]
    assert (mini["input_price"], mini["output_price"]) == ("0.00000005", "0.000000000001")
    assert (mini["cached_input_price"], mini["source"]) == ("0.00000003", "registry")
    assert (shown["our-own"]["input_price"], shown["our-own"]["source"]) == ("0", "registry")
    assert (shown["gpt-5-mini"]["input_price"], shown["gpt-5-mini"]["source"]) == ("0.000007", "registry")
    assert shown["gpt-4.1"]["source"] == "genai-prices"
    assert "gpt-5*" not in shown
    assert await items(api, of(world) + "&provider=anthropic") == []


async def test_ids_that_lead_nowhere_are_ignored(api: Api, world: World) -> None:
    await priced(api, world)
    everything = await items(api)
    for query in (
        f"gateway_id={world.gateway}",
        f"registry_id={world.registry}",
        f"gateway_id={UNKNOWN}&registry_id={world.registry}",
        f"gateway_id={world.gateway}&registry_id={UNKNOWN}",
        "gateway_id=x&registry_id=y",
    ):
        assert await items(api, query) == everything


async def test_nobody_sees_another_tenant_s_prices(api: Api) -> None:
    theirs = await make_world(api, "theirs", tenant_id="theirs")
    mine = await make_world(api, "mine", tenant_id="mine")
    await priced(api, theirs)
    me = token(tenant_id="mine")
    assert await items(api, of(theirs), token=me) == await items(api, token=me)
    crossed = f"gateway_id={mine.gateway}&registry_id={theirs.registry}"
    assert await items(api, crossed, token=me) == await items(api, token=me)
    assert "our-own" in by_slug(await items(api, of(theirs), token=token(tenant_id="theirs")))


async def test_a_registry_s_prices_are_kept_replaced_and_removed(api: Api, world: World) -> None:
    path = f"{world.root}/registries/{world.registry}"
    assert (await priced(api, world))["prices"] == OWN
    assert (await api.ok("PUT", path, {"description": "the same"}))["prices"] == OWN
    assert (await api.ok("GET", path))["prices"] == OWN
    assert (await priced(api, world, OWN[:1]))["prices"] == OWN[:1]
    assert "prices" not in await priced(api, world, [])
    fields = {"name": "priced", "provider": "vllm", "provider_options": {"base_url": "http://vllm:8000/v1"}}
    made = await api.ok("POST", f"{world.root}/registries", {**fields, "auth": {"type": "none"}, "prices": OWN[1:2]})
    assert made["prices"] == OWN[1:2]


async def test_prices_reach_the_records_that_data_planes_read(api: Api, world: World, services: AdminServices) -> None:
    await priced(api, world)
    async with services.store.read() as unit:
        registry = await unit.registries.get(world.registry, gateway_id=world.gateway)
    assert registry is not None
    assert registry.prices[0] == PriceRule(model="gpt-4o-mini", input="0.05", output="0.000001", cached_input="0.03")
    cost = PriceBook().price("openai", "gpt-4o-mini", Usage(input=10**6), at=0.0, overrides=registry.prices)
    assert cost is not None
    assert cost.total == 5 * 10**22


@pytest.mark.parametrize(
    ("prices", "says"),
    [
        ([{"model": "m", "input": "1"}], "output"),
        ([{"model": "m", "input": 1, "output": "1"}], "prices[0].input"),
        ([{"model": "m", "input": "1e-6", "output": "1"}], "prices[0].input"),
        ([{"model": "m", "input": "-1", "output": "1"}], "prices[0].input"),
        ([{"model": "m", "input": "0.0000000000001", "output": "1"}], "prices[0].input"),
        ([{"model": "m", "input": "NaN", "output": "1"}], "prices[0].input"),
        ([{"model": "", "input": "1", "output": "1"}], "prices[0].model"),
        ([{"model": "*" * 9, "input": "1", "output": "1"}], "prices[0].model"),
        ([{"model": "m", "input": "1", "output": "1", "reasoning": "1"}], "reasoning"),
        ([{"model": "m", "input": "1", "output": "1", "effective_from": "2026-02-30"}], "effective_from"),
        ([{"model": "m", "input": "1", "output": "1", "effective_from": "0000-01-01"}], "effective_from"),
        ([{"model": "m", "input": "1", "output": "1"}, {"model": "M", "input": "2", "output": "1"}], "prices[1]"),
        ([{"model": "m", "input": "1", "output": "1", "tiers": [{"above": 0, "input": "1", "output": "1"}]}], "above"),
        (
            [{"model": "m", "input": "1", "output": "1", "tiers": [{"above": 5, "input": "1", "output": "1"}] * 2}],
            "ascend",
        ),
        ([{"model": f"m{i}", "input": "1", "output": "1"} for i in range(201)], "200"),
        ({"m": "1"}, "prices"),
    ],
)
async def test_prices_that_cannot_be_are_refused(api: Api, world: World, prices: Any, says: str) -> None:
    path = f"{world.root}/registries/{world.registry}"
    await api.no("PUT", path, {"prices": prices}, code="validation_failed", says=says)
    assert "prices" not in await api.ok("GET", path)
