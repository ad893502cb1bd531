"""Refusals in the caller's dialect: the shape that the caller's SDK parses, and the headers that it acts on."""

import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from trustgate.contract.context import Dialect
from trustgate.contract.errors import Refused
from trustgate.contract.framing import Framing
from trustgate.contract.upstream import Header
from trustgate.contract.verdict import Answer, Deny
from trustgate.relay.reply import Whole

PATIENCE: Final = 60.0
"""Seconds. An SDK that is told to wait longer would sleep in the caller's request: it is told not to retry instead."""

_OPENAI_TYPES: Final[Mapping[int, str]] = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}

_ANTHROPIC_TYPES: Final[Mapping[int, str]] = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_GOOGLE_STATUSES: Final[Mapping[int, str]] = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
    529: "UNAVAILABLE",
}
_AWS_ERRORS: Final[Mapping[int, str]] = {
    401: "AccessDeniedException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    503: "ServiceUnavailableException",
    504: "ModelTimeoutException",
    529: "ServiceUnavailableException",
}
_AWS_EVENTS: Final = frozenset(
    ("InternalServerException", "ValidationException", "ThrottlingException", "ServiceUnavailableException")
)
LAST_NUMBER: Final = 2**31 - 1


def refuse(refused: Refused, dialect: Dialect, request_id: str = "") -> Whole:
    """Return the refusal as the caller's SDK wants to read it."""
    headers: list[Header] = [(b"content-type", b"application/json"), *refused.headers]
    headers.append((b"x-ag-error-source", refused.source.encode()))
    if dialect == "bedrock":
        headers.append((b"x-amzn-errortype", aws_error(refused.status).encode()))
    if refused.retry is not None:
        headers.append((b"x-should-retry", b"true" if refused.retry else b"false"))
    body = msgspec.json.encode(error_object(refused, dialect, request_id))
    return Whole(status=refused.status, headers=headers, body=body)


def error_object(refused: Refused, dialect: Dialect, request_id: str = "") -> Mapping[str, Any]:
    """Return the error of a dialect as its SDKs parse it; the machine code is in all of them."""
    match dialect:
        case "openai" | "openai_responses":
            return {"error": openai_error(refused)}
        case "anthropic":
            return anthropic_error(refused, request_id)
        case "gemini":
            return {"error": google_error(refused)}
        case "cohere":
            return {"message": refused.message, "code": refused.code, "param": refused.param, "id": request_id}
        case "bedrock" | "mcp":
            return {"message": refused.message, "code": refused.code, "param": refused.param}


def error_event(refused: Refused, dialect: Dialect, framing: Framing, request_id: str = "") -> bytes:
    """Return the event that tells a live caller that no more will come, and why."""
    error: Mapping[str, Any] = error_object(refused, dialect, request_id)
    name = ""
    match dialect:
        case "openai_responses":
            # behind every number that can have been sent: the order of events is all that clients make of it
            name, error = "error", {**openai_error(refused), "type": "error", "sequence_number": LAST_NUMBER}
        case "anthropic":
            name = "error"
        case "cohere":
            name, error = "error", {"type": "error", **error}
        case "bedrock":
            name = aws_event_error(refused.status)
            error = {name: error, "error": error}
        case _:
            pass
    return framing.frame(name, msgspec.json.encode(error))


def openai_error(refused: Refused) -> dict[str, str | None]:
    """Return OpenAI's error object. All four keys are always there."""
    usual = "server_error" if refused.status >= 500 else "invalid_request_error"
    return {
        "message": refused.message,
        "type": _OPENAI_TYPES.get(refused.status, usual),
        "param": refused.param,
        "code": refused.code,
    }


def anthropic_error(refused: Refused, request_id: str) -> Mapping[str, Any]:
    """Return Anthropic's error body. https://platform.claude.com/docs/en/api/errors"""
    usual = "api_error" if refused.status >= 500 else "invalid_request_error"
    details = {"error_code": refused.code} | ({"param": refused.param} if refused.param else {})
    kind = _ANTHROPIC_TYPES.get(refused.status, usual)
    error = {"type": kind, "message": refused.message, "details": details}
    return {"type": "error", "error": error, "request_id": request_id or None}


def google_error(refused: Refused) -> Mapping[str, Any]:
    """Return Google's error object. https://google.aip.dev/193"""
    usual = "INTERNAL" if refused.status >= 500 else "INVALID_ARGUMENT"
    metadata = {"param": refused.param} if refused.param else {}
    return {
        "code": refused.status,
        "message": refused.message,
        "status": _GOOGLE_STATUSES.get(refused.status, usual),
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": refused.code,
                "domain": "trustgate",
                "metadata": metadata,
            }
        ],
    }


def aws_error(status: int) -> str:
    """Return the name of the exception that Bedrock has for a status."""
    return _AWS_ERRORS.get(status, "InternalServerException" if status >= 500 else "ValidationException")


def aws_event_error(status: int) -> str:
    """Return the same name as an event stream has it, which knows fewer of them."""
    name = aws_error(status)
    return name[0].lower() + name[1:] if name in _AWS_EVENTS else "modelStreamErrorException"


def denied(deny: Deny) -> Refused:
    """Return a policy's no as what the caller is told, with the wait in the headers that SDKs obey."""
    headers, retry = list(deny.headers), deny.retry
    if deny.retry_after is not None:
        headers.append((b"retry-after", str(math.ceil(deny.retry_after)).encode()))
        headers.append((b"retry-after-ms", str(math.ceil(deny.retry_after * 1000)).encode()))
        retry = False if retry is None and deny.retry_after > PATIENCE else retry
    elif retry is None and deny.status < 500:
        retry = False
    return Refused(deny.code, deny.message, status=deny.status, headers=headers, param=deny.param, retry=retry)


def answered(answer: Answer) -> Whole:
    """Return the answer that a policy gave in a provider's stead."""
    headers = [(b"content-type", answer.content_type.encode()), *answer.headers]
    return Whole(status=answer.status, headers=headers, body=answer.body)
