"""The hub's chunks as the events of Responses. https://platform.openai.com/docs/api-reference/responses-streaming

Thoughts and messages end where something else begins; calls are said side by side, for the hub may go on with any of
them, and end with the answer.
"""

from collections.abc import Sequence
from typing import Any

from trustgate.providers.hub import Json, Moment
from trustgate.providers.pairs.openai_to_responses.thoughts import carry
from trustgate.providers.pairs.reading import list_of, object_of, text_of
from trustgate.providers.pairs.responses_to_openai.answer import (
    Extras,
    is_call,
    to_ending,
    to_logprobs,
    to_response,
    to_text,
    to_told,
    to_usage,
    wants_logprobs,
)
from trustgate.providers.pairs.responses_to_openai.spoken import Called, Event, Message, Story, Thought


class Writer:
    """Writes one stream. `_items` has a place for every item, which is filled when the item has ended."""

    __slots__ = (
        *("_begun", "_calls", "_choice", "_extras", "_items", "_length", "_logprobs", "_message", "_moment"),
        *("_open", "_response", "_story", "_thought", "_usage"),
    )

    def __init__(self, asked: Json, moment: Moment) -> None:
        self._moment = moment
        self._response = to_response(asked, moment)
        self._logprobs = wants_logprobs(asked)
        self._story = Story()
        self._begun = False
        self._items: list[Json] = []
        self._message: Message | None = None
        self._thought: Thought | None = None
        self._open = 0
        self._calls: dict[Any, tuple[int, Called]] = {}
        self._extras = Extras()
        self._choice: Json = {}
        self._length = 0
        self._usage: Any = None

    def feed(self, chunk: Json) -> Sequence[Event]:
        """Return the events that this chunk means."""
        self._usage = chunk.get("usage") or self._usage
        self._response.update(to_told(chunk))
        for choice in list_of(chunk.get("choices")):
            if isinstance(choice, dict) and not choice.get("index"):
                self._begin()
                self._say(object_of(choice.get("delta")), choice.get("logprobs"))
                if choice.get("finish_reason"):
                    self._choice = choice
                    self._close_all()
        return self._story.take()

    def end(self) -> Sequence[Event]:
        """Return the end of what is open, and the whole answer."""
        self._begin()
        self._close_all()
        if encrypted := self._extras.carried():
            output = self._place()
            self._items[output] = Thought(self._story, output, self._id("rs", output)).seal(encrypted)
        ending = to_ending(self._choice)
        usage = to_usage(self._usage) if isinstance(self._usage, dict) else None
        response = {**self._response, **ending, "output": self._items, "usage": usage}
        self._story.tell(f"response.{ending['status']}", {"response": response})
        return self._story.take()

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            for kind in ("response.created", "response.in_progress"):
                self._story.tell(kind, {"response": dict(self._response)})

    def _say(self, delta: Json, logprobs: Any) -> None:
        self._think(delta)
        text, refusal = to_text(delta.get("content")), text_of(delta.get("refusal"))
        if text:
            told = to_logprobs(logprobs) if self._logprobs else []
            self._speak().say(text, told)
            self._length += len(text)
        if delta.get("annotations") or delta.get("citations"):
            self._speak().cite(delta)
        if refusal:
            self._speak().refuse(refusal)
        self._extras.hear(delta)
        for call in list_of(delta.get("tool_calls")):
            if isinstance(call, dict):
                self._call(call)

    def _place(self) -> int:
        self._items.append({})
        return len(self._items) - 1

    def _id(self, kind: str, output: int) -> str:
        return f"{kind}_{self._moment.id}_{output}"

    # Thoughts and messages, of which one is open.

    def _close(self, status: str = "completed") -> None:
        if self._message is not None:
            self._items[self._open], self._message = self._message.close(status), None
        if self._thought is not None:
            self._items[self._open], self._thought = self._thought.close(), None

    def _speak(self) -> Message:
        if self._message is None:
            self._close()
            self._open = self._place()
            self._message = Message(self._story, self._open, self._id("msg", self._open), self._length)
        return self._message

    def _think(self, delta: Json) -> None:
        blocks = list_of(delta.get("thinking_blocks"))
        if not blocks and (reasoning := text_of(delta.get("reasoning_content"))):
            blocks = [{"type": "thinking", "thinking": reasoning}]
        for block in blocks:
            if isinstance(block, dict):
                self._take(block)

    def _take(self, block: Json) -> None:
        """A signature ends a block; what may not be read is a block of its own."""
        redacted, text = block.get("type") == "redacted_thinking", text_of(block.get("thinking"))
        signature = text_of(block.get("signature"))
        if not (redacted or text or signature):
            return
        if self._thought is None or redacted:
            self._close()
            self._open = self._place()
            self._thought = Thought(self._story, self._open, self._id("rs", self._open))
        if text:
            self._thought.think(text)
        if redacted:
            self._items[self._open], self._thought = self._thought.seal(carry([block])), None
        elif signature:
            self._items[self._open], self._thought = self._thought.close(signature), None

    # Calls, of which any number is open.

    def _call(self, call: Json) -> None:
        """Say a piece of a call.

        Some give all of several calls the same index: what comes with a name and an id of its own is a new one.
        """
        number, identity = call.get("index"), text_of(call.get("id"))
        number = number if isinstance(number, int) else identity
        called = object_of(call.get("function")) or object_of(call.get("custom"))
        known = self._calls.get(number)
        if known is None and not is_call(call):
            return
        if known is None or (identity and identity != known[1].identity and called.get("name")):
            self._close()
            known = self._start(number, call)
        else:
            known[1].go_on(text_of(called.get("arguments")) or text_of(called.get("input")))
        self._extras.hear_call(call, known[1].identity)

    def _start(self, number: Any, call: Json) -> tuple[int, Called]:
        if number in self._calls:
            self._close_call(number)
        output = self._place()
        started = self._calls[number] = output, Called(self._story, output, f"{self._moment.id}_{output}", call)
        return started

    def _close_call(self, number: Any, status: str = "completed") -> None:
        output, call = self._calls.pop(number)
        self._items[output] = call.close(status)

    def _close_all(self) -> None:
        """End all that is open. What an incomplete answer ended in is incomplete too."""
        ended = to_ending(self._choice)["status"]
        status = "incomplete" if ended == "incomplete" else "completed"
        last = len(self._items) - 1
        self._close(status)
        for number, (output, _) in list(self._calls.items()):
            self._close_call(number, status if output == last else "completed")
