"""What readers of events may rely on: the published schema, and that a version of it only ever grows."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # its stubs are another package

from trustgate.contract.event import SCHEMA_VERSION
from trustgate.telemetry.record import Record, build_event

ROOT = Path(__file__).parents[2]
PUBLISHED = json.loads((ROOT / "docs" / "events" / "request.schema.json").read_text("utf-8"))
FROZEN = json.loads((Path(__file__).parent / f"event_v{SCHEMA_VERSION}.schema.json").read_text("utf-8"))
Schema = Mapping[str, Any]


def fields(schema: Schema) -> Iterator[tuple[str, str, Any, bool]]:
    """Yield every field of every object: its object, its name, its type, and whether it is always there."""
    for name, definition in schema["$defs"].items():
        for field, kind in definition.get("properties", {}).items():
            said = {key: value for key, value in kind.items() if key not in ("default", "description")}
            yield name, field, said, field in definition.get("required", ())


def broken(before: Schema, after: Schema) -> list[str]:
    """Say what a reader of the one could not read in the other."""
    now = {(owner, field): (kind, always) for owner, field, kind, always in fields(after)}
    found = []
    for owner, field, kind, always in fields(before):
        if (owner, field) not in now:
            found.append(f"{owner}.{field} is gone")
        elif always and not now[owner, field][1]:
            found.append(f"{owner}.{field} is not always there any more")
        elif now[owner, field][0] != kind:
            found.append(f"{owner}.{field} is of another kind")
    return found


def test_an_event_is_what_the_schema_says(answered: Record) -> None:
    event = json.loads(msgspec.json.encode(build_event(answered)))
    Draft202012Validator.check_schema(PUBLISHED)
    assert not list(Draft202012Validator(PUBLISHED).iter_errors(event))
    assert list(Draft202012Validator(PUBLISHED).iter_errors(event | {"status": "fine"}))


def test_the_schema_of_a_version_only_grows() -> None:
    assert broken(FROZEN, PUBLISHED) == [], "raise SCHEMA_VERSION, and freeze a schema of its own"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda schema: schema["$defs"]["EventStatus"]["properties"].pop("code"), "EventStatus.code is gone"),
        (lambda schema: schema["$defs"]["EventStatus"]["required"].remove("code"), "EventStatus.code is not always"),
        (
            lambda schema: schema["$defs"]["EventStatus"]["properties"]["code"].update(type="string"),
            "EventStatus.code is of another kind",
        ),
    ],
)
def test_what_breaks_readers_is_noticed(change: Any, told: str) -> None:
    after = json.loads(json.dumps(PUBLISHED))
    change(after)
    (said,) = broken(FROZEN, after)
    assert told in said


def test_what_clickhouse_takes_out_of_an_event_is_in_it() -> None:
    text = (ROOT / "docs" / "clickhouse.md").read_text("utf-8")
    paths = [re.findall(r"'(\w+)'", call) for call in re.findall(r"JSON(?:Extract)?\w*\(raw, ([^)]*)\)", text)]
    assert len(paths) > 15
    for path in paths:
        schema: Any = PUBLISHED["$defs"]["Event"]
        for name in path:
            assert name in schema["properties"], path
            schema = resolved(schema["properties"][name])


def resolved(schema: Any) -> Any:
    for option in schema.get("anyOf", [schema]):
        if "$ref" in option:
            return PUBLISHED["$defs"][option["$ref"].rpartition("/")[2]]
    return schema
