"""Templates: mustache's variables and sections, without partials and lambdas. https://mustache.github.io/mustache.5.html

Nothing is escaped for HTML: a prompt is not a page.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

_TAG: Final = re.compile(r"\{\{(\{\s*([\w.-]+|\.)\s*\}|([#^/!&]?)\s*(.*?)\s*)\}\}", re.DOTALL)
_NAME: Final = re.compile(r"[\w.-]+")
MOST: Final = 1_000_000
"""Characters of a rendered template, each turn of a section counted as one."""


class Variable(Struct, frozen=True):
    """What a name stands for."""

    name: str


class Section(Struct, frozen=True):
    """What is said for each item of a list, or if something is there; an inverted one, if it is not."""

    name: str
    inverted: bool
    inner: tuple["Part", ...]


Part = str | Variable | Section


def parsed(text: str) -> tuple[Part, ...]:
    """Return a template's parts. Raises ValueError for one that is not well-formed, with the tag that is wrong."""
    stack: list[tuple[str, bool, list[Part]]] = [("", False, [])]
    at = 0
    for found in _TAG.finditer(text):
        stack[-1][2].append(text[at : found.start()])
        at = found.end()
        kind, name = ("&", found[2]) if found[2] else (found[3], found[4])
        if kind == "!":
            continue
        if not _NAME.fullmatch(name):
            raise ValueError(f"the template has a tag {found[0]!r} that is no variable and no section")
        if kind in ("#", "^"):
            stack.append((name, kind == "^", []))
        elif kind == "/":
            opened, inverted, inner = stack.pop()
            if not stack or opened != name:
                raise ValueError(f"the template closes {name!r}, which is not the section that is open")
            stack[-1][2].append(Section(name, inverted, _joined(inner)))
        else:
            stack[-1][2].append(Variable(name))
    if len(stack) > 1:
        raise ValueError(f"the template opens a section {stack[-1][0]!r} and does not close it")
    stack[0][2].append(text[at:])
    return _joined(stack[0][2])


def names(parts: Sequence[Part]) -> frozenset[str]:
    """Return the variables and sections that stand in a template, outside sections: those that it always needs."""
    return frozenset(part.name.partition(".")[0] for part in parts if isinstance(part, Variable) and part.name != ".")


class Rendered(Struct, frozen=True):
    """A template with its values; the names of those that were not there, for which nothing stands in the text."""

    text: str
    missing: tuple[str, ...]


class TooLong(ValueError):
    """A template makes more of its values than is sent anywhere."""


def rendered(parts: Sequence[Part], values: Mapping[str, Any]) -> Rendered:
    """Return a template with its values. Raises TooLong beyond MOST characters and steps."""
    page = _Page()
    page.render(parts, [values])
    return Rendered("".join(page.made), tuple(page.missing))


class _Page:
    """What has been made so far."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.missing: list[str] = []
        self._left = MOST

    def render(self, parts: Sequence[Part], scopes: list[Any]) -> None:
        for part in parts:
            if isinstance(part, Section):
                for scope in _scopes(_look(part.name, scopes), inverted=part.inverted):
                    self._spend(1)  # sections in sections go round without a word, too
                    self.render(part.inner, [*scopes, scope])
            elif isinstance(part, Variable):
                self._say_value(part.name, _look(part.name, scopes))
            else:
                self._say(part)

    def _say_value(self, name: str, value: Any) -> None:
        if value is None:
            self.missing.append(name)
        else:
            self._say(_text(value))

    def _say(self, text: str) -> None:
        self._spend(len(text))
        self.made.append(text)

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise TooLong(f"it makes more than {MOST} characters")


def _scopes(found: Any, *, inverted: bool) -> Sequence[Any]:
    there = found is not None and found is not False and found not in ("", [])
    if inverted:
        return () if there else ({},)
    if not there:
        return ()
    return found if isinstance(found, list) else (found,)


def _look(name: str, scopes: Sequence[Any]) -> Any:
    if name == ".":
        return scopes[-1]
    first, *rest = name.split(".")
    for scope in reversed(scopes):
        if isinstance(scope, Mapping) and first in scope:
            found = scope[first]
            for step in rest:
                found = found.get(step) if isinstance(found, Mapping) else None
            return found
    return None


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _joined(parts: Sequence[Part]) -> tuple[Part, ...]:
    return tuple(part for part in parts if part != "")
