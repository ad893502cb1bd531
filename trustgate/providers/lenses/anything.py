"""JSON of any kind: embeddings, images, counts, whatever a passthrough brings. What it used is found if it is said."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from trustgate.contract.lens import Answered, Lens, Said
from trustgate.contract.usage import Usage


class _Counts(Struct):
    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0
    input_tokens: int | None = 0
    output_tokens: int | None = 0


class _Peek(Struct):
    model: str | None = None
    usage: _Counts | None = None
    error: Any = None


_peek: Final = msgspec.json.Decoder(_Peek)
_any: Final = msgspec.json.Decoder()


def _answer(raw: bytes) -> Answered | None:
    try:
        found = _peek.decode(raw)
    except msgspec.ValidationError:
        return _odd(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return Answered(model=found.model or "", usage=_usage(found.usage), error=found.error, is_answer=True)


def _odd(raw: bytes) -> Answered | None:
    try:
        found = _any.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return Answered(error=found.get("error") if isinstance(found, dict) else None, is_answer=True)


def _usage(counts: _Counts | None) -> Usage | None:
    if counts is None:
        return None
    read, written = counts.prompt_tokens or counts.input_tokens, counts.completion_tokens or counts.output_tokens
    return Usage(input=max(0, read or 0), output=max(0, written or 0))


def _no_text(raw: bytes) -> str:
    return ""


def _nothing(raw: bytes) -> Said:
    return Said()


def _unchanged(raw: bytes, texts: Mapping[int, str]) -> bytes:
    return raw


def _never(data: bytes) -> bool:
    return False


LENS: Final = Lens(answer=_answer, text=_no_text, said=_nothing, rewritten=_unchanged, last=_never)
