"""Streams that have been held: what their events say, joined a choice at a time. Tool calls come in parts and stay."""

from collections.abc import Callable, Mapping

from trustgate.contract.edits import Path
from trustgate.contract.prompt import AnswerParts, Piece, ToolCall, Unreadable
from trustgate.providers.dialects import lens_of


class StreamLens:
    """Reads held streams of answers to one operation. A choice is a place."""

    def __init__(self, operation: str) -> None:
        self._lens = lens_of(operation)

    def read(self, raw: bytes) -> AnswerParts:
        """Return the texts by choice."""
        texts: dict[int, list[str]] = {}
        for event in self._lens.framing.split(raw):
            for choice, text in self._lens.said(self._lens.framing.event(event)[1]).texts.items():
                texts.setdefault(choice, []).append(text)
        pieces = (
            Piece(path=(choice,), text="".join(said), role="assistant", choice=choice) for choice, said in texts.items()
        )
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
