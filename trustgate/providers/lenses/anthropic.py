"""Anthropic's Messages: where its answers and events keep what we need to know. Pure, and read-only.

https://platform.claude.com/docs/en/api/messages/create and https://platform.claude.com/docs/en/build-with-claude/streaming

Usage comes twice in a stream: with its first event, before anything is said, and with its last but one, in totals.
"""

import json
import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from trustgate.contract.lens import Answered, Lens, Said
from trustgate.contract.usage import Usage

FINISH_REASONS: Final[Mapping[str, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}
"""Anthropic's reasons to stop in OpenAI's words."""
_EVENTS: Final = frozenset(
    (
        *("message", "message_start", "message_delta", "message_stop", "ping"),
        *("content_block_start", "content_block_delta", "content_block_stop"),
    )
)
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)
_Fields = dict[str, Raw]


class _Peek(Struct):
    type: Any = None
    model: Any = None
    stop_reason: Any = None
    usage: Any = None
    error: Any = None
    delta: Any = None
    message: Any = None


_peek: Final = msgspec.json.Decoder(_Peek)
_fields: Final = msgspec.json.Decoder(_Fields)


def peek_answer(raw: bytes) -> Answered | None:
    """Read an answer's or an event's own account of itself, or None when it is not a JSON object."""
    try:
        peek = _peek.decode(raw)
    except _UNREADABLE:
        return None
    message, delta = _object(peek.message), _object(peek.delta)
    word = _string(peek.stop_reason or message.get("stop_reason") or delta.get("stop_reason"))
    usage = message.get("usage") if peek.usage is None else peek.usage
    return Answered(
        model=_string(peek.model) or _string(message.get("model")),
        finish_reason=FINISH_REASONS.get(word, word),
        usage=read_usage(usage) if isinstance(usage, dict) else None,
        error=peek.error,
        is_answer=isinstance(peek.type, str) and peek.type in _EVENTS,
        service_tier=_tier(_object(usage)),
    )


def _tier(usage: Mapping[str, Any]) -> str:
    """Return the tier, or the speed where that is another than the usual: what the price depends on."""
    speed = _string(usage.get("speed"))
    return speed if speed and speed != "standard" else _string(usage.get("service_tier"))


def read_usage(usage: Mapping[str, Any]) -> Usage:
    """Return the tokens of an object `usage`, whatever is in it: what it leaves out is 0.

    What it took to compact a conversation stands in `iterations` only, and is paid for like all else
    (https://platform.claude.com/docs/en/build-with-claude/compaction). Other iterations are in the totals, or another
    model's.
    """
    iterations = usage.get("iterations")
    found = _counted(usage)
    for iteration in iterations if isinstance(iterations, list) else ():
        if _object(iteration).get("type") == "compaction":
            found += _counted(iteration)
    return found


def _counted(usage: Mapping[str, Any]) -> Usage:
    cached, written = count(usage.get("cache_read_input_tokens")), count(usage.get("cache_creation_input_tokens"))
    return Usage(
        input=count(usage.get("input_tokens")) + cached + written,
        output=count(usage.get("output_tokens")),
        cached_input=cached,
        cache_write=written,
        cache_write_1h=min(written, count(_object(usage.get("cache_creation")).get("ephemeral_1h_input_tokens"))),
        reasoning_output=count(_object(usage.get("output_tokens_details")).get("thinking_tokens")),
    )


def count(number: Any) -> int:
    """Return a count of tokens, 0 for what is none; never below zero."""
    return max(0, int(number)) if isinstance(number, int | float) and math.isfinite(number) else 0


def _loose(raw: bytes) -> Mapping[str, Any]:
    """Read JSON as the most forgiving client would: what somebody could read must not pass unread."""
    try:
        found = msgspec.json.decode(raw)
    except _UNREADABLE:
        try:
            found = json.loads(raw.decode("utf-8", "replace"), strict=False)
        except (ValueError, RecursionError):
            return {}
    return _object(found)


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def answer_text(raw: bytes) -> str:
    """Return what the model said in a whole answer, its blocks joined as they are said. Thoughts are not said."""
    content = _loose(raw).get("content")
    blocks = content if isinstance(content, list) else ()
    return "".join(_block_text(_object(block)) for block in blocks)


def _block_text(block: Mapping[str, Any]) -> str:
    return _string(block.get("text")) if block.get("type") == "text" else ""


class _Piece(Struct):
    type: str = ""
    text: str = ""


class _SaidPeek(Struct):
    type: str = ""
    index: int = 0
    delta: _Piece | None = None
    content_block: _Piece | None = None


_said: Final = msgspec.json.Decoder(_SaidPeek)


def event_said(raw: bytes) -> Said:
    """Return what one stream event adds, by content block; nothing for an event without text."""
    try:
        event = _said.decode(raw)
    except _UNREADABLE:
        event = _odd_said(_loose(raw))
    if event.type == "content_block_stop":
        return Said(finished=frozenset((event.index,)))
    piece = event.delta if event.type == "content_block_delta" else event.content_block
    if piece is None or not piece.text or piece.type not in ("text_delta", "text"):
        return Said()
    return Said(texts={event.index: piece.text})


def _odd_said(event: Mapping[str, Any]) -> _SaidPeek:
    def piece(name: str) -> _Piece:
        found = _object(event.get(name))
        return _Piece(_string(found.get("type")), _string(found.get("text")))

    return _SaidPeek(_string(event.get("type")), count(event.get("index")), piece("delta"), piece("content_block"))


def with_text(raw: bytes, texts: Mapping[int, str]) -> bytes:
    """Return a stream event that says something else; everything but its text keeps its bytes."""
    try:
        event = _fields.decode(raw)
        name = "delta" if "delta" in event else "content_block"
        index = msgspec.json.decode(event.get("index", Raw(b"0")), type=int)
        piece = _fields.decode(event[name])
        piece["text"] = _raw(texts[index])
        return msgspec.json.encode({**event, name: _raw(piece)})
    except (*_UNREADABLE, KeyError):
        return _odd_event(texts)


def _raw(value: Any) -> Raw:
    return Raw(msgspec.json.encode(value))


def _odd_event(texts: Mapping[int, str]) -> bytes:
    """An event that cannot be edited gives way to one that says the text and nothing else."""
    index, text = next(iter(texts.items()), (0, ""))
    delta = {"type": "text_delta", "text": text}
    return msgspec.json.encode({"type": "content_block_delta", "index": index, "delta": delta})


def is_last(data: bytes) -> bool:
    """Say whether this is the data of the last event."""
    return data.find(b"message_stop") >= 0 and _loose(data).get("type") == "message_stop"


LENS: Final = Lens(answer=peek_answer, text=answer_text, said=event_said, rewritten=with_text, last=is_last)
