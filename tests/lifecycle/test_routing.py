"""Where a request goes: what a model's name asks for, who is a member of which pool, and by which key."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from tests.lifecycle.kit import ASKED, House, Line, Scripted, completion, configured, consumer, registry, rule, whole
from tests.lifecycle.test_failover import Hosts, failing
from trustgate import Proceed, RequestContext
from trustgate.config.records import (
    AnyRecord,
    ApiKeyAuth,
    EmbeddingConfig,
    Fallback,
    LoadBalancing,
    Member,
    ModelPolicy,
    ProviderAuth,
    SmartRouting,
)
from trustgate.contract.strategy import Tier
from trustgate.contract.upstream import Call, Upstream
from trustgate.forwarding.gates import Gate
from trustgate.forwarding.health import Health

pytestmark = pytest.mark.anyio


def default(registry_id: str, model: str = "", *allowed: str) -> ModelPolicy:
    return ModelPolicy(registry_id=registry_id, default=model, allowed=allowed or None)


def house(line: Hosts, *registries: AnyRecord, **fields: Any) -> House:
    names = tuple(line.hosts)
    return House(line, records=configured(*(registries or map(registry, names)), consumer(*names, **fields)))


def hosts(*names: str) -> Hosts:
    return Hosts(**dict.fromkeys(names, whole))


async def asked(at: House, model: str | None, number: int = 1) -> Any:
    body = {"messages": ASKED["messages"]} | ({} if model is None else {"model": model})
    for _ in range(number):
        told = await at.ask(body)
    return told


# What a name asks for.


@pytest.mark.parametrize("model", ["auto", "AUTO", "", None])
async def test_a_model_that_is_left_to_the_gateway(model: str | None) -> None:
    line = hosts("r1", "r2", "r3")
    at = house(line, model_policies=(default("r1", "m-one"), default("r2", "m-two")))
    assert (await asked(at, model, 4)).status == 200
    assert Counter(line.order) == {"r1": 2, "r2": 2}, "who has no default is not asked"
    assert {body["model"] for body in line.bodies} == {"m-one", "m-two"}


@pytest.mark.parametrize("form", ["@openai_compatible/m-x", "@OpenAI_Compatible/m-x"])
async def test_a_model_of_one_provider(form: str) -> None:
    line = hosts("r1", "r2")
    anthropic = registry("r2", provider="anthropic")
    at = house(line, registry("r1"), anthropic)
    told = await asked(at, form, 3)
    assert told.status == 200
    assert set(line.order) == {"r1"}
    assert {body["model"] for body in line.bodies} == {"m-x"}
    assert at.records[-1].requested_model == form
    assert told.header(b"x-selected-model") == "m-x"


@pytest.mark.parametrize(
    ("form", "status", "code", "words"),
    [
        ("@mistral/m-x", 403, "model_not_allowed", "of the provider mistral"),
        ("@openai_compatible", 400, "invalid_model", "write it as @provider/model"),
        ("@/m", 400, "invalid_model", "write it as @provider/model"),
        ("pool:fast", 400, "invalid_model", "has no pool of that name"),
        ("POOL:", 403, "model_not_allowed", "POOL:"),
    ],
)
async def test_names_that_name_nothing(form: str, status: int, code: str, words: str) -> None:
    at = house(hosts("r1"), model_policies=(default("r1", "m", "m"),))
    told = await asked(at, form)
    assert (told.status, told.error["code"], told.error["param"]) == (status, code, "model")
    assert words in told.error["message"]


async def test_a_native_name_with_a_slash_goes_through_as_it_is() -> None:
    line = hosts("r1")
    assert (await asked(house(line), "meta-llama/llama-3")).status == 200
    assert line.bodies[0]["model"] == "meta-llama/llama-3"


@pytest.mark.parametrize("form", ["pool:fast", "Pool:FAST", "quick", "quicker"])
async def test_a_pool_by_its_alias(form: str) -> None:
    members = (Member(registry_id="r1", model="m-one", weight=3), Member(registry_id="r2", model="m-two"))
    balancing = LoadBalancing(algorithm="weighted-round-robin", pool_alias="fast", members=members)
    line = hosts("r1", "r2", "r3")
    at = house(line, lb_config=balancing, aliases={"quick": "pool:fast", "quicker": "quick"})
    assert (await asked(at, form, 8)).status == 200
    assert Counter((host, body["model"]) for host, body in zip(line.order, line.bodies, strict=True)) == {
        ("r1", "m-one"): 6,
        ("r2", "m-two"): 2,
    }


async def test_two_members_of_one_registry() -> None:
    members = (Member(registry_id="r1", model="m-one"), Member(registry_id="r1", model="m-two"))
    line = hosts("r1")
    at = house(line, lb_config=LoadBalancing(pool_alias="both", members=members))
    await asked(at, "pool:both", 4)
    assert Counter(body["model"] for body in line.bodies) == {"m-one": 2, "m-two": 2}


async def test_an_alias_of_a_model_is_judged_as_that_model() -> None:
    line = hosts("r1")
    at = house(line, aliases={"best": "m-x"}, model_policies=(default("r1", "", "m-x"),))
    assert (await asked(at, "best")).status == 200
    assert line.bodies[0]["model"] == "m-x"
    assert at.records[-1].requested_model == "best"
    assert (await asked(at, "m-y")).error["code"] == "model_not_allowed"


async def test_a_named_model_is_balanced_over_all_who_may_serve_it() -> None:
    line = hosts("r1", "r2", "r3")
    at = house(line, model_policies=(default("r3", "", "m-other"),))
    await asked(at, "m-x", 10)
    assert Counter(line.order) == {"r1": 5, "r2": 5}


async def test_members_have_their_weights_for_a_model_that_is_named_too() -> None:
    members = (Member(registry_id="r1", model="m-x", weight=3), Member(registry_id="r2", model="m-x"))
    line = hosts("r1", "r2")
    at = house(line, lb_config=LoadBalancing(algorithm="weighted-round-robin", members=members))
    await asked(at, "m-x", 8)
    assert Counter(line.order) == {"r1": 6, "r2": 2}


# Strategies over the whole path; what each of them chooses is tests/plugins/test_strategies.py.


async def test_a_session_stays_where_it_is() -> None:
    line = hosts("r1", "r2", "r3", "r4")
    balancing = LoadBalancing(algorithm="consistent-hash", hash_on="session")
    at = house(line, lb_config=balancing)
    homes = {}
    for session in ("one", "two", "three", "four", "five"):
        before = len(line.order)
        for _ in range(5):
            await at.ask(headers={b"x-session-id": session.encode()})
        (homes[session],) = set(line.order[before:])
    assert len(set(homes.values())) > 1


async def test_whoever_has_fewest_calls_under_way() -> None:
    gate = asyncio.Event()
    line = Hosts(r1=lambda: Scripted(gate, completion()), r2=whole)
    at = house(line, lb_config=LoadBalancing(algorithm="least-connections"))
    slow = asyncio.create_task(at.caller().call())
    await line.asked.wait()
    await asked(at, "m-1", 4)
    assert line.order == ["r1", "r2", "r2", "r2", "r2"]
    gate.set()
    await slow
    await asked(at, "m-1", 4)
    assert Counter(line.order) == {"r1": 3, "r2": 6}, "whoever has ended is under way no more"


async def test_difficult_questions_go_to_their_tier() -> None:
    tiers = (Tier(min_score=0.0, registry_id="r1"), Tier(min_score=0.4, registry_id="r2"))
    members = (Member(registry_id="r1", model="small"), Member(registry_id="r2", model="large"))
    smart = SmartRouting(tiers=tiers)
    balancing = LoadBalancing(algorithm="smart-routing", pool_alias="any", members=members, smart_routing=smart)
    line = hosts("r1", "r2")
    at = house(line, lb_config=balancing)
    hard = "Prove step by step that this algorithm is optimal, and analyze its complexity."
    for text in ("Hi!", hard):
        await at.ask({"model": "pool:any", "messages": [{"role": "user", "content": text}]})
    assert [body["model"] for body in line.bodies] == ["small", "large"]


async def test_a_question_goes_to_the_closest_description() -> None:
    members = (Member(registry_id="r1", model="a"), Member(registry_id="r2", model="b"))
    balancing = LoadBalancing(algorithm="semantic", pool_alias="any", members=members)
    line = hosts("r1", "r2")
    cook = registry("r1", description="recipes for cooking soup and baking bread")
    legal = registry("r2", description="contracts and questions of law in court")
    at = house(line, cook, legal, lb_config=balancing)
    for text in ("questions of law in court, please", "recipes for baking bread", "contracts and law"):
        await at.ask({"model": "pool:any", "messages": [{"role": "user", "content": text}]})
    assert line.order == ["r2", "r1", "r2"]


async def test_a_strategy_that_nobody_provides() -> None:
    line = hosts("r1", "r2")
    at = house(line, lb_config=LoadBalancing(algorithm="by-moon"))
    assert (await asked(at, "m", 4)).status == 200
    explained = await at.dry()
    assert any("by-moon" in each.registry for each in explained.targets)


# Several keys.


class ByKey(Line):
    """A transport that answers by the key that it is shown."""

    def __init__(self, **statuses: int) -> None:
        super().__init__()
        self.statuses = statuses
        self.keys: list[str] = []

    async def send(self, call: Call) -> Upstream:
        key = dict(call.headers)[b"authorization"].decode().removeprefix("Bearer ")
        self.keys.append(key)
        status = self.statuses[key]
        answer = whole() if status == 200 else failing(status)()
        assert not isinstance(answer, Exception)
        return answer


def keyed(line: ByKey, **weights: int) -> House:
    auth = ProviderAuth(type="api_key", api_key=ApiKeyAuth(keys={k: k for k in line.statuses}, key_weights=weights))
    return House(line, records=configured(registry(auth=auth), consumer()))


async def test_keys_have_their_shares() -> None:
    line = ByKey(one=200, two=200)
    at = keyed(line, one=3)
    await asked(at, "m", 8)
    assert Counter(line.keys) == {"one": 6, "two": 2}


@pytest.mark.parametrize("status", [401, 403, 429])
async def test_a_key_that_fails_rests_by_itself(status: int) -> None:
    line = ByKey(one=status, two=200)
    at = keyed(line)
    assert {(await asked(at, "m")).status for _ in range(20)} == {200}
    assert line.keys.count("one") == 1, "it rests at once"
    assert all(each.registry_id == "r1" for each in at.events[-1].attempts)
    line.statuses["one"] = 200


async def test_no_key_is_ever_told() -> None:
    line = ByKey(**{"sk-secret-one": 401, "sk-secret-two": 401})
    at = keyed(line)
    told = await asked(at, "m")
    explained = await at.dry()
    assert b"sk-secret" not in told.body
    assert "sk-secret" not in repr(at.events) + repr(explained)


# The chain.


def chained(line: Hosts, *triggers: Any, **budget: Any) -> House:
    fallback = Fallback(triggers=triggers, chain=("r2", "r3"), **budget)
    return house(line, fallback=fallback)


@pytest.mark.parametrize(
    ("status", "trigger"), [(500, "http_5xx"), (503, "http_5xx"), (429, "http_429"), (408, "timeout")]
)
async def test_the_chain_is_asked_for_what_it_is_there_for(status: int, trigger: str) -> None:
    line = Hosts(r1=failing(status), r2=failing(500), r3=whole)
    at = chained(line, trigger, "http_5xx")
    assert (await asked(at, "m")).status == 200
    assert line.order == ["r1", "r2", "r3"], "in its order, and only behind the pool"
    at = chained(other := Hosts(r1=failing(status), r2=whole, r3=whole), "provider_error")
    assert (await asked(at, "m")).status == status
    assert other.order == ["r1"], "not for what it is not there for"


async def test_the_chain_has_no_part_in_the_pool() -> None:
    line = hosts("r1", "r2", "r3")
    await asked(chained(line, "http_5xx"), "m", 10)
    assert set(line.order) == {"r1"}
    explained = await chained(line, "http_5xx").dry()
    assert [(each.registry, each.place, each.reason) for each in explained.targets] == [
        ("r1", 1, ""),
        ("r2", 2, "it is in the fallback chain"),
        ("r3", 3, "it is in the fallback chain"),
    ]


async def test_a_chain_that_is_everything_is_the_pool() -> None:
    line = hosts("r2", "r3")
    at = house(line, fallback=Fallback(triggers=("http_5xx",), chain=("r2", "r3")))
    await asked(at, "m", 4)
    assert Counter(line.order) == {"r2": 2, "r3": 2}


# Explained.


async def test_a_choice_that_asks_somebody_is_explained_without_asking() -> None:
    members = (Member(registry_id="r1", model="a"), Member(registry_id="r2", model="b"))
    line = hosts("r1", "r2")
    embedding = EmbeddingConfig(registry="r1", model="e")
    balancing = LoadBalancing(algorithm="semantic", pool_alias="any", members=members, embedding_config=embedding)
    at = house(line, lb_config=balancing)
    explained = await at.dry({"model": "pool:any", "messages": ASKED["messages"]})
    assert explained.outcome == "forwarded"
    assert sorted(each.registry for each in explained.targets) == ["r1", "r2"]
    assert line.calls == []


class Watched(Health):
    """Tells when somebody begins to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waited_for = asyncio.Event()

    def gate(self, account: str, capacity: int) -> Gate:
        self.waited_for.set()
        return super().gate(account, capacity)


async def test_nobody_waits_for_an_explanation() -> None:
    gate = asyncio.Event()
    line = Hosts(r1=lambda: Scripted(gate, completion()))
    health = Watched()
    at = House(line, records=configured(registry("r1", max_concurrency=1), consumer("r1")), health=health)
    inside = asyncio.create_task(at.caller().call())
    await line.asked.wait()
    waiting = asyncio.create_task(at.caller().call())
    await health.waited_for.wait()
    async with asyncio.timeout(1):
        explained = await at.dry()
    assert explained.outcome == "forwarded"
    assert [each.reason for each in explained.targets] == [
        "it has as many calls under way as it may have, and requests wait for it"
    ]
    gate.set()
    assert {(await each).status for each in (inside, waiting)} == {200}


# Policies.


@pytest.mark.parametrize("stage", ["pre_request", "pre_call"])
@pytest.mark.parametrize("form", ["quick", "pool:fast", "@openai_compatible/m-one"])
async def test_a_policy_may_send_a_request_anywhere(stage: str, form: str) -> None:
    members = (Member(registry_id="r1", model="m-one"),)
    balancing = LoadBalancing(pool_alias="fast", members=members)
    line = hosts("r1", "r2")
    names = ("r1", "r2")
    routed = consumer(*names, lb_config=balancing, aliases={"quick": "pool:fast"})

    def send_on(ctx: RequestContext) -> Proceed | None:
        return Proceed(model=form) if ctx.body.model == "m-1" else None

    sending: dict[str, Any] = {stage: send_on}
    at = House(line, rule(**sending), records=configured(*map(registry, names), routed))
    assert (await at.ask()).status == 200
    assert [body["model"] for body in line.bodies] == ["m-one"]
    assert form.startswith("@") or line.order == ["r1"]


async def test_a_policy_that_names_nothing_is_told_so() -> None:
    line = hosts("r1")
    at = House(line, rule(pre_request=lambda: Proceed(model="pool:none")), records=configured(registry(), consumer()))
    assert (await at.ask()).error["code"] == "invalid_model"
