"""The event of a request: its JSON, where its time went, and what is never in it."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trustgate.contract.event import Event
from trustgate.telemetry.record import Record, build_event

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
