"""What an SDK raises, read alike: its class, the status, the machine code, the wait and the words."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

import anthropic
import botocore.exceptions
import cohere.core
import httpx
import openai
from google.genai import errors as genai

from ..talk import Target
from .openai_responses import ErrorEvent


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
    """`kind` is the SDK's class; `status` is 0 within a stream, whose own has long been sent."""

    kind: str
    status: int = 0
    code: str = ""
    retry_after: str = ""
    message: str = ""


RAISED: Final = (
    openai.APIError,
    anthropic.APIError,
    genai.APIError,
    cohere.core.ApiError,
    botocore.exceptions.ClientError,
    botocore.exceptions.EventStreamError,
    httpx.RemoteProtocolError,
    ErrorEvent,
)
"""Everything that an SDK raises for what it has been told. Anything else is a failure to understand it.

Cohere's passes over events that it does not know, so that it is the end of the connection that it raises.
"""

_OPENAI: Final = {
    **{400: "BadRequestError", 403: "PermissionDeniedError", 404: "NotFoundError"},
    **{429: "RateLimitError", 529: "InternalServerError"},
}
KINDS: Final[Mapping[Target, Mapping[int, str]]] = {
    "openai": _OPENAI,
    "openai_responses": _OPENAI,
    "anthropic": {**_OPENAI, 529: "OverloadedError"},
    "gemini": {**dict.fromkeys((400, 403, 404, 429), "ClientError"), 529: "ServerError"},
    "cohere": {
        **{400: "BadRequestError", 403: "ForbiddenError", 404: "NotFoundError"},
        **{429: "TooManyRequestsError", 529: "ApiError"},
    },
    "bedrock": {
        **{400: "ValidationException", 403: "AccessDeniedException", 404: "ResourceNotFoundException"},
        **{429: "ThrottlingException", 529: "ServiceUnavailableException"},
    },
}
"""The class that each SDK has for a status."""


def problem_of(error: Exception) -> Problem:
    """Read what an SDK has raised. Raises AssertionError for what it does not raise by itself."""
    match error:
        case openai.APIResponseValidationError() | anthropic.APIResponseValidationError():
            raise AssertionError(f"the SDK has not understood: {error.body}") from error
        case openai.APIStatusError():
            return _problem(error, error.status_code, str(error.code or ""), error.response.headers)
        case anthropic.APIStatusError():
            status = error.status_code if error.status_code >= 400 else 0
            return _problem(error, status, error.error_code or "", error.response.headers)
        case openai.APIError():
            return _problem(error, 0, str(error.code or ""), {})
        case genai.APIError():
            headers = getattr(error.response, "headers", {})
            return _problem(error, error.code, _reason(error.details) or str(error.status), headers)
        case cohere.core.ApiError():
            body = error.body if isinstance(error.body, dict) else {}
            return _problem(error, error.status_code or 0, str(body.get("code") or ""), error.headers or {})
        case botocore.exceptions.ClientError():
            return _of_amazon(error)
        case ErrorEvent():
            return Problem(kind="ErrorEvent", code=error.code, message=str(error))
        case httpx.RemoteProtocolError():
            return Problem(kind=type(error).__name__, message=str(error))
        case _:
            raise AssertionError(f"{type(error)} is no error of an SDK's: {error}") from error


def _problem(error: Exception, status: int, code: str, headers: Mapping[str, str]) -> Problem:
    words = {name.lower(): value for name, value in headers.items()}
    kind, wait = type(error).__name__, words.get("retry-after", "")
    return Problem(kind=kind, status=status, code=code, retry_after=wait, message=str(error))


def _reason(details: Any) -> str:
    found = details.get("error", details) if isinstance(details, dict) else {}
    return next((str(it["reason"]) for it in found.get("details", ()) if "reason" in it), "")


def _of_amazon(error: botocore.exceptions.ClientError) -> Problem:
    """Amazon's machine code is the class. Within a stream it is of another class, and there is no status."""
    response: Any = error.response
    meta, code = response.get("ResponseMetadata", {}), response["Error"]["Code"]
    wait = meta.get("HTTPHeaders", {}).get("retry-after", "")
    return Problem(kind=code, status=meta.get("HTTPStatusCode", 0), code=code, retry_after=wait, message=str(error))
