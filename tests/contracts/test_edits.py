"""Edits change the places that they name and nothing else."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trustgate.contract.edits import REMOVED, Inserted, Path, edited

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)
BODIES = st.dictionaries(st.sampled_from("abcd"), VALUES, min_size=1, max_size=4)


def places(value: Any, path: Path = ()) -> list[Path]:
    """Every place in a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in inner for place in places(child, (*path, key)))]


def plainly(value: Any, edits: dict[Path, Any], path: Path = ()) -> Any:
    """The edits as anybody would make them on a parsed body: on the places of the body as it was."""
    if path in edits:
        return edits[path]
    if isinstance(value, dict):
        made = {key: plainly(child, edits, (*path, key)) for key, child in value.items()}
        return {key: child for key, child in made.items() if child is not REMOVED}
    if not isinstance(value, list):
        return value
    items: list[Any] = []
    for at in range(len(value) + 1):
        here = (*path, at)
        if isinstance(edits.get(here), Inserted):
            items += [*edits[here].values, *value[at : at + 1]]
        elif at < len(value):
            made = plainly(value[at], edits, here)
            items += [] if made is REMOVED else [made]
    return items


@st.composite
def bodies_and_edits(draw: st.DrawFn) -> tuple[dict[str, Any], dict[Path, Any]]:
    body = draw(BODIES)
    chosen = draw(st.lists(st.sampled_from(places(body)[1:]), max_size=5, unique=True))
    edits: dict[Path, Any] = {}
    for path in chosen:
        in_list = isinstance(path[-1], int)
        kinds = [VALUES, st.just(REMOVED)] + ([st.builds(Inserted, VALUES, VALUES)] if in_list else [])
        edits[path] = draw(st.one_of(kinds))
    return body, edits


def is_below(path: Path, others: dict[Path, Any]) -> bool:
    return any(path[:size] in others for size in range(1, len(path)))


@given(bodies_and_edits())
def test_edits_are_made_where_they_stand_and_nowhere_else(case: tuple[dict[str, Any], dict[Path, Any]]) -> None:
    body, edits = case
    above = {path: value for path, value in edits.items() if not is_below(path, edits)}
    assert json.loads(edited(json.dumps(body).encode(), edits)) == plainly(body, above)


@given(VALUES, VALUES)
def test_what_is_not_touched_keeps_its_bytes(kept: Any, new: Any) -> None:
    spelled = json.dumps({"kept here": kept}, indent=1).encode()
    raw = b'{ "a" : {"x": 1.50e0, "kept":%b}, "list": [ %b, {"b": 00.0}]}'.replace(b"00.0", b"0.0") % (spelled, spelled)
    changed = edited(raw, {("list", 1, "b"): new, ("a", "x"): REMOVED})
    assert changed.count(spelled) == 2
    assert json.loads(changed) == {"a": {"kept": {"kept here": kept}}, "list": [{"kept here": kept}, {"b": new}]}


@pytest.mark.parametrize("path", [("a", "b", "c"), ("list", 3), ("list", 0, "x"), ("nowhere", "x"), (0,)])
def test_a_path_that_leads_nowhere_is_told(path: Path) -> None:
    with pytest.raises((LookupError, ValueError)):
        edited(b'{"a": {"b": 1}, "list": [1]}', {path: 2})


def test_adding_behind_the_last() -> None:
    raw = b'{"list": [1.0], "empty": []}'
    assert edited(raw, {("list", 1): Inserted(2, 3), ("empty", 0): 4, ("new",): {}}) == (
        b'{"list":[1.0,2,3],"empty":[4],"new":{}}'
    )
