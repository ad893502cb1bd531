"""The hub's chunks as the events of a ConverseStream.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html: blocks follow one another, and
of all of them only those of tools have an event for their beginning.
"""

from collections.abc import Sequence
from typing import Any, Final

from trustgate.providers.hub import Json, Moment
from trustgate.providers.pairs.bedrock_to_openai.answer import (
    METRICS,
    a_list,
    to_stop,
    to_stop_fields,
    to_string,
    to_text,
    to_thought,
    to_tier,
    to_tool,
    to_usage,
)
from trustgate.providers.pairs.openai_to_bedrock.citations import told

_Event = tuple[str, Json]

_TEXT: Final = "text"
_THOUGHT: Final = "thought"


def _event(name: str, said: Json) -> _Event:
    return name, {name: said}


class Writer:
    """Writes one stream. `_open` is the kind of the block that is being said, `_index` its number."""

    __slots__ = ("_asked", "_begun", "_blocks", "_index", "_open", "_stopped", "_tier", "_usage")

    def __init__(self, asked: Json, moment: Moment) -> None:
        self._asked = asked
        self._begun = False
        self._stopped = False
        self._open = ""
        self._index = -1
        self._blocks: dict[int | str, int] = {}
        self._usage: Any = None
        self._tier: Json = {}

    def feed(self, chunk: Json) -> Sequence[_Event]:
        """Return the events that this chunk means."""
        self._usage = chunk.get("usage") or self._usage
        self._tier = to_tier(chunk) or self._tier
        events: list[_Event] = []
        for choice in a_list(chunk.get("choices")):
            if isinstance(choice, dict) and not choice.get("index"):
                self._begin(events)
                self._choice(choice, events)
        return events

    def end(self) -> Sequence[_Event]:
        """Return the usage, which Bedrock says last."""
        events: list[_Event] = []
        self._begin(events)
        self._stop({}, events)
        events.append(_event("metadata", {"usage": to_usage(self._usage), "metrics": METRICS, **self._tier}))
        return events

    def _begin(self, events: list[_Event]) -> None:
        if not self._begun:
            self._begun = True
            events.append(_event("messageStart", {"role": "assistant"}))

    def _choice(self, choice: Json, events: list[_Event]) -> None:
        delta = choice.get("delta")
        if isinstance(delta, dict) and not self._stopped:
            self._think(delta, events)
            if text := to_text(delta.get("content")) or to_string(delta.get("refusal")):
                self._say(_TEXT, {"text": text}, events)
            self._cite(a_list(delta.get("citations")), events)
            for call in a_list(delta.get("tool_calls")):
                if isinstance(call, dict):
                    self._call(call, events)
        if choice.get("finish_reason"):
            self._stop(choice, events)

    def _say(self, kind: str, delta: Json, events: list[_Event]) -> None:
        """Say something in the block of this kind that is open, or in a new one."""
        if self._open != kind:
            self._next(kind, events)
        events.append(_event("contentBlockDelta", {"contentBlockIndex": self._index, "delta": delta}))

    def _next(self, kind: str, events: list[_Event]) -> None:
        self._close(events)
        self._open = kind
        self._index += 1

    def _close(self, events: list[_Event]) -> None:
        if self._open:
            events.append(_event("contentBlockStop", {"contentBlockIndex": self._index}))
            self._open = ""

    def _think(self, delta: Json, events: list[_Event]) -> None:
        blocks = a_list(delta.get("thinking_blocks"))
        if not blocks:
            if text := to_string(delta.get("reasoning_content")):
                self._say(_THOUGHT, {"reasoningContent": {"text": text}}, events)
            return
        for block in blocks:
            if isinstance(block, dict):
                self._thought(to_thought(block), events)

    def _thought(self, said: Json, events: list[_Event]) -> None:
        """A signature ends a block; what may not be read is a block of its own."""
        if not said:
            return
        thought = said.get("reasoningText")
        if thought is None:
            self._close(events)
            self._say(_THOUGHT, {"reasoningContent": said}, events)
            self._close(events)
            return
        if text := thought["text"]:
            self._say(_THOUGHT, {"reasoningContent": {"text": text}}, events)
        if signature := thought.get("signature"):
            self._say(_THOUGHT, {"reasoningContent": {"signature": signature}}, events)
            self._close(events)

    def _cite(self, citations: Sequence[Any], events: list[_Event]) -> None:
        """Citations are of the block that they stand in: what is said behind them is another."""
        found = [said for citation in citations if (said := told(citation))]
        for said in found:
            self._say(_TEXT, {"citation": said}, events)
        if found:
            self._close(events)

    def _call(self, call: Json, events: list[_Event]) -> None:
        """Say a piece of a call, also if another has begun since: nothing of a call may be lost."""
        index = call.get("index")
        number = index if isinstance(index, int) else to_string(call.get("id"))
        if number not in self._blocks:
            if not (tool := to_tool(call)):
                return
            self._next(f"tool {number}", events)
            self._blocks[number] = self._index
            events.append(_event("contentBlockStart", {"contentBlockIndex": self._index, "start": {"toolUse": tool}}))
        function = call.get("function")
        if arguments := to_string(function.get("arguments")) if isinstance(function, dict) else "":
            said = {"contentBlockIndex": self._blocks[number], "delta": {"toolUse": {"input": arguments}}}
            events.append(_event("contentBlockDelta", said))

    def _stop(self, choice: Json, events: list[_Event]) -> None:
        if self._stopped:
            return
        self._stopped = True
        self._close(events)
        said: Json = {"stopReason": to_stop(choice)}
        if fields := to_stop_fields(choice, self._asked):
            said["additionalModelResponseFields"] = fields
        events.append(_event("messageStop", said))
