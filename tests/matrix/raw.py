"""The dialects without SDKs: where a request goes, the least that it says, and where its answer says why it ended."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote

import httpx

from .talk import Door, Json, Target


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dialect:
    """`path` has {model} in it where the dialect has the model there, and not in the body."""

    path: str
    body: Json
    finish: Callable[[Json], str]


def _status(said: Json) -> str:
    details = said.get("incomplete_details")
    return f"{said['status']}: {details['reason']}" if details else str(said["status"])


_USER: Final[Json] = {"role": "user", "content": "Hello!"}
DIALECTS: Final[Mapping[Target, Dialect]] = {
    "openai": Dialect(
        path="/v1/chat/completions",
        body={"messages": [_USER]},
        finish=lambda said: str(said["choices"][0]["finish_reason"]),
    ),
    "openai_responses": Dialect(
        path="/v1/responses",
        body={"input": [_USER]},
        finish=_status,
    ),
    "anthropic": Dialect(
        path="/v1/messages",
        body={"max_tokens": 1024, "messages": [_USER]},
        finish=lambda said: str(said["stop_reason"]),
    ),
    "gemini": Dialect(
        path="/v1beta/models/{model}:generateContent",
        body={"contents": [{"role": "user", "parts": [{"text": "Hello!"}]}]},
        finish=lambda said: str(said["candidates"][0]["finishReason"]),
    ),
    "cohere": Dialect(
        path="/v2/chat",
        body={"messages": [_USER]},
        finish=lambda said: str(said["finish_reason"]),
    ),
    "bedrock": Dialect(
        path="/model/{model}/converse",
        body={"messages": [{"role": "user", "content": [{"text": "Hello!"}]}]},
        finish=lambda said: str(said["stopReason"]),
    ),
}


def post(client: httpx.Client, caller: Target, door: Door, more: Json) -> httpx.Response:
    """Make one request that says the least, and these fields besides; objects in them are merged."""
    dialect = DIALECTS[caller]
    in_path = "{model}" in dialect.path
    body = merged(dialect.body if in_path else {"model": door.model, **dialect.body}, more)
    path = dialect.path.replace("{model}", quote(door.model, safe=""))
    return client.post(door.url + path, json=body, headers={"x-ag-api-key": door.key})


def merged(base: Json, more: Json) -> Json:
    """Return both; of what is an object in both, what is in either."""
    both = {**base, **more}
    for name in base.keys() & more.keys():
        if isinstance(base[name], dict) and isinstance(more[name], dict):
            both[name] = merged(base[name], more[name])
    return both
