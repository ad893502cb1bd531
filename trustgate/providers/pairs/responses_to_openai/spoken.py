"""Items of a streamed response while they are being said, and the events that tell of it.

https://platform.openai.com/docs/api-reference/responses-streaming
"""

from collections.abc import Mapping, Sequence
from typing import Any

from trustgate.providers.hub import Json
from trustgate.providers.pairs.responses_to_openai.answer import (
    to_annotations,
    to_call,
    to_encrypted,
    to_message,
    to_part,
    to_thought,
)

Event = tuple[str, Json]


class Story:
    """Numbers the events of one stream, and holds those that have not been sent."""

    __slots__ = ("_number", "_told")

    def __init__(self) -> None:
        self._number = 0
        self._told: list[Event] = []

    def tell(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Add an event."""
        self._told.append((kind, {"type": kind, "sequence_number": self._number, **fields}))
        self._number += 1

    def take(self) -> Sequence[Event]:
        """Return what has been told since the last time."""
        told, self._told = self._told, []
        return told


class Message:
    """A message: its texts and refusals are parts that follow one another. It begins at a place in all that is said."""

    __slots__ = ("_annotations", "_at", "_begin", "_id", "_kind", "_logprobs", "_output", "_parts", "_pieces", "_story")

    def __init__(self, story: Story, output: int, identity: str, begin: int) -> None:
        self._story = story
        self._output = output
        self._id = identity
        self._begin = begin
        self._parts: list[Json] = []
        self._kind = ""
        self._pieces: list[str] = []
        self._annotations: list[Json] = []
        self._logprobs: list[Json] = []
        self._at: Json = {}
        item = {**to_message(identity, []), "status": "in_progress"}
        story.tell("response.output_item.added", {"output_index": output, "item": item})

    def say(self, text: str, logprobs: list[Json]) -> None:
        """Say more text."""
        self._open("output_text")
        self._pieces.append(text)
        self._logprobs += logprobs
        self._story.tell("response.output_text.delta", {**self._at, "delta": text, "logprobs": logprobs})

    def refuse(self, text: str) -> None:
        """Say more of a refusal."""
        self._open("refusal")
        self._pieces.append(text)
        self._story.tell("response.refusal.delta", {**self._at, "delta": text})

    def cite(self, delta: Json) -> None:
        """Say what the text cites."""
        for annotation in to_annotations(delta, self._begin):
            self._open("output_text")
            fields = {**self._at, "annotation_index": len(self._annotations), "annotation": annotation}
            self._annotations.append(annotation)
            self._story.tell("response.output_text.annotation.added", fields)

    def close(self, status: str) -> Json:
        """End the message. Returns the item."""
        self._close()
        item = {**to_message(self._id, self._parts), "status": status}
        self._story.tell("response.output_item.done", {"output_index": self._output, "item": item})
        return item

    def _open(self, kind: str) -> None:
        if self._kind == kind:
            return
        self._close()
        self._kind = kind
        self._at = {"item_id": self._id, "output_index": self._output, "content_index": len(self._parts)}
        self._pieces, self._annotations, self._logprobs = [], [], []
        self._story.tell("response.content_part.added", {**self._at, "part": self._part("")})

    def _close(self) -> None:
        if not self._kind:
            return
        text = "".join(self._pieces)
        part = self._part(text)
        if self._kind == "refusal":
            self._story.tell("response.refusal.done", {**self._at, "refusal": text})
        else:
            self._story.tell("response.output_text.done", {**self._at, "text": text, "logprobs": self._logprobs})
        self._story.tell("response.content_part.done", {**self._at, "part": part})
        self._parts.append(part)
        self._kind = ""

    def _part(self, text: str) -> Json:
        if self._kind == "refusal":
            return {"type": "refusal", "refusal": text}
        return to_part(text, self._annotations if text else [], self._logprobs if text else [])


class Thought:
    """Thoughts, of which the text is the one part of a summary."""

    __slots__ = ("_id", "_output", "_pieces", "_story")

    def __init__(self, story: Story, output: int, identity: str) -> None:
        self._story = story
        self._output = output
        self._id = identity
        self._pieces: list[str] = []
        item = to_thought(identity, "", "")
        story.tell("response.output_item.added", {"output_index": output, "item": item})

    def think(self, text: str) -> None:
        """Say more of the thoughts."""
        if not self._pieces:
            self._tell("response.reasoning_summary_part.added", {"part": {"type": "summary_text", "text": ""}})
        self._pieces.append(text)
        self._tell("response.reasoning_summary_text.delta", {"delta": text})

    def close(self, signature: Any = None) -> Json:
        """End the thoughts, with the signature that they have. Returns the item."""
        text = "".join(self._pieces)
        return self.seal(to_encrypted({"type": "thinking", "thinking": text, "signature": signature}))

    def seal(self, encrypted: str) -> Json:
        """End the thoughts with this encrypted content. Returns the item."""
        text = "".join(self._pieces)
        if text:
            self._tell("response.reasoning_summary_text.done", {"text": text})
            self._tell("response.reasoning_summary_part.done", {"part": {"type": "summary_text", "text": text}})
        item = to_thought(self._id, text, encrypted)
        self._story.tell("response.output_item.done", {"output_index": self._output, "item": item})
        return item

    def _tell(self, kind: str, fields: Json) -> None:
        place = {"item_id": self._id, "output_index": self._output, "summary_index": 0}
        self._story.tell(kind, {**place, **fields})


class Called:
    """A call of a function or of a custom tool. `identity` is the call's own id."""

    __slots__ = ("_field", "_item", "_kind", "_output", "_pieces", "_story", "identity")

    def __init__(self, story: Story, output: int, identity: str, call: Json) -> None:
        self._story = story
        self._output = output
        self._item = to_call(call, identity)
        self.identity: str = self._item["call_id"]
        custom = self._item["type"] == "custom_tool_call"
        self._kind = "response.custom_tool_call_input" if custom else "response.function_call_arguments"
        self._field = "input" if custom else "arguments"
        self._pieces: list[str] = []
        started = {**self._item, self._field: "", **({} if custom else {"status": "in_progress"})}
        story.tell("response.output_item.added", {"output_index": output, "item": started})
        self.go_on(self._item[self._field])

    def go_on(self, piece: str) -> None:
        """Say more of the arguments."""
        if piece:
            self._pieces.append(piece)
            self._tell("delta", {"delta": piece})

    def close(self, status: str) -> Json:
        """End the call. Returns the item."""
        said = "".join(self._pieces)
        item = {**self._item, self._field: said}
        if "status" in item:
            item["status"] = status
            self._tell("done", {"arguments": said, "name": item["name"]})
        else:
            self._tell("done", {"input": said})
        self._story.tell("response.output_item.done", {"output_index": self._output, "item": item})
        return item

    def _tell(self, what: str, fields: Json) -> None:
        place = {"item_id": self._item["id"], "output_index": self._output}
        self._story.tell(f"{self._kind}.{what}", {**place, **fields})
