"""From a JSON Schema to one value that it accepts: what a model that must call a tool or answer in a form would say.

Understood is what tools and response formats are written with. A `pattern` is not: that text may not match it.
"""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

DEEP = 5
FORMATS = {
    "date": "2025-01-31",
    "time": "12:00:00Z",
    "date-time": "2025-01-31T12:00:00Z",
    "duration": "PT1H",
    "email": "echo@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}

Schema = Mapping[str, Any]


def make_instance(schema: Any) -> Any:
    """Return a value for the schema, always the same one."""
    return _make(schema, schema, 0)


def _make(schema: Any, root: Any, depth: int) -> Any:
    if not isinstance(schema, Mapping):
        return "text"
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    if reduced := _reduce(schema, root, depth):
        return _make(reduced, root, depth + 1) if depth < DEEP * 4 else None
    return _typed(schema, root, depth)


def _reduce(schema: Schema, root: Any, depth: int) -> Schema | None:
    """Follow a reference, choose of several, join what must all hold."""
    rest = {key: value for key, value in schema.items() if key not in ("$ref", "anyOf", "oneOf", "allOf")}
    if isinstance(schema.get("$ref"), str):
        return {**_resolve(schema["$ref"], root), **rest}
    for word in ("anyOf", "oneOf"):
        if schema.get(word):
            return {**rest, **_choose(schema[word], depth)}
    return _join(rest, schema["allOf"], root) if schema.get("allOf") else None


def _resolve(reference: str, root: Any) -> Schema:
    found = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        found = found.get(name, {}) if name and isinstance(found, Mapping) else found
    return found if isinstance(found, Mapping) else {}


def _choose(options: Sequence[Any], depth: int) -> Schema:
    """Choose the first that says something; deep down the one that says nothing, so that recursion ends."""
    known = [option for option in options if isinstance(option, Mapping)]
    null = [option for option in known if option.get("type") == "null"]
    full = [option for option in known if option.get("type") != "null"]
    chosen = [*null, *full] if depth >= DEEP else [*full, *null]
    return chosen[0] if chosen else {}


def _join(rest: Schema, parts: Sequence[Any], root: Any) -> Schema:
    joined = dict(rest)
    for part in parts:
        other = _resolve(part["$ref"], root) if "$ref" in part else part
        properties = {**other.get("properties", {}), **joined.get("properties", {})}
        required = [*other.get("required", ()), *joined.get("required", ())]
        joined = {**other, **joined, **({"properties": properties, "required": required} if properties else {})}
    return joined


def _typed(schema: Schema, root: Any, depth: int) -> Any:
    match _kind(schema):
        case "object":
            return _object(schema, root, depth)
        case "array":
            return _array(schema, root, depth)
        case "integer" | "number" as kind:
            return _number(schema, whole=kind == "integer")
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return _string(schema)


def _kind(schema: Schema) -> Any:
    kind = schema.get("type")
    if isinstance(kind, list):
        return next((one for one in kind if one != "null"), "null")
    if kind is None:
        return "object" if "properties" in schema else "array" if "items" in schema else "string"
    return kind


def _object(schema: Schema, root: Any, depth: int) -> dict[str, Any]:
    properties = schema.get("properties", {})
    required = schema.get("required", ())
    wanted = [name for name in properties if depth < DEEP or name in required]
    return {name: _make(properties[name], root, depth + 1) for name in wanted}


def _array(schema: Schema, root: Any, depth: int) -> list[Any]:
    first = [_make(item, root, depth + 1) for item in schema.get("prefixItems", ())]
    most = schema.get("maxItems", 1)
    count = schema.get("minItems", 0) if depth >= DEEP else max(schema.get("minItems", 0), min(1, most))
    items = schema.get("items", {})
    return first + [_make(items, root, depth + 1) for _ in range(count - len(first)) if items is not False]


def _number(schema: Schema, *, whole: bool) -> float:
    candidates = _candidates(schema, whole)
    return next((number for number in candidates if _fits(number, schema)), candidates[-1])


def _candidates(schema: Schema, whole: bool) -> list[float]:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    step = schema.get("multipleOf", 1)
    ends = [number for number in (low, high) if number is not None]
    steps = [(ceil(number / step) + by) * step for number in ends for by in (0, 1, -1)]
    between = [(low + high) / 2] if len(ends) == 2 else []
    numbers = [step, 0, *ends, *steps, *between]
    return [int(number) for number in numbers if number == int(number)] if whole else numbers


def _fits(number: float, schema: Schema) -> bool:
    within: bool = schema.get("minimum", number) <= number <= schema.get("maximum", number)
    inside: bool = schema.get("exclusiveMinimum", number - 1) < number < schema.get("exclusiveMaximum", number + 1)
    return within and inside and number % schema.get("multipleOf", number or 1) == 0


def _string(schema: Schema) -> str:
    text = FORMATS.get(schema.get("format", ""), "text")
    return text.ljust(schema.get("minLength", 0), ".")[: schema.get("maxLength")]
