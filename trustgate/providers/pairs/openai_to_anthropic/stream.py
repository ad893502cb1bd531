"""A stream of Messages as the hub's chunks.

https://platform.claude.com/docs/en/build-with-claude/streaming: a message begins, its blocks follow one another, each
with a beginning, pieces and an end; then comes why it stopped, and what it used in all.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from trustgate.providers.hub import Json, Moment
from trustgate.providers.pairs.openai_to_anthropic.answer import (
    to_arguments,
    to_call,
    to_finish,
    to_refusal,
    to_thought,
    to_tier,
    to_usage,
)
from trustgate.providers.pairs.openai_to_anthropic.citations import placed
from trustgate.providers.pairs.reading import object_of, text_of

_Chunks = Sequence[Json]
_INPUT: Final = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


class _Call:
    """A call of a tool that is being said; `has_arguments` once something has been said of them."""

    __slots__ = ("block", "has_arguments", "index")

    def __init__(self, index: int, block: Json) -> None:
        self.index = index
        self.block = block
        self.has_arguments = False


class Reader:
    """Reads one stream.

    A citation of the hub tells where the cited text ends, which Anthropic says later: so citations, and they alone,
    wait for the end of their block. Usage comes in two parts, and is told when both are there.
    """

    __slots__ = ("_base", "_begin", "_calls", "_citations", "_events", "_length", "_number", "_usage", "finished")

    def __init__(self, asked: Json, moment: Moment) -> None:
        self.finished = False
        self._base: Json = {
            "id": f"chatcmpl-{moment.id}",
            "object": "chat.completion.chunk",
            "created": moment.created,
            "model": moment.model,
        }
        self._calls: dict[Any, _Call] = {}
        self._number = 0
        self._begin = self._length = 0
        self._citations: list[Any] = []
        self._usage: Json = {}
        self._events: Mapping[Any, Callable[[Json], _Chunks]] = {
            "content_block_delta": self._goes_on,
            "content_block_start": self._block_begins,
            "content_block_stop": self._block_ends,
            "message_start": self._begins,
            "message_delta": self._stops,
            "message_stop": self._ends,
        }

    def feed(self, event: str, data: Json) -> _Chunks:
        """Return the chunks that this event means."""
        hear = self._events.get(text_of(data.get("type")) or event)
        return hear(data) if hear else ()

    def end(self) -> _Chunks:
        """Return the usage."""
        if not self._usage:
            return ()
        return ({**self._base, "choices": [], "usage": to_usage(self._usage), **to_tier(self._usage)},)

    def _chunk(self, delta: Json) -> _Chunks:
        return ({**self._base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]},)

    def _used(self, usage: Any) -> None:
        """Counts are totals: the later ones hold. Some say 0 of all input then, and mean that they said it before."""
        told = object_of(usage)
        has_input = any(told.get(name) for name in _INPUT)
        for name, value in told.items():
            if value is not None and (has_input or name not in _INPUT):
                self._usage[name] = value

    def _begins(self, data: Json) -> _Chunks:
        message = object_of(data.get("message"))
        self._used(message.get("usage"))
        self._base["id"] = text_of(message.get("id")) or self._base["id"]
        self._base["model"] = text_of(message.get("model")) or self._base["model"]
        return self._chunk({"role": "assistant", "content": ""})

    def _block_begins(self, data: Json) -> _Chunks:
        block = object_of(data.get("content_block"))
        self._begin = self._length
        kind = block.get("type")
        if kind == "tool_use":
            call = self._calls[_index(data)] = _Call(self._number, block)
            self._number += 1
            return self._chunk({"tool_calls": [{"index": call.index, **to_call(block, "")}]})
        if kind == "text":
            return self._say(text_of(block.get("text")))
        if kind == "redacted_thinking" and (thought := to_thought(block)) is not None:
            return self._chunk({"thinking_blocks": [thought]})
        return self._think(text_of(block.get("thinking"))) if kind == "thinking" else ()

    def _goes_on(self, data: Json) -> _Chunks:
        delta = object_of(data.get("delta"))
        kind = delta.get("type")
        if kind == "text_delta":
            return self._say(text_of(delta.get("text")))
        if kind == "input_json_delta":
            return self._calls_on(_index(data), text_of(delta.get("partial_json")))
        if kind == "thinking_delta":
            return self._think(text_of(delta.get("thinking")))
        if kind == "signature_delta" and (signature := text_of(delta.get("signature"))):
            return self._chunk({"thinking_blocks": [{"type": "thinking", "thinking": "", "signature": signature}]})
        if kind == "citations_delta":
            self._citations.append(delta.get("citation"))
        return ()

    def _say(self, text: str) -> _Chunks:
        self._length += len(text)
        return self._chunk({"content": text}) if text else ()

    def _think(self, text: str) -> _Chunks:
        if not text:
            return ()
        return self._chunk({"reasoning_content": text, "thinking_blocks": [{"type": "thinking", "thinking": text}]})

    def _calls_on(self, index: Any, arguments: str) -> _Chunks:
        """A piece of a call that is not the caller's, but of one of Anthropic's own tools, is none."""
        call = self._calls.get(index)
        if call is None or not arguments:
            return ()
        call.has_arguments = True
        return self._chunk({"tool_calls": [{"index": call.index, "function": {"arguments": arguments}}]})

    def _block_ends(self, data: Json) -> _Chunks:
        index = _index(data)
        call = self._calls.get(index)
        if call is not None and not call.has_arguments:
            return self._calls_on(index, to_arguments(call.block))
        citations, self._citations = placed(self._citations, self._begin, self._length), []
        return self._chunk({"citations": citations}) if citations else ()

    def _stops(self, data: Json) -> _Chunks:
        self._used(data.get("usage"))
        said = object_of(data.get("delta"))
        if not said.get("stop_reason"):
            return ()
        refusal = to_refusal(said)
        delta = {"refusal": refusal} if refusal else {}
        finish = to_finish(said, calls=bool(self._calls))
        return ({**self._base, "choices": [{"index": 0, "delta": delta, **finish}]},)

    def _ends(self, data: Json) -> _Chunks:
        self.finished = True
        return ()


def _index(data: Json) -> Any:
    index = data.get("index")
    return index if isinstance(index, int) else 0
