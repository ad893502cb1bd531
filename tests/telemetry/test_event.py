"""The event of a request: its JSON, where its time went, and what is never in it."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trustgate.contract.cost import Cost, PriceRule
from trustgate.contract.event import Event
from trustgate.contract.usage import Usage
from trustgate.providers.prices import PriceBook
from trustgate.telemetry.record import Record, build_event, price_of

ALWAYS = {
    "schema_version",
    "kind",
    "trace_id",
    "timestamp",
    "occurred_on",
    "end_timestamp",
    "status",
    "is_flagged",
    "request",
    "response",
    "latency",
}


def as_json(record: Record) -> dict[str, Any]:
    encoded = msgspec.json.encode(build_event(record))
    decoded: dict[str, Any] = msgspec.json.decode(encoded)
    return decoded


def test_the_whole_event(answered: Record) -> None:
    assert as_json(answered) == {
        "schema_version": 4,
        "kind": "llm",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "span_id": "b7ad6b7169203331",
        "parent_span_id": "00f067aa0ba902b7",
        "timestamp": "2023-11-14T22:13:20.457000Z",
        "occurred_on": 1_700_000_000_457,
        "end_timestamp": 1_700_000_000_500,
        "gateway_id": "gateway-1",
        "gateway_slug": "demo",
        "tenant_id": "tenant-1",
        "revision": 7,
        "consumer": {"id": "consumer-1", "name": "My app", "slug": "my-app", "auth_id": "auth-1"},
        "session_id": "session-1",
        "ip": "192.0.2.7",
        "status": {"code": 200, "is_timeout": False, "outcome": "success"},
        "is_flagged": True,
        "request": {
            "stream": True,
            "bytes": 600,
            "method": "POST",
            "path": "/my-app/v1/chat/completions",
            "operation": "chat_completions",
            "provider": "azure",
            "registry_id": "registry-2",
            "model": "gpt-5",
            "requested_model": "auto",
        },
        "response": {
            "status_code": 200,
            "latency_ms": 30.0,
            "streaming": True,
            "complete": True,
            "bytes": 900,
            "finish_reason": "stop",
        },
        "usage": {
            "prompt_tokens": 12,
            "completion_tokens": 34,
            "total_tokens": 46,
            "cached_input_tokens": 5,
            "reasoning_output_tokens": 8,
        },
        "latency": {
            "total_ms": 43.0,
            "provider_ms": 40.0,
            "policies_ms": 1.5,
            "gateway_ms": 2.0,
            "admission_ms": 1.0,
            "enforcement_ms": 1.0,
            "forwarding_ms": 31.0,
            "relay_ms": 10.0,
        },
        "attempts": [
            {
                "attempt": 1,
                "outcome": "retryable",
                "latency_ms": 10.0,
                "registry_id": "registry-1",
                "provider": "openai",
                "failure": "connect_failed",
            },
            {
                "attempt": 2,
                "outcome": "success",
                "latency_ms": 20.0,
                "registry_id": "registry-2",
                "provider": "azure",
                "status_code": 200,
            },
        ],
        "policy_chain": [
            {
                "name": "limit",
                "slug": "rate_limiter",
                "policy_id": "policy-1",
                "stage": "pre_request",
                "mode": "enforce",
                "decision": "allowed",
                "latency_ms": 1.0,
                "error": False,
                "flagged": False,
            },
            {
                "name": "guard",
                "slug": "guard",
                "policy_id": "policy-2",
                "stage": "post_response",
                "mode": "observe",
                "decision": "failed_open",
                "latency_ms": 0.5,
                "error": True,
                "flagged": True,
                "error_type": "ConnectionError",
                "details": {"score": 0.9},
            },
        ],
        "dropped_params": ["logit_bias"],
    }


def test_a_refused_request_says_little_and_still_everything_that_must_be_there() -> None:
    record = Record(
        trace_id="1" * 32, started=10.0, ended_at=10.0005, ended_clock=1.0, status=401, reason="unauthorized"
    )
    event = as_json(record)
    assert event.keys() == ALWAYS
    assert event["status"] == {"code": 401, "is_timeout": False, "reason": "unauthorized"}
    assert event["request"] == {"stream": False}
    assert event["response"] == {"status_code": 401, "latency_ms": 0, "streaming": False, "complete": True}
    assert event["latency"] == {
        "total_ms": 0.5,
        "provider_ms": 0,
        "policies_ms": 0,
        "gateway_ms": 0.5,
        "admission_ms": 0.5,
    }


def test_a_refused_caller_still_belongs_to_its_gateway() -> None:
    record = Record(started=1.0, ended_at=1.0, gateway_id="gateway-1", gateway_slug="demo", status=401)
    event = build_event(record)
    assert (event.gateway_id, event.gateway_slug, event.consumer.id) == ("gateway-1", "demo", "")


@pytest.mark.parametrize(("status", "is_timeout"), [(504, True), (408, True), (502, False), (200, False)])
def test_timeouts_are_told_from_other_ends(status: int, is_timeout: bool) -> None:
    assert build_event(Record(started=1.0, ended_at=1.0, status=status)).status.is_timeout is is_timeout


def test_without_a_figure_of_its_own_provider_time_is_that_of_the_attempts(answered: Record) -> None:
    answered.provider_seconds = 0.0
    event = build_event(answered)
    assert event.latency.provider_ms == 30.0
    assert event.response.latency_ms == 20.0


PRICES = (PriceRule(model="gpt-5", input="0.03", output="10", cached_input="0.003"),)
COST = {"prompt_usd": "0.000000225", "completion_usd": "0.00034", "total_usd": "0.000340225", "currency": "USD"}


def costs(record: Record) -> dict[str, str] | None:
    encoded = msgspec.json.encode(build_event(record, PriceBook()))
    event: dict[str, Any] = msgspec.json.decode(encoded)
    cost: dict[str, str] | None = event.get("cost")
    return cost


def test_the_cost_is_exact_and_never_scientific(answered: Record) -> None:
    answered.prices = PRICES
    assert costs(answered) == COST


def test_without_prices_of_its_own_the_registry_s_provider_has_the_shipped_ones(answered: Record) -> None:
    answered = msgspec.structs.replace(answered, attempts=answered.attempts[:1], ended_clock=1_795_000_000.0)
    own, flex = costs(answered), costs(msgspec.structs.replace(answered, service_tier="flex"))
    assert own is not None
    assert flex is not None
    assert float(own["total_usd"]) > float(flex["total_usd"]) > 0


def test_what_is_not_known_has_no_cost_and_not_one_of_nothing(answered: Record) -> None:
    unknown = msgspec.structs.replace(answered, model="no-such-model", requested_model="nor-this")
    assert costs(unknown) is None
    assert costs(msgspec.structs.replace(answered, usage=None, prices=PRICES)) is None
    assert costs(msgspec.structs.replace(answered, attempts=(), prices=PRICES)) is None
    free = (PriceRule(model="*", input="0", output="0"),)
    known = costs(msgspec.structs.replace(unknown, prices=free))
    assert known is not None
    assert known["total_usd"] == "0"


def test_the_requested_model_helps_where_the_answer_s_is_not_known(answered: Record) -> None:
    deployed = msgspec.structs.replace(answered, model="dep-7", requested_model="gpt-5", prices=PRICES)
    assert costs(deployed) == COST


def test_the_price_is_that_of_the_day_of_the_request(answered: Record) -> None:
    later = PriceRule(model="gpt-5", input="1", output="1", effective_from="2023-11-15")
    answered.prices = (*PRICES, later)
    assert costs(answered) == COST
    midnight = 1_700_006_400.0
    took = answered.ended_at - answered.started
    answered.ended_clock = midnight + took / 2
    assert costs(answered) == COST, "it was asked the day before"
    answered.ended_clock = midnight + took * 2
    assert costs(answered) != COST


def test_a_cost_that_was_needed_before_is_not_worked_out_again(answered: Record) -> None:
    answered.cost = Cost(prompt=10**24, completion=0, total=10**24)
    assert costs(answered) == {"prompt_usd": "1", "completion_usd": "0", "total_usd": "1", "currency": "USD"}


def test_the_path_and_the_event_say_the_same(answered: Record) -> None:
    answered.prices = PRICES
    told = costs(answered)
    answered.cost = price_of(answered, PriceBook())
    assert answered.cost is not None
    assert costs(answered) == told


def test_every_count_of_a_usage_is_in_the_event(answered: Record) -> None:
    names = [field.name for field in msgspec.structs.fields(Usage) if field.name != "estimated"]
    answered.usage = msgspec.convert({name: number for number, name in enumerate(names, 1)}, Usage)
    usage = as_json(answered)["usage"]
    assert usage.pop("total_tokens") == answered.usage.total
    assert usage == {
        "prompt_tokens": 1,
        "completion_tokens": 2,
        "cached_input_tokens": 3,
        "cache_write_tokens": 4,
        "cache_write_1h_tokens": 5,
        "audio_input_tokens": 6,
        "audio_cached_input_tokens": 7,
        "image_input_tokens": 8,
        "reasoning_output_tokens": 9,
        "audio_output_tokens": 10,
        "image_output_tokens": 11,
    }


def test_a_record_has_no_place_for_a_body() -> None:
    """Records wait in a queue; and what is not on a record cannot get into an event."""
    kept = {field.type for field in msgspec.structs.fields(Record)}
    assert bytes not in kept
    assert not any("Body" in str(kind) or "Context" in str(kind) or "Any" in str(kind) for kind in kept)


def test_an_event_can_be_read_back(answered: Record) -> None:
    event = build_event(answered)
    assert msgspec.json.decode(msgspec.json.encode(event), type=Event) == event


moments = st.lists(st.floats(0, 100), min_size=4, max_size=4)


@given(spans=moments, reached=st.integers(0, 3), provider=st.floats(0, 500))
def test_the_steps_always_add_up_to_the_whole(spans: list[float], reached: int, provider: float) -> None:
    marks = [5.0]
    for span in spans:
        marks.append(marks[-1] + span)
    names = ("admitted_at", "enforced_at", "forwarded_at")
    record = Record(started=5.0, ended_at=marks[4], status=200, provider_seconds=provider)
    for at in range(reached):
        setattr(record, names[at], marks[at + 1])
    latency = build_event(record).latency
    steps = (latency.admission_ms, latency.enforcement_ms, latency.forwarding_ms, latency.relay_ms)
    assert sum(steps) == pytest.approx(latency.total_ms, abs=0.01)
    assert all(step >= 0 for step in steps)
    assert not any(steps[reached + 1 :]), "a step that was not reached took time"
    assert latency.gateway_ms >= 0
