"""What a dialect's module brings, loaded when somebody needs it: most processes speak few dialects."""

from functools import cache
from importlib import import_module
from typing import Any


@cache
def lens_in(module: str) -> Any:
    """Return the `LENS` of a module below `trustgate.providers`, which is imported at most once."""
    return import_module(f"trustgate.providers.{module}").LENS
