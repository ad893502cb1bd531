"""Gathering what a body says while its dialect walks it: shapes are checked, and what is not known is read anyway."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec

from trustgate.contract.edits import Path
from trustgate.contract.prompt import (
    AnswerParts,
    Attachment,
    OfferedTool,
    Piece,
    PieceKind,
    Prompt,
    Role,
    ToolCall,
    ToolResult,
    Unreadable,
)

_MARKS: Final = frozenset(("type", "id", "cache_control", "signature", "thoughtSignature"))
"""Names of fields that never hold what is said."""


def an_object(value: Any, what: str) -> dict[str, Any]:
    """Return a JSON object. Raises Unreadable for anything else."""
    if not isinstance(value, dict):
        raise Unreadable(f"{what} is not an object")
    return value


def fields(value: Any) -> dict[str, Any]:
    """Return a JSON object, empty for anything else: for what may be left out."""
    return value if isinstance(value, dict) else {}


def a_list(value: Any, what: str) -> list[Any]:
    """Return a list; nothing there is an empty one. Raises Unreadable for anything else."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise Unreadable(f"{what} is not a list")
    return value


def a_name(value: Any) -> str:
    """Return a string, empty for anything else: for names and ids, which are compared and not read."""
    return value if isinstance(value, str) else ""


def a_number(value: Any) -> int | None:
    """Return a whole number, or None."""
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def as_json(value: Any) -> str:
    """Return a value as JSON text."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def leaves(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """Yield every string and number in a JSON value with its place, in order. Walks without recursion.

    Data URLs are no text.
    """
    pending: list[tuple[Path, Any]] = [(path, value)]
    while pending:
        at, found = pending.pop()
        if isinstance(found, str):
            if not found.startswith("data:"):
                yield at, found
        elif isinstance(found, dict):
            pending += [((*at, key), found[key]) for key in reversed(found)]
        elif isinstance(found, list):
            pending += [((*at, index), found[index]) for index in range(len(found) - 1, -1, -1)]
        elif isinstance(found, int | float) and not isinstance(found, bool):
            yield at, str(found)


Part = Callable[["Gathered", Any, Path], None]
"""Gathers one part of a content, which stands at a place."""


class Gathered:
    """What was found so far."""

    __slots__ = ("attachments", "calls", "choice", "message", "pieces", "results", "role", "tools")

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.attachments: list[Attachment] = []
        self.tools: list[OfferedTool] = []
        self.calls: list[ToolCall] = []
        self.results: list[ToolResult] = []
        self.role: Role = "user"
        self.message = -1
        self.choice = 0

    def within(self, role: Role, message: int = -1, choice: int = 0) -> "Gathered":
        """Say who speaks from now on, in which message or alternative."""
        self.role, self.message, self.choice = role, message, choice
        return self

    def text(self, path: Path, value: Any, kind: PieceKind = "text") -> None:
        """A text stands there; nothing where there is none. What is no string is read like what is not known."""
        if isinstance(value, str):
            if value:
                self._piece(path, value, kind)
        elif value is not None:
            self.anything(path, value, kind)

    def anything(self, path: Path, value: Any, kind: PieceKind = "text") -> None:
        """Every string and number in something of any shape: what somebody could read must not pass unread."""
        for at, text in leaves(value, path):
            self._piece(at, text, kind)

    def content(self, path: Path, content: Any, part: Part, kind: PieceKind = "text") -> None:
        """A content stands there: parts, each read by `part`, or a text of this kind."""
        if not isinstance(content, list):
            self.text(path, content, kind)
            return
        for at, each in enumerate(content):
            part(self, each, (*path, at))

    def unknown(self, path: Path, part: Any) -> None:
        """A part of a kind that is not known: all strings in it but those that name what it is."""
        if isinstance(part, dict):
            self.rest(path, part)
        else:
            self.anything(path, part)

    def rest(self, path: Path, part: dict[str, Any], *known: str) -> None:
        """What stands in a part besides what is known of it."""
        for key, value in part.items():
            if key not in known and key not in _MARKS and not isinstance(value, int | float):
                self.anything((*path, key), value)

    def attachment(self, path: Path, kind: Any, url: Any = "") -> None:
        """Something that is no text stands there."""
        self.attachments.append(Attachment(path=path, kind=kind, message=self.message, url=a_name(url)))

    def tool(self, path: Path, name: Any, *, builtin: bool = False) -> None:
        """A tool is offered there."""
        self.tools.append(OfferedTool(path=path, name=a_name(name), builtin=builtin))

    def call(self, path: Path, call_id: Any, name: Any, arguments: Any, place: Path) -> None:
        """A tool is called there, with arguments (JSON text or an object) that stand at `place`."""
        self.calls.append(
            ToolCall(
                id=a_name(call_id),
                name=a_name(name),
                arguments=as_json({} if arguments is None else arguments),
                path=path,
                message=self.message,
                choice=self.choice,
            )
        )
        self.text(place, arguments, "tool_arguments")

    def result(self, path: Path, call_id: Any, name: Any = "") -> None:
        """The result of a call stands there."""
        names = {call.id: call.name for call in self.calls}
        known = a_name(name) or names.get(a_name(call_id), "")
        self.results.append(ToolResult(call_id=a_name(call_id), name=known, path=path, message=self.message))

    def prompt(self, *, messages: Sequence[Any], max_output: Any, choices: Any, tool_choice: Any) -> Prompt:
        """Return it all as a request."""
        return Prompt(
            pieces=tuple(self.pieces),
            attachments=tuple(self.attachments),
            tools=tuple(self.tools),
            calls=tuple(self.calls),
            results=tuple(self.results),
            messages=len(messages),
            max_output=a_number(max_output),
            choices=a_number(choices) or 1,
            tool_choice=a_name(tool_choice),
        )

    def parts(self) -> AnswerParts:
        """Return it all as an answer."""
        return AnswerParts(pieces=tuple(self.pieces), calls=tuple(self.calls))

    def _piece(self, path: Path, text: str, kind: PieceKind) -> None:
        self.pieces.append(
            Piece(path=path, text=text, role=self.role, kind=kind, message=self.message, choice=self.choice)
        )
