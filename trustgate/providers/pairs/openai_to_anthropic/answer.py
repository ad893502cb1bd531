"""An answer of Messages as the hub says it. https://platform.claude.com/docs/en/api/messages/create#response

What Anthropic's own tools did (searches, code) stands in blocks that the hub does not have: the text about it stays.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from trustgate.providers.hub import Json, Moment
from trustgate.providers.lenses.anthropic import FINISH_REASONS, read_usage
from trustgate.providers.pairs.openai_to_anthropic.citations import placed
from trustgate.providers.pairs.reading import list_of, object_of, text_of

_TIERS: Final[Mapping[Any, str]] = {"standard": "default", "priority": "priority"}
_encode: Final = msgspec.json.Encoder().encode


def to_answer(said: Json, asked: Json, moment: Moment) -> Json:
    """Return the hub's answer. What is missing or odd is taken for absent."""
    message = _Message()
    for block in list_of(said.get("content")):
        message.hear(object_of(block))
    finish = to_finish(said, calls=bool(message.calls))
    told: Json = {
        "id": text_of(said.get("id")) or f"chatcmpl-{moment.id}",
        "object": "chat.completion",
        "created": moment.created,
        "model": text_of(said.get("model")) or moment.model,
        "choices": [{"index": 0, "message": message.told(to_refusal(said)), "logprobs": None, **finish}],
    }
    if isinstance(usage := said.get("usage"), dict):
        told["usage"] = to_usage(usage)
        told.update(to_tier(usage))
    return told


class _Message:
    """Takes the blocks of a message one after the other."""

    __slots__ = ("_citations", "_length", "_reasoning", "_texts", "_thoughts", "calls")

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._length = 0
        self._citations: list[Json] = []
        self._reasoning: list[str] = []
        self._thoughts: list[Json] = []
        self.calls: list[Json] = []

    def hear(self, block: Json) -> None:
        """Take one block; nothing of a kind that the hub does not have."""
        kind = block.get("type")
        if kind == "text":
            self._say(text_of(block.get("text")), block.get("citations"))
        elif kind == "tool_use":
            self.calls.append(to_call(block, to_arguments(block)))
        elif (thought := to_thought(block)) is not None:
            self._thoughts.append(thought)
            self._reasoning.append(thought.get("thinking", ""))

    def told(self, refusal: str | None) -> Json:
        """Return the hub's message. OpenAI's clients insist on `content` and `refusal`."""
        content = "".join(self._texts)
        message: Json = {"role": "assistant", "content": content or (None if self.calls else ""), "refusal": refusal}
        if reasoning := "".join(self._reasoning):
            message["reasoning_content"] = reasoning
        if self._thoughts:
            message["thinking_blocks"] = self._thoughts
        if self._citations:
            message["citations"] = self._citations
        if self.calls:
            message["tool_calls"] = self.calls
        return message

    def _say(self, text: str, citations: Any) -> None:
        self._texts.append(text)
        begin, self._length = self._length, self._length + len(text)
        self._citations += placed(list_of(citations), begin, self._length)


def to_thought(block: Json) -> Json | None:
    """Return a block of thoughts, None for any other and for an empty one."""
    if block.get("type") == "redacted_thinking":
        data = text_of(block.get("data"))
        return {"type": "redacted_thinking", "data": data} if data else None
    thinking, signature = text_of(block.get("thinking")), text_of(block.get("signature"))
    if block.get("type") != "thinking" or not (thinking or signature):
        return None
    return {"type": "thinking", "thinking": thinking, "signature": signature}


def to_call(block: Json, arguments: str) -> Json:
    """Return the hub's call of a tool, with these arguments."""
    function = {"name": text_of(block.get("name")), "arguments": arguments}
    return {"id": text_of(block.get("id")), "type": "function", "function": function}


def to_arguments(block: Json) -> str:
    """Return the input of a call as JSON."""
    return _encode(object_of(block.get("input"))).decode()


def to_finish(said: Json, *, calls: bool) -> Json:
    """Return why the model stopped, in OpenAI's word and in Anthropic's own."""
    word, stop = text_of(said.get("stop_reason")), text_of(said.get("stop_sequence"))
    finish: Json = {"finish_reason": FINISH_REASONS.get(word) or ("tool_calls" if calls else "stop")}
    if word:
        finish["native_finish_reason"] = word
    if stop:
        finish["stop_sequence"] = stop
    return finish


def to_refusal(said: Json) -> str | None:
    """Return what a refusal says for itself (stop_details), None where nothing was refused or nothing is said of it."""
    if said.get("stop_reason") != "refusal":
        return None
    return text_of(object_of(said.get("stop_details")).get("explanation")) or None


def to_usage(usage: Json) -> Json:
    """Return the tokens, of which the input holds those that were read from the cache or written to it."""
    found = read_usage(usage)
    return {
        "prompt_tokens": found.input,
        "completion_tokens": found.output,
        "total_tokens": found.total,
        "prompt_tokens_details": {"cached_tokens": found.cached_input, "cache_write_tokens": found.cache_write},
        "completion_tokens_details": {"reasoning_tokens": found.reasoning_output},
    }


def to_tier(usage: Json) -> Json:
    """Return the service tier, nothing where OpenAI has no such."""
    tier = usage.get("service_tier")
    return {"service_tier": _TIERS[tier]} if isinstance(tier, str) and tier in _TIERS else {}
