"""How to look into a body of some dialect without changing it. Providers fill it in; relay looks through it."""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from trustgate.contract.usage import Usage


class Answered(Struct, frozen=True, kw_only=True):
    """What an answer, or one event of a stream, says of itself. `error` is what stands under a top-level error key."""

    model: str = ""
    finish_reason: str = ""
    usage: Usage | None = None
    error: Any = None
    is_answer: bool = False


class Lens(Struct, frozen=True, kw_only=True):
    """The places of one dialect.

    `answer` reads a whole answer or an event (None for what is not of the dialect); `text` joins what the model said;
    `deltas` is the text that an event adds, by choice; `rewritten` is the event saying something else instead;
    `last` is the data of the event that ends a stream.
    """

    answer: Callable[[bytes], Answered | None]
    text: Callable[[bytes], str]
    deltas: Callable[[bytes], Mapping[int, str]]
    rewritten: Callable[[bytes, Mapping[int, str]], bytes]
    last: bytes
