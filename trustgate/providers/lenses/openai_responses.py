"""OpenAI's Responses: where its answers and events keep what we need to know. Pure, and read-only.

https://platform.openai.com/docs/api-reference/responses and .../responses-streaming

Rule 1: an answer stands whole in the event that ends its stream; so that the end of a stream can be long.
Rule 2: a stream says every text several times: in pieces, at the end of its part, of its content, of its item, and of
the answer. Only the pieces are new, but whoever must not let a text pass has to hear of all of them: each of these
repetitions is a text of its own, that begins and ends in one event.
"""

import json
import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from trustgate.contract.lens import Answered, Lens, Said
from trustgate.contract.usage import Usage

FINISH_REASONS: Final[Mapping[str, str]] = {"max_output_tokens": "length", "content_filter": "content_filter"}
"""Why an answer is incomplete, in OpenAI's older words."""
ENDS: Final = ("response.completed", "response.incomplete", "response.failed")
_ENDINGS: Final = tuple(f'"{kind}"'.encode() for kind in ENDS)
_CALLS: Final = ("function_call", "custom_tool_call")
_ITEM: Final = 1000
"""A text's number is this times that of its item, and that of the part."""
_REPEATED: Final = 1_000_000_000
"""What is added to the number of a text once for every level at which it is repeated."""
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)


class _Kind(Struct):
    type: Any = None


class _Body(Struct):
    """A response; of its output only what its items are."""

    object: Any = None
    model: Any = None
    status: Any = None
    incomplete_details: Any = None
    error: Any = None
    usage: Any = None
    service_tier: Any = None
    output: list[_Kind] | None = None


class _Peek(_Body):
    type: Any = None
    response: _Body | None = None


_peek: Final = msgspec.json.Decoder(_Peek)


def peek_answer(raw: bytes) -> Answered | None:
    """Read an answer's or an event's own account of itself, or None when it is not a JSON object.

    A response that failed is an error and no answer.
    """
    try:
        peek = _peek.decode(raw)
    except msgspec.ValidationError:
        odd = _odd(_loose(raw))
        return None if odd is None else _answered(odd, raw)
    except _UNREADABLE:
        return None
    return _answered(peek, raw)


def _odd(found: Any) -> _Peek | None:
    """Of an answer with an odd account of itself is read what can be read."""
    if not isinstance(found, dict):
        return None
    response = found.get("response")
    body = _Body(**_fields(response)) if isinstance(response, dict) else None
    return _Peek(**_fields(found), type=found.get("type"), response=body)


def _fields(found: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: found.get(name) for name in _Body.__struct_fields__ if name != "output"}
    return {**told, "output": [_Kind(_object(each).get("type")) for each in _list(found.get("output"))]}


def _answered(peek: _Peek, raw: bytes) -> Answered:
    kind = _string(peek.type)
    body: _Body = peek if peek.response is None else peek.response
    ends = peek.object == "response" or kind in ENDS
    error = body.error if peek.error is None else peek.error
    return Answered(
        model=_string(body.model),
        finish_reason=_finish_reason(body) if ends else "",
        usage=read_usage(body.usage) if isinstance(body.usage, dict) else None,
        error=_loose(raw) if error is None and kind == "error" else error,
        is_answer=(peek.object == "response" and body.status != "failed") or kind.startswith("response."),
        service_tier=_string(body.service_tier),
    )


def _finish_reason(body: _Body) -> str:
    """OpenAI's older words, where calls and being cut short are reasons to stop."""
    if body.status == "incomplete":
        word = _string(_object(body.incomplete_details).get("reason"))
        return FINISH_REASONS.get(word, word or "length")
    if body.status in ("failed", "cancelled", "queued", "in_progress"):
        return ""
    return "tool_calls" if any(item.type in _CALLS for item in body.output or ()) else "stop"


def read_usage(usage: Mapping[str, Any]) -> Usage:
    """Return the tokens of an object `usage`, whatever is in it: what it leaves out is 0."""
    read, written = _object(usage.get("input_tokens_details")), _object(usage.get("output_tokens_details"))
    return Usage(
        input=_count(usage.get("input_tokens")),
        output=_count(usage.get("output_tokens")),
        cached_input=_count(read.get("cached_tokens")),
        cache_write=_count(read.get("cache_write_tokens")),
        audio_input=_count(read.get("audio_tokens")),
        image_input=_count(read.get("image_tokens")),
        reasoning_output=_count(written.get("reasoning_tokens")),
        audio_output=_count(written.get("audio_tokens")),
        image_output=_count(written.get("image_tokens")),
    )


def _count(number: Any) -> int:
    return max(0, int(number)) if isinstance(number, int | float) and math.isfinite(number) else 0


def _loose(raw: bytes) -> Any:
    """Read JSON as the most forgiving client would: what somebody could read must not pass unread."""
    try:
        return msgspec.json.decode(raw)
    except _UNREADABLE:
        try:
            return json.loads(raw.decode("utf-8", "replace"), strict=False)
        except (ValueError, RecursionError):
            return None


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _index(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value < _REPEATED // _ITEM else 0


# What is said. A text is in a *holder*, an object that has it under a name: so it can be read, and replaced.

_Holder = tuple[int, dict[str, Any], str]
_PIECE: Final = "response.output_text.delta"
_WHOLE: Final = "response.output_text.done"
_PARTS: Final = ("response.content_part.added", "response.content_part.done")
_ITEMS: Final = ("response.output_item.added", "response.output_item.done")


def answer_text(raw: bytes) -> str:
    """Return what the model said in a whole answer, its messages joined as they are said. Thoughts are not said."""
    return "".join(holder[name] for _, holder, name in _in_response(_object(_loose(raw)), 0))


def event_said(raw: bytes) -> Said:
    """Return what one stream event says, by text; nothing for an event without one."""
    event = _object(_loose(raw))
    texts: dict[int, str] = {}
    for number, holder, name in _holders(event):
        texts[number] = texts.get(number, "") + holder[name]
    if event.get("type") == _PIECE:
        return Said(texts=texts)
    ended = {_number(event)} if event.get("type") == _WHOLE else set()
    return Said(texts=texts, finished=frozenset(ended | texts.keys()))


def _number(event: Mapping[str, Any]) -> int:
    return _index(event.get("output_index")) * _ITEM + _index(event.get("content_index")) % _ITEM


def _holders(event: Mapping[str, Any]) -> list[_Holder]:
    """Return the number of each text of an event, the object that has it, and the name under which it does."""
    kind, number = event.get("type"), _number(event)
    if kind == _PIECE:
        return _held(number, event, "delta")
    if kind == _WHOLE:
        return _held(number + _REPEATED, event, "text")
    if kind in _PARTS:
        return _in_part(event.get("part"), number + 2 * _REPEATED)
    if kind in _ITEMS:
        return _in_item(event.get("item"), number + 3 * _REPEATED)
    return _in_response(_object(event.get("response")), 4 * _REPEATED)


def _held(number: int, holder: Any, name: str) -> list[_Holder]:
    return [(number, holder, name)] if isinstance(holder.get(name), str) and holder[name] else []


def _in_part(part: Any, number: int) -> list[_Holder]:
    return _held(number, part, "text") if _object(part).get("type") == "output_text" else []


def _in_item(item: Any, number: int) -> list[_Holder]:
    """A content that is a list has parts; one that is a text is what some servers say instead."""
    found = _object(item)
    if found.get("type") != "message":
        return []
    if isinstance(found.get("content"), str):
        return _held(number, found, "content")
    return [each for at, part in enumerate(_list(found.get("content"))) for each in _in_part(part, number + at % _ITEM)]


def _in_response(response: Mapping[str, Any], number: int) -> list[_Holder]:
    items = enumerate(_list(response.get("output")))
    return [each for at, item in items for each in _in_item(item, number + _index(at) * _ITEM)]


def with_text(raw: bytes, texts: Mapping[int, str]) -> bytes:
    """Return a stream event that says something else. Log probabilities would tell what it said: they go."""
    event = _loose(raw)
    if not isinstance(event, dict):
        return _odd_event(texts)
    left = dict(texts)
    for number, holder, name in _holders(event):
        if number in left:
            holder[name], left[number] = left[number], ""
            if holder.get("logprobs"):
                holder["logprobs"] = []
    try:
        return msgspec.json.encode(event)
    except _UNREADABLE:
        return _odd_event(texts)


def _odd_event(texts: Mapping[int, str]) -> bytes:
    """An event that cannot be edited gives way to one that says the text and nothing else."""
    number, text = next(iter(texts.items()), (0, ""))
    output, content = divmod(number % _REPEATED, _ITEM)
    said = {"type": _PIECE, "delta": text} if number < _REPEATED else {"type": _WHOLE, "text": text}
    return json.dumps({**said, "output_index": output, "content_index": content, "logprobs": []}).encode()


def is_last(data: bytes) -> bool:
    """Say whether this is the data of the event that ends a stream: of which every stream has one."""
    if not any(ending in data for ending in _ENDINGS):
        return False
    return _object(_loose(data)).get("type") in ENDS


LENS: Final = Lens(
    answer=peek_answer,
    text=answer_text,
    said=event_said,
    rewritten=with_text,
    last=is_last,
    tail=4 * 1024 * 1024,
)
