"""The echo model: what it answers, whole or in chunks. Pure: the id and the time of an answer are given to it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from trustgate.providers.echo.asked import Asked
from trustgate.providers.echo.tools import ToolCall

DONE = b"data: [DONE]\n\n"
FINGERPRINT = "fp_echo"
_PIECES = re.compile(r"\s*\S+|\s+\Z")

Json = dict[str, Any]


class Spoken(Struct, frozen=True, kw_only=True):
    """One choice: the text in pieces, each a token, or the tools to call; and why it ended there."""

    pieces: tuple[str, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    finish: str

    @property
    def tokens(self) -> int:
        """Roughly how many tokens this is."""
        return len(self.pieces) + sum(4 + len(call.arguments) // 4 for call in self.calls)


def speak(asked: Asked) -> Spoken:
    """Return the answer to a request; every one of its choices says the same."""
    if asked.calls:
        return Spoken(calls=asked.calls, finish="tool_calls")
    pieces = split_pieces(_cut(_text(asked), asked.stop))
    if asked.most is not None and len(pieces) > asked.most:
        return Spoken(pieces=pieces[: asked.most], finish="length")
    return Spoken(pieces=pieces, finish="stop")


def split_pieces(text: str) -> tuple[str, ...]:
    """Split a text into words, each with the space before it; joined they are the text again."""
    return tuple(_PIECES.findall(text))


def write_completion(asked: Asked, *, answer_id: str, created: int) -> bytes:
    """Return the whole answer as one JSON object."""
    spoken = speak(asked)
    choices = [
        {
            "index": index,
            "message": _message(spoken, answer_id, index),
            "logprobs": None,
            "finish_reason": spoken.finish,
        }
        for index in range(asked.count)
    ]
    head = _head(asked, answer_id, created, "chat.completion")
    return msgspec.json.encode({**head, "choices": choices, "usage": _usage(asked, spoken)})


def write_events(asked: Asked, *, answer_id: str, created: int) -> Iterator[bytes]:
    """Yield the answer as server-sent events: role, words or calls, finish, usage if asked for, and the end."""
    spoken = speak(asked)
    head = _head(asked, answer_id, created, "chat.completion.chunk")
    blank = {"usage": None} if asked.include_usage else {}
    for together in zip(*(_deltas(spoken, answer_id, index) for index in range(asked.count)), strict=True):
        for index, delta in enumerate(together):
            yield _event({**head, "choices": [_part(index, delta, None)], **blank})
    for index in range(asked.count):
        yield _event({**head, "choices": [_part(index, {}, spoken.finish)], **blank})
    if asked.include_usage:
        yield _event({**head, "choices": [], "usage": _usage(asked, spoken)})
    yield DONE


def _text(asked: Asked) -> str:
    if asked.results:
        return f"The {'tool' if len(asked.results) == 1 else 'tools'} said: {' / '.join(asked.results)}"
    if asked.said is not None:
        return asked.said
    return f"You said: {asked.text}" if asked.text else "You said nothing."


def _cut(text: str, stop: tuple[str, ...]) -> str:
    ends = [at for word in stop if (at := text.find(word)) >= 0]
    return text[: min(ends)] if ends else text


def _call_id(answer_id: str, choice: int, at: int) -> str:
    return f"call_{answer_id[-12:]}{choice}{at}"


def _head(asked: Asked, answer_id: str, created: int, kind: str) -> Json:
    return {
        "id": answer_id,
        "object": kind,
        "created": created,
        "model": asked.model,
        "service_tier": "default",
        "system_fingerprint": FINGERPRINT,
    }


def _message(spoken: Spoken, answer_id: str, choice: int) -> Json:
    message: Json = {"role": "assistant", "content": "".join(spoken.pieces), "refusal": None, "annotations": []}
    if not spoken.calls:
        return message
    calls = [
        {"id": _call_id(answer_id, choice, at), "type": "function", "function": call}
        for at, call in enumerate(spoken.calls)
    ]
    return {**message, "content": None, "tool_calls": calls}


def _deltas(spoken: Spoken, answer_id: str, choice: int) -> Iterator[Json]:
    yield {"role": "assistant", "content": None if spoken.calls else "", "refusal": None}
    for piece in spoken.pieces:
        yield {"content": piece}
    for at, call in enumerate(spoken.calls):
        function = {"name": call.name, "arguments": ""}
        call_id = _call_id(answer_id, choice, at)
        yield {"tool_calls": [{"index": at, "id": call_id, "type": "function", "function": function}]}
        for start in range(0, len(call.arguments), 8):
            yield {"tool_calls": [{"index": at, "function": {"arguments": call.arguments[start : start + 8]}}]}


def _part(index: int, delta: Mapping[str, Any], finish: str | None) -> Json:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}


def _usage(asked: Asked, spoken: Spoken) -> Json:
    output = spoken.tokens * asked.count
    return {
        "prompt_tokens": asked.prompt_tokens,
        "completion_tokens": output,
        "total_tokens": asked.prompt_tokens + output,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _event(chunk: Json) -> bytes:
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"
