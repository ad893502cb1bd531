"""Taking offered tools away, and putting system texts in: what every dialect does alike, once it has said where."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from trustgate.contract.edits import REMOVED, Path
from trustgate.contract.prompt import OfferedTool

Place = Literal["before", "behind", "instead"]


def taken_away(
    tools: Sequence[OfferedTool],
    drop: Callable[[OfferedTool], bool],
    *,
    lists: Iterable[Path],
    beside: Iterable[Path],
    keep_empty: bool,
) -> tuple[dict[Path, Any], frozenset[str]]:
    """Return the edits that take tools away, and the names that no tool has any more.

    When none is left the `lists` go too, and so does what stands `beside` them, unless an empty list is to be kept.
    """
    gone = [tool for tool in tools if drop(tool)]
    names = frozenset(tool.name for tool in gone) - {tool.name for tool in tools if tool not in gone}
    edits: dict[Path, Any] = {tool.path: REMOVED for tool in gone}
    if gone and len(gone) == len(tools):
        edits = {path: [] if keep_empty else REMOVED for path in lists}
        edits.update(dict.fromkeys(beside, REMOVED))
    return edits, names


def joined(text: str, old: str, place: Place) -> str:
    """Return a system text with another one before it, behind it, or in its place."""
    if place == "instead" or not old:
        return text
    return f"{text}\n\n{old}" if place == "before" else f"{old}\n\n{text}"
