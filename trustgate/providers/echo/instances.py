"""From a JSON Schema to one value that it accepts: what a model that must call a tool or answer in a form would say.

Understood is what tools and response formats are written with. A `pattern` is not: that text may not match it. A schema
comes from a caller, so what it can make us build is bounded.
"""

from collections.abc import Mapping, Sequence
from math import ceil, floor
from typing import Any

DEEP = 5
MOST_VALUES = 5000
LONGEST_TEXT = 10_000
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


class BadSchema(ValueError):
    """A schema that is not one, or that asks for more than anybody should say."""


def make_instance(schema: Any) -> Any:
    """Return a value for the schema, always the same one. Raises BadSchema."""
    try:
        return _Maker(schema).make(schema, 0)
    except (TypeError, AttributeError, LookupError, ArithmeticError, RecursionError) as error:
        # a schema with something where something else belongs fails where it is used, in as many ways as there are
        raise BadSchema(f"it cannot be read as a JSON Schema ({error})") from error


class _Maker:
    """Makes one instance: follows references into `root`, and counts what it makes."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._left = MOST_VALUES

    def make(self, schema: Any, depth: int) -> Any:
        """Return a value for a part of the root."""
        self._left -= 1
        if self._left < 0:
            raise BadSchema(f"it asks for more than {MOST_VALUES} values")
        if not isinstance(schema, Mapping):
            return _anything(schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return schema["enum"][0]
        if reduced := self._reduce(schema, depth):
            return self.make(reduced, depth + 1) if depth < DEEP * 4 else None
        return self._typed(schema, depth)

    def _reduce(self, schema: Schema, depth: int) -> Schema | None:
        """Follow a reference, choose of several, join what must all hold; None where there is nothing of these."""
        rest = {key: value for key, value in schema.items() if key not in ("$ref", "anyOf", "oneOf", "allOf")}
        if "$ref" in schema:
            return {**self._resolve(schema["$ref"]), **rest}
        for word in ("anyOf", "oneOf"):
            if schema.get(word):
                return {**rest, **_choose(schema[word], depth)}
        return self._join(rest, schema["allOf"]) if schema.get("allOf") else None

    def _resolve(self, reference: str) -> Schema:
        found = self._root
        for part in filter(None, reference.removeprefix("#").split("/")):
            found = found[part.replace("~1", "/").replace("~0", "~")]
        return {**found}

    def _join(self, rest: Schema, parts: Sequence[Any]) -> Schema:
        joined = dict(rest)
        for part in parts:
            other = self._resolve(part["$ref"]) if "$ref" in part else part
            properties = {**other.get("properties", {}), **joined.get("properties", {})}
            required = [*other.get("required", ()), *joined.get("required", ())]
            joined = {**other, **joined, **({"properties": properties, "required": required} if properties else {})}
        return joined

    def _typed(self, schema: Schema, depth: int) -> Any:
        match _kind(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "integer" | "number" as kind:
                return _number(schema, whole=kind == "integer")
            case "boolean":
                return True
            case "null":
                return None
            case "string":
                return _string(schema)
            case unknown:
                raise BadSchema(f"{unknown!r} is not a type")

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        properties = schema.get("properties", {}).items()
        required = schema.get("required", ())
        return {name: self.make(part, depth + 1) for name, part in properties if depth < DEEP or name in required}

    def _array(self, schema: Schema, depth: int) -> list[Any]:
        first = [self.make(item, depth + 1) for item in schema.get("prefixItems", ())]
        least = schema.get("minItems", 0)
        count = least if depth >= DEEP else max(least, min(1, schema.get("maxItems", 1)))
        items = schema.get("items", {})
        return first + [self.make(items, depth + 1) for _ in range(count - len(first)) if items is not False]


def _anything(schema: Any) -> str:
    if isinstance(schema, bool):
        return "text"
    raise BadSchema("it has something else where a schema belongs")


def _choose(options: Sequence[Any], depth: int) -> Schema:
    """Choose the first that says something; deep down the one that says nothing, so that recursion ends."""
    known: list[Schema] = [{} if option is True else option for option in options]
    null = [option for option in known if option.get("type") == "null"]
    full = [option for option in known if option.get("type") != "null"]
    return (null + full if depth >= DEEP else full + null)[0]


def _kind(schema: Schema) -> Any:
    kind = schema.get("type")
    if isinstance(kind, list):
        return next((one for one in kind if one != "null"), "null")
    if kind is None:
        return "object" if "properties" in schema else "array" if "items" in schema else "string"
    return kind


def _number(schema: Schema, *, whole: bool) -> float:
    candidates = _candidates(schema, whole)
    return next((number for number in candidates if _fits(number, schema)), candidates[-1])


def _candidates(schema: Schema, whole: bool) -> list[float]:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    step = schema.get("multipleOf", 1)
    ends = [number for number in (low, high) if number is not None]
    steps = [(rounded(number / step) + by) * step for number in ends for rounded in (ceil, floor) for by in (0, 1, -1)]
    between = [(low + high) / 2] if len(ends) == 2 else []
    numbers = [step, 0, *ends, *steps, *between]
    return [int(number) for number in numbers if number == int(number)] if whole else numbers


def _fits(number: float, schema: Schema) -> bool:
    within: bool = schema.get("minimum", number) <= number <= schema.get("maximum", number)
    inside: bool = schema.get("exclusiveMinimum", number - 1) < number < schema.get("exclusiveMaximum", number + 1)
    return within and inside and number % schema.get("multipleOf", number or 1) == 0


def _string(schema: Schema) -> str:
    text = FORMATS.get(schema.get("format", ""), "text")
    if schema.get("minLength", 0) > LONGEST_TEXT:
        raise BadSchema(f"it asks for a text of more than {LONGEST_TEXT} characters")
    return text.ljust(schema.get("minLength", 0), ".")[: schema.get("maxLength")]
