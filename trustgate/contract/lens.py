"""How to look into a body of some dialect without changing it. Providers fill it in; relay looks through it."""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from trustgate.contract.framing import Aligner, Framing
from trustgate.contract.sse import SSE
from trustgate.contract.usage import Usage

__all__ = ["Aligner", "Answered", "Framing", "Lens", "Said", "texts_of"]


class Answered(Struct, frozen=True, kw_only=True):
    """What an answer, or one event of a stream, says of itself. `error` is what stands under a top-level error key."""

    model: str = ""
    finish_reason: str = ""
    usage: Usage | None = None
    error: Any = None
    is_answer: bool = False
    service_tier: str = ""


class Said(Struct, frozen=True, kw_only=True):
    """What one event of a stream adds: text by choice, and the choices that it ends."""

    texts: Mapping[int, str] = {}
    finished: frozenset[int] = frozenset()


def texts_of(lens: "Lens", stream: bytes) -> dict[int, str]:
    """Return what a whole stream says, by choice in the order in which they began."""
    texts: dict[int, list[str]] = {}
    for event in lens.framing.split(stream):
        for choice, text in lens.said(lens.framing.event(event)[1]).texts.items():
            texts.setdefault(choice, []).append(text)
    return {choice: "".join(said) for choice, said in texts.items()}


class Lens(Struct, frozen=True, kw_only=True):
    """The places of one dialect.

    `answer` reads a whole answer or an event (None for what is not of the dialect); `text` joins what the model said;
    `said` is what an event adds; `rewritten` is the event with other texts; `last` says whether an event's data is
    that of the one which ends a stream. None of them raises, whatever the bytes. `finish_ends` is for dialects whose
    streams may also end after a finish reason, without a last event. `framing` is how events stand in the bytes;
    `tail` how many bytes of a stream's end hold its finish reason, usage and last event.
    """

    answer: Callable[[bytes], Answered | None]
    text: Callable[[bytes], str]
    said: Callable[[bytes], Said]
    rewritten: Callable[[bytes, Mapping[int, str]], bytes]
    last: Callable[[bytes], bool]
    finish_ends: bool = False
    framing: Framing = SSE
    tail: int = 16 * 1024
