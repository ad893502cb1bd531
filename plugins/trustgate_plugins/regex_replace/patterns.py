"""The rules of one policy, compiled. RE2 has no backtracking: https://github.com/google/re2/wiki/Syntax"""

import re
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final, Protocol

from msgspec import Struct

_GROUP: Final = re.compile(r"\$(?:(\d{1,2})|\{(\w+)\}|(\$))")


class RuleLike(Protocol):
    """What a rule says."""

    @property
    def pattern(self) -> str: ...
    @property
    def replacement(self) -> str: ...
    @property
    def case_insensitive(self) -> bool: ...
    @property
    def multiline(self) -> bool: ...


class Rule:
    """One pattern, and what stands in its place: text, and groups of what was found."""

    def __init__(self, rule: RuleLike) -> None:
        re2 = import_module("re2")  # loaded when a policy needs it; it brings no types

        flags = ("i" if rule.case_insensitive else "") + ("m" if rule.multiline else "")
        try:
            self.pattern: Any = re2.compile(f"(?{flags}){rule.pattern}" if flags else rule.pattern, _options(re2))
        except re2.error as error:
            raise ValueError(f"the pattern {rule.pattern!r} does not compile: {_words(error)}") from error
        if self.pattern.search("") is not None:
            raise ValueError(f"the pattern {rule.pattern!r} matches nothing at all, so it would match everywhere")
        self.parts = self._parts(rule)

    def _parts(self, rule: RuleLike) -> Sequence[str | int]:
        """The replacement as literal text and numbers of groups. Raises ValueError for a group that there is not."""
        parts: list[str | int] = []
        at = 0
        for found in _GROUP.finditer(rule.replacement):
            parts.append(rule.replacement[at : found.start()])
            at = found.end()
            if found[3]:
                parts.append("$")
                continue
            number = int(found[1]) if found[1] else self.pattern.groupindex.get(found[2], -1)
            if not 0 <= number <= self.pattern.groups:
                raise ValueError(f"the replacement {rule.replacement!r} names {found[0]}, which its pattern has not")
            parts.append(number)
        return [part for part in (*parts, rule.replacement[at:]) if part != ""]

    def instead(self, found: Any) -> str:
        """What stands in the place of what was found."""
        return "".join(part if isinstance(part, str) else found.group(part) or "" for part in self.parts)


class Patterns:
    """All rules of one policy, each run over what the one before it left."""

    def __init__(self, rules: Sequence[RuleLike]) -> None:
        self._rules = [Rule(rule) for rule in rules]

    def replace(self, text: str) -> tuple[str, int]:
        """Return a whole text with everything replaced, and how many times something was."""
        times = 0
        for rule in self._rules:
            text, _, done = _certain(rule, text, 0, len(text))
            times += done
        return text, times

    def begin(self) -> tuple["Begun", ...]:
        """Return the state of a stream of which nothing has been seen."""
        return tuple(Begun() for _ in self._rules)

    def live(self, begun: Sequence["Begun"], new: str, *, final: bool, window: int) -> "Step":
        """Replace in what comes of a stream, each rule over what the one before it let go. Changes nothing that it is
        given: the state that follows is in what it returns."""
        times, after = 0, []
        for rule, state in zip(self._rules, begun, strict=True):
            text = state.before + state.waits + new
            start = len(state.before)
            new, cut, done = _certain(rule, text, start, len(text) if final else len(text) - window)
            after.append(Begun(text[max(0, cut - 1) : cut], text[cut:]))
            times += done
        return Step(done=new, begun=tuple(after), times=times)


class Begun(Struct, frozen=True):
    """What one rule has seen of a stream and not let go (`waits`), and the character before it, for `\\b` and `^`."""

    before: str = ""
    waits: str = ""


class Step(Struct, frozen=True, kw_only=True):
    """What is done with, and how it goes on."""

    done: str
    begun: tuple[Begun, ...]
    times: int

    @property
    def waits(self) -> str:
        """All that is not done with, in its order."""
        return "".join(state.waits for state in reversed(self.begun))


def _certain(rule: Rule, text: str, start: int, until: int) -> tuple[str, int, int]:
    """Replace what begins at `start` or behind it and before `until`: of that a whole window is there to be seen.

    Returns what became of it, where the rest begins, and how many times something was replaced.
    """
    parts: list[str] = []
    at = start
    times = 0
    for found in rule.pattern.finditer(text, start):
        if found.start() >= until:
            break
        parts += (text[at : found.start()], rule.instead(found))
        at, times = found.end(), times + 1
    cut = max(at, until)
    return "".join((*parts, text[at:cut])), cut, times


def _options(re2: Any) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    return options


def _words(error: BaseException) -> str:
    found = error.args[0] if error.args else ""
    return found.decode("utf-8", "replace") if isinstance(found, bytes) else str(found)
