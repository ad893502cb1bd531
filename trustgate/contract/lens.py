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


class Said(Struct, frozen=True, kw_only=True):
    """What one event of a stream adds: text by choice, and the choices that it ends."""

    texts: Mapping[int, str] = {}
    finished: frozenset[int] = frozenset()


class Lens(Struct, frozen=True, kw_only=True):
    """The places of one dialect.

    `answer` reads a whole answer or an event (None for what is not of the dialect); `text` joins what the model said;
    `said` is what an event adds; `rewritten` is the event with other texts. None of them raises, whatever the bytes.
    `last` is the data of the event that ends a stream.
    """

    answer: Callable[[bytes], Answered | None]
    text: Callable[[bytes], str]
    said: Callable[[bytes], Said]
    rewritten: Callable[[bytes, Mapping[int, str]], bytes]
    last: bytes
