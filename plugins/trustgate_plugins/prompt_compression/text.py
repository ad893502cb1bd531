"""What becomes of one text. Pure."""

import re
from typing import Final, Protocol

import msgspec

_ANSI: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
"""Escape sequences of terminals: colours, cursors, titles. ECMA-48 5.4 and 5.6."""
_TRAILING: Final = re.compile(r"[ \t]+(?=\n|\Z)")
_FENCE: Final = re.compile(r"(^[ \t]*(?:```|~~~)[^\n]*\n.*?(?:^[ \t]*(?:```|~~~)[ \t]*$|\Z))", re.MULTILINE | re.DOTALL)
_INNER: Final = re.compile(r"(?<=\S)[ \t]{2,}(?=\S)")


class Wanted(Protocol):
    """What is to be done."""

    @property
    def compress_json(self) -> bool: ...
    @property
    def normalize_whitespace(self) -> bool: ...
    @property
    def strip_ansi(self) -> bool: ...
    @property
    def max_consecutive_blank_lines(self) -> int: ...


def compressed(text: str, wanted: Wanted) -> str:
    """Return a text that says the same and is not longer."""
    if wanted.strip_ansi and "\x1b" in text:
        text = _ANSI.sub("", text)
    if wanted.compress_json and (short := _as_json(text)) is not None:
        return short
    if wanted.normalize_whitespace:
        text = "".join(
            part if at % 2 else _blanks(part, wanted.max_consecutive_blank_lines)
            for at, part in enumerate(_FENCE.split(text))
        )
    return text


def _as_json(text: str) -> str | None:
    """A text that is JSON as a whole, without its blanks; numbers keep their spelling. None for any other text."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return msgspec.json.format(text, indent=-1)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None


def _blanks(text: str, most: int) -> str:
    """Outside code: no blanks at the end of a line, one between words, and few empty lines in a row."""
    text = _TRAILING.sub("", text)
    text = "\n".join(line if line.lstrip().startswith("|") else _INNER.sub(" ", line) for line in text.split("\n"))
    return re.sub(rf"\n{{{most + 2},}}", "\n" * (most + 1), text)
