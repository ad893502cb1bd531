"""How a consumer's requests find their way, as it is configured: what is taken, and what is refused by its name."""

from typing import Any

import pytest

from tests.planes.admin.api import Api
from tests.planes.admin.conftest import World
from tests.planes.admin.test_registries import openai

pytestmark = pytest.mark.anyio
GOOD: dict[str, Any] = {
    "aliases": {"best": "gpt-x", "quick": "pool:fast", "mine": "@openai/gpt-x", "quicker": "quick"},
    "lb_config": {
        "algorithm": "weighted-round-robin",
        "pool_alias": "fast",
        "members": [
            {"registry_id": "R1", "model": "gpt-x", "weight": 3},
            {"registry_id": "R2", "models": ["gpt-y"], "priority": 1},
        ],
    },
    "fallback": {
        "triggers": ["http_5xx", "timeout"],
        "budget": {"max_attempts": 4, "max_total_latency_ms": 9000},
        "chain": ["R2"],
    },
}


def filled(value: Any, ids: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: filled(item, ids) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, ids) for item in value]
    return ids.get(value, value) if isinstance(value, str) else value


@pytest.fixture
async def ids(api: Api, world: World) -> dict[str, str]:
    """Two registries."""
    made = [await api.ok("POST", f"{world.root}/registries", openai(name)) for name in ("one", "two", "three")]
    return {f"R{at}": registry["id"] for at, registry in enumerate(made, start=1)}


def body(ids: dict[str, str], **changes: Any) -> dict[str, Any]:
    registries = [{"id": ids["R1"]}, {"id": ids["R2"]}]
    rules = [{"registry_id": ids["R1"], "allowed": ["gpt-x", "gpt-z"]}]
    return {"name": "routed", "registries": registries, "model_policies": rules, **filled(changes, ids)}


async def test_it_is_read_back_as_it_was_written(api: Api, world: World, ids: dict[str, str]) -> None:
    made = await api.ok("POST", f"{world.root}/consumers", body(ids, **GOOD))
    assert made["aliases"] == GOOD["aliases"]
    balancing = made["lb_config"]
    assert [each["registry_id"] for each in balancing["members"]] == [ids["R1"], ids["R2"]]
    assert (balancing["algorithm"], balancing["pool_alias"]) == ("weighted-round-robin", "fast")
    assert made["fallback"]["chain"] == [ids["R2"]]
    assert made["fallback"]["budget"] == {"max_attempts": 4, "max_total_latency_ms": 9000}
    path = f"{world.root}/consumers/{made['id']}"
    assert await api.ok("GET", path) == made
    after = await api.ok("PUT", path, {"lb_config": {"enabled": False}, "aliases": {}})
    assert after["lb_config"] == {"enabled": False}
    assert "aliases" not in after
    assert after["fallback"] == made["fallback"], "what is not said stays"


def balancing(**changes: Any) -> dict[str, Any]:
    return {"lb_config": GOOD["lb_config"] | changes}


def member(**changes: Any) -> dict[str, Any]:
    return balancing(members=[{"registry_id": "R1", "model": "gpt-x"} | changes], pool_alias="")


def fallback(**changes: Any) -> dict[str, Any]:
    return {"fallback": GOOD["fallback"] | changes}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (balancing(algorithm="by-moon"), 'lb_config.algorithm "by-moon" is not known: use one of consistent-hash'),
        (balancing(hash_on="ip"), "lb_config.hash_on is only used by consistent-hash"),
        (balancing(algorithm="consistent-hash", hash_on="cookie"), "lb_config.hash_on must be ip"),
        (balancing(members=[]), "lb_config.members is empty"),
        (balancing(pool_alias="a b"), "lb_config.pool_alias must be letters"),
        (balancing(embedding_config={}), "lb_config.embedding_config is only used by semantic"),
        (balancing(algorithm="semantic", embedding_config={"registry": "none"}), 'registry "none" is no registry'),
        (balancing(algorithm="smart-routing"), "lb_config.smart_routing goes with the algorithm smart-routing"),
        (balancing(smart_routing={"tiers": []}), "lb_config.smart_routing goes with the algorithm smart-routing"),
        (balancing(algorithm="smart-routing", smart_routing={"tiers": []}), "tiers is empty"),
        (
            balancing(algorithm="smart-routing", smart_routing={"tiers": [{"min_score": 2, "registry_id": "R1"}]}),
            "lb_config.smart_routing.tiers[0].min_score is 2: it must be 0 to 1",
        ),
        (
            balancing(algorithm="smart-routing", smart_routing={"tiers": [{"min_score": 0, "registry_id": "R3"}]}),
            "lb_config.smart_routing.tiers[0].registry_id is no registry of lb_config.members",
        ),
        (member(weight=0), "lb_config.members[0].weight is 0: it must be 1 to 100"),
        (member(weight=101), "lb_config.members[0].weight is 101: it must be 1 to 100"),
        (member(priority=-1), "lb_config.members[0].priority"),
        (member(registry_id="R3"), "lb_config.members[0].registry_id names registry"),
        (member(model="gpt-no"), "lb_config.members[0].model is gpt-no, which model_policies does not allow"),
        (member(models=["gpt-no"]), "lb_config.members[0].models names gpt-no"),
        (member(models=["gpt-z"]), "lb_config.members[0].model must be one of its models"),
        (member(model=""), "lb_config.members[0] has no model that it can be asked for"),
        (
            balancing(members=[{"registry_id": "R1", "model": "gpt-x"}] * 2),
            "lb_config.members[1] is there twice",
        ),
        (balancing(memberz=[]), "lb_config: unknown field memberz: the known ones are enabled, algorithm"),
        (member(priorty=1), "lb_config.members[0]: unknown field priorty"),
        (
            balancing(algorithm="semantic", embedding_config={"provider": "openai", "auth": {}}),
            "lb_config.embedding_config: unknown field provider, auth: the known ones are registry, model",
        ),
        (fallback(budget={"max_tries": 1}), "fallback.budget: unknown field max_tries"),
        (fallback(triggers=[]), "fallback.triggers is empty"),
        (fallback(triggers=["rain"]), "fallback.triggers"),
        (balancing(hedging={"after_ms": -1}), "lb_config.hedging.after_ms"),
        (fallback(triggers=["timeout", "timeout"]), "fallback.triggers names one twice"),
        (fallback(chain=[]), "fallback.chain is empty"),
        (fallback(chain=["R2", "R2"]), "fallback.chain names a registry twice"),
        (fallback(chain=["R3"]), "fallback.chain[0] names registry"),
        (fallback(budget={"max_attempts": -1}), "fallback.budget must not be negative"),
        ({"aliases": {"a": "b", "b": "a"}}, "aliases.a stands for itself, by way of b"),
        ({"aliases": {"a": "a"}}, "aliases.a stands for itself, by way of a"),
        ({"aliases": {"a": "pool:slow"}}, 'aliases.a names the pool "slow", which this consumer does not have'),
        ({"aliases": {"a": "@openai"}}, "aliases.a"),
        ({"aliases": {"auto": "gpt-x"}}, "aliases.auto has a meaning of its own"),
        ({"aliases": {"@a": "gpt-x"}}, "aliases.@a has a meaning of its own"),
        ({"aliases": {"pool:x": "gpt-x"}}, "aliases.pool:x has a meaning of its own"),
        ({"aliases": {" ": "gpt-x"}}, "aliases must not hold a blank name"),
    ],
)
async def test_what_does_not_fit_together_is_refused_by_name(
    api: Api, world: World, ids: dict[str, str], changes: dict[str, Any], says: str
) -> None:
    given = body(ids, **changes)
    await api.no("POST", f"{world.root}/consumers", given, code="validation_failed", says=says)
    made = await api.ok("POST", f"{world.root}/consumers", body(ids))
    path = f"{world.root}/consumers/{made['id']}"
    await api.no("PUT", path, filled(changes, ids), code="validation_failed", says=says)
    assert await api.ok("GET", path) == made, "nothing was written"


async def test_what_is_switched_off_is_not_checked(api: Api, world: World, ids: dict[str, str]) -> None:
    off = {"lb_config": {"enabled": False, "algorithm": "by-moon"}, "fallback": {"enabled": False}}
    await api.ok("POST", f"{world.root}/consumers", body(ids, **off))


async def test_a_registry_that_is_needed_stays(api: Api, world: World, ids: dict[str, str]) -> None:
    made = await api.ok("POST", f"{world.root}/consumers", body(ids, **GOOD))
    path = f"{world.root}/consumers/{made['id']}"
    refused = "its fallback.chain names this registry"
    await api.no("DELETE", f"{path}/registries/{ids['R2']}", code="conflict", says=refused)
    says = "it is in the fallback chain of the consumer routed"
    await api.no("DELETE", f"{world.root}/registries/{ids['R2']}", code="has_dependents", says=says)
    await api.ok("PUT", path, {"fallback": {"enabled": False}})
    await api.no("DELETE", f"{path}/registries/{ids['R2']}", code="conflict", says="its lb_config.members")
    await api.ok("DELETE", f"{world.root}/registries/{ids['R2']}")
    after = await api.ok("GET", path)
    assert after["registry_ids"] == [ids["R1"]]
    assert [each["registry_id"] for each in after["lb_config"]["members"]] == [ids["R1"]]
