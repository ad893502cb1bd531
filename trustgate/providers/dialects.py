"""What a request says of itself in each dialect, and which lens looks into which answer. Pure, and read-only.

Bodies stay bytes. A peek decodes the one or two fields that are needed and scans past the rest.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import msgspec
from msgspec import Struct

from trustgate.contract.errors import Refused
from trustgate.contract.lens import Lens
from trustgate.providers.lazily import lens_in
from trustgate.providers.lenses.openai import Fields


class _AskPeek(Struct):
    model: str | None = None
    stream: bool | None = None


class Asked(Struct, frozen=True):
    """What a request body says of itself."""

    model: str
    stream: bool


_ask: Final = msgspec.json.Decoder(_AskPeek)


def peek_request(raw: bytes | bytearray) -> Asked:
    """Read model and stream off a request body. Raises Refused (400) for a body that is not a JSON object like that."""
    try:
        asked = _ask.decode(raw)
    except msgspec.ValidationError as error:
        raise _wrong_type(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused("invalid_json", f"The body is not valid JSON: {error}.", status=400, retry=False) from error
    except RecursionError as error:
        raise Refused("invalid_json", "The body is nested too deeply.", status=400, retry=False) from error
    return Asked(asked.model or "", asked.stream or False)


def _wrong_type(error: msgspec.ValidationError) -> Refused:
    text = str(error)
    at = text.rpartition("`$.")[2].rstrip("`") if "`$." in text else None
    return Refused("invalid_request", f"The body is not accepted: {text}.", status=400, param=at, retry=False)


def with_model(raw: bytes | bytearray, model: str) -> bytes:
    """Return the body asking for another model. Every other field keeps its very bytes. Raises Refused (400)."""
    try:
        fields = msgspec.json.decode(raw, type=Fields)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Refused("invalid_json", "The body is not valid JSON.", status=400, retry=False) from error
    return msgspec.json.encode({**fields, "model": msgspec.Raw(msgspec.json.encode(model))})


class _Options(Struct):
    include_usage: bool | None = None


class _OptionsPeek(Struct):
    stream_options: _Options | None = None


_options: Final = msgspec.json.Decoder(_OptionsPeek)
_USAGE: Final = b'"stream_options":{"include_usage":true}}'


def asks_for_usage(raw: bytes | bytearray) -> bool:
    """Say whether a request for OpenAI's chat asks for the usage of its stream."""
    try:
        asked = _options.decode(raw).stream_options
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False
    return asked is not None and bool(asked.include_usage)


def with_usage(raw: bytes) -> bytes:
    """Return the body asking for usage, by a field behind all others where there is none: nothing changes its place."""
    if b'"stream_options"' not in raw:
        whole = raw.rstrip()
        return whole[:-1] + (b"," if whole[:-1].rstrip() != b"{" else b"") + _USAGE
    try:
        fields = msgspec.json.decode(raw, type=Fields)
        given = msgspec.json.decode(fields.get("stream_options", b"null"))
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Refused("invalid_json", "The body is not valid JSON.", status=400, retry=False) from error
    options = {**(given if isinstance(given, dict) else {}), "include_usage": True}
    return msgspec.json.encode({**fields, "stream_options": options})


_NAMES: Final[Mapping[str, str]] = {
    "chat_completions": "openai",
    "completions": "completions",
    "responses": "openai_responses",
    "messages": "anthropic",
    "generate_content": "gemini",
    "cohere_chat": "cohere",
    "converse": "bedrock",
}


@lru_cache(maxsize=64)
def lens_of(operation: str) -> Lens:
    """Return the lens for the answers to an operation: its dialect's, or the one for JSON of any kind."""
    found: Lens = lens_in(f"lenses.{_NAMES.get(operation, 'anything')}")
    return found
