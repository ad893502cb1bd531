"""What the name of a model tells of what it takes: generateContent is one dialect, its models differ.

https://ai.google.dev/gemini-api/docs/models, /thinking, /thought-signatures, /structured-output, /function-calling and
the pages on what is new in a generation. Of a name that is not Gemini's (a tuned model has a number for its name)
nothing is known: callers are taken at their word.
"""

import re
from functools import lru_cache
from typing import Final, Literal

from msgspec import Struct

_VERSION: Final = re.compile(r"gemini-(\d+)(?:\.(\d+))?")
_LATEST: Final = re.compile(r"gemini-(?:pro|flash|flash-lite)-latest")
_NEWEST: Final = (99, 0)

Version = tuple[int, int]
LEVELS: Final = ("MINIMAL", "LOW", "MEDIUM", "HIGH")
"""Gemini's levels of thinking, the least first."""


class Abilities(Struct, frozen=True, kw_only=True):
    """What a model takes.

    `thinks` is how it is told to think: by a budget of tokens, by a level, or not at all; `least` and `most` bound the
    budget, and `levels` are the levels; `may_rest` says whether it can do without any thought.
    `wants_signatures` says that it refuses calls in a conversation that are not signed.
    `samples`, `penalizes` and `chooses` say whether it can be told how to sample, to avoid what it has said, and to
    answer more than once.
    `validates` says whether it can be held to the schemas of functions without having to call one.
    `calls_beside_schema` says whether it can have both functions and a schema for its answer.
    `sees_results` says whether the results of functions can have pictures in them.
    """

    thinks: Literal["no", "budget", "level"] = "budget"
    least: int = 0
    most: int = 32_768
    may_rest: bool = True
    levels: tuple[str, ...] = ()
    wants_signatures: bool = False
    samples: bool = True
    penalizes: bool = True
    chooses: bool = True
    validates: bool = True
    calls_beside_schema: bool = True
    sees_results: bool = False


_UNKNOWN: Final = Abilities()
_OLD: Final = Abilities(thinks="no", validates=False, calls_beside_schema=False)


@lru_cache(maxsize=256)
def abilities_of(model: str) -> Abilities:
    """Return what a model takes, by its name as the Gemini API or Vertex AI write it."""
    name = model.lower()
    found = _VERSION.search(name)
    if found is None and not _LATEST.search(name):
        return _OLD if "gemma" in name else _UNKNOWN
    version = (int(found[1]), int(found[2] or 0)) if found else _NEWEST
    if version < (2, 5):
        return _OLD
    return _with_levels(name, version) if version >= (3, 0) else _with_budget(name)


def _with_budget(name: str) -> Abilities:
    """Return what a model of generation 2.5 takes. Only those that are not Pro can do without thoughts."""
    is_pro = "pro" in name
    return Abilities(
        thinks="no" if _speaks_or_draws(name) else "budget",
        least=128 if is_pro else 512 if "lite" in name else 0,
        most=32_768 if is_pro else 24_576,
        may_rest=not is_pro,
        penalizes=False,
        calls_beside_schema=False,
    )


def _with_levels(name: str, version: Version) -> Abilities:
    return Abilities(
        thinks="no" if _speaks_or_draws(name) else "level",
        may_rest=False,
        levels=_levels(name, version),
        wants_signatures=True,
        samples=version < (4, 0) or version == _NEWEST,
        penalizes=False,
        chooses=False,
        sees_results=True,
    )


def _levels(name: str, version: Version) -> tuple[str, ...]:
    if "pro" in name and version == (3, 0):
        return ("LOW", "HIGH")
    has_minimal = "flash" in name and ("lite" in name or version < (3, 7))
    return LEVELS if has_minimal else LEVELS[1:]


def _speaks_or_draws(name: str) -> bool:
    return "image" in name or "tts" in name
