"""Providers' errors, whatever their dialect → what the caller is told, its status and machine code kept.

OpenAI {"error": {"message", "type", "param", "code"}} · Anthropic {"type": "error", "error": {"type", "message"}} ·
Gemini {"error": {"code", "message", "status"}} · Cohere {"message"} · Bedrock {"message"} and `x-amzn-errortype`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from trustgate.contract.errors import Refused
from trustgate.contract.upstream import Header

_WORDS: Final = ("message", "Message", "detail", "msg")
_LONGEST: Final = 2000
_USUAL: Final[Mapping[int, str]] = {
    400: "invalid_request",
    401: "provider_authentication",
    403: "provider_permission",
    404: "not_found",
    408: "provider_timeout",
    413: "request_too_large",
    422: "invalid_request",
    429: "provider_rate_limited",
    503: "provider_overloaded",
    529: "overloaded_error",
}
_STATUSES: Final[Mapping[str, int]] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "api_error": 500,
    "server_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
    "throttlingException": 429,
    "validationException": 400,
    "modelTimeoutException": 408,
    "serviceUnavailableException": 503,
    "modelStreamErrorException": 424,
    "internalServerException": 500,
}
"""The status that an error event stands for: a stream has sent its own long before."""


def read_fault(status: int, raw: bytes, headers: Sequence[Header]) -> Refused | None:
    """Return a provider's refusal as it is to be rendered, or None for a body that is no error of any dialect."""
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    error = _error(found[0] if isinstance(found, list) and found else found)  # Gemini's, where it streams an array
    if error is None:
        return None
    return Refused(
        _code(error) or _named(headers) or _USUAL.get(status, "provider_error"),
        _message(error),
        status=status,
        param=_text(error.get("param")) or None,
        source="upstream",
    )


def event_fault(data: Mapping[str, Any]) -> Refused | None:
    """Return the refusal that an event of a stream is, or None for an event that is none."""
    error = data.get("error")
    if not error and data.get("type") == "error":
        error = data
    elif data.get("type") == "response.failed":
        response = data.get("response")
        error = (response.get("error") if isinstance(response, dict) else None) or "The response failed."
    if not isinstance(error, Mapping):
        return Refused("provider_error", str(error)[:_LONGEST], status=502, source="upstream") if error else None
    code = _code(error)
    number = error.get("code")
    status = number if isinstance(number, int) and 400 <= number < 600 else _STATUSES.get(code, 502)
    return Refused(
        code or "provider_error",
        _message(error),
        status=status,
        param=_text(error.get("param")) or None,
        source="upstream",
    )


def _error(found: Any) -> Mapping[str, Any] | None:
    if not isinstance(found, Mapping):
        return None
    inner = found.get("error")
    if isinstance(inner, Mapping):
        return inner
    if isinstance(inner, str):
        return {"message": found.get("message") or inner, "code": inner}
    return found if any(isinstance(found.get(word), str) for word in _WORDS) else None


def _code(error: Mapping[str, Any]) -> str:
    """The most exact word there is: OpenAI's code, else a type, else Gemini's status."""
    for name in ("code", "type", "status", "__type"):
        if (word := _text(error.get(name))) and word != "error":
            return word.rpartition("#")[2]
    return ""


def _named(headers: Sequence[Header]) -> str:
    """AWS names its errors in a header, some with an address behind the name."""
    named = next((value for name, value in headers if name == b"x-amzn-errortype"), b"")
    return named.partition(b":")[0].decode("latin-1")


def _message(error: Mapping[str, Any]) -> str:
    found = next((error[word] for word in _WORDS if isinstance(error.get(word), str)), "")
    return found[:_LONGEST] or "The provider gave no reason."


def _text(value: Any) -> str:
    return value[:200] if isinstance(value, str) else ""
