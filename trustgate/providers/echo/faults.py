"""Refusals in OpenAI's own shape and words, with the four keys that its SDKs read."""

from collections.abc import Mapping
from typing import Any

import msgspec

from trustgate.contract.upstream import Header


class Fault(Exception):
    """An error answer."""

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        status: int = 400,
        kind: str = "invalid_request_error",
        headers: tuple[Header, ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.status = status
        self.kind = kind
        self.headers = headers

    def body(self) -> bytes:
        """Return the JSON."""
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return msgspec.json.encode({"error": error})


def server_error() -> Fault:
    """What OpenAI says when it is OpenAI's fault."""
    return Fault(
        "The server had an error while processing your request. Sorry about that!", status=500, kind="server_error"
    )


def rate_limited() -> Fault:
    """What OpenAI says when an account asks too often."""
    return Fault(
        "Rate limit reached for requests. Please try again in 1s.",
        status=429,
        kind="requests",
        code="rate_limit_exceeded",
        headers=(
            (b"retry-after", b"1"),
            (b"retry-after-ms", b"1000"),
            (b"x-ratelimit-limit-requests", b"60"),
            (b"x-ratelimit-remaining-requests", b"0"),
            (b"x-ratelimit-reset-requests", b"1s"),
        ),
    )


def unknown_url(method: str, path: str) -> Fault:
    """Nothing answers at this path."""
    return Fault(
        f"Unknown request URL: {method} {path}. Please check the URL for typos.", status=404, code="unknown_url"
    )


def wrong_method(method: str, path: str) -> Fault:
    """Something answers at this path, but not to this method."""
    hint = "(HINT: Perhaps you meant to use a different HTTP method?)"
    return Fault(f"Not allowed to {method} on {path}. {hint}", status=405, code="method_not_supported")


def wrong_type(param: str, expected: str, got: Any) -> Fault:
    """A field has a value of the wrong type."""
    said = f"Invalid type for '{param}': expected {expected}, but got {_name(got)} instead."
    return Fault(said, param=param, code="invalid_type")


def wrong_value(param: str, got: Any, supported: tuple[str, ...]) -> Fault:
    """A field has none of its values."""
    listed = ", ".join(f"'{value}'" for value in supported)
    return Fault(f"Invalid value: '{got}'. Supported values are: {listed}.", param=param, code="invalid_value")


def empty(param: str) -> Fault:
    """A list that must have something in it has nothing."""
    said = f"Invalid '{param}': empty array. Expected an array with minimum length 1, but got an empty array instead."
    return Fault(said, param=param, code="empty_array")


def missing(param: str) -> Fault:
    """A field that must be there is not."""
    return Fault(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


def optional(body: Mapping[str, Any], param: str, kind: type, expected: str) -> Any:
    """Return a field that may be absent or null. Raises Fault when it is anything else than of that type."""
    value = body.get(param)
    if value is not None and type(value) is not kind:
        raise wrong_type(param, expected, value)
    return value


def _name(value: Any) -> str:
    names = {type(None): "null", bool: "a boolean", int: "an integer", float: "a decimal", str: "a string"}
    return names.get(type(value), "an array" if isinstance(value, list) else "an object")
