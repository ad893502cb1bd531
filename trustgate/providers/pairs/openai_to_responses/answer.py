"""An answer of Responses as the hub says it. https://platform.openai.com/docs/api-reference/responses/object

What OpenAI's own tools did (searches, code) stands in items that the hub does not have: the text about it stays.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from trustgate.providers.hub import Json, Moment
from trustgate.providers.pairs.openai_to_responses.thoughts import BREAK, to_block
from trustgate.providers.pairs.reading import count_of, list_of, object_of, text_of

_REASONS: Final[Mapping[str, str]] = {"max_output_tokens": "length", "content_filter": "content_filter"}
_TIERS: Final = frozenset(("auto", "default", "flex", "scale", "priority", "fast"))
"""Those that chat has too."""


def to_answer(said: Json, asked: Json, moment: Moment) -> Json:
    """Return the hub's answer. What is missing or odd is taken for absent."""
    message = _Message()
    for item in list_of(said.get("output")):
        message.hear(object_of(item))
    finish = to_finish(said, calls=bool(message.calls))
    logprobs = {"content": message.logprobs, "refusal": None} if message.logprobs else None
    answer: Json = {
        **to_envelope(said, moment),
        **to_tier(said),
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message.told(), "logprobs": logprobs, **finish}],
    }
    if isinstance(usage := said.get("usage"), dict):
        answer["usage"] = to_usage(usage)
    return answer


def to_envelope(said: Mapping[str, Any], moment: Moment) -> Json:
    """Return what stands around every answer and chunk, but for `object`."""
    return {
        "id": text_of(said.get("id")) or f"chatcmpl-{moment.id}",
        "created": count_of(said.get("created_at")) or moment.created,
        "model": text_of(said.get("model")) or moment.model,
    }


def to_tier(said: Mapping[str, Any]) -> Json:
    """Return the service tier that an answer was given in, nothing where chat has no such."""
    tier = text_of(said.get("service_tier"))
    return {"service_tier": tier} if tier in _TIERS else {}


class _Message:
    """Takes the items of an answer one after the other."""

    __slots__ = ("_annotations", "_length", "_reasoning", "_refusals", "_texts", "_thoughts", "calls", "logprobs")

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._length = 0
        self._refusals: list[str] = []
        self._annotations: list[Json] = []
        self._reasoning: list[str] = []
        self._thoughts: list[Json] = []
        self.calls: list[Json] = []
        self.logprobs: list[Json] = []

    def hear(self, item: Json) -> None:
        """Take one item; nothing of a type that the hub does not have."""
        kind = item.get("type")
        if kind == "message":
            for part in parts_of(item):
                self._say(object_of(part))
        elif kind == "reasoning":
            block = to_block(item, (self._length, len(self.calls)))
            self._thoughts.append(block)
            self._reasoning += [block["thinking"]] if block["thinking"] else []
        elif (call := to_call(item)) is not None:
            self.calls.append(call)

    def told(self) -> Json:
        """Return the hub's message. OpenAI's clients insist on `content` and `refusal`."""
        content, refusal = "".join(self._texts), "".join(self._refusals)
        nothing = None if self.calls or refusal else ""
        message: Json = {"role": "assistant", "content": content or nothing, "refusal": refusal or None}
        if self._annotations:
            message["annotations"] = self._annotations
        if self._reasoning:
            message["reasoning_content"] = BREAK.join(self._reasoning)
        if self._thoughts:
            message["thinking_blocks"] = self._thoughts
        if self.calls:
            message["tool_calls"] = self.calls
        return message

    def _say(self, part: Json) -> None:
        self._refusals.append(text_of(part.get("refusal")))
        self._texts.append(text_of(part.get("text")))
        self._annotations += to_annotations(part.get("annotations"), self._length)
        self._length += len(self._texts[-1])
        self.logprobs += to_logprobs(part.get("logprobs"))


def parts_of(item: Mapping[str, Any]) -> Sequence[Any]:
    """Return the parts of a message."""
    content = item.get("content")
    return [{"type": "output_text", "text": content}] if isinstance(content, str) else list_of(content)


def to_call(item: Mapping[str, Any]) -> Json | None:
    """Return the call that an item is, None for one that is none."""
    identity, name = text_of(item.get("call_id")) or text_of(item.get("id")), text_of(item.get("name"))
    if not (identity or name):
        return None
    if item.get("type") == "function_call":
        function = {"name": name, "arguments": text_of(item.get("arguments"))}
        return {"id": identity, "type": "function", "function": function}
    if item.get("type") == "custom_tool_call":
        return {"id": identity, "type": "custom", "custom": {"name": name, "input": text_of(item.get("input"))}}
    return None


def to_annotations(annotations: Any, begin: int) -> list[Json]:
    """Return the addresses that a text cites, which begins here in the message; chat cites nothing else."""
    told = []
    for each in list_of(annotations):
        if isinstance(each, dict) and each.get("type") == "url_citation":
            start, end = count_of(each.get("start_index")), count_of(each.get("end_index"))
            place = {"start_index": begin + start, "end_index": begin + end}
            cited = {**place, "url": text_of(each.get("url")), "title": text_of(each.get("title"))}
            told.append({"type": "url_citation", "url_citation": cited})
    return told


def to_logprobs(items: Any) -> list[Json]:
    """Return log probabilities as chat has them. In a stream Responses leaves out the bytes of the tokens."""
    found = (item for item in list_of(items) if isinstance(item, dict))
    return [{**_logprob(item), "top_logprobs": _top(item.get("top_logprobs"))} for item in found]


def _top(items: Any) -> list[Json]:
    return [_logprob(item) for item in list_of(items) if isinstance(item, dict)]


def _logprob(item: Mapping[str, Any]) -> Json:
    octets = item.get("bytes")
    return {
        "token": text_of(item.get("token")),
        "logprob": _float(item.get("logprob")),
        "bytes": octets if isinstance(octets, list) else None,
    }


def _float(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def to_finish(said: Mapping[str, Any], *, calls: bool) -> Json:
    """Return why the model stopped, and OpenAI's own word where it was cut short."""
    usual = "tool_calls" if calls else "stop"
    if said.get("status") != "incomplete":
        return {"finish_reason": usual}
    word = text_of(object_of(said.get("incomplete_details")).get("reason"))
    if not word:
        return {"finish_reason": "length"}
    return {"finish_reason": _REASONS.get(word, usual), "native_finish_reason": word}


def to_usage(usage: Mapping[str, Any]) -> Json:
    """Return the tokens; those from and to the cache are in the others here and there."""
    read, written = object_of(usage.get("input_tokens_details")), object_of(usage.get("output_tokens_details"))
    prompt, completion = count_of(usage.get("input_tokens")), count_of(usage.get("output_tokens"))
    cached, cache = count_of(read.get("cached_tokens")), count_of(read.get("cache_write_tokens"))
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": cache},
        "completion_tokens_details": {"reasoning_tokens": count_of(written.get("reasoning_tokens"))},
    }
