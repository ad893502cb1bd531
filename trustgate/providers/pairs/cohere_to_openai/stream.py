"""The hub's chunks as events of Cohere's v2 chat. https://docs.cohere.com/docs/streaming

Whether a call of a tool follows is not known while text is said: it is content, also where a whole answer has a plan.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from trustgate.providers.hub import Json, Moment
from trustgate.providers.pairs.cohere_to_openai.answer import (
    first,
    to_call,
    to_citations,
    to_logprobs,
    to_text,
    to_thoughts,
    to_usage,
    to_word,
)

Events = list[tuple[str, Json]]
_EMPTY: Final[Mapping[str, Any]] = {"content": [], "tool_plan": "", "tool_calls": [], "citations": []}


class Writer:
    """Writes one stream: its start, blocks of content, calls of tools, citations, and its end with the usage."""

    def __init__(self, asked: Json, moment: Moment) -> None:
        self._id = moment.id
        self._logprobs = bool(asked.get("logprobs"))
        self._started = False
        self._open = ""
        self._blocks = 0
        self._text = ""
        self._texts: list[tuple[int, int]] = []
        self._calls: dict[int, int] = {}
        self._citations = 0
        self._word = "COMPLETE"
        self._usage: Json | None = None

    def feed(self, chunk: Json) -> Sequence[tuple[str, Json]]:
        """Return the events that this chunk means; of the finish and the usage `end` tells."""
        events: Events = []
        if not self._started:
            self._start(chunk, events)
        if isinstance(usage := chunk.get("usage"), dict):
            self._usage = to_usage(usage)
        choice = first(chunk.get("choices"))
        if isinstance(delta := choice.get("delta"), dict) and delta:
            self._say(delta, to_logprobs(choice.get("logprobs")) if self._logprobs else (), events)
        if choice.get("finish_reason"):
            self._word = to_word(choice)
        return events

    def end(self) -> Sequence[tuple[str, Json]]:
        """Return the end of what is open, and of the message."""
        events: Events = []
        if not self._started:
            self._start({}, events)
        self._close(events)
        delta: Json = {"finish_reason": self._word}
        if self._usage is not None:
            delta["usage"] = self._usage
        events.append(("message-end", {"type": "message-end", "delta": delta}))
        return events

    def _start(self, chunk: Json, events: Events) -> None:
        self._started = True
        identity = chunk.get("id")
        said = {
            "id": identity if isinstance(identity, str) and identity else self._id,
            "type": "message-start",
            "delta": {"message": {"role": "assistant", **_EMPTY}},
        }
        events.append(("message-start", said))

    def _say(self, delta: Json, logprobs: Sequence[Json], events: Events) -> None:
        if thoughts := to_thoughts(delta):
            self._add("thinking", thoughts, events)
        if text := to_text(delta.get("content")) or to_text(delta.get("refusal")):
            self._add("text", text, events)
            self._text += text
            if logprobs:
                events[-1][1]["logprobs"] = logprobs[0] if len(logprobs) == 1 else _together(logprobs)
        for citation in to_citations(delta, self._text, 0, "TEXT_CONTENT"):
            self._cite(citation, events)
        calls = delta.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            if told := to_call(call):
                index = call.get("index")
                self._call(index if isinstance(index, int) else 0, told, events)

    def _add(self, kind: str, text: str, events: Events) -> None:
        """Say more in the open block, if it is of that kind, or in a new one."""
        if self._open != kind:
            self._close(events)
            self._open, at = kind, self._blocks
            self._blocks += 1
            if kind == "text":
                self._texts.append((at, len(self._text)))
            events.append(_event("content-start", at, {"content": {"type": kind, kind: ""}}))
        events.append(_event("content-delta", self._blocks - 1, {"content": {kind: text}}))

    def _call(self, place: int, told: Json, events: Events) -> None:
        """Cohere starts a call without arguments; they follow."""
        function = told["function"]
        arguments, function["arguments"] = function["arguments"], ""
        if place not in self._calls:
            self._close(events)
            self._open = "tool"
            self._calls[place] = len(self._calls)
            events.append(_event("tool-call-start", self._calls[place], {"tool_calls": told}))
        if arguments:
            more = {"tool_calls": {"function": {"arguments": arguments}}}
            events.append(_event("tool-call-delta", self._calls[place], more))

    def _cite(self, citation: Json, events: Events) -> None:
        """The hub's places are in all that was said, Cohere's in the block where it was said."""
        for block, begin in reversed(self._texts):
            if citation["start"] >= begin:
                here = {"start": citation["start"] - begin, "end": citation["end"] - begin}
                citation = {**citation, **here, "content_index": block}
                break
        events.append(_event("citation-start", self._citations, {"citations": citation}))
        events.append(("citation-end", {"type": "citation-end", "index": self._citations}))
        self._citations += 1

    def _close(self, events: Events) -> None:
        if self._open == "tool":
            events.append(("tool-call-end", {"type": "tool-call-end", "index": len(self._calls) - 1}))
        elif self._open:
            events.append(("content-end", {"type": "content-end", "index": self._blocks - 1}))
        self._open = ""


def _event(kind: str, index: int, message: Json) -> tuple[str, Json]:
    return kind, {"type": kind, "index": index, "delta": {"message": message}}


def _together(items: Sequence[Json]) -> Json:
    """One event has one item: of the tokens that one chunk said together."""
    return {
        "text": "".join(item["text"] for item in items),
        "token_ids": [],
        "logprobs": [logprob for item in items for logprob in item["logprobs"]],
    }
