"""Variables of the environment in the types that settings need: which is wrong, its value, and what is accepted."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from trustgate.contract.addresses import check_url
from trustgate.contract.policy import seconds

T = TypeVar("T")


class BadSetting(Exception):
    """One environment variable is wrong; the message says which, what it is and what it may be."""


class Reader:
    """Reads one mapping of variables, in the types we need; `asked` are the names of those that were looked for."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.asked: set[str] = set()

    def others(self) -> Mapping[str, str]:
        """Return what is set and was not looked for."""
        return {name: value for name, value in self._environ.items() if value.strip() and name not in self.asked}

    def shared(self, names: tuple[str, ...]) -> Mapping[str, str]:
        """Return those of the variables that every program has, as they are; they are not ours."""
        return {name: self._environ[name] for name in names if name in self._environ}

    def text(self, name: str, default: str = "") -> str:
        """Return a text; an empty variable is an absent one."""
        self.asked.add(name)
        return self._environ.get(name, "").strip() or default

    def choice(self, name: str, default: str, accepted: tuple[str, ...]) -> str:
        """Return one of `accepted`, whatever its case. Raises BadSetting."""
        return self._read(name, default, lambda raw: _one_of(raw, accepted), f"one of {', '.join(accepted)}")

    def integer(self, name: str, default: int, *, low: int = 0, high: int = 2**31) -> int:
        """Return a whole number in a range. Raises BadSetting."""
        return self._read(name, default, lambda raw: _within(int(raw), low, high), f"a whole number {low} to {high}")

    def address(self, name: str) -> str:
        """Return the address of a service, or nothing. Raises BadSetting."""
        if "@" in self.text(name):  # which is not repeated here: it may be a password
            raise BadSetting(f"{name} holds a user or a password, which is not accepted: use an address without them")
        return self._read(name, "", partial(_address, name), "an address such as https://host:8443")

    def duration(self, name: str, default: float, *, plain: float = 0.0) -> float:
        """Return a duration in seconds, more than zero; a number without a unit counts `plain` seconds each, where it
        counts anything. Raises BadSetting."""
        accepted = "a duration above zero such as 500ms, 30s or 5m"

        def parse(raw: str) -> float:
            return _within(int(raw) * plain if plain and raw.isdigit() else seconds(raw), 1e-9, 1e9)

        return self._read(name, default, parse, accepted)

    def flag(self, name: str, default: bool) -> bool:
        """Return a yes or no. Raises BadSetting."""
        return self._read(name, default, _flag, "1, true, yes, on, 0, false, no or off")

    def words(self, name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Return a comma-separated list."""
        raw = self.text(name)
        return tuple(word.strip() for word in raw.split(",") if word.strip()) if raw else default

    def _read(self, name: str, default: T, parse: Callable[[str], T], accepted: str) -> T:
        raw = self.text(name)
        if not raw:
            return default
        try:
            return parse(raw)
        except ValueError as error:
            raise BadSetting(f"{name} is {raw!r}, which is not accepted: use {accepted}") from error


def _one_of(raw: str, accepted: tuple[str, ...]) -> str:
    known = {word.lower(): word for word in accepted}
    if raw.lower() not in known:
        raise ValueError(raw)
    return known[raw.lower()]


N = TypeVar("N", int, float)


def _within(value: N, low: N, high: N) -> N:
    if not low <= value <= high:
        raise ValueError(value)
    return value


def _address(name: str, raw: str) -> str:
    check_url(name, raw)
    return raw


def _flag(raw: str) -> bool:
    known = {**dict.fromkeys(("1", "true", "yes", "on"), True), **dict.fromkeys(("0", "false", "no", "off"), False)}
    if raw.lower() not in known:
        raise ValueError(raw)
    return known[raw.lower()]
