"""Instances made from schemas fit them: held against a validator of the part of JSON Schema that is understood."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustgate.providers.echo.instances import make_instance

KINDS: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def fits(value: Any, schema: Any) -> bool:
    if schema is True or schema == {}:
        return True
    if "enum" in schema:
        return value in schema["enum"]
    if "anyOf" in schema:
        return any(fits(value, option) for option in schema["anyOf"])
    if "allOf" in schema:
        return all(fits(value, part) for part in schema["allOf"])
    kind = schema["type"]
    return type(value) in KINDS[kind] and _is_within(value, kind, schema)


def _is_within(value: Any, kind: str, schema: Any) -> bool:
    match kind:
        case "object":
            known = schema.get("properties", {})
            return set(schema.get("required", ())) <= value.keys() <= known.keys() and all(
                fits(value[name], known[name]) for name in value
            )
        case "array":
            enough = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
            return enough and all(fits(item, schema.get("items", {})) for item in value)
        case "string":
            return bool(schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)))
        case "integer" | "number":
            return _number_fits(value, schema)
    return True


def _number_fits(value: float, schema: dict[str, Any]) -> bool:
    return bool(
        schema.get("minimum", value) <= value <= schema.get("maximum", value)
        and schema.get("exclusiveMinimum", value - 1) < value < schema.get("exclusiveMaximum", value + 1)
        and value % schema.get("multipleOf", value or 1) == 0
    )


@st.composite
def integers(draw: st.DrawFn) -> dict[str, Any]:
    low, width = draw(st.integers(-50, 50)), draw(st.integers(2, 60))
    bounds = draw(st.sampled_from([("minimum", "maximum"), ("exclusiveMinimum", "exclusiveMaximum")]))
    kept = draw(st.sampled_from([bounds, bounds[:1], bounds[1:], ()]))
    schema = {
        "type": "integer",
        **{name: value for name, value in zip(bounds, (low, low + width), strict=True) if name in kept},
    }
    return {**schema, "multipleOf": draw(st.integers(1, max(1, width - 1)))} if draw(st.booleans()) else schema


@st.composite
def numbers(draw: st.DrawFn) -> dict[str, Any]:
    low, width = draw(st.floats(-50, 50)), draw(st.floats(0.001, 60))
    bounds = draw(st.sampled_from([("minimum", "maximum"), ("exclusiveMinimum", "exclusiveMaximum")]))
    kept = draw(st.sampled_from([bounds, bounds[:1], bounds[1:], ()]))
    return {
        "type": "number",
        **{name: value for name, value in zip(bounds, (low, low + width), strict=True) if name in kept},
    }


@st.composite
def strings(draw: st.DrawFn) -> dict[str, Any]:
    shortest = draw(st.integers(0, 12))
    return {"type": "string", "minLength": shortest, "maxLength": shortest + draw(st.integers(0, 12))}


leaves: st.SearchStrategy[Any] = st.one_of(
    integers(),
    numbers(),
    strings(),
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"type": "string"}, {}, True]),
    st.builds(lambda values: {"enum": values}, st.lists(st.integers() | st.text() | st.none(), min_size=1)),
)


def inner(schemas: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    properties = st.dictionaries(st.text(min_size=1, max_size=4), schemas, max_size=4)
    objects = properties.flatmap(
        lambda known: st.builds(
            lambda required: {"type": "object", "properties": known, "required": sorted(required)},
            st.sets(st.sampled_from(sorted(known))) if known else st.just(set()),
        )
    )
    arrays = st.builds(
        lambda items, least, more: {"type": "array", "items": items, "minItems": least, "maxItems": least + more},
        schemas,
        st.integers(0, 3),
        st.integers(0, 2),
    )
    either = st.builds(lambda options: {"anyOf": options}, st.lists(schemas, min_size=1, max_size=3))
    return objects | arrays | either


@given(schema=st.recursive(leaves, inner, max_leaves=12))
@settings(max_examples=500, deadline=None)
def test_an_instance_fits_its_schema(schema: Any) -> None:
    assert fits(make_instance(schema), schema)


def test_a_reference_is_followed() -> None:
    schema = {"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "integer", "minimum": 3}}}
    assert make_instance(schema) == 3


def test_recursion_ends() -> None:
    node = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
        },
        "required": ["name", "children", "next"],
    }
    made = make_instance({"$defs": {"node": node}, "$ref": "#/$defs/node"})
    assert made["name"] == "text"
    deepest = made
    while deepest["next"]:
        deepest = deepest["next"]
    assert deepest["next"] is None


def test_a_schema_that_only_refers_to_itself_is_survived() -> None:
    assert make_instance({"$ref": "#"}) is None


@pytest.mark.parametrize(
    ("schema", "instance"),
    [
        ({"const": 7}, 7),
        ({"type": ["null", "integer"]}, 1),
        ({"properties": {"a": {"type": "boolean"}}}, {"a": True}),
        ({"items": {"type": "null"}}, [None]),
        ({"type": "string", "format": "date"}, "2025-01-31"),
        (
            {"allOf": [{"type": "object", "properties": {"a": {"const": 1}}}, {"properties": {"b": {"const": 2}}}]},
            {"b": 2, "a": 1},
        ),
        ({"type": "array", "prefixItems": [{"const": 1}, {"const": 2}], "items": False}, [1, 2]),
        (True, "text"),
    ],
)
def test_what_schemas_are_written_with(schema: Any, instance: Any) -> None:
    assert make_instance(schema) == instance
