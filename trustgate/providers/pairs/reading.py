"""Reading what a caller said: the wanted type or a CannotSay with the path. And what a provider said: or nothing."""

import math
from collections.abc import Sequence
from typing import Any, Final

from trustgate.providers.hub import CannotSay, Json

_MARK: Final = "A cache mark is an object of the type ephemeral."


def objects(value: Any, path: str) -> list[Json]:
    """Return a list of objects. Raises CannotSay for anything else."""
    if not isinstance(value, list):
        raise CannotSay(path, "This must be a list.")
    for at, each in enumerate(value):
        if not isinstance(each, dict):
            raise CannotSay(f"{path}.{at}", "This must be an object.")
    return value


def an_object(value: Any, path: str) -> Json:
    """Return an object. Raises CannotSay for anything else."""
    if not isinstance(value, dict):
        raise CannotSay(path, "This must be an object.")
    return value


def string(value: Any, path: str) -> str:
    """Return a string. Raises CannotSay for anything else."""
    if not isinstance(value, str):
        raise CannotSay(path, "This must be a string.")
    return value


def strings(value: Any, path: str) -> list[str]:
    """Return a list of strings. Raises CannotSay for anything else."""
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise CannotSay(path, "This must be a list of strings.")
    return value


def number(value: Any, path: str) -> int | float:
    """Return a number. Raises CannotSay for anything else."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise CannotSay(path, "This must be a number.")
    return value


def integer(value: Any, path: str) -> int:
    """Return a whole number. Raises CannotSay for anything else."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise CannotSay(path, "This must be a whole number.")
    return value


def boolean(value: Any, path: str) -> bool:
    """Return true or false. Raises CannotSay for anything else."""
    if not isinstance(value, bool):
        raise CannotSay(path, "This must be true or false.")
    return value


def cache_mark(marked: Json, path: str) -> Json | None:
    """Return the `cache_control` of a part, message or tool, or of the request, which has no path. Raises CannotSay."""
    mark = marked.get("cache_control")
    if mark is None:
        return None
    if not isinstance(mark, dict) or mark.get("type") != "ephemeral":
        raise CannotSay(f"{path}.cache_control".lstrip("."), _MARK)
    return mark


def text_of(value: Any) -> str:
    """Return a string, an empty one for anything else."""
    return value if isinstance(value, str) else ""


def object_of(value: Any) -> Json:
    """Return an object, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def list_of(value: Any) -> Sequence[Any]:
    """Return a list, an empty one for anything else."""
    return value if isinstance(value, list) else ()


def count_of(value: Any) -> int:
    """Return a count of tokens or a place, 0 for anything that is none."""
    return max(0, int(value)) if isinstance(value, int | float) and math.isfinite(value) else 0
