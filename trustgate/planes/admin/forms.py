"""A settings type → the fields of a form that edits it. Nothing about a field is written down twice.

Types are `string integer number boolean duration enum object array map`; `secret` fields are masked when read.
"""

from functools import lru_cache
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct, inspect

from trustgate.contract.policy import Duration

FieldType = Literal["string", "integer", "number", "boolean", "duration", "enum", "object", "array", "map"]


class Choice(Struct, frozen=True):
    """One value of an enum."""

    value: Any
    label: str


class Field(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One field: an object has `fields`, an array `item`, a map `value`."""

    key: str
    label: str
    type: FieldType
    description: str = ""
    required: bool = False
    secret: bool = False
    default: Any = None
    enum: tuple[Choice, ...] = ()
    fields: "tuple[Field, ...]" = ()
    item: "Field | None" = None
    value: "Field | None" = None


def fields_of(kind: type[Struct]) -> tuple[Field, ...]:
    """Return the fields of a struct, in order."""
    node = inspect.type_info(kind)
    assert isinstance(node, inspect.StructType)
    return _fields(node)


def label_of(key: str) -> str:
    """Write a key as a label: `base_url` → `Base URL`."""
    words = key.replace("-", "_").split("_")
    return " ".join([words[0].capitalize(), *words[1:]]).replace(" url", " URL").replace("Api", "API")


def _fields(node: inspect.StructType) -> tuple[Field, ...]:
    return tuple(
        _field(field.encode_name, field.type, required=field.required, default=_default(field)) for field in node.fields
    )


def _field(key: str, node: inspect.Type, *, required: bool = False, default: Any = None) -> Field:
    plain, notes = _unwrapped(node)
    more: dict[str, Any] = {}
    match plain:
        case inspect.LiteralType(values=values):
            more["enum"] = tuple(Choice(value, label_of(str(value)) if value else "None") for value in values)
        case inspect.StructType():
            more["fields"] = _fields(plain)
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            more["item"] = _field("item", item)
        case inspect.DictType(value_type=value):
            more["value"] = _field("value", value)
    return Field(
        key=key,
        label=label_of(key),
        type=_type(plain),
        required=required,
        default=default,
        secret=bool(notes.get("secret")),
        description=notes.get("description", ""),
        **more,
    )


def _unwrapped(node: inspect.Type) -> tuple[inspect.Type, dict[str, Any]]:
    """Return what a field holds, without its annotations and without "or nothing", and what they say."""
    notes: dict[str, Any] = {}
    while isinstance(node, inspect.Metadata | inspect.UnionType):
        if isinstance(node, inspect.Metadata):
            notes = {**(node.extra_json_schema or {}), **(node.extra or {}), **notes}
            node = node.type
        else:
            node = next(member for member in node.types if not isinstance(member, inspect.NoneType))
    return node, notes


def _type(node: inspect.Type) -> FieldType:
    match node:
        case inspect.BoolType():
            return "boolean"
        case inspect.IntType():
            return "integer"
        case inspect.FloatType():
            return "number"
        case inspect.LiteralType() | inspect.EnumType():
            return "enum"
        case inspect.StructType():
            return "object"
        case inspect.ListType() | inspect.VarTupleType():
            return "array"
        case inspect.DictType() | inspect.AnyType():
            return "map"
        case inspect.StrType(pattern=pattern) if pattern == _duration_pattern():
            return "duration"
    return "string"


@lru_cache(maxsize=1)
def _duration_pattern() -> str | None:
    node, _ = _unwrapped(inspect.type_info(Duration))
    return node.pattern if isinstance(node, inspect.StrType) else None


def _default(field: inspect.Field) -> Any:
    """Return a default worth showing: nothing, empty and nested ones are what an empty form says anyway."""
    value = None if field.default in _ABSENT else field.default
    return msgspec.to_builtins(value) if isinstance(value, str | int | float | bool | tuple) and value != () else None


_ABSENT: Final[tuple[Any, ...]] = (msgspec.NODEFAULT, None, "")
