"""Whole answers: one JSON value, changed in place. What differs between dialects is where things stand."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from trustgate.contract.edits import Path, edited
from trustgate.contract.prompt import AnswerParts, ToolCall, Unreadable
from trustgate.providers.prompts.gather import Gathered

Gather = Callable[[Gathered, Any], None]
"""Gathers what a parsed answer says."""
Ended = Callable[[Any, Sequence[ToolCall], Sequence[ToolCall], Callable[[ToolCall], str]], Mapping[Path, Any]]
"""Returns the edits that take calls away: of an answer, those that go, those that stay, and what is said instead."""


class WholeLens:
    """Reads whole answers of one dialect."""

    def __init__(self, gather: Gather, ended: Ended) -> None:
        self._gather = gather
        self._ended = ended

    def read(self, raw: bytes) -> AnswerParts:
        """Return what an answer says. Raises Unreadable."""
        return self._parts(_parsed(raw))

    def with_texts(self, raw: bytes, texts: Mapping[Path, str]) -> bytes:
        """Return the answer with other texts in the places of these pieces. Raises Unreadable."""
        try:
            return edited(raw, texts)
        except (LookupError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unreadable("the answer has no such places") from error

    def without_calls(self, raw: bytes, drop: Callable[[ToolCall], bool], note: Callable[[ToolCall], str]) -> bytes:
        """Return the answer without these calls. Raises Unreadable."""
        answer = _parsed(raw)
        calls = self._parts(answer).calls
        gone = [call for call in calls if drop(call)]
        left = [call for call in calls if call not in gone]
        return edited(raw, self._ended(answer, gone, left, note)) if gone else raw

    def _parts(self, answer: Any) -> AnswerParts:
        found = Gathered().within("assistant")
        self._gather(found, answer)
        return found.parts()


def _parsed(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable("the answer is not JSON that can be read") from error


def no_calls(
    _answer: Any, _gone: Sequence[ToolCall], _left: Sequence[ToolCall], _note: Callable[[ToolCall], str]
) -> Mapping[Path, Any]:
    """The edits of a dialect whose answers call no tools."""
    return {}
