"""Streams that have been held: what their events say, joined a choice at a time. Tool calls come in parts and stay."""

from collections.abc import Callable, Mapping

from trustgate.contract.edits import Path
from trustgate.contract.lens import Lens, texts_of
from trustgate.contract.prompt import AnswerParts, Piece, ToolCall, Unreadable


class StreamLens:
    """Reads held streams of one dialect. A choice is a place."""

    def __init__(self, lens: Lens) -> None:
        self._lens = lens

    def read(self, raw: bytes) -> AnswerParts:
        """Return the texts by choice."""
        texts = texts_of(self._lens, raw)
        pieces = (Piece(path=(choice,), text=text, role="assistant", choice=choice) for choice, text in texts.items())
        return AnswerParts(pieces=tuple(pieces))

    def with_texts(self, raw: bytes, texts: Mapping[Path, str]) -> bytes:
        """Return the stream with other texts: all of a choice's is said by the first event that said any of it."""
        left = {path[0]: text for path, text in texts.items()}
        return b"".join(self._saying(event, left) for event in self._lens.framing.split(raw))

    def without_calls(self, raw: bytes, drop: Callable[[ToolCall], bool], note: Callable[[ToolCall], str]) -> bytes:
        """Calls of a stream come in parts. Raises Unreadable."""
        raise Unreadable("the tool calls of a stream cannot be taken out of it")

    def _saying(self, event: bytes, left: dict[str | int, str]) -> bytes:
        data = self._lens.framing.event(event)[1]
        said = self._lens.said(data).texts
        new: dict[int, str] = {choice: left[choice] for choice in said if choice in left}
        if not new:
            return event
        left.update(dict.fromkeys(new, ""))
        return self._lens.framing.with_data(event, self._lens.rewritten(data, {**said, **new}))
