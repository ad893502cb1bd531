"""What policies read in calls of tools and in what they give back, and how they change it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from trustgate.contract.edits import Edits, Path, edited
from trustgate.contract.prompt import (
    AnswerParts,
    Function,
    OfferedTool,
    Piece,
    Prompt,
    Role,
    ToolCall,
    Unreadable,
)

_SAID: Final[Mapping[str, frozenset[str]]] = {
    "content": frozenset({"text"}),
    "contents": frozenset({"text"}),
    "messages": frozenset({"text"}),
    "inputRequests": frozenset({"text", "message"}),
    "structuredContent": frozenset(),
    "tools": frozenset({"description", "title"}),
    "prompts": frozenset({"description", "title"}),
    "resources": frozenset({"description", "title"}),
    "resourceTemplates": frozenset({"description", "title"}),
}
"""Where a result says something, and under which names; none is all that is text."""


class CallLens:
    """Reads the parameters of `tools/call`, `prompts/get` and `resources/read`."""

    def read(self, body: Any) -> Prompt:
        """Return what a caller passes to a tool."""
        if not isinstance(body, dict):
            raise Unreadable("the parameters are no object")
        arguments = body.get("arguments") or {}
        pieces = [
            Piece(path=path, text=text, role="user", kind="tool_arguments", message=0)
            for name in ("arguments", "inputResponses")
            for path, text in _texts(body.get(name), (name,))
        ]
        if isinstance(body.get("uri"), str):
            pieces.append(Piece(path=("uri",), text=body["uri"], role="user", kind="tool_arguments", message=0))
        name = body.get("name")
        calls: tuple[ToolCall, ...] = ()
        if isinstance(name, str):
            calls = (ToolCall(id="", name=name, arguments=msgspec.json.encode(arguments).decode(), message=0),)
        return Prompt(pieces=tuple(pieces), calls=calls, messages=1)

    def with_tools(self, body: Any, functions: Sequence[Function]) -> Edits:  # noqa: ARG002
        """Raise Unreadable: nothing is offered in a call."""
        raise Unreadable("a call of a tool offers none")

    def without_tools(self, body: Any, drop: Callable[[OfferedTool], bool], *, keep_empty: bool = False) -> Edits:  # noqa: ARG002
        """Return no edits: nothing is offered in a call."""
        return {}

    def with_system(self, body: Any, text: str, place: Literal["before", "behind", "instead"]) -> Edits:  # noqa: ARG002
        """Raise Unreadable: no system says anything in a call."""
        raise Unreadable("a call of a tool has no system message")

    def with_conversation(self, body: Any, messages: Sequence[tuple[Role, str]]) -> Edits:  # noqa: ARG002
        """Raise Unreadable: a call is no conversation."""
        raise Unreadable("a call of a tool is no conversation")


class ResultLens:
    """Reads the results of `tools/call`, `prompts/get` and `resources/read`, and what lists say of their items."""

    def read(self, raw: bytes) -> AnswerParts:
        """Return what a tool gives back."""
        found = msgspec.json.decode(raw)
        if not isinstance(found, dict):
            raise Unreadable("the result is no object")
        return AnswerParts(
            pieces=tuple(
                Piece(path=path, text=text, role="tool", kind="tool_result", message=0)
                for name, only in _SAID.items()
                for path, text in _texts(found.get(name), (name,), only=only)
            )
        )

    def with_texts(self, raw: bytes, texts: Mapping[Path, str]) -> bytes:
        """Return the result with other texts in these places."""
        return edited(raw, dict(texts))

    def without_calls(self, raw: bytes, drop: Callable[[ToolCall], bool], note: Callable[[ToolCall], str]) -> bytes:  # noqa: ARG002
        """Return the result: it calls nothing."""
        return raw


CALL, RESULT = CallLens(), ResultLens()


def _texts(value: Any, path: Path, *, only: frozenset[str] = frozenset()) -> Iterator[tuple[Path, str]]:
    """Yield the texts in a value with their places: all of them, or those under some names."""
    if isinstance(value, str):
        if not only or path[-1] in only:
            yield path, value
    elif isinstance(value, dict):
        for name, child in value.items():
            yield from _texts(child, (*path, name), only=only)
    elif isinstance(value, list):
        for at, child in enumerate(value):
            yield from _texts(child, (*path, at), only=only)
