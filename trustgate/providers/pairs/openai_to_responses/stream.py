"""A stream of Responses as the hub's chunks. https://platform.openai.com/docs/api-reference/responses-streaming

Items follow one another, each with a beginning, pieces and an end; the last event has the whole answer. What was not
said in pieces is said at the end of its item, for there are servers that send whole items only.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from trustgate.providers.hub import Json, Moment
from trustgate.providers.pairs.openai_to_responses.answer import (
    parts_of,
    to_annotations,
    to_call,
    to_envelope,
    to_finish,
    to_logprobs,
    to_tier,
    to_usage,
)
from trustgate.providers.pairs.openai_to_responses.thoughts import BREAK, to_block
from trustgate.providers.pairs.reading import object_of, text_of

_Chunks = Sequence[Json]


class Reader:
    """Reads one stream. `_said` are the places of which pieces have come: output and content index.

    A response that failed gets no finish reason and no end: whoever carries the stream says that it broke.
    """

    __slots__ = ("_base", "_begins", "_calls", "_length", "_moment", "_said", "_thought", "_thoughts", "finished")

    def __init__(self, asked: Json, moment: Moment) -> None:
        self.finished = False
        self._moment = moment
        self._base: Json = {**to_envelope({}, moment), "object": "chat.completion.chunk"}
        self._calls: dict[int, int] = {}
        self._said: set[tuple[int, int]] = set()
        self._begins: dict[tuple[int, int], int] = {}
        self._length = 0
        self._thoughts = 0
        self._thought: tuple[int, int] | None = None

    def feed(self, event: str, data: Json) -> _Chunks:
        """Return the chunks that this event means; none for what carries nothing, or is not known."""
        kind = data.get("type") or event
        read = _EVENTS.get(kind) if isinstance(kind, str) else None
        return read(self, data) if read else ()

    def end(self) -> _Chunks:
        """Usage came with the last event."""
        return ()

    def _chunk(self, delta: Json, **choice: Any) -> _Chunks:
        said = {"index": 0, "delta": delta, "finish_reason": None, **choice}
        return ({**self._base, "choices": [said]},)

    def _created(self, data: Json) -> _Chunks:
        response = object_of(data.get("response"))
        self._base.update(to_envelope(response, self._moment))
        return self._chunk({"role": "assistant", "content": ""})

    # Messages.

    def _text(self, data: Json) -> _Chunks:
        return self._say(_place(data), text_of(data.get("delta")), data.get("logprobs"))

    def _say(self, place: tuple[int, int], text: str, logprobs: Any = None) -> _Chunks:
        if not text:
            return ()
        self._said.add(place)
        self._begins.setdefault(place, self._length)
        self._length += len(text)
        if logprobs and (told := to_logprobs(logprobs)):
            return self._chunk({"content": text}, logprobs={"content": told, "refusal": None})
        return self._chunk({"content": text})

    def _refusal(self, data: Json) -> _Chunks:
        return self._refuse(_place(data), text_of(data.get("delta")))

    def _refuse(self, place: tuple[int, int], refusal: str) -> _Chunks:
        self._said.add(place)
        return self._chunk({"refusal": refusal}) if refusal else ()

    def _annotation(self, data: Json) -> _Chunks:
        begin = self._begins.get(_place(data), self._length)
        annotations = to_annotations([data.get("annotation")], begin)
        return self._chunk({"annotations": annotations}) if annotations else ()

    def _message_done(self, output: int, item: Json) -> _Chunks:
        chunks: list[Json] = []
        for at, each in enumerate(parts_of(item)):
            part, place = object_of(each), (output, at)
            if place not in self._said:
                begin = self._length
                chunks += self._say(place, text_of(part.get("text")), part.get("logprobs"))
                if annotations := to_annotations(part.get("annotations"), begin):
                    chunks += self._chunk({"annotations": annotations})
                if refusal := text_of(part.get("refusal")):
                    chunks += self._refuse(place, refusal)
        return chunks

    # Calls.

    def _call(self, output: int, item: Json) -> _Chunks:
        """Chat's clients count calls from zero, Responses all items."""
        call = to_call(item)
        if call is None or output in self._calls:
            return ()
        self._calls[output] = len(self._calls)
        return self._chunk({"tool_calls": [{"index": self._calls[output], **call}]})

    def _item_begins(self, data: Json) -> _Chunks:
        output, item = _place(data)[0], object_of(data.get("item"))
        if item.get("arguments") or item.get("input"):
            self._said.add((output, 0))
        return self._call(output, item)

    def _arguments(self, data: Json) -> _Chunks:
        return self._go_on(_place(data)[0], {"function": {"arguments": text_of(data.get("delta"))}})

    def _input(self, data: Json) -> _Chunks:
        """Chat's clients know a piece by its type: https://platform.openai.com/docs/guides/function-calling"""
        return self._go_on(_place(data)[0], {"type": "custom", "custom": {"input": text_of(data.get("delta"))}})

    def _go_on(self, output: int, piece: Json) -> _Chunks:
        """A piece of a call that is not the caller's, but of one of OpenAI's own tools, is none."""
        index = self._calls.get(output)
        if index is None:
            return ()
        self._said.add((output, 0))
        return self._chunk({"tool_calls": [{"index": index, **piece}]})

    def _call_done(self, output: int, item: Json) -> _Chunks:
        if output not in self._calls:
            return self._call(output, item)
        if (output, 0) in self._said:
            return ()
        if item.get("type") == "custom_tool_call":
            return self._go_on(output, {"type": "custom", "custom": {"input": text_of(item.get("input"))}})
        return self._go_on(output, {"function": {"arguments": text_of(item.get("arguments"))}})

    # Thoughts.

    def _think(self, data: Json) -> _Chunks:
        """A piece of the summary, or of the thoughts themselves: of which comes first, if both do."""
        output, at = _place(data)
        text, summary = text_of(data.get("delta")), data.get("summary_index")
        part = (output, summary if isinstance(summary, int) else -1 - at)
        before = self._thought if self._thought and self._thought[0] == output else None
        if not text or (before is not None and (before[1] < 0) != (part[1] < 0)):
            return ()
        self._thought = part
        return self._thinks(text, is_new=part != before, goes_on=before is not None)

    def _thinks(self, text: str, *, is_new: bool, goes_on: bool) -> _Chunks:
        """Parts of one item are parted in its block, and items where all thoughts are one text."""
        if not text:
            return ()
        parted = BREAK + text if is_new and self._thoughts else text
        block = {"type": "thinking", "thinking": parted if goes_on else text}
        self._thoughts += 1
        return self._chunk({"reasoning_content": parted, "thinking_blocks": [block]})

    def _thought_done(self, output: int, item: Json) -> _Chunks:
        block = to_block(item, (self._length, len(self._calls)))
        said = (
            ()
            if self._thought and self._thought[0] == output
            else self._thinks(block["thinking"], is_new=True, goes_on=False)
        )
        self._thought = None
        return (*said, *self._chunk({"thinking_blocks": [{**block, "thinking": ""}]}))

    # Ends.

    def _item_ends(self, data: Json) -> _Chunks:
        output, item = _place(data)[0], object_of(data.get("item"))
        if item.get("type") == "message":
            return self._message_done(output, item)
        return self._thought_done(output, item) if item.get("type") == "reasoning" else self._call_done(output, item)

    def _ends(self, data: Json) -> _Chunks:
        self.finished = True
        response = object_of(data.get("response"))
        self._base.update(to_tier(response))
        finish = self._chunk({}, **to_finish(response, calls=bool(self._calls)))
        if not isinstance(usage := response.get("usage"), dict):
            return finish
        return (*finish, {**self._base, "choices": [], "usage": to_usage(usage)})


def _place(data: Json) -> tuple[int, int]:
    output, content = data.get("output_index"), data.get("content_index")
    return output if isinstance(output, int) else 0, content if isinstance(content, int) else 0


_EVENTS: Final[Mapping[str, Callable[[Reader, Json], _Chunks]]] = {
    "response.created": Reader._created,
    "response.output_item.added": Reader._item_begins,
    "response.output_text.delta": Reader._text,
    "response.output_text.annotation.added": Reader._annotation,
    "response.refusal.delta": Reader._refusal,
    "response.function_call_arguments.delta": Reader._arguments,
    "response.custom_tool_call_input.delta": Reader._input,
    "response.reasoning_summary_text.delta": Reader._think,
    "response.reasoning_text.delta": Reader._think,
    "response.output_item.done": Reader._item_ends,
    "response.completed": Reader._ends,
    "response.incomplete": Reader._ends,
}
