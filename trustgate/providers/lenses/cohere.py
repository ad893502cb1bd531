"""Cohere's v2 chat: where its answers and events keep what we need to know. Pure, and read-only.

https://docs.cohere.com/reference/chat and https://docs.cohere.com/reference/chat-stream

Usage comes twice: `billed_units`, what the caller pays for, and `tokens`, which have Cohere's own preamble in them.
What is billed is what counts here; `cached_tokens` are part of the others, and may be more than were billed at all:
they are read only where nothing is said of the bill.
"""

import json
import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from trustgate.contract.lens import Answered, Lens, Said
from trustgate.contract.usage import Usage
from trustgate.providers.lenses.openai import DONE, Fields

FINISH_REASONS: Final[Mapping[str, str]] = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
    "ERROR": "length",
    "TIMEOUT": "length",
}
"""Cohere's words in OpenAI's. What failed or ran out of time was cut short, and `length` is the word for that."""
_ONLY: Final = 0
"""Cohere's answers have one choice."""


class _Peek(Struct):
    type: Any = None
    message: Raw = Raw()
    finish_reason: Any = None
    usage: Any = None
    delta: Any = None
    error: Any = None


_peek: Final = msgspec.json.Decoder(_Peek)
_fields: Final = msgspec.json.Decoder(Fields)
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)


def _answer(raw: bytes) -> Answered | None:
    try:
        peek = _peek.decode(raw)
    except _UNREADABLE:
        return None
    delta = peek.delta if isinstance(peek.delta, dict) else {}
    word = peek.finish_reason or delta.get("finish_reason")
    usage = delta.get("usage") if peek.usage is None else peek.usage
    error = _error(raw, peek, delta)
    return Answered(
        finish_reason=FINISH_REASONS.get(word, word) if isinstance(word, str) else "",
        usage=read_usage(usage) if isinstance(usage, dict) else None,
        error=error,
        is_answer=_begins(peek.message) == b"{" or (isinstance(peek.type, str) and peek.type != "error"),
    )


def _error(raw: bytes, peek: _Peek, delta: Mapping[str, Any]) -> Any:
    """An error is a body whose message is a text; a generation that failed says so at its end."""
    if peek.error is not None or _begins(peek.message) != b'"':
        return delta.get("error") if peek.error is None else peek.error
    return msgspec.json.decode(raw)


def _begins(raw: Raw) -> bytes:
    return bytes(memoryview(raw)[:1])


def read_usage(usage: Mapping[str, Any]) -> Usage:
    """Return the tokens of an object `usage`, whatever is in it."""
    billed = usage.get("billed_units")
    if isinstance(billed, dict) and ("input_tokens" in billed or "output_tokens" in billed):
        return Usage(input=count(billed.get("input_tokens")), output=count(billed.get("output_tokens")))
    tokens = usage.get("tokens")
    told = tokens if isinstance(tokens, dict) else {}
    return Usage(
        input=count(told.get("input_tokens")),
        output=count(told.get("output_tokens")),
        cached_input=min(count(usage.get("cached_tokens")), count(told.get("input_tokens"))),
    )


def count(number: Any) -> int:
    """Return a count of tokens, which Cohere's schema calls a number; never below zero."""
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
    return found if isinstance(found, dict) else {}


def _text(raw: bytes) -> str:
    """What the model said: its plan, and the texts behind it. Thoughts are not said."""
    message = _loose(raw).get("message")
    if not isinstance(message, dict):
        return ""
    plan, content = message.get("tool_plan"), message.get("content")
    if isinstance(content, str):
        return _plain(plan) + content
    parts = content if isinstance(content, list) else ()
    return _plain(plan) + "".join(_plain(part.get("text")) for part in parts if isinstance(part, dict))


def _said(raw: bytes) -> Said:
    event = _loose(raw)
    if event.get("type") == "message-end":
        return Said(finished=frozenset((_ONLY,)))
    text = _delta_text(event)
    return Said(texts={_ONLY: text}) if text else Said()


def _delta_text(event: Mapping[str, Any]) -> str:
    delta = event.get("delta")
    message = delta.get("message") if isinstance(delta, dict) else None
    if not isinstance(message, dict):
        return ""
    content = message.get("content")
    return _plain(message.get("tool_plan")) + (_plain(content.get("text")) if isinstance(content, dict) else "")


def _plain(text: Any) -> str:
    return text if isinstance(text, str) else ""


def _rewritten(raw: bytes, texts: Mapping[int, str]) -> bytes:
    if _ONLY not in texts:
        return raw
    try:
        event = _fields.decode(raw)
        delta = _fields.decode(event["delta"])
        delta["message"] = _raw(_with_text(_fields.decode(delta["message"]), texts[_ONLY]))
        return msgspec.json.encode({**event, "delta": _raw(delta)})
    except (*_UNREADABLE, KeyError):
        return _odd_event(texts[_ONLY])


def _with_text(message: Fields, text: str) -> Fields:
    """An event says text in one place: in its content, or as a plan. What says both says it in the content."""
    if _begins(message.get("content", Raw())) != b"{":
        return {**message, "tool_plan": _raw(text)}
    content = {**_fields.decode(message["content"]), "text": _raw(text)}
    told = {**message, "content": _raw(content)}
    return {**told, "tool_plan": _raw("")} if "tool_plan" in message else told


def _raw(value: Any) -> Raw:
    return Raw(msgspec.json.encode(value))


def _odd_event(text: str) -> bytes:
    """An event that cannot be edited gives way to one that says the text and nothing else."""
    return json.dumps({"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": text}}}}).encode()


def _last(data: bytes) -> bool:
    """Cohere's own servers send `[DONE]` behind the last event; others who speak its dialect end without."""
    return data == DONE or (data.find(b"message-end") >= 0 and _loose(data).get("type") == "message-end")


LENS: Final = Lens(answer=_answer, text=_text, said=_said, rewritten=_rewritten, last=_last)
