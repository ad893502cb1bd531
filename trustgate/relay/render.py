"""Refusals in the caller's dialect: the shape that the caller's SDK parses, and the headers that it acts on."""

import math
from collections.abc import Mapping
from typing import Final

import msgspec

from trustgate.contract.context import Dialect
from trustgate.contract.errors import Refused
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


def refuse(refused: Refused, dialect: Dialect) -> Whole:
    """Return the refusal as the caller's SDK wants to read it."""
    headers: list[Header] = [(b"content-type", b"application/json"), *refused.headers]
    headers.append((b"x-ag-error-source", refused.source.encode()))
    if refused.retry is not None:
        headers.append((b"x-should-retry", b"true" if refused.retry else b"false"))
    return Whole(status=refused.status, headers=headers, body=error_body(refused, dialect))


def error_body(refused: Refused, dialect: Dialect) -> bytes:
    """Return the error object of a dialect. OpenAI's has all four keys, always."""
    match dialect:
        case "openai":
            return msgspec.json.encode({"error": openai_error(refused)})


def error_event(refused: Refused, dialect: Dialect) -> bytes:
    """Return the event that tells a live caller that no more will come, and why."""
    match dialect:
        case "openai":
            return b"data: " + error_body(refused, dialect) + b"\n\n"


def openai_error(refused: Refused) -> dict[str, str | None]:
    """Return OpenAI's error object."""
    usual = "server_error" if refused.status >= 500 else "invalid_request_error"
    return {
        "message": refused.message,
        "type": _OPENAI_TYPES.get(refused.status, usual),
        "param": refused.param,
        "code": refused.code,
    }


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
