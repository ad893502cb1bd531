"""Gemini's own schemas, a dialect of OpenAPI, as JSON schema; and which schemas OpenAI can follow to the letter.

https://ai.google.dev/api/caching#Schema and https://platform.openai.com/docs/guides/structured-outputs
"""

from collections.abc import Mapping
from typing import Any, Final

from trustgate.providers.hub import CannotSay, Json
from trustgate.providers.pairs.gemini_to_openai.reading import named
from trustgate.providers.pairs.reading import an_object

_NUMBERS: Final = frozenset(
    ("minItems", "maxItems", "minProperties", "maxProperties", "minLength", "maxLength", "minimum", "maximum")
)
_TYPES: Final = ("", "string", "number", "integer", "boolean", "array", "object", "null")
"""Types by their numbers, which some of Google's own clients write."""
_RENAMED: Final[Mapping[str, str]] = {"defs": "$defs", "ref": "$ref", "example": "examples"}
_DEEPEST: Final = 100


def to_json_schema(given: Any, path: str, depth: int = 0) -> Json:
    """Return the same schema as JSON schema has it. Raises CannotSay for one that is none.

    Types are in small letters, null is a type, counts are numbers, and properties stand in the order that is wanted.
    """
    if depth > _DEEPEST:
        raise CannotSay(path, "This schema is nested too deeply.")
    schema = named(given, path)
    told: Json = {}
    for name, value in schema.items():
        if value is not None and name not in ("nullable", "propertyOrdering"):
            told[_RENAMED.get(name, name)] = _told(name, value, path, depth)
    if told.get("format") == "enum":
        del told["format"]
    if isinstance(order := schema.get("propertyOrdering"), list) and isinstance(told.get("properties"), dict):
        told["properties"] = _ordered(told["properties"], order)
    if schema.get("nullable"):
        _add_null(told)
    return told


def _told(name: str, value: Any, path: str, depth: int) -> Any:
    if name == "type":
        return [_type(each) for each in value] if isinstance(value, list) else _type(value)
    if name in ("properties", "defs", "$defs"):
        found = an_object(value, f"{path}.{name}")
        return {key: to_json_schema(each, path, depth + 1) for key, each in found.items()}
    if name == "anyOf" and isinstance(value, list):
        return [to_json_schema(each, path, depth + 1) for each in value]
    if name in ("items", "additionalProperties") and isinstance(value, dict):
        return to_json_schema(value, path, depth + 1)
    if name == "example":
        return [value]
    return int(value) if name in _NUMBERS and isinstance(value, str) and value.isdecimal() else value


def _type(value: Any) -> str:
    if isinstance(value, int):
        return _TYPES[value] if 0 < value < len(_TYPES) else ""
    return str(value).lower()


def _ordered(properties: Json, order: list[Any]) -> Json:
    first = [name for name in order if isinstance(name, str) and name in properties]
    return {**{name: properties[name] for name in first}, **properties}


def _add_null(told: Json) -> None:
    if isinstance(told.get("type"), str):
        told["type"] = [told["type"], "null"]
        if isinstance(told.get("enum"), list):
            told["enum"] = [*told["enum"], None]
    elif isinstance(told.get("anyOf"), list):
        told["anyOf"] = [*told["anyOf"], {"type": "null"}]


def is_closed(schema: Any, depth: int = 0) -> bool:
    """Whether every object in a schema lists all that it may have and needs all of it, as OpenAI's strict ones must."""
    if isinstance(schema, list):
        return all(is_closed(each, depth + 1) for each in schema)
    if not isinstance(schema, dict):
        return True
    if depth > _DEEPEST:
        return False
    if schema.get("type") == "object" or "properties" in schema:
        properties, required = schema.get("properties"), schema.get("required")
        names = set(properties) if isinstance(properties, dict) else set()
        needed = {name for name in required if isinstance(name, str)} if isinstance(required, list) else set()
        if schema.get("additionalProperties") is not False or names != needed:
            return False
    return all(is_closed(value, depth + 1) for name, value in schema.items() if name not in ("enum", "examples"))
