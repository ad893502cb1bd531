"""Writes what documents say of the code; with --check only says whether they are current.

The settings table of every first-party plugin's README is drawn from the plugin's settings class, the JSON Schema of
events from the event's class.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from trustgate.contract.event import SCHEMA_VERSION, Event
from trustgate.enforcement.plugins import Plugin, load_plugins

EVENTS = Path(__file__).resolve().parents[2] / "docs" / "events" / "request.schema.json"
FOLDER = Path(__file__).resolve().parents[2] / "plugins" / "trustgate_plugins"
TABLE = re.compile(r"(<!-- settings:[^>]*-->\n).*?(<!-- /settings -->)", re.DOTALL)


def render_table(plugin: Plugin) -> str:
    """Draw the table that belongs between the README's marks."""
    definitions = msgspec.json.schema(plugin.settings_type)["$defs"]
    rows = "".join(f"{row}\n" for row in _rows(definitions[plugin.settings_type.__name__], definitions))
    return f"\n| setting | type | default | meaning |\n|---|---|---|---|\n{rows}\n"


def _rows(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[str]:
    """A row a field; the fields of an object within follow it, by their paths."""
    for name, field in schema["properties"].items():
        default = "required" if name in schema["required"] else _default(field.get("default"))
        yield f"| `{name}` | {_kind(field)} | {default} | {field['description']} |"
        within, path = _within(field)
        for row in _rows(definitions[within], definitions) if within else ():
            yield row.replace("| `", f"| `{name}{path}.", 1)


def _within(field: Mapping[str, Any]) -> tuple[str, str]:
    """Return the definition of the object that a field (or a list in it) holds, and what its path has behind it."""
    options = field.get("anyOf", [field])
    for option in options:
        for place, path in ((option, ""), (option.get("items", {}), "[]")):
            if "$ref" in place:
                return str(place["$ref"]).rpartition("/")[2], path
    return "", ""


def _default(value: Any) -> str:
    return "none" if value in (None, "") else f"`{msgspec.json.encode(value).decode()}`"


def _kind(field: Mapping[str, Any]) -> str:
    if "anyOf" in field:
        return _kind(next(each for each in field["anyOf"] if each.get("type") != "null"))
    if "$ref" in field:
        return "object"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "pattern" in field:
        return "duration"
    return f"{field['type']} > {field['exclusiveMinimum']}" if "exclusiveMinimum" in field else str(field["type"])


def written(text: str, plugin: Plugin) -> str:
    """Return the README with its table made anew. Raises LookupError where it has no place for one."""
    if not TABLE.search(text):
        raise LookupError(f"the README of {plugin.slug} has no place for its settings table")
    return TABLE.sub(lambda marks: marks[1] + render_table(plugin) + marks[2], text)


def event_schema() -> str:
    """Return the JSON Schema of what is said of a request."""
    schema = msgspec.json.schema(Event)
    about = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:trustgate:events:request:v{SCHEMA_VERSION}",
        "title": f"TrustGate request event, schema_version {SCHEMA_VERSION}",
    }
    return json.dumps(about | schema, indent=2) + "\n"


def main(arguments: list[str]) -> int:
    """Return the exit status: 1 when a document is not what it should be."""
    stale = 0
    for plugin in load_plugins():
        readme = FOLDER / plugin.slug / "README.md"
        text = readme.read_text("utf-8")
        current = written(text, plugin)
        if "--check" not in arguments:
            readme.write_text(current, "utf-8")
        elif current != text:
            print(f"{readme} is not what the code says: run `make openapi` and commit it", file=sys.stderr)
            stale = 1
    if "--check" not in arguments:
        EVENTS.write_text(event_schema(), "utf-8")
    elif not EVENTS.exists() or EVENTS.read_text("utf-8") != event_schema():
        print(f"{EVENTS} is not what the code says: run `make openapi` and commit it", file=sys.stderr)
        stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
