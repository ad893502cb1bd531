"""OpenAI's older completions: where their answers and events keep what we need to know. Pure, and read-only.

https://platform.openai.com/docs/api-reference/completions: as chat's, but that a choice has a `text` and no message.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct, field

from trustgate.contract.lens import Lens, Said
from trustgate.providers.lenses.openai import Fields, is_done, peek_answer

_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)


class _Choice(Struct):
    index: int = 0
    text: str | None = None
    finish_reason: str | None = None


class _Peek(Struct):
    choices: list[_Choice] = field(default_factory=list)


_peek: Final = msgspec.json.Decoder(_Peek)


def _choices(raw: bytes) -> list[_Choice]:
    try:
        return _peek.decode(raw).choices
    except _UNREADABLE:
        return _odd_choices(raw)


def _odd_choices(raw: bytes) -> list[_Choice]:
    """Read JSON as the most forgiving client would: what somebody could read must not pass unread."""
    try:
        found = json.loads(raw.decode("utf-8", "replace"), strict=False)
    except (ValueError, RecursionError):
        return []
    choices = found.get("choices") if isinstance(found, dict) else None
    return [_odd_choice(each) for each in choices if isinstance(each, dict)] if isinstance(choices, list) else []


def _odd_choice(choice: Mapping[str, Any]) -> _Choice:
    index, text = choice.get("index"), choice.get("text")
    number = index if isinstance(index, int) else 0
    return _Choice(number, text if isinstance(text, str) else "", str(choice.get("finish_reason") or "") or None)


def answer_text(raw: bytes) -> str:
    """Return what the model said in a whole answer, its choices one after the other."""
    return "\n".join(choice.text or "" for choice in _choices(raw))


def event_said(raw: bytes) -> Said:
    """Return what one stream event adds, by choice; nothing for an event without text."""
    texts: dict[int, str] = {}
    choices = _choices(raw)
    for choice in choices:
        if choice.text:
            texts[choice.index] = texts.get(choice.index, "") + choice.text
    return Said(texts=texts, finished=frozenset(choice.index for choice in choices if choice.finish_reason))


def with_text(raw: bytes, texts: Mapping[int, str]) -> bytes:
    """Return a stream event whose choices say something else; log probabilities would tell what, and go."""
    try:
        event = msgspec.json.decode(raw, type=Fields)
        choices = msgspec.json.decode(event["choices"], type=list[Fields])
        left = dict(texts)
        event["choices"] = _raw([_with_text(choice, left) for choice in choices])
        return msgspec.json.encode(event)
    except (*_UNREADABLE, KeyError):
        return _odd_event(texts)


def _with_text(choice: Fields, left: dict[int, str]) -> Fields:
    """Give the choice its text: the first of an index gets all of it, those behind it none."""
    index = msgspec.json.decode(choice["index"], type=int) if "index" in choice else 0
    if index not in left or "text" not in choice:
        return choice
    text, left[index] = left[index], ""
    told = {**choice, "text": _raw(text)}
    return {**told, "logprobs": _raw(None)} if "logprobs" in choice else told


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def _odd_event(texts: Mapping[int, str]) -> bytes:
    """An event that cannot be edited gives way to one that says the text and nothing else."""
    choices = [{"index": at, "text": text, "logprobs": None, "finish_reason": None} for at, text in texts.items()]
    return json.dumps({"object": "text_completion", "choices": choices}).encode()


LENS: Final = Lens(
    answer=peek_answer, text=answer_text, said=event_said, rewritten=with_text, last=is_done, finish_ends=True
)
