"""OpenAI's chat: where its answers and events keep what we need to know. Pure, and read-only.

https://platform.openai.com/docs/api-reference/chat
"""

import json
import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct, field

from trustgate.contract.lens import Answered, Lens, Said
from trustgate.contract.usage import Usage

DONE: Final = b"[DONE]"
Fields = dict[str, msgspec.Raw]
"""A JSON object whose values keep their bytes."""


class _PromptDetails(Struct):
    cached_tokens: int | None = 0


class _CompletionDetails(Struct):
    reasoning_tokens: int | None = 0


class _Usage(Struct):
    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class _Choice(Struct):
    finish_reason: str | None = None


class _AnswerPeek(Struct):
    model: str | None = None
    service_tier: str | None = None
    usage: _Usage | None = None
    choices: list[_Choice] | None = None
    error: Any = None


_answer: Final = msgspec.json.Decoder(_AnswerPeek)


def peek_answer(raw: bytes) -> Answered | None:
    """Read an answer's own account of itself, or None when it is not a JSON object of that dialect."""
    try:
        peek = _answer.decode(raw)
    except msgspec.ValidationError:
        return _peek_odd_answer(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    finish_reason = ""
    for choice in peek.choices or ():
        finish_reason = finish_reason or choice.finish_reason or ""
    return Answered(
        model=peek.model or "",
        finish_reason=finish_reason,
        usage=_normal(peek.usage),
        error=peek.error,
        is_answer=peek.choices is not None,
        service_tier=peek.service_tier or "",
    )


def _peek_odd_answer(raw: bytes) -> Answered | None:
    """An answer with an odd account of itself is still one: of the account what can be read is read."""
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    model, choices = found.get("model"), found.get("choices")
    reasons = [each.get("finish_reason") for each in _odd_choices(found)]
    return Answered(
        model=model if isinstance(model, str) else "",
        finish_reason=next((reason for reason in reasons if reason and isinstance(reason, str)), ""),
        usage=_odd_usage(found.get("usage")),
        error=found.get("error"),
        is_answer=isinstance(choices, list),
    )


def _odd_usage(usage: Any) -> Usage | None:
    if not isinstance(usage, dict):
        return None
    try:
        return _normal(msgspec.convert(usage, _Usage, strict=False))
    except msgspec.ValidationError:
        return Usage(input=_count(usage.get("prompt_tokens")), output=_count(usage.get("completion_tokens")))


def _count(number: Any) -> int:
    return max(0, int(number)) if isinstance(number, int | float) and math.isfinite(number) else 0


def _normal(usage: _Usage | None) -> Usage | None:
    if usage is None:
        return None
    read, written = usage.prompt_tokens_details, usage.completion_tokens_details
    return Usage(
        input=max(0, usage.prompt_tokens or 0),
        output=max(0, usage.completion_tokens or 0),
        cached_input=max(0, read.cached_tokens or 0) if read else 0,
        reasoning_output=max(0, written.reasoning_tokens or 0) if written else 0,
    )


def _loose(raw: bytes) -> Any:
    """Read JSON as the most forgiving client would: what somebody could read must not pass unread."""
    try:
        return json.loads(raw.decode("utf-8", "replace"), strict=False)
    except (ValueError, RecursionError):
        return None


class _Message(Struct):
    content: Any = None


class _TextChoice(Struct):
    index: int = 0
    message: _Message | None = None
    delta: _Message | None = None
    finish_reason: str | None = None


class _TextPeek(Struct):
    choices: list[_TextChoice] = field(default_factory=list)


_text: Final = msgspec.json.Decoder(_TextPeek)


def _choices(raw: bytes) -> list[_TextChoice]:
    try:
        return _text.decode(raw).choices
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return [_odd_choice(each) for each in _odd_choices(_loose(raw))]


def _odd_choices(found: Any) -> list[dict[str, Any]]:
    choices = found.get("choices") if isinstance(found, dict) else None
    return [each for each in choices if isinstance(each, dict)] if isinstance(choices, list) else []


def _odd_choice(choice: Mapping[str, Any]) -> _TextChoice:
    def message(name: str) -> _Message | None:
        found = choice.get(name)
        return _Message(found.get("content")) if isinstance(found, dict) else None

    reason = choice.get("finish_reason")
    return _TextChoice(_odd_index(choice.get("index")), message("message"), message("delta"), str(reason or "") or None)


def _odd_index(index: Any) -> int:
    try:
        return int(index)
    except (TypeError, ValueError, OverflowError):
        return 0


def answer_text(raw: bytes) -> str:
    """Return what the model said in a whole answer, its choices one after the other."""
    return "\n".join(_plain(choice.message.content) for choice in _choices(raw) if choice.message)


def event_said(raw: bytes) -> Said:
    """Return what one stream event adds, by choice; nothing for an event without text."""
    texts: dict[int, str] = {}
    choices = _choices(raw)
    for choice in choices:
        text = _plain(choice.delta.content) if choice.delta else ""
        if text:
            texts[choice.index] = texts.get(choice.index, "") + text
    return Said(texts=texts, finished=frozenset(choice.index for choice in choices if choice.finish_reason))


def with_delta_text(raw: bytes, texts: Mapping[int, str]) -> bytes:
    """Return a stream event whose choices say something else; everything but `delta.content` keeps its bytes."""
    try:
        event = msgspec.json.decode(raw, type=Fields)
        choices = msgspec.json.decode(event["choices"], type=list[Fields])
        left = dict(texts)
        event["choices"] = _raw([_with_text(choice, left) for choice in choices])
        return msgspec.json.encode(event)
    except (msgspec.MsgspecError, KeyError, UnicodeError, RecursionError):
        return _odd_event(texts)


def _with_text(choice: Fields, left: dict[int, str]) -> Fields:
    """Give the choice its text: the first of an index gets all of it, those behind it none."""
    index = msgspec.json.decode(choice["index"], type=int) if "index" in choice else 0
    delta = msgspec.json.decode(choice["delta"], type=Fields) if "delta" in choice else {}
    if index not in left or "content" not in delta:
        return choice
    text, left[index] = left[index], ""
    return {**choice, "delta": _raw({**delta, "content": _raw(text)})}


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def _odd_event(texts: Mapping[int, str]) -> bytes:
    """An event that cannot be edited gives way to one that says the text and nothing else."""
    choices = [{"index": at, "delta": {"content": text}, "finish_reason": None} for at, text in texts.items()]
    return json.dumps({"object": "chat.completion.chunk", "choices": choices}).encode()


def _plain(content: Any) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))


def is_done(data: bytes) -> bool:
    """Say whether this is the data of the last event."""
    return data == DONE


LENS: Final = Lens(
    answer=peek_answer, text=answer_text, said=event_said, rewritten=with_delta_text, last=is_done, finish_ends=True
)
