"""Requests explained: real ones as they went, hypothetical ones as they would go, and neither changes anything."""

import gc
import json
from collections.abc import Sequence
from types import FunctionType, ModuleType
from typing import Any

import msgspec
import pytest

from tests.lifecycle.kit import ASKED, House, Line, configured, consumer, registry, rule, whole
from tests.plugins.house import rule_of
from trustgate import Body, Deny, Proceed, RequestContext, Services
from trustgate.config.records import AnyRecord, ModelPolicy
from trustgate.config.snapshot import Snapshot
from trustgate.contract.errors import Refused
from trustgate.contract.upstream import UpstreamFailure
from trustgate.explaining.report import Explanation
from trustgate.explaining.traces import Traces
from trustgate.forwarding.health import Health
from trustgate.state.memory_cache import MemoryCache
from trustgate.telemetry.record import Record
from trustgate_plugins import (
    model_allowlist,
    rate_limiter,
    regex_replace,
    request_size_limiter,
    semantic_cache,
    token_rate_limiter,
    webhook_guard,
)

pytestmark = pytest.mark.anyio
LIMIT = rule_of(rate_limiter, {"limit": 2, "window": "1h"}, priority=1)
BUDGET = rule_of(token_rate_limiter, {"aggregate": {"max": 1_000_000, "time_window": "1h"}}, priority=2)
ONE_MODEL = rule_of(model_allowlist, {"allowed_models": ["m-*"]}, priority=3)


def pool() -> Sequence[AnyRecord]:
    """Three registries: one that may, one that may not, and one that is switched off."""
    rules = (ModelPolicy(registry_id="r2", allowed=("other",)),)
    return configured(
        registry("r1"),
        registry("r2"),
        registry("r3", enabled=False),
        consumer("r1", "r2", "r3", model_policies=rules),
    )


async def real(house: House) -> Explanation:
    found = await house.traces.find("g1", house.records[-1].trace_id)
    assert found is not None
    return found


def decisions(explained: Explanation) -> list[tuple[str, str]]:
    return [(each.stage, each.decision) for each in explained.policies]


async def test_a_request_that_was_served_is_explained() -> None:
    house = House(Line(whole), LIMIT, BUDGET, ONE_MODEL, records=pool())
    await house.ask()
    explained = await real(house)
    assert (explained.outcome, explained.status, explained.code) == ("forwarded", 200, "")
    assert (explained.hypothetical, explained.trace_id) == (False, house.records[-1].trace_id)
    assert (explained.consumer.slug, explained.consumer.auth_id) == ("my-app", "a1")
    assert (explained.operation, explained.model) == ("chat_completions", "m-1-2026")
    assert [each.name for each in explained.policies[:3]] == ["policy 0", "policy 2", "policy 1"]
    limit, budget = explained.limits
    assert (limit.policy, limit.limit, limit.remaining) == ("policy 0", 2, 1)
    assert (budget.policy, budget.unit, budget.used) == ("policy 1", "tokens", 0)
    assert budget.reserved is not None
    assert budget.remaining == 1_000_000 - budget.reserved
    assert [each.outcome for each in explained.attempts] == ["success"]
    reasons = {each.registry: (each.place, each.reason) for each in explained.targets}
    assert reasons["r3"] == (0, "it is switched off")


async def test_who_served_is_among_the_targets_whatever_the_provider_calls_its_model() -> None:
    rules = (ModelPolicy(registry_id="r1", allowed=("m-1",)),)
    house = House(Line(whole), records=configured(registry(), consumer(model_policies=rules)))
    await house.ask()
    explained = await real(house)
    assert explained.model == "m-1-2026"
    assert [(each.registry, each.place, each.model) for each in explained.targets] == [("r1", 1, "m-1")]


async def test_a_request_that_nobody_makes_is_explained_and_changes_nothing() -> None:
    house = House(Line(whole), LIMIT, BUDGET, ONE_MODEL, records=pool())
    for _ in range(5):
        explained = await house.dry()
        assert (explained.outcome, explained.status, explained.hypothetical) == ("forwarded", 0, True)
        assert [each.remaining for each in explained.limits] == [1, 1_000_000]
        assert [(each.registry, each.place) for each in explained.targets] == [("r1", 1), ("r2", 0), ("r3", 0)]
        assert explained.targets[1].reason == 'this consumer may not use the model "m-1" of it'
    assert not house.line.calls
    assert not house.records, "no event leaves for what did not happen"
    assert [(await house.ask()).status for _ in range(3)] == [200, 200, 429]
    assert (await house.dry()).code == "rate_limit_exceeded"


async def test_stages_that_are_not_reached_say_so() -> None:
    after = rule_of(regex_replace, {"target": "response", "rules": [{"pattern": "a", "replacement": "b"}]}, priority=9)
    house = House(Line(whole), ONE_MODEL, after)
    asked = ASKED | {"model": "x-1"}
    await house.ask(asked)
    for explained in (await real(house), await house.dry(asked)):
        assert explained.outcome == "refused"
        assert (explained.code, explained.status) == ("model_not_allowed", 403)
        assert ("pre_request", "block") in decisions(explained) or ("pre_call", "block") in decisions(explained)
        assert ("pre_response", "not_reached") in decisions(explained)
        assert ("on_chunk", "not_reached") in decisions(explained)


async def test_whoever_would_have_to_be_asked_is_not_evaluated() -> None:
    guard = rule_of(webhook_guard, {"url": "http://127.0.0.1:9/decide", "secret": "s" * 32}, priority=1)
    house = House(Line(whole), guard, ONE_MODEL)
    explained = await house.dry()
    assert ("pre_request", "not_evaluated") in decisions(explained)
    assert explained.outcome == "forwarded"
    asked = await house.dry(ask_services=True)
    assert (asked.outcome, asked.code) == ("refused", "policy_unavailable")
    assert ("pre_request", "failed_closed") in decisions(asked)


async def test_an_answer_from_the_cache_is_explained() -> None:
    house = House(Line(whole), rule_of(semantic_cache, {}))
    assert (await house.dry()).outcome == "forwarded"
    await house.ask()
    assert (await house.dry()).outcome == "answered"
    await house.ask()
    assert (await real(house)).outcome == "answered"
    assert len(house.line.calls) == 1


async def test_an_explanation_keeps_nothing_in_the_cache() -> None:
    house = House(Line(whole), rule_of(semantic_cache, {}))
    await house.dry()
    assert (await house.ask()).header(b"x-cache") == "MISS"


async def test_policies_that_ask_for_another_model_are_followed() -> None:
    settings = {"allowed_models": ["m-2"], "behavior_on_disallowed": "substitute", "substitute_with": "m-2"}
    house = House(Line(whole), rule_of(model_allowlist, settings))
    explained = await house.dry()
    assert (explained.requested_model, explained.model) == ("m-1", "m-2")
    assert explained.targets[0].model == "m-2"


async def test_a_provider_that_failed_is_explained() -> None:
    house = House(Line(UpstreamFailure("first_byte_timeout", "")), LIMIT)
    await house.ask()
    explained = await real(house)
    assert (explained.outcome, explained.code) == ("failed", "provider_first_byte_timeout")
    assert explained.attempts[0].failure == "first_byte_timeout"


async def test_an_empty_pool_says_of_each_registry_why() -> None:
    house = House(Line(whole), records=configured(registry(enabled=False), consumer()))
    explained = await house.dry()
    assert (explained.outcome, explained.status, explained.code) == ("refused", 503, "no_backend_available")
    assert [(each.registry, each.reason) for each in explained.targets] == [("r1", "it is switched off")]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"path": "/v1/nowhere"}, "unknown_route"),
        ({"method": "GET"}, "method_not_allowed"),
        ({"consumer": "nobody"}, "consumer_not_found"),
        ({"auth_id": "a9"}, "forbidden"),
        ({"headers": {"content-type": "text/plain"}}, "unsupported_media_type"),
    ],
)
async def test_what_is_no_request_cannot_be_explained(fields: dict[str, Any], code: str) -> None:
    with pytest.raises(Refused) as refused:
        await House(Line(whole)).dry(**fields)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("body", "code"), [(b"{", "invalid_json"), (b"", "invalid_json"), (b'{"model":1}', "invalid_request")]
)
async def test_a_body_that_is_none_is_refused_as_it_would_be(body: bytes, code: str) -> None:
    with pytest.raises(Refused) as refused:
        await House(Line(whole)).dry(body)
    assert refused.value.code == code


async def test_what_it_says_cannot_be_read_out_of_it() -> None:
    """Neither the prompt nor a key."""
    secret = "my account is 4711-0815"
    house = House(Line(whole), LIMIT, rule_of(request_size_limiter, {"allowed_payload_size": 1}))
    asked = ASKED | {"messages": [{"role": "user", "content": secret}]}
    await house.ask(asked)
    for explained in (await real(house), await house.dry(asked)):
        raw = msgspec.json.encode(explained).decode()
        assert secret not in raw
        assert "ag_key" not in raw


async def test_a_policy_that_counts_by_itself_is_asked_with_ports_that_look() -> None:
    taken: list[str] = []

    async def pre_request(services: Any) -> Any:
        allowance = await services.limiter.take("g1:own", limit=1, window=60.0)
        taken.append("asked")
        return Proceed() if allowance.allowed else Deny(code="no_more", message="No more.", status=429)

    house = House(Line(whole), rule(pre_request=pre_request))
    assert [(await house.dry()).outcome for _ in range(3)] == ["forwarded"] * 3
    assert (await house.ask()).status == 200
    assert (await house.dry()).code == "no_more"
    assert len(taken) == 5


# Where real requests are remembered.


async def test_no_more_are_remembered_than_there_is_room_for() -> None:
    house = House(Line(whole))
    house.traces._most = 3
    for _ in range(5):
        await house.ask()
    found = [await house.traces.find("g1", record.trace_id) for record in house.records]
    assert [each is not None for each in found] == [False, False, True, True, True]


async def test_one_gateway_does_not_find_what_another_did() -> None:
    house = House(Line(whole))
    await house.ask()
    assert await house.traces.find("g2", house.records[-1].trace_id) is None


async def test_other_processes_find_what_is_shared() -> None:
    cache = MemoryCache()
    house = House(Line(whole), LIMIT, cache=cache)
    mine, theirs = (Traces(most=10, cache=cache, shared_for=60.0) for _ in range(2))
    house.lifecycle._keep = mine.keep
    mine.start()
    told = await house.caller().call()
    trace_id = told.header(b"x-ag-trace-id")
    await mine.aclose()
    found = await theirs.find("g1", trace_id)
    assert found is not None
    assert json.loads(msgspec.json.encode(found)) == json.loads(msgspec.json.encode(await mine.find("g1", trace_id)))
    assert await theirs.find("g2", trace_id) is None


async def test_what_is_kept_of_a_request_holds_nothing_that_it_said() -> None:
    """Nor its body, which may be of any size, nor its headers, in which keys are."""
    house = House(Line(whole), records=configured(registry("r1"), registry("r2"), consumer("r1", "r2")))
    await house.ask()
    assert house.records
    held = reachable(house.traces)
    assert any(isinstance(each, Record) for each in held), "it looks where it has to"
    assert not [each for each in held if isinstance(each, Body | RequestContext)]


def reachable(root: object) -> list[object]:
    """Return all that an object holds, directly or not, but for what belongs to the program or to its configuration."""
    seen: dict[int, object] = {}
    waiting = [root]
    while waiting:
        each = waiting.pop()
        if id(each) in seen or isinstance(each, type | ModuleType | FunctionType | Services | Health | Snapshot):
            continue
        seen[id(each)] = each
        waiting += gc.get_referents(each)
    return list(seen.values())
