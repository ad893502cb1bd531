"""Writes docs/translation.md from what a running gateway does; with --check only says whether it is current.

`python -m tests.matrix.document [--check]`
"""

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from .callers.registry import CALLERS
from .cells import KINDS, expected, question, tools_of
from .finishes import WORDS, finish_table
from .gateway import MODELS, Place, open_place
from .losses import Fate, Outcome, Probe, outcomes
from .parameters import PARAMETERS
from .talk import TARGETS, Target
from .upstream import Providers

PATH: Final = Path(__file__).resolve().parents[2] / "docs" / "translation.md"
NAMES: Final[Mapping[Target, str]] = {
    "openai": "OpenAI chat",
    "openai_responses": "OpenAI responses",
    "anthropic": "Anthropic",
    "gemini": "Gemini",
    "cohere": "Cohere",
    "bedrock": "Bedrock",
}
MARKS: Final[Mapping[Fate, str]] = {"carried": "✓", "dropped": "○", "refused": "✗", "silent": "?"}
_OPENING: Final = """\
# Translation

Callers speak their own dialect, providers theirs. This page is written by `python -m tests.matrix.document`, which asks
a running gateway in front of a mock of each provider; a test fails when it is not current.

## Who understands whom

Rows are callers, columns are targets. A `✓` says that the caller's official SDK has heard the very text, calls of tools
(one whole, two at once in a stream), finish reason and usage that the target has said, and that the target has received
every byte of the caller's picture. The tests in `tests/matrix/` ask all of it whole and streamed, and have agents of
twenty turns, providers' faults, bad input and npm's SDKs besides.

To callers of other dialects Cohere's plan for its tools is text, and its cached tokens are not told: they may be more
than were billed. Results of tools that a caller of Gemini gives as objects are JSON in a text elsewhere.
"""
_LOSSES: Final = """
## What is lost on the way

A parameter that a target has no place for is left out, and its path told in the header `X-AG-Dropped-Params`; a
consumer with `strict_translation` gets a 400 in its stead. Content is never left out: what cannot be said is refused.

`✓` carried · `○` left out, and told · `✗` refused with 400

Some of it depends on the model: newer ones have given up parameters that older ones have. The models asked here:
"""
_FINISHES: Final = """
## Why an answer ended

Rows are the target's words, columns what callers hear.
"""


def render(place: Place, providers: Providers) -> str:
    """Return the page."""
    parts = [_OPENING, *_cells(place, providers), _LOSSES]
    parts += [f"- {NAMES[target]}: `{MODELS[target]}`" for target in TARGETS]
    with Probe(place, providers) as probe:
        for caller in TARGETS:
            parts += _lost(caller, outcomes(probe, caller))
    parts.append(_FINISHES.rstrip())
    for target in TARGETS:
        parts += _finished(target, finish_table(place, providers, target))
    providers.think()
    return "\n".join(parts) + "\n"


def _cells(place: Place, providers: Providers) -> Iterator[str]:
    providers.think()
    yield from _head("caller ↓ target →", [NAMES[target] for target in TARGETS])
    for caller in TARGETS:
        yield _row(NAMES[caller], ["✓" if _understands(place, caller, target) else "✗" for target in TARGETS])


def _understands(place: Place, caller: Target, target: Target) -> bool:
    return all(_hears(place, caller, target, kind, streamed=kind == "parallel") for kind in KINDS)


def _hears(place: Place, caller: Target, target: Target, kind: str, *, streamed: bool) -> bool:
    with CALLERS[caller].open(place.door(target), tools_of(kind)) as talk:
        question(talk, kind)
        return talk.ask(streamed=streamed) == expected(kind, caller, target)


def _lost(caller: Target, found: Mapping[str, Mapping[Target, Outcome]]) -> Iterator[str]:
    others = [target for target in TARGETS if target != caller]
    yield f"\n### A caller of {NAMES[caller]}\n"
    yield from _head("parameter", [NAMES[target] for target in others])
    for name in PARAMETERS[caller]:
        yield _row(f"`{name}`", [MARKS[found[name][target].fate] for target in others])


def _finished(target: Target, table: Mapping[str, Mapping[Target, str]]) -> Iterator[str]:
    yield f"\n### {NAMES[target]} says\n"
    yield from _head("", [NAMES[caller] for caller in TARGETS])
    for word in WORDS[target]:
        yield _row(f"`{word}`", [f"`{table[word][caller]}`" for caller in TARGETS])


def _head(first: str, names: Sequence[str]) -> Iterator[str]:
    yield _row(first, names)
    yield f"|---{'|:---:' * len(names)}|"


def _row(first: str, cells: Sequence[str]) -> str:
    return f"| {' | '.join((first, *cells))} |"


def main(arguments: Sequence[str]) -> int:
    """Return the exit status: 1 when the page is not what it should be."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Providers() as providers,
        open_place(providers, Path(folder)) as place,
    ):
        page = render(place, providers)
    if PATH.exists() and PATH.read_text("utf-8") == page:
        return 0
    if "--check" in arguments:
        sys.stderr.write(f"{PATH.name} is stale: write it with python -m tests.matrix.document\n")
        return 1
    PATH.write_text(page, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
