"""Names with `*` in them, as settings write them: `*` is any run of characters, and nothing else is special."""

import re
from collections.abc import Iterable


def vagueness(name: str) -> tuple[bool, int, str]:
    """Return what sorts the most telling names first: the exact ones, then patterns by how many letters they have."""
    return "*" in name, -len(name.replace("*", "")), name


def one_of(names: Iterable[str]) -> re.Pattern[str]:
    """Return what fully matches any of these names. None of them matches nothing, not even the empty name."""
    patterns = ["(?:" + ".*".join(map(re.escape, name.split("*"))) + ")" for name in names]
    return re.compile("|".join(patterns) or r"(?!)", re.DOTALL)
