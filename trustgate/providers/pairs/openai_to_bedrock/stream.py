"""A ConverseStream as the hub's chunks.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html: a message begins, its blocks
follow one another, it stops, and usage comes behind the stop.
"""

from collections.abc import Sequence
from typing import Any

from trustgate.providers.hub import Json, Moment
from trustgate.providers.pairs.openai_to_bedrock.answer import (
    is_for_caller,
    to_call,
    to_finish,
    to_string,
    to_tier,
    to_usage,
)
from trustgate.providers.pairs.openai_to_bedrock.citations import heard

_Chunks = Sequence[Json]


class Reader:
    """Reads one stream.

    Claude cites before it says what is cited, and a citation of the hub tells where that ends: so citations, and they
    alone, wait for the end of their block.
    """

    __slots__ = ("_asked", "_base", "_begin", "_block", "_calls", "_citations", "_length", "_mute", "finished")

    def __init__(self, asked: Json, moment: Moment) -> None:
        self.finished = False
        self._asked = asked
        self._base: Json = {
            "id": f"chatcmpl-{moment.id}",
            "object": "chat.completion.chunk",
            "created": moment.created,
            "model": moment.model,
        }
        self._calls: dict[Any, int] = {}
        self._block: Any = None
        self._begin = self._length = 0
        self._citations: list[Any] = []
        self._mute: int | None = None

    def feed(self, event: str, data: Json) -> _Chunks:
        """Return the chunks that this event means."""
        said = data.get(event)
        if not isinstance(said, dict):
            return ()
        if event == "contentBlockDelta":
            return self._goes_on(said)
        if event == "contentBlockStart":
            return self._block_begins(said)
        if event == "contentBlockStop":
            return self._block_ends()
        if event == "messageStart":
            return self._chunk({"role": "assistant", "content": ""})
        if event == "messageStop":
            return self._stops(said)
        return self._tells_usage(said) if event == "metadata" else ()

    def end(self) -> _Chunks:
        """Everything has been said when it came."""
        return ()

    def _chunk(self, delta: Json) -> _Chunks:
        return ({**self._base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]},)

    def _block_begins(self, said: Json) -> _Chunks:
        start = said.get("start")
        call = start.get("toolUse") if isinstance(start, dict) else None
        if not isinstance(call, dict) or not is_for_caller(call):
            return ()
        self._mute = index = self._calls[_index(said)] = len(self._calls)
        return self._chunk({"tool_calls": [{"index": index, **to_call(call, "")}]})

    def _goes_on(self, said: Json) -> _Chunks:
        delta, index = said.get("delta"), _index(said)
        if index != self._block:
            self._block, self._begin = index, self._length
        if not isinstance(delta, dict):
            return ()
        if isinstance(text := delta.get("text"), str):
            self._length += len(text)
            return self._chunk({"content": text})
        if isinstance(call := delta.get("toolUse"), dict):
            return self._calls_on(index, to_string(call.get("input")))
        if isinstance(reasoning := delta.get("reasoningContent"), dict):
            return self._thinks(reasoning)
        if isinstance(citation := delta.get("citation"), dict):
            self._citations.append(citation)
        return ()

    def _calls_on(self, index: int, arguments: str) -> _Chunks:
        """A piece of a call that was never begun belongs to nobody."""
        if index not in self._calls or not arguments:
            return ()
        self._mute = None
        return self._arguments(self._calls[index], arguments)

    def _arguments(self, index: int, arguments: str) -> _Chunks:
        return self._chunk({"tool_calls": [{"index": index, "function": {"arguments": arguments}}]})

    def _thinks(self, reasoning: Json) -> _Chunks:
        if text := to_string(reasoning.get("text")):
            thought = {"type": "thinking", "thinking": text}
            return self._chunk({"reasoning_content": text, "thinking_blocks": [thought]})
        if signature := to_string(reasoning.get("signature")):
            return self._chunk({"thinking_blocks": [{"type": "thinking", "thinking": "", "signature": signature}]})
        if data := to_string(reasoning.get("redactedContent")):
            return self._chunk({"thinking_blocks": [{"type": "redacted_thinking", "data": data}]})
        return ()

    def _block_ends(self) -> _Chunks:
        """A call without arguments says nothing, where a whole answer says an empty object, and clients read JSON."""
        if self._mute is not None:
            index, self._mute = self._mute, None
            return self._arguments(index, "{}")
        if not self._citations:
            return ()
        found = [heard(citation, self._begin, self._length) for citation in self._citations]
        self._citations = []
        citations = [citation for citation in found if citation]
        return self._chunk({"citations": citations}) if citations else ()

    def _stops(self, said: Json) -> _Chunks:
        self.finished = True
        finish = to_finish(said, self._asked, calls=bool(self._calls))
        return (*self._block_ends(), {**self._base, "choices": [{"index": 0, "delta": {}, **finish}]})

    def _tells_usage(self, said: Json) -> _Chunks:
        usage = said.get("usage")
        if not isinstance(usage, dict):
            return ()
        chunk = {**self._base, "choices": [], "usage": to_usage(usage)}
        if tier := to_tier(said):
            chunk["service_tier"] = tier
        return (chunk,)


def _index(said: Json) -> int:
    index = said.get("contentBlockIndex")
    return index if isinstance(index, int) else 0
