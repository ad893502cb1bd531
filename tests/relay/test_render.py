"""Refusals as a caller's SDK reads them: the error object, and the headers that say whether to try again."""

import json

import pytest

from trustgate.contract.context import Dialect
from trustgate.contract.errors import Refused
from trustgate.contract.sse import SSE
from trustgate.contract.upstream import Header
from trustgate.contract.verdict import Answer, Deny
from trustgate.relay.render import answered, denied, error_event, error_object, openai_error, refuse

TYPES = [
    (400, "invalid_request_error"),
    (401, "authentication_error"),
    (403, "permission_error"),
    (404, "invalid_request_error"),
    (405, "invalid_request_error"),
    (413, "invalid_request_error"),
    (429, "rate_limit_error"),
    (499, "invalid_request_error"),
    (500, "server_error"),
    (502, "server_error"),
    (503, "server_error"),
    (504, "server_error"),
]


@pytest.mark.parametrize(("status", "kind"), TYPES)
@pytest.mark.parametrize("param", [None, "model"])
def test_the_error_object_has_all_four_keys(status: int, kind: str, param: str | None) -> None:
    refused = Refused("some_code", 'Says "no".', status=status, param=param)
    expected = {"message": 'Says "no".', "type": kind, "param": param, "code": "some_code"}
    assert openai_error(refused) == expected
    assert error_object(refused, "openai") == {"error": expected}


def test_the_error_event_is_one_event() -> None:
    refused = Refused("broken", "Two\nlines.", status=502)
    event = error_event(refused, "openai", SSE)
    assert event.startswith(b"data: {")
    assert event.endswith(b"}\n\n")
    assert event.count(b"\n") == 2
    assert json.loads(event[6:])["error"]["message"] == "Two\nlines."


@pytest.mark.parametrize(("retry", "header"), [(True, [b"true"]), (False, [b"false"]), (None, [])])
@pytest.mark.parametrize("source", ["gateway", "upstream"])
def test_a_refusal_as_an_answer(retry: bool | None, header: list[bytes], source: str) -> None:
    refused = Refused("no", "No.", status=418, headers=((b"x-a", b"1"),), retry=retry, source=source)
    reply = refuse(refused, "openai")
    assert reply.status == 418
    assert json.loads(reply.body) == error_object(refused, "openai")
    assert [value for name, value in reply.headers if name == b"x-should-retry"] == header
    assert (b"content-type", b"application/json") in reply.headers
    assert (b"x-ag-error-source", source.encode()) in reply.headers
    assert (b"x-a", b"1") in reply.headers


def waits(after: bytes, milliseconds: bytes) -> list[Header]:
    return [(b"retry-after", after), (b"retry-after-ms", milliseconds)]


@pytest.mark.parametrize(
    ("status", "retry_after", "given", "headers", "retry"),
    [
        (429, 1.0, None, waits(b"1", b"1000"), None),
        (429, 0.25, None, waits(b"1", b"250"), None),
        (429, 1.0001, None, waits(b"2", b"1001"), None),
        (429, 0.0, None, waits(b"0", b"0"), None),
        (429, 60.0, None, waits(b"60", b"60000"), None),
        (429, 60.5, None, waits(b"61", b"60500"), False),
        (429, 86400.0, None, waits(b"86400", b"86400000"), False),
        (429, 86400.0, True, waits(b"86400", b"86400000"), True),
        (503, 5.0, None, waits(b"5", b"5000"), None),
        (429, 1.0, False, waits(b"1", b"1000"), False),
        (429, None, None, [], False),
        (403, None, None, [], False),
        (403, None, True, [], True),
        (500, None, None, [], None),
        (503, None, False, [], False),
    ],
)
def test_a_policys_no(
    status: int, retry_after: float | None, given: bool | None, headers: list[Header], retry: bool | None
) -> None:
    refused = denied(Deny(code="no", message="No.", status=status, retry_after=retry_after, retry=given))
    assert (refused.code, refused.message, refused.status, refused.source) == ("no", "No.", status, "gateway")
    assert list(refused.headers) == headers
    assert refused.retry is retry


def test_a_policys_no_keeps_its_headers_and_its_param() -> None:
    refused = denied(Deny(code="no", message="No.", param="messages", headers=((b"x-a", b"1"),)))
    assert list(refused.headers) == [(b"x-a", b"1")]
    assert refused.param == "messages"


def test_a_policys_own_answer() -> None:
    reply = answered(Answer(body=b"<p>", status=203, content_type="text/html", headers=((b"x-a", b"1"),)))
    assert (reply.status, reply.body) == (203, b"<p>")
    assert list(reply.headers) == [(b"content-type", b"text/html"), (b"x-a", b"1")]


REQUEST_ID = "0123456789abcdef0123456789abcdef"
LIMITED = Refused("tenant_rate_limited", "Wait.", status=429, param="model")
BROKEN = Refused("provider_error", "Broke.", status=502)


def test_anthropics_sdk_reads_its_error() -> None:
    body = error_object(LIMITED, "anthropic", REQUEST_ID)
    assert body == {
        "type": "error",
        "error": {
            "type": "rate_limit_error",
            "message": "Wait.",
            "details": {"error_code": "tenant_rate_limited", "param": "model"},
        },
        "request_id": REQUEST_ID,
    }
    error = error_object(BROKEN, "anthropic")["error"]
    assert error == {"type": "api_error", "message": "Broke.", "details": {"error_code": "provider_error"}}


def test_googles_sdk_reads_its_error() -> None:
    error = error_object(LIMITED, "gemini")["error"]
    assert (error["code"], error["status"], error["message"]) == (429, "RESOURCE_EXHAUSTED", "Wait.")
    assert error["details"][0]["reason"] == "tenant_rate_limited"
    assert error_object(BROKEN, "gemini")["error"]["status"] == "INTERNAL"


def test_coheres_and_amazons_sdks_read_theirs() -> None:
    assert error_object(LIMITED, "cohere", REQUEST_ID) == {
        "message": "Wait.",
        "code": "tenant_rate_limited",
        "param": "model",
        "id": REQUEST_ID,
    }
    reply = refuse(LIMITED, "bedrock")
    assert (b"x-amzn-errortype", b"ThrottlingException") in reply.headers
    assert json.loads(reply.body)["message"] == "Wait."


@pytest.mark.parametrize(
    ("dialect", "name"), [("openai", ""), ("openai_responses", "error"), ("anthropic", "error"), ("cohere", "error")]
)
def test_error_events_have_the_names_that_sdks_wait_for(dialect: Dialect, name: str) -> None:
    said, data = SSE.event(error_event(BROKEN, dialect, SSE, REQUEST_ID))
    assert said == name
    assert "Broke." in data.decode()
    assert "provider_error" in data.decode()
    assert name == "" or json.loads(data)["type"] == name
