"""Reading Google's JSON, which is laxer than most: names also in snake case, one object where there could be more.

https://protobuf.dev/programming-guides/json
"""

import re
from functools import lru_cache
from typing import Any, Final

from trustgate.providers.hub import CannotSay, Json
from trustgate.providers.pairs.reading import an_object, objects

_SNAKE: Final = re.compile(r"_([a-z0-9])")


def named(value: Any, path: str) -> Json:
    """Return an object with its names in camel case; not those of what is in it. Raises CannotSay for anything else."""
    found = an_object(value, path)
    for name in found:
        if "_" in name:
            return {_camel(each): inner for each, inner in found.items()}
    return found


@lru_cache(maxsize=1024)
def _camel(name: str) -> str:
    return _SNAKE.sub(lambda found: found[1].upper(), name)


def several(value: Any, path: str) -> list[Json]:
    """Return a list of objects, named in camel case; a lone one is a list of one, none an empty list.

    Raises CannotSay for anything else.
    """
    if value is None:
        return []
    given = [value] if isinstance(value, dict) else objects(value, path)
    return [named(each, path) for each in given]


def whole(value: Any, path: str) -> int:
    """Return a whole number; some of Google's clients write it with a point. Raises CannotSay for anything else."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise CannotSay(path, "This must be a whole number.")
    return value
