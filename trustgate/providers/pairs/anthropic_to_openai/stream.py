"""The hub's chunks as the events of Messages.

https://platform.claude.com/docs/en/build-with-claude/streaming: a message begins, its blocks follow one another, each
with a beginning, pieces and an end; then comes why it stopped with what it used in all, and the end.
"""

from collections.abc import Sequence
from typing import Any, Final

from trustgate.providers.hub import Json, Moment
from trustgate.providers.pairs.anthropic_to_openai.answer import (
    to_stop,
    to_text,
    to_tier,
    to_tool,
    to_usage,
)
from trustgate.providers.pairs.openai_to_anthropic.answer import to_thought
from trustgate.providers.pairs.openai_to_anthropic.citations import sayable
from trustgate.providers.pairs.reading import list_of, object_of, text_of

_Event = tuple[str, Json]
_TEXT: Final = "text"
_THINKING: Final = "thinking"
_TOOL: Final = "tool"


def _event(name: str, **fields: Any) -> _Event:
    return name, {"type": name, **fields}


class Writer:
    """Writes one stream. `_open` is the kind of the block that is being said, `_index` its number.

    Why the model stopped waits for what it used, which the hub says behind it and Anthropic in one event.
    """

    __slots__ = ("_begun", "_calls", "_choice", "_index", "_moment", "_open", "_refused", "_tier", "_usage")

    def __init__(self, asked: Json, moment: Moment) -> None:
        self._moment = moment
        self._begun = False
        self._open = ""
        self._index = -1
        self._calls: dict[Any, tuple[str, int]] = {}
        self._choice: Json = {}
        self._refused = False
        self._usage: Any = None
        self._tier: Json = {}

    def feed(self, chunk: Json) -> Sequence[_Event]:
        """Return the events that this chunk means."""
        self._usage = chunk.get("usage") or self._usage
        self._tier = to_tier(chunk) or self._tier
        events: list[_Event] = []
        for choice in list_of(chunk.get("choices")):
            if isinstance(choice, dict) and not choice.get("index"):
                self._begin(chunk, events)
                self._say(object_of(choice.get("delta")), events)
                if choice.get("finish_reason"):
                    self._choice = choice
                    self._close(events)
        return events

    def end(self) -> Sequence[_Event]:
        """Return why the model stopped and what it used, and the end."""
        events: list[_Event] = []
        self._begin({}, events)
        self._close(events)
        stop = to_stop(self._choice, calls=bool(self._calls), refused=self._refused)
        events.append(_event("message_delta", delta=stop, usage=to_usage(self._usage)))
        events.append(_event("message_stop"))
        return events

    def _begin(self, chunk: Json, events: list[_Event]) -> None:
        if self._begun:
            return
        self._begun = True
        message: Json = {
            "id": text_of(chunk.get("id")) or f"msg_{self._moment.id}",
            "type": "message",
            "role": "assistant",
            "model": text_of(chunk.get("model")) or self._moment.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {**to_usage(self._usage), **self._tier},
        }
        events.append(_event("message_start", message=message))

    def _say(self, delta: Json, events: list[_Event]) -> None:
        self._think(delta, events)
        if text := to_text(delta.get("content")):
            self._text({"type": "text_delta", "text": text}, events)
        if refusal := text_of(delta.get("refusal")):
            self._refused = True
            self._text({"type": "text_delta", "text": refusal}, events)
        if citations := delta.get("citations"):
            self._cite(list_of(citations), events)
        for call in list_of(delta.get("tool_calls")):
            if isinstance(call, dict):
                self._call(call, events)

    def _start(self, kind: str, block: Json, events: list[_Event]) -> None:
        self._close(events)
        self._open = kind
        self._index += 1
        events.append(_event("content_block_start", index=self._index, content_block=block))

    def _go_on(self, delta: Json, events: list[_Event]) -> None:
        events.append(_event("content_block_delta", index=self._index, delta=delta))

    def _close(self, events: list[_Event]) -> None:
        if self._open:
            self._open = ""
            events.append(_event("content_block_stop", index=self._index))

    def _text(self, delta: Json, events: list[_Event]) -> None:
        if self._open != _TEXT:
            self._start(_TEXT, {"type": "text", "text": ""}, events)
        self._go_on(delta, events)

    def _think(self, delta: Json, events: list[_Event]) -> None:
        blocks = list_of(delta.get("thinking_blocks"))
        if not blocks and (reasoning := text_of(delta.get("reasoning_content"))):
            blocks = [{"type": "thinking", "thinking": reasoning}]
        for block in blocks:
            if (thought := to_thought(object_of(block))) is not None:
                self._thought(thought, events)

    def _thought(self, block: Json, events: list[_Event]) -> None:
        """A signature ends a block; what may not be read is a block of its own."""
        if block["type"] == "redacted_thinking":
            self._start(_THINKING, block, events)
            self._close(events)
            return
        if self._open != _THINKING:
            self._start(_THINKING, {"type": "thinking", "thinking": "", "signature": ""}, events)
        if thinking := block["thinking"]:
            self._go_on({"type": "thinking_delta", "thinking": thinking}, events)
        if signature := block["signature"]:
            self._go_on({"type": "signature_delta", "signature": signature}, events)
            self._close(events)

    def _cite(self, citations: Sequence[Any], events: list[_Event]) -> None:
        """Citations are of the block that they stand in: what is said behind them is another."""
        found = [told for citation in citations if (told := sayable(citation)) is not None]
        for citation in found:
            self._text({"type": "citations_delta", "citation": citation}, events)
        if found:
            self._close(events)

    def _call(self, call: Json, events: list[_Event]) -> None:
        """Say a piece of a call, also if another has begun since: nothing of a call may be lost.

        Some give all of several calls the same index: what comes with a name and an id of its own is a new one.
        """
        number, identity = call.get("index"), text_of(call.get("id"))
        number = number if isinstance(number, int) else identity
        function = object_of(call.get("function"))
        known = self._calls.get(number)
        if known is None or (identity and identity != known[0] and function.get("name")):
            told = to_tool(call, f"toolu_{self._moment.id}_{len(self._calls)}")
            self._start(_TOOL, {**told, "input": {}}, events)
            known = self._calls[number] = (told["id"], self._index)
        if arguments := text_of(function.get("arguments")):
            delta = {"type": "input_json_delta", "partial_json": arguments}
            events.append(_event("content_block_delta", index=known[1], delta=delta))
