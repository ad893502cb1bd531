"""Providers' errors in every dialect: the status stays, and so does the most exact word for what went wrong."""

import json
from typing import Any

import pytest

from trustgate.providers.faults import event_fault, read_fault

OPENAI = {"error": {"message": "Too long.", "type": "invalid_request_error", "param": "messages", "code": "too_long"}}
ANTHROPIC = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "r"}
GEMINI = {"error": {"code": 429, "message": "Quota.", "status": "RESOURCE_EXHAUSTED", "details": []}}
ERRORS: list[tuple[int, Any, str, str, str | None]] = [
    (400, OPENAI, "too_long", "Too long.", "messages"),
    (529, ANTHROPIC, "overloaded_error", "Overloaded", None),
    (429, GEMINI, "RESOURCE_EXHAUSTED", "Quota.", None),
    (429, [GEMINI], "RESOURCE_EXHAUSTED", "Quota.", None),
    (404, {"message": "model not found"}, "not_found", "model not found", None),
    (401, {"error": "invalid_key", "message": "No."}, "invalid_key", "No.", None),
    (422, {"detail": "bad"}, "invalid_request", "bad", None),
    (500, {"error": {"message": None}}, "provider_error", "The provider gave no reason.", None),
]


@pytest.mark.parametrize(("status", "body", "code", "message", "param"), ERRORS)
def test_what_providers_say(status: int, body: Any, code: str, message: str, param: str | None) -> None:
    fault = read_fault(status, json.dumps(body).encode(), ())
    assert fault is not None
    assert (fault.status, fault.code, fault.message, fault.param) == (status, code, message, param)
    assert fault.source == "upstream"


def test_amazon_names_its_errors_in_a_header() -> None:
    headers = ((b"x-amzn-errortype", b"ThrottlingException:http://internal.amazon.com/x"),)
    fault = read_fault(429, b'{"message":"Slow down."}', headers)
    assert fault is not None
    assert (fault.code, fault.message) == ("ThrottlingException", "Slow down.")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"3", b'"x"', b"{}", b'{"a":1}', b"[" * 100_000])
def test_what_is_no_error(body: bytes) -> None:
    assert read_fault(500, body, ()) is None


@pytest.mark.parametrize(
    ("event", "code", "status"),
    [
        (OPENAI, "too_long", 502),
        (ANTHROPIC, "overloaded_error", 529),
        (GEMINI, "RESOURCE_EXHAUSTED", 429),
        (
            {"type": "error", "code": "rate_limit_exceeded", "message": "x", "sequence_number": 3},
            "rate_limit_exceeded",
            429,
        ),
        (
            {"throttlingException": {"message": "x"}, "error": {"type": "throttlingException", "message": "x"}},
            "throttlingException",
            429,
        ),
        ({"error": "odd"}, "provider_error", 502),
        (
            {"type": "response.failed", "response": {"error": {"code": "server_error", "message": "x"}}},
            "server_error",
            500,
        ),
        ({"type": "response.failed", "response": {"error": None}}, "provider_error", 502),
    ],
)
def test_error_events(event: dict[str, Any], code: str, status: int) -> None:
    fault = event_fault(event)
    assert fault is not None
    assert (fault.code, fault.status) == (code, status)


@pytest.mark.parametrize("event", [{}, {"choices": []}, {"type": "message_start"}, {"error": None}])
def test_events_that_are_no_errors(event: dict[str, Any]) -> None:
    assert event_fault(event) is None
