"""JSON schemas that are to be followed to the letter: what Anthropic does not enforce it refuses.

https://platform.claude.com/docs/en/build-with-claude/structured-outputs, "JSON Schema limitations".
"""

from typing import Any, Final

from trustgate.providers.hub import CannotSay, Json, Losses

_REFUSED: Final = frozenset(
    (
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength"),
        *("maxItems", "uniqueItems", "minProperties", "maxProperties", "patternProperties", "propertyNames"),
    )
)
_FORMATS: Final = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")
)
_MAPS: Final = frozenset(("properties", "$defs", "definitions"))
_LISTS: Final = frozenset(("anyOf", "allOf", "oneOf"))
_DEEPEST: Final = 100


def followed(schema: Json, path: str, losses: Losses, depth: int = 0) -> Json:
    """Return the schema without what would be refused; every such keyword is a loss under `path`. Raises CannotSay.

    Objects are closed, as Anthropic insists. What may be one of several may be any of them: there is no `oneOf`.
    """
    if depth > _DEEPEST:
        raise CannotSay(path, "This schema is nested too deeply.")
    told: Json = {}
    for name, value in schema.items():
        if _is_refused(name, value):
            losses.drop(f"{path}.{name}")
        elif name in _MAPS and isinstance(value, dict):
            told[name] = {key: _within(each, path, losses, depth) for key, each in value.items()}
        elif name in _LISTS and isinstance(value, list):
            told["anyOf" if name == "oneOf" else name] = [_within(each, path, losses, depth) for each in value]
        else:
            told[name] = _within(value, path, losses, depth) if name == "items" else value
    if _is_object(schema):
        told["additionalProperties"] = False
    return told


def _within(value: Any, path: str, losses: Losses, depth: int) -> Any:
    return followed(value, path, losses, depth + 1) if isinstance(value, dict) else value


def _is_object(schema: Json) -> bool:
    kind = schema.get("type")
    return kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in schema


def _is_refused(name: str, value: Any) -> bool:
    if name == "minItems":
        return value not in (0, 1)
    if name == "format":
        return value not in _FORMATS
    if name == "additionalProperties":
        return value is not False
    return name in _REFUSED
