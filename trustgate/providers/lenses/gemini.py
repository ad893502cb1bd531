"""Gemini's generateContent: where its answers and events keep what we need to know. Pure, and read-only.

https://ai.google.dev/api/generate-content#v1beta.GenerateContentResponse; Vertex AI has the same. An event of a stream
is an answer of its own, and no event is marked as the last: a stream ends behind a finish reason.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from trustgate.contract.lens import Answered, Lens, Said
from trustgate.contract.usage import Usage
from trustgate.providers.lenses.openai import Fields

_FILTERED: Final = (
    *("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR", "ESCALATION"),
    *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "PUP_LIMITED_DISABLED"),
)
_STOPPED: Final = (
    *("STOP", "OTHER", "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "NO_IMAGE"),
    *("IMAGE_OTHER", "MALFORMED_RESPONSE", "MISSING_THOUGHT_SIGNATURE"),
)
FINISH_REASONS: Final[Mapping[str, str]] = {
    **dict.fromkeys(_STOPPED, "stop"),
    **dict.fromkeys(("MAX_TOKENS", "CONTINUATION"), "length"),
    **dict.fromkeys(_FILTERED, "content_filter"),
}
"""Gemini's reasons to stop in OpenAI's words. It says STOP behind calls of functions, too."""
_NUMBERS: Final[Mapping[int, str]] = {1: "STOP", 2: "MAX_TOKENS", 3: "SAFETY", 4: "RECITATION", 5: "OTHER"}
"""Some of Google's own clients write enums as numbers; beyond these the Gemini API and Vertex AI do not agree."""
_TRAFFIC: Final[Mapping[str, str]] = {"ON_DEMAND_FLEX": "flex", "ON_DEMAND_PRIORITY": "priority"}
"""Vertex AI's words for the service tiers that have prices of their own."""
_MOST: Final = 1 << 53
TAIL: Final = 64 * 1024
"""Bytes of a stream's end: its last event may have a signature, and all sources of what was said."""
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)


class _Part(Struct, rename="camel"):
    function_call: Raw | UnsetType = UNSET


class _Content(Struct):
    parts: list[_Part] | None = None


class _Candidate(Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: Any = None


class _Peek(Struct, rename="camel"):
    candidates: list[_Candidate] | None = None
    prompt_feedback: Any = None
    usage_metadata: Any = None
    model_version: Any = None
    error: Any = None


_peek: Final = msgspec.json.Decoder(_Peek)
_fields: Final = msgspec.json.Decoder(Fields)
_list: Final = msgspec.json.Decoder(list[Fields])


def peek_answer(raw: bytes) -> Answered | None:
    """Read an answer's or an event's own account of itself, or None when it is not a JSON object."""
    try:
        peek = _peek.decode(raw)
    except msgspec.ValidationError:
        odd = _loose(raw)
        if odd is None:
            return None
        peek = _odd_peek(odd)
    except _UNREADABLE:
        return None
    usage, feedback = _object(peek.usage_metadata), _object(peek.prompt_feedback)
    return Answered(
        model=_string(peek.model_version),
        finish_reason=_finish_reason(peek.candidates or (), blocked=bool(feedback.get("blockReason"))),
        usage=read_usage(usage) if usage else None,
        error=peek.error,
        is_answer=peek.candidates is not None or bool(usage or feedback),
        service_tier=read_tier(usage),
    )


def _odd_peek(found: Mapping[str, Any]) -> _Peek:
    """An answer with an odd account of itself is still one: of the account what can be read is read."""
    candidates = [
        _Candidate(_Content([_Part(Raw())] if _calls(candidate) else None), candidate.get("finishReason"))
        for candidate in _candidates(found)
    ]
    names = ("promptFeedback", "usageMetadata", "modelVersion", "error")
    is_list = isinstance(found.get("candidates"), list)
    return _Peek(candidates if is_list else None, *(found.get(name) for name in names))


def _finish_reason(candidates: Sequence[_Candidate], *, blocked: bool) -> str:
    for candidate in candidates:
        if word := word_of(candidate.finish_reason):
            reason = FINISH_REASONS.get(word, word)
            parts = (candidate.content.parts if candidate.content else None) or ()
            calls = any(part.function_call is not UNSET for part in parts)
            return "tool_calls" if calls and reason == "stop" else reason
    return "content_filter" if blocked and not candidates else ""


def word_of(reason: Any) -> str:
    """Return a finish reason as a word; none for the one that means that there is none."""
    if isinstance(reason, int):
        return _NUMBERS.get(reason, "OTHER") if reason else ""
    return reason if isinstance(reason, str) and reason != "FINISH_REASON_UNSPECIFIED" else ""


def read_usage(usage: Mapping[str, Any]) -> Usage:
    """Return the tokens of a `usageMetadata`, whatever is in it.

    Beside the prompt Google counts what its own tools put in front of the model, and thoughts beside what was said.
    """
    sent = ("promptTokensDetails", "toolUsePromptTokensDetails")
    prompt = count(usage.get("promptTokenCount")) + count(usage.get("toolUsePromptTokenCount"))
    thoughts = count(usage.get("thoughtsTokenCount"))
    return Usage(
        input=prompt,
        output=count(usage.get("candidatesTokenCount")) + thoughts,
        cached_input=min(prompt, count(usage.get("cachedContentTokenCount"))),
        audio_input=_modal(usage, sent, ("AUDIO",)),
        audio_cached_input=_modal(usage, ("cacheTokensDetails",), ("AUDIO",)),
        image_input=_modal(usage, sent, ("IMAGE", "DOCUMENT")),
        reasoning_output=thoughts,
        audio_output=_modal(usage, ("candidatesTokensDetails",), ("AUDIO",)),
        image_output=_modal(usage, ("candidatesTokensDetails",), ("IMAGE",)),
    )


def _modal(usage: Mapping[str, Any], names: tuple[str, ...], modalities: tuple[str, ...]) -> int:
    details = [each for name in names if isinstance(found := usage.get(name), list) for each in found]
    return sum(count(each.get("tokenCount")) for each in map(_object, details) if each.get("modality") in modalities)


def count(number: Any) -> int:
    """Return a count of tokens, 0 for what is none: never below zero, nor beyond what a float can tell apart."""
    return int(number) if isinstance(number, int | float) and 0 < number < _MOST else 0


def read_tier(usage: Mapping[str, Any]) -> str:
    """Return the service tier of a `usageMetadata`: the Gemini API names it, Vertex AI the kind of traffic."""
    return _string(usage.get("serviceTier")) or _TRAFFIC.get(_string(usage.get("trafficType")), "")


def _loose(raw: bytes) -> Mapping[str, Any] | None:
    """Read JSON as the most forgiving client would: what somebody could read must not pass unread."""
    try:
        found = msgspec.json.decode(raw)
    except _UNREADABLE:
        try:
            found = json.loads(raw.decode("utf-8", "replace"), strict=False)
        except (ValueError, RecursionError):
            return None
    return found if isinstance(found, dict) else None


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _candidates(found: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    candidates = (found or {}).get("candidates")
    return [each for each in candidates if isinstance(each, dict)] if isinstance(candidates, list) else []


def _parts(candidate: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    parts = _object(candidate.get("content")).get("parts")
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []


def _calls(candidate: Mapping[str, Any]) -> bool:
    return any("functionCall" in part for part in _parts(candidate))


def _text(candidate: Mapping[str, Any]) -> str:
    """Thoughts are not said."""
    return "".join(_string(part.get("text")) for part in _parts(candidate) if not part.get("thought"))


def answer_text(raw: bytes) -> str:
    """Return what the model said in a whole answer, its candidates one after the other."""
    return "\n".join(_text(candidate) for candidate in _candidates(_loose(raw)))


class _SaidPart(Struct):
    text: str = ""
    thought: bool = False


class _SaidContent(Struct):
    parts: list[_SaidPart] = []


class _SaidCandidate(Struct, rename="camel"):
    index: int = 0
    content: _SaidContent | None = None
    finish_reason: Any = None


class _Blocked(Struct, rename="camel"):
    block_reason: Any = None


class _SaidPeek(Struct, rename="camel"):
    candidates: list[_SaidCandidate] = []
    prompt_feedback: _Blocked | None = None


_said: Final = msgspec.json.Decoder(_SaidPeek)


def event_said(raw: bytes) -> Said:
    """Return what one stream event adds, by candidate. A prompt that is blocked has one candidate, which has ended."""
    try:
        event = _said.decode(raw)
    except _UNREADABLE:
        event = _odd_said(_loose(raw))
    texts: dict[int, str] = {}
    ended = []
    for candidate in event.candidates:
        parts = candidate.content.parts if candidate.content else ()
        if text := "".join(part.text for part in parts if not part.thought):
            texts[candidate.index] = texts.get(candidate.index, "") + text
        if word_of(candidate.finish_reason):
            ended.append(candidate.index)
    if not event.candidates and event.prompt_feedback is not None and event.prompt_feedback.block_reason:
        ended.append(0)
    return Said(texts=texts, finished=frozenset(ended))


def _odd_said(found: Mapping[str, Any] | None) -> _SaidPeek:
    feedback = _object((found or {}).get("promptFeedback"))
    candidates = [
        _SaidCandidate(
            _index(each.get("index")), _SaidContent([_SaidPart(_text(each))]), word_of(each.get("finishReason"))
        )
        for each in _candidates(found)
    ]
    return _SaidPeek(candidates, _Blocked(feedback.get("blockReason")))


def _index(value: Any) -> int:
    """Return the number of a candidate; the 0 of the first is left out, and what is odd is the first's."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def with_text(raw: bytes, texts: Mapping[int, str]) -> bytes:
    """Return a stream event whose candidates say something else; everything but their texts keeps its bytes."""
    try:
        event = _fields.decode(raw)
        left = dict(texts)
        candidates = [_with_text(candidate, left) for candidate in _list.decode(event["candidates"])]
        return msgspec.json.encode({**event, "candidates": candidates})
    except (*_UNREADABLE, KeyError):
        return _odd_event(texts)


def _with_text(candidate: Fields, left: dict[int, str]) -> Fields:
    """Give the candidate its text: its first part that says anything gets all of it, those behind it none."""
    index = _index(msgspec.json.decode(candidate.get("index", Raw(b"0"))))
    if index not in left or "content" not in candidate:
        return candidate
    content = _fields.decode(candidate["content"])
    parts = _list.decode(content.get("parts", Raw(b"[]")))
    for at, part in enumerate(parts):
        if "text" in part and not msgspec.json.decode(part.get("thought", Raw(b"false"))):
            parts[at] = {**part, "text": _raw(left[index])}
            left[index] = ""
    return {**candidate, "content": _raw({**content, "parts": parts})}


def _raw(value: Any) -> Raw:
    return Raw(msgspec.json.encode(value))


def _odd_event(texts: Mapping[int, str]) -> bytes:
    """An event that cannot be edited gives way to one that says the text and nothing else."""
    candidates = [
        {"content": {"parts": [{"text": text}], "role": "model"}, "index": index} for index, text in texts.items()
    ]
    return json.dumps({"candidates": candidates}).encode()


def is_last(data: bytes) -> bool:
    """No event is marked as the last."""
    return False


LENS: Final = Lens(
    answer=peek_answer,
    text=answer_text,
    said=event_said,
    rewritten=with_text,
    last=is_last,
    finish_ends=True,
    tail=TAIL,
)
