"""Reading what a caller has said: the type that is wanted, or a CannotSay with the path."""

from typing import Any

from trustgate.providers.hub import CannotSay, Json


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
