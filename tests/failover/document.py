"""Writes docs/failover.md from the rows of the table; with --check only says whether it is current.

`python -m tests.failover.document [--check]`
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.failover.rows import FLAPPING, ROWS
from tests.failover.table import CLOCKS, Seen
from tests.pages import write_or_check

PATH: Final = Path(__file__).resolve().parents[2] / "docs" / "failover.md"
_OPENING: Final = f"""\
# When a provider fails

Each row is shown by tests over real sockets (`tests/failover`), for callers in the dialects of OpenAI's chat
completions and responses, Anthropic's messages and Gemini's generateContent: what came of the request is the same for
all of them, each with errors in its own words. The page is written by `python -m tests.failover.document`, and one that
is not current fails the build. What is written here holds for the usual settings, but for the clocks: there a provider
has {CLOCKS.first_byte:g} s to begin and {CLOCKS.idle:g} s between two pieces.

How it goes on from one to the next, and what can be set, is in [routing.md](routing.md#when-one-fails).

## With another provider that may serve the request

| what one does | whole: the caller sees | calls: it, the other | billed | stream: the caller sees | calls | billed |
|---|---|---|---|---|---|---|
"""
_ALONE: Final = """\

## With no other provider

| what the provider does | whole answer: the caller sees | calls | billed | stream: the caller sees | calls | billed |
|---|---|---|---|---|---|---|
"""
_CLOSING: Final = f"""\

*Flapping for a minute*: one of two providers fails in every other second, {FLAPPING.requests} requests come. All of
them are answered; at most {FLAPPING.lost} calls are lost on trying the one that is down
(`tests/failover/test_flapping.py`).

*What passed* is counted from the text that the caller was sent, with an estimate of the tokens of the request. A whole
answer that came to nothing is not billed; a provider may see that otherwise for what it sent, and its calls are each in
the event's `attempts`.
"""


def render() -> str:
    """Return the page."""
    return _OPENING + "\n".join(_rows(alone=False)) + "\n" + _ALONE + "\n".join(_rows(alone=True)) + "\n" + _CLOSING


def _rows(*, alone: bool) -> Iterator[str]:
    for fault, row in ROWS.items():
        cells = " | ".join(_cells(row.expected(form, alone=alone), alone=alone) for form in ("plain", "streamed"))
        yield f"| {fault} | {cells} |"


def _cells(seen: Seen, *, alone: bool) -> str:
    calls = str(seen.calls[0]) if alone else f"{seen.calls[0]}, {seen.calls[1]}"
    return f"{seen.caller} | {calls} | {seen.billed}"


def main(arguments: list[str]) -> int:
    """Write the page, or say whether it is current."""
    return write_or_check(PATH, render(), arguments, command="python -m tests.failover.document")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
