"""What policies read in a request or an answer of any dialect, and how they change it: places, not a model of ours.

Every part says where it stands in the caller's own JSON. A change replaces values at such places (`edits.edited`), so
what a policy does not touch, known to us or not, keeps its very bytes. Providers fill the lenses in, one a dialect.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

from msgspec import Struct

from trustgate.contract.edits import Edits, Path

Role = Literal["system", "user", "assistant", "tool"]
PieceKind = Literal["text", "thought", "tool_result", "tool_arguments"]


class Unreadable(ValueError):
    """A body that cannot be looked into: of an operation without a lens, or of another shape than its dialect has.

    A guard that meets it cannot decide. The message says what could not be read, in words without content.
    """


class Piece(Struct, frozen=True, kw_only=True):
    """One text: where it stands, who says it, and in which message it is (counted from 0; -1 for what stands outside).

    `kind` tells what is said from what is thought, and from what goes to tools and comes back from them. Arguments are
    JSON text in some dialects and objects in others: then every string and number in the object is a piece.
    `choice` counts the alternatives of an answer.
    """

    path: Path
    text: str
    role: Role
    kind: PieceKind = "text"
    message: int = -1
    choice: int = 0


class Attachment(Struct, frozen=True, kw_only=True):
    """Something that is no text: an image, audio, a file. `url` is its address or data URL where it has one."""

    path: Path
    kind: Literal["image", "audio", "video", "file"]
    message: int = -1
    url: str = ""


class OfferedTool(Struct, frozen=True, kw_only=True):
    """A tool that the model may call. A `builtin` is the provider's own, and is named by its type."""

    path: Path
    name: str
    builtin: bool = False


class ToolCall(Struct, frozen=True, kw_only=True):
    """A call that the model made: `arguments` is JSON text; `choice` counts the answer's alternatives."""

    id: str
    name: str
    arguments: str = ""
    path: Path = ()
    message: int = -1
    choice: int = 0


class ToolResult(Struct, frozen=True, kw_only=True):
    """What a tool gave back, for the call `call_id`. `name` is that call's where it can be told, else empty."""

    call_id: str
    name: str
    path: Path
    message: int


class Function(Struct, frozen=True, kw_only=True):
    """A tool to be offered: `parameters` is a JSON Schema."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = {}


class Prompt(Struct, frozen=True, kw_only=True):
    """A request as policies read it. `max_output` is how many tokens the caller allows an answer, `choices` how many
    alternatives it asks for; `tool_choice` is the one tool that the caller insists on, else empty."""

    pieces: tuple[Piece, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    tools: tuple[OfferedTool, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    results: tuple[ToolResult, ...] = ()
    messages: int = 0
    max_output: int | None = None
    choices: int = 1
    tool_choice: str = ""

    @property
    def last_user(self) -> tuple[Piece, ...]:
        """What the user said last: the text pieces of the last message of theirs that has any."""
        said = [piece for piece in self.pieces if piece.role == "user" and piece.kind == "text"]
        return tuple(piece for piece in said if piece.message == said[-1].message)

    def text(self, *roles: Role) -> str:
        """Join what is said by these roles, or by anybody."""
        return "\n".join(piece.text for piece in self.pieces if not roles or piece.role in roles)


class AnswerParts(Struct, frozen=True, kw_only=True):
    """An answer as policies read it: what the model said, thought and passes to tools, and the tools that it calls."""

    pieces: tuple[Piece, ...] = ()
    calls: tuple[ToolCall, ...] = ()


class RequestLens(Protocol):
    """Reads requests of one operation and says which edits a change takes. None of it looks at bytes."""

    def read(self, body: Any) -> Prompt:
        """Return what a parsed body says. Raises Unreadable for another shape than the dialect has."""

    def with_tools(self, body: Any, functions: Sequence[Function]) -> Edits:
        """Return the edits that offer these functions too, behind those that are there. Raises Unreadable."""

    def without_tools(self, body: Any, drop: Callable[[OfferedTool], bool], *, keep_empty: bool = False) -> Edits:
        """Return the edits that take tools away. When none is left the list goes too, unless `keep_empty`, and with it
        what speaks of tools: `tool_choice`, `parallel_tool_calls` and their like. So does an insistence on one that is
        gone."""

    def with_system(self, body: Any, text: str, place: Literal["before", "behind", "instead"]) -> Edits:
        """Return the edits that put a text before, behind or in the place of what the system says. Raises Unreadable"""

    def with_conversation(self, body: Any, messages: Sequence[tuple[Role, str]]) -> Edits:
        """Return the edits that put other messages (text alone) in the place of all that are there, system included."""


class AnswerLens(Protocol):
    """Reads answers of one operation, whole or a held stream, and writes them with other texts."""

    def read(self, raw: bytes) -> AnswerParts:
        """Return what an answer says. Raises Unreadable."""

    def with_texts(self, raw: bytes, texts: Mapping[Path, str]) -> bytes:
        """Return the answer with other texts in the places of these pieces. Raises Unreadable."""

    def without_calls(self, raw: bytes, drop: Callable[[ToolCall], bool], note: Callable[[ToolCall], str]) -> bytes:
        """Return the answer without these calls and with a note said in the place of each; where no call is left, it
        ends as an answer without calls does. Raises Unreadable, also for streams, whose calls come in parts."""
