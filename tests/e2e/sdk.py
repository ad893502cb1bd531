"""OpenAI's own Python SDK, at its strictest, and what tests do with it."""

from typing import Any

import openai
from openai import OpenAI
from openai.types.chat import ChatCompletion

from .place import Place
from .program import Json
from .upstream import (
    Header,
)
from .wire import check_error

HELLO: Any = [{"role": "user", "content": "Hello!"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
LIMITS: tuple[Header, ...] = (
    (b"x-request-id", b"req_upstream_1"),
    (b"openai-processing-ms", b"12"),
    (b"openai-version", b"2020-10-01"),
    (b"x-ratelimit-limit-requests", b"10000"),
    (b"x-ratelimit-remaining-requests", b"9999"),
    (b"x-ratelimit-reset-requests", b"6ms"),
    (b"x-ratelimit-remaining-tokens", b"149999"),
)


def options(place: Place, form: str, only_key: str = "") -> Json:
    """Return how a client is made: for a consumer's own base URL by the two headers, for a drop-in by the key alone."""
    url = place.program.url("proxy", form)
    fixed: Json = {"base_url": url, "max_retries": 0, "timeout": 15, "_strict_response_validation": True}
    if form == "/v1":
        return {**fixed, "api_key": only_key}
    return {**fixed, "api_key": "unused", "default_headers": place.headers}


def check_typed(error: openai.APIError, status: int, code: str) -> None:
    """Check that an error is the SDK's own for that status, and that everything in it can be read."""
    assert isinstance(error, openai.APIStatusError), error
    assert error.status_code == status
    assert isinstance(error.body, dict)
    check_error(error.body)
    assert (error.code, error.type, error.param) == tuple(error.body[key] for key in ("code", "type", "param"))
    assert error.code == code
    assert error.body["message"] in error.message
    assert error.request_id
    assert error.response.headers["x-ag-trace-id"]


def call(sdk: OpenAI, *, streamed: bool = False, model: str = "gpt-4o-mini", **more: Any) -> ChatCompletion | None:
    """Make one call and read all of it."""
    said = sdk.chat.completions.create(model=model, messages=HELLO, stream=streamed, **more)
    if isinstance(said, ChatCompletion):
        return said
    with said:
        for _ in said:
            pass
    return None
