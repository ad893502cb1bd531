"""A Converse answer as the hub says it.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html#API_runtime_Converse_ResponseSyntax
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from trustgate.providers.hub import Json, Moment
from trustgate.providers.lenses.bedrock import FINISH
from trustgate.providers.pairs.openai_to_bedrock.citations import heard
from trustgate.providers.pairs.openai_to_bedrock.request import TIERS

_encode: Final = msgspec.json.Encoder().encode


def to_answer(said: Json, asked: Json, moment: Moment) -> Json:
    """Return the hub's answer. What is missing or odd is taken for absent."""
    message = _Message()
    for block in _list(_object(_object(said.get("output")).get("message")).get("content")):
        message.hear(_object(block))
    told: Json = {
        "id": f"chatcmpl-{moment.id}",
        "object": "chat.completion",
        "created": moment.created,
        "model": moment.model,
        "choices": [{"index": 0, "message": message.told(), **to_finish(said, asked, calls=bool(message.calls))}],
    }
    if isinstance(usage := said.get("usage"), dict):
        told["usage"] = to_usage(usage)
    if tier := to_tier(said):
        told["service_tier"] = tier
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
        if isinstance(text := block.get("text"), str):
            self._text(text)
        elif isinstance(call := block.get("toolUse"), dict):
            self._call(call)
        elif isinstance(reasoning := block.get("reasoningContent"), dict):
            self._think(reasoning)
        elif isinstance(cited := block.get("citationsContent"), dict):
            self._cite(cited)

    def told(self) -> Json:
        """Return the hub's message. OpenAI's clients insist on `content` and `refusal`."""
        content = "".join(self._texts)
        message: Json = {"role": "assistant", "content": content or (None if self.calls else ""), "refusal": None}
        if reasoning := "".join(self._reasoning):
            message["reasoning_content"] = reasoning
        if self._thoughts:
            message["thinking_blocks"] = self._thoughts
        if self._citations:
            message["citations"] = self._citations
        if self.calls:
            message["tool_calls"] = self.calls
        return message

    def _text(self, text: str) -> None:
        self._texts.append(text)
        self._length += len(text)

    def _call(self, call: Json) -> None:
        if is_for_caller(call):
            self.calls.append(to_call(call, _encode(call.get("input", {})).decode()))

    def _think(self, reasoning: Json) -> None:
        thought = reasoning.get("reasoningText")
        if isinstance(thought, dict):
            text, signature = to_string(thought.get("text")), to_string(thought.get("signature"))
            self._reasoning.append(text)
            self._thoughts.append({"type": "thinking", "thinking": text, "signature": signature})
        elif isinstance(data := reasoning.get("redactedContent"), str):
            self._thoughts.append({"type": "redacted_thinking", "data": data})

    def _cite(self, cited: Json) -> None:
        start = self._length
        for part in _list(cited.get("content")):
            self._text(to_string(_object(part).get("text")))
        found = (heard(citation, start, self._length) for citation in _list(cited.get("citations")))
        self._citations += [citation for citation in found if citation]


def is_for_caller(call: Json) -> bool:
    """Whether the caller is to run the tool: what Bedrock runs itself has a type of its own, and is done already."""
    return call.get("type") != "server_tool_use" and bool(to_string(call.get("name")))


def to_call(call: Json, arguments: str) -> Json:
    """Return a call of a tool. OpenAI's clients insist on all of its fields."""
    function = {"name": to_string(call.get("name")), "arguments": arguments}
    return {"id": to_string(call.get("toolUseId")), "type": "function", "function": function}


def to_finish(said: Json, asked: Json, *, calls: bool) -> Json:
    """Return a choice's finish reason, Bedrock's own word, and the stop sequence where it is known."""
    word = said.get("stopReason")
    if not isinstance(word, str):
        return {"finish_reason": "tool_calls" if calls else "stop"}
    finish: Json = {"finish_reason": FINISH.get(word, "stop"), "native_finish_reason": word}
    if word == "stop_sequence" and (stop := _stop_sequence(said, asked)):
        finish["stop_sequence"] = stop
    return finish


def _stop_sequence(said: Json, asked: Json) -> str:
    """The sequence that Claude was asked to name; and where there is but one, it is that."""
    named = _object(said.get("additionalModelResponseFields")).get("stop_sequence")
    stop = asked.get("stop")
    stops = [stop] if isinstance(stop, str) else _list(stop)
    return to_string(named) or (to_string(stops[0]) if len(stops) == 1 else "")


def to_usage(usage: Json) -> Json:
    """Return the tokens. Bedrock's `inputTokens` are those that were neither read from the cache nor written to it."""
    cached, written = _count(usage.get("cacheReadInputTokens")), _count(usage.get("cacheWriteInputTokens"))
    prompt = _count(usage.get("inputTokens")) + cached + written
    completion = _count(usage.get("outputTokens"))
    told: Json = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    if cached or written:
        told["prompt_tokens_details"] = {"cached_tokens": cached, "cache_write_tokens": written}
    return told


def to_tier(said: Json) -> str:
    """Return the service tier, empty where OpenAI has no such."""
    tier = _object(said.get("serviceTier")).get("type")
    return tier if isinstance(tier, str) and tier in TIERS else ""


def to_string(value: Any) -> str:
    """Return a string, an empty one for anything else."""
    return value if isinstance(value, str) else ""


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()
