"""Templates: mustache's variables and sections, without partials and lambdas. https://mustache.github.io/mustache.5.html

Nothing is escaped for HTML: a prompt is not a page.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

_TAG: Final = re.compile(r"\{\{(\{\s*([\w.-]+|\.)\s*\}|([#^/!&]?)\s*(.*?)\s*)\}\}", re.DOTALL)
_NAME: Final = re.compile(r"[\w.-]+")
MOST: Final = 1_000_000
"""Characters of a rendered template."""


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


def rendered(parts: Sequence[Part], values: Mapping[str, Any], missing: Callable[[str], str]) -> str:
    """Return a template with its values. `missing` is asked for what is not there. Raises ValueError beyond MOST."""
    made: list[str] = []
    _render(parts, [values], missing, made, [0])
    return "".join(made)


def _render(
    parts: Sequence[Part], scopes: list[Any], missing: Callable[[str], str], made: list[str], size: list[int]
) -> None:
    for part in parts:
        if isinstance(part, Section):
            found = _look(part.name, scopes)
            for scope in _scopes(found, inverted=part.inverted):
                _render(part.inner, [*scopes, scope], missing, made, size)
            continue
        if isinstance(part, Variable):
            value = _look(part.name, scopes)
            text = missing(part.name) if value is None else _text(value)
        else:
            text = part
        size[0] += len(text)
        if size[0] > MOST:
            raise ValueError(f"the template makes more than {MOST} characters")
        made.append(text)


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
