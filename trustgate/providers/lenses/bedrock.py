"""Bedrock's Converse: where its answers and events keep what we need to know. Pure, and read-only.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html and API_runtime_ConverseStream.html;
an event's data is its payload under its name (eventstream.py).
"""

import json
import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, field

from trustgate.contract.lens import Answered, Lens, Said
from trustgate.contract.usage import Usage
from trustgate.providers.eventstream import EVENT_STREAM

FINISH: Final[Mapping[str, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
    "refusal": "content_filter",
    "malformed_model_output": "stop",
    "malformed_tool_use": "stop",
}
"""Bedrock's reasons to stop, and Claude's `refusal`, in OpenAI's words."""
TAIL: Final = 64 * 1024
"""Bytes of a stream's end: its last event has the trace of the guardrails, which tells all that they looked at."""

_Fields = dict[str, Raw]


class _Usage(Struct, rename="camel"):
    input_tokens: int | None = 0
    output_tokens: int | None = 0
    cache_read_input_tokens: int | None = 0
    cache_write_input_tokens: int | None = 0


class _Stop(Struct, rename="camel"):
    stop_reason: str | None = None


class _Metadata(Struct):
    usage: _Usage | None = None


class _Peek(Struct, rename="camel"):
    output: Raw | UnsetType = UNSET
    stop_reason: str | None = None
    usage: _Usage | None = None
    message_start: Raw | UnsetType = UNSET
    content_block_start: Raw | UnsetType = UNSET
    content_block_delta: Raw | UnsetType = UNSET
    content_block_stop: Raw | UnsetType = UNSET
    message_stop: _Stop | None = None
    metadata: _Metadata | None = None
    error: Any = None
    message: Any = None
    other_message: Any = field(default=None, name="Message")


_BLOCK: Final = ("contentBlockStart", "contentBlockDelta", "contentBlockStop")
_ANSWERS: Final = ("output", "messageStart", *_BLOCK, "messageStop", "metadata")
_peek: Final = msgspec.json.Decoder(_Peek)


def peek_answer(raw: bytes) -> Answered | None:
    """Read an answer's or an event's own account of itself, or None when it is not a JSON object."""
    try:
        peek = _peek.decode(raw)
    except msgspec.ValidationError:
        return _peek_odd_answer(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    stop, metadata = peek.message_stop, peek.metadata
    usage = peek.usage or (metadata.usage if metadata else None)
    is_answer = _is_answer(peek)
    return Answered(
        finish_reason=_reason(peek.stop_reason or (stop.stop_reason if stop else None)),
        usage=_normal(usage),
        error=_error(peek.error, peek.message or peek.other_message, is_answer),
        is_answer=is_answer,
    )


def _is_answer(peek: _Peek) -> bool:
    block = (peek.content_block_start, peek.content_block_delta, peek.content_block_stop)
    said = (peek.output, peek.message_start, *block)
    return any(each is not UNSET for each in said) or peek.message_stop is not None or peek.metadata is not None


def _reason(word: Any) -> str:
    """A word of Bedrock's that nobody knows yet stays as it is: it is a reason to have stopped."""
    return FINISH.get(word, word) if isinstance(word, str) else ""


def _error(error: Any, message: Any, is_answer: bool) -> Any:
    """Bedrock's errors have nothing but a message, under either of two names."""
    if error is None and not is_answer and isinstance(message, str):
        return {"message": message}
    return error


def _normal(usage: _Usage | None) -> Usage | None:
    """https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html: `inputTokens` leaves the cache out."""
    if usage is None:
        return None
    cached, written = max(0, usage.cache_read_input_tokens or 0), max(0, usage.cache_write_input_tokens or 0)
    return Usage(
        input=max(0, usage.input_tokens or 0) + cached + written,
        output=max(0, usage.output_tokens or 0),
        cached_input=cached,
    )


def _peek_odd_answer(raw: bytes) -> Answered | None:
    """An answer with an odd account of itself is still one: of the account what can be read is read."""
    found = _loose(raw)
    if not isinstance(found, dict):
        return None
    is_answer = any(name in found for name in _ANSWERS)
    stop, metadata = _object(found.get("messageStop")), _object(found.get("metadata"))
    return Answered(
        finish_reason=_reason(found.get("stopReason")) or _reason(stop.get("stopReason")),
        usage=_odd_usage(found.get("usage", metadata.get("usage"))),
        error=_error(found.get("error"), found.get("message", found.get("Message")), is_answer),
        is_answer=is_answer,
    )


def _odd_usage(usage: Any) -> Usage | None:
    if not isinstance(usage, dict):
        return None
    names = ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")
    return _normal(_Usage(*(_count(usage.get(name)) for name in names)))


def _count(number: Any) -> int:
    return max(0, int(number)) if isinstance(number, int | float) and math.isfinite(number) else 0


def _loose(raw: bytes) -> Any:
    """Read JSON as the most forgiving client would: what somebody could read must not pass unread."""
    try:
        return json.loads(raw.decode("utf-8", "replace"), strict=False)
    except (ValueError, RecursionError):
        return None


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def answer_text(raw: bytes) -> str:
    """Return what the model said in a whole answer, its blocks joined as they are said."""
    message = _object(_object(_object(_loose(raw)).get("output")).get("message"))
    return "".join(_block_text(block) for block in _objects(message.get("content")))


def _block_text(block: Mapping[str, Any]) -> str:
    cited = _objects(_object(block.get("citationsContent")).get("content"))
    return _string(block.get("text")) + "".join(_string(part.get("text")) for part in cited)


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


class _Delta(Struct):
    text: str | None = None


class _BlockEvent(Struct, rename="camel"):
    content_block_index: int = 0
    delta: _Delta | None = None


class _SaidPeek(Struct, rename="camel"):
    content_block_delta: _BlockEvent | None = None
    content_block_stop: _BlockEvent | None = None


_said: Final = msgspec.json.Decoder(_SaidPeek)


def event_said(raw: bytes) -> Said:
    """Return what one stream event adds, by content block; nothing for an event without text."""
    try:
        found = _said.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = _odd_said(_object(_loose(raw)))
    added, ended = found.content_block_delta, found.content_block_stop
    text = added.delta.text if added and added.delta else None
    return Said(
        texts={added.content_block_index: text} if added and text else {},
        finished=frozenset((ended.content_block_index,)) if ended else frozenset(),
    )


def _odd_said(found: Mapping[str, Any]) -> _SaidPeek:
    def event(name: str) -> _BlockEvent | None:
        said = found.get(name)
        if not isinstance(said, dict):
            return None
        text = _string(_object(said.get("delta")).get("text"))
        return _BlockEvent(_count(said.get("contentBlockIndex")), _Delta(text))

    return _SaidPeek(event("contentBlockDelta"), event("contentBlockStop"))


def with_delta_text(raw: bytes, texts: Mapping[int, str]) -> bytes:
    """Return a stream event that says something else; everything but `delta.text` keeps its bytes."""
    try:
        event = msgspec.json.decode(raw, type=_Fields)
        block = msgspec.json.decode(event["contentBlockDelta"], type=_Fields)
        index = msgspec.json.decode(block.get("contentBlockIndex", Raw(b"0")), type=int)
        delta = msgspec.json.decode(block["delta"], type=_Fields)
        delta["text"] = _raw(texts[index])
        return msgspec.json.encode({**event, "contentBlockDelta": _raw({**block, "delta": _raw(delta)})})
    except (msgspec.MsgspecError, KeyError, UnicodeError, RecursionError):
        return _odd_event(texts)


def _raw(value: Any) -> Raw:
    return Raw(msgspec.json.encode(value))


def _odd_event(texts: Mapping[int, str]) -> bytes:
    """An event that cannot be edited gives way to one that says the text and nothing else."""
    index, text = next(iter(texts.items()), (0, ""))
    return msgspec.json.encode({"contentBlockDelta": {"contentBlockIndex": index, "delta": {"text": text}}})


def is_last(data: bytes) -> bool:
    """Say whether this is the data of the last event: usage and metrics come behind the end of the message."""
    return data.startswith(b'{"metadata":')


LENS: Final = Lens(
    answer=peek_answer,
    text=answer_text,
    said=event_said,
    rewritten=with_delta_text,
    last=is_last,
    finish_ends=True,
    framing=EVENT_STREAM,
    tail=TAIL,
)
