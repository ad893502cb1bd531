"""Bytes and query parameters → typed forms. Whatever cannot be read is a 4xx that says what can.

Rule 1: a body is a JSON object in UTF-8. Unknown fields are ignored, but those of later versions are refused by name,
and so is whatever is not known within a field that its form calls `exact`.
Rule 2: nothing that storage could not hold gets past here: no NUL in a text, no number beyond 64 bits, no deep nesting.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct, inspect, structs

from trustgate.contract.errors import Refused
from trustgate.planes.admin.services.explain import explain, unknown_within
from trustgate.planes.admin.services.problems import invalid, not_served

S = TypeVar("S", bound=Struct)

DEEPEST: Final = 32
_EMPTY: Final[tuple[object, ...]] = (None, "", [], {})
_CODES: Final = {"page": "pagination", "size": "pagination", "sort": "sort", "order": "sort"}
_ANY_CASE: Final = ("order",)
_FLAGS: Final = dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True) | dict.fromkeys(
    ("0", "f", "F", "FALSE", "false", "False"), False
)


def read_body(raw: bytes, content_type: str, form: type[S], *, optional: bool) -> S:
    """Return the form that a body holds. Raises Refused."""
    if optional and not raw:
        return form()
    if not content_type.partition(";")[0].strip().lower().endswith("json"):
        raise invalid("the body must be JSON: send it with content-type application/json")
    fields = _object(raw)
    _check_later(fields, form)
    for name, kind in getattr(form, "exact", {}).items():
        unknown_within(kind, fields.get(name), name)
    try:
        return msgspec.convert(fields, form)
    except msgspec.ValidationError as error:
        raise invalid(explain(error)) from None


def read_query(given: Sequence[tuple[str, str]], form: type[S]) -> S:
    """Return the form that query parameters hold; empty ones are absent, unknown ones are ignored. Raises Refused."""
    values: dict[str, Any] = {}
    for field in structs.fields(form):
        texts = [text for name, text in given if name == field.encode_name and text]
        if texts:
            values[field.name] = _parameter(field.encode_name, field.type, texts)
    return form(**values)


def _object(raw: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(raw)
        _check(value, "", DEEPEST)
    except RecursionError:
        raise _too_deep() from None
    except UnicodeDecodeError:
        raise invalid("the body is not JSON: it holds bytes that are no UTF-8") from None
    except msgspec.MsgspecError as error:
        raise invalid(f"the body is not JSON: {explain(error)}") from None
    if not isinstance(value, dict):
        raise invalid("the body must be a JSON object, such as {}")
    return value


def _check(value: Any, path: str, depth: int) -> None:
    if depth == 0:
        raise _too_deep()
    match value:
        case str():
            _check_text(value, path)
        case int():
            if not -(2**63) <= value < 2**63:
                raise invalid(f"{path}: the number does not fit into 64 bits")
        case list():
            for i, item in enumerate(value):
                _check(item, f"{path}[{i}]", depth - 1)
        case dict():
            for key, item in value.items():
                _check_text(key, path)
                _check(item, f"{path}.{key}" if path else key, depth - 1)


def _check_text(text: str, path: str) -> None:
    if "\0" in text:
        raise invalid(f"{path or 'the body'} holds a NUL character, which cannot be stored: remove it")


def _too_deep() -> Refused:
    return invalid(f"the body is nested too deeply: use at most {DEEPEST} levels")


def _check_later(fields: Mapping[str, Any], form: type[Struct]) -> None:
    """A field that says nothing is no harm: clients echo what they have read."""
    for name in getattr(form, "later", ()):
        if fields.get(name) not in _EMPTY:
            raise not_served(name)


def _parameter(name: str, kind: Any, texts: Sequence[str]) -> Any:
    said = [text.lower() for text in texts] if name in _ANY_CASE else texts
    try:
        return msgspec.convert(_plain(kind, said), kind)
    except (msgspec.ValidationError, KeyError, ValueError) as error:
        code = f"invalid_{_CODES.get(name, 'filter')}"
        detail = f": {explain(error)}" if isinstance(error, msgspec.ValidationError) else ""
        raise Refused(code, f"invalid {name} parameter{detail}", status=422) from None


def _plain(kind: Any, texts: Sequence[str]) -> Any:
    """Return what the texts stand for: a list may be repeated or comma-separated, of anything else the last counts."""
    if any("\0" in text for text in texts):
        raise ValueError("NUL")
    match _inner(kind):
        case inspect.ListType():
            return [part.strip() for text in texts for part in text.split(",") if part.strip()]
        case inspect.BoolType():
            return _FLAGS[texts[-1]]
        case inspect.IntType():
            return _integer(texts[-1])
    return texts[-1]


@lru_cache(maxsize=256)
def _inner(kind: Any) -> inspect.Type:
    """Return what a parameter is, without its annotations and without "or nothing"."""
    node = inspect.type_info(kind)
    while isinstance(node, inspect.Metadata | inspect.UnionType):
        node = node.type if isinstance(node, inspect.Metadata) else node.types[0]
    return node


def _integer(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError(text)
    return int(text)
