"""What the name of a model tells of what it takes: Anthropic's Messages are one dialect, its models differ.

https://platform.claude.com/docs/en/build-with-claude/thinking, /effort and /structured-outputs, and the migration
guides of the models. Of a name that is not Claude's (others speak this dialect too, and customers name deployments)
nothing is known: callers are taken at their word.
"""

import re
from functools import lru_cache
from typing import Final, Literal

from msgspec import Struct

from trustgate.providers.hub import Json

_NEW: Final = re.compile(r"claude-([a-z]+)-(\d+)(?:[-.](\d{1,2})(?!\d))?")
_OLD: Final = re.compile(r"claude-(?:v|instant-v?)?(\d+)(?:[-.](\d{1,2})(?!\d))?")
_NEWEST: Final = (99, 0)
_DISABLED: Final[Json] = {"type": "disabled"}
_BETWEEN_TOOLS: Final[Json] = {"type": "between_tools"}

_ANSWER: Final = 8192
"""Tokens for an answer of which nobody says how long it may be."""

Version = tuple[int, int]


class Abilities(Struct, frozen=True, kw_only=True):
    """What a model takes.

    `thinks` is how it is told to think: by a budget of tokens, by an effort (adaptive), or not at all; `takes_budgets`
    says whether it takes a budget, be there a better way or not.
    `efforts` are the words that `output_config.effort` may be.
    `thinks_unasked` says that it thinks unless told not to, and `unthinking` is how to tell it, None where one cannot.
    `sampling` is whether temperature, top_p and top_k may be set: as one likes, either temperature or top_p, or none.
    `forces_tools` says whether tool_choice may insist on a tool. No model does so while it thinks.
    `follows_schemas` says whether it has structured outputs and strict tools.
    `most` is the number of tokens to ask for where the caller does not say and it does not think.
    """

    is_known: bool = True
    thinks: Literal["no", "budget", "adaptive"] = "budget"
    takes_budgets: bool = True
    efforts: tuple[str, ...] = ()
    thinks_unasked: bool = False
    unthinking: Json | None = None
    sampling: Literal["free", "one", "none"] = "free"
    forces_tools: bool = True
    follows_schemas: bool = True
    most: int = _ANSWER


_UNKNOWN: Final = Abilities(is_known=False)
_PLENTY: Final = 32_000
"""Tokens for an answer and for thoughts of which nobody says how long they may be. Every model that decides for itself
how long to think can say twice as much."""


@lru_cache(maxsize=256)
def abilities_of(model: str) -> Abilities:
    """Return what a model takes, by its name as Anthropic, Bedrock or Google write it."""
    family, version = _named(model.lower())
    if not family:
        return _UNKNOWN
    if version < (4, 6) or (family == "haiku" and version < (5, 0)):
        return _with_budget(family, version)
    return _adaptive(family, version)


def _named(name: str) -> tuple[str, Version]:
    """Return family and version. A Claude without a number, such as an alias for the latest, is a new one."""
    if found := _NEW.search(name):
        return found[1], (int(found[2]), int(found[3] or 0))
    if found := _OLD.search(name):
        return "claude", (int(found[1]), int(found[2] or 0))
    return ("claude" if "claude" in name else "", _NEWEST)


def _with_budget(family: str, version: Version) -> Abilities:
    return Abilities(
        thinks="budget" if version >= (3, 7) else "no",
        takes_budgets=version >= (3, 7),
        sampling="one" if version >= (4, 1) else "free",
        follows_schemas=version >= (4, 5) or (family == "opus" and version == (4, 1)),
        most=4096 if version < (3, 5) else _ANSWER,
    )


def _adaptive(family: str, version: Version) -> Abilities:
    is_always_on = family not in ("opus", "sonnet", "haiku") or (family == "opus" and version >= (5, 5))
    thinks_unasked = is_always_on or version >= (5, 0)
    return Abilities(
        thinks="adaptive",
        takes_budgets=version < (4, 7),
        efforts=("low", "medium", "high", "max", *(("xhigh",) if version >= (4, 7) else ())),
        thinks_unasked=thinks_unasked,
        unthinking=None if is_always_on else _off(family, version),
        sampling="none" if version >= (4, 7) else "one",
        forces_tools=not is_always_on and not (family == "sonnet" and version >= (5, 5)),
    )


def _off(family: str, version: Version) -> Json:
    return _BETWEEN_TOOLS if family == "sonnet" and version >= (5, 5) else _DISABLED


def plenty_for(budget: int) -> int:
    """Return how many tokens to ask for where the caller does not say: for thoughts of this budget, or of none."""
    return budget + _ANSWER if budget else _PLENTY
