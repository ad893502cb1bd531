"""The settings table of every first-party plugin's README is the one that its settings class makes.

Run as a program this file writes the tables: `python tests/plugins/test_readmes.py`.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from trustgate.enforcement.plugins import Plugin, load_plugins

FOLDER = Path(__file__).parents[2] / "plugins" / "trustgate_plugins"
PLUGINS = {plugin.slug: plugin for plugin in load_plugins()}
TABLE = re.compile(r"(<!-- settings:[^>]*-->\n).*?(<!-- /settings -->)", re.DOTALL)


def render_table(plugin: Plugin) -> str:
    """Draw the table that belongs between the README's marks."""
    (schema,) = msgspec.json.schema(plugin.settings_type)["$defs"].values()
    rows = "".join(f"{row}\n" for row in _rows(schema))
    return f"\n| setting | type | default | meaning |\n|---|---|---|---|\n{rows}\n"


def _rows(schema: Mapping[str, Any]) -> Iterator[str]:
    for name, field in schema["properties"].items():
        default = "required" if name in schema["required"] else _default(field.get("default"))
        yield f"| `{name}` | {_kind(field)} | {default} | {field['description']} |"


def _default(value: Any) -> str:
    return "none" if value in (None, "") else f"`{msgspec.json.encode(value).decode()}`"


def _kind(field: Mapping[str, Any]) -> str:
    if "anyOf" in field:
        return _kind(field["anyOf"][0])
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "pattern" in field:
        return "duration"
    return f"{field['type']} > {field['exclusiveMinimum']}" if "exclusiveMinimum" in field else str(field["type"])


def written(text: str, plugin: Plugin) -> str:
    """Return the README with its table made anew."""
    return TABLE.sub(lambda marks: marks[1] + render_table(plugin) + marks[2], text)


def test_every_plugin_is_found() -> None:
    assert {"rate_limiter", "request_size_limiter"} <= PLUGINS.keys()


@pytest.mark.parametrize("slug", PLUGINS)
def test_the_settings_table_is_current(slug: str) -> None:
    text = (FOLDER / slug / "README.md").read_text("utf-8")
    assert TABLE.search(text), "the README has no place for its settings table"
    assert text == written(text, PLUGINS[slug]), "run: python tests/plugins/test_readmes.py"


@pytest.mark.parametrize("slug", PLUGINS)
def test_a_readme_has_an_example_that_names_the_policy(slug: str) -> None:
    text = (FOLDER / slug / "README.md").read_text("utf-8")
    assert text.startswith(f"# {slug}\n")
    assert f'"slug": "{slug}"' in text.partition("## Example")[2]


@pytest.mark.parametrize("slug", PLUGINS)
def test_the_example_settings_are_accepted(slug: str) -> None:
    text = (FOLDER / slug / "README.md").read_text("utf-8")
    examples = re.findall(r'"settings": (\{.*?\})', text)
    assert examples
    for example in examples:
        PLUGINS[slug].parse(msgspec.json.decode(example))


if __name__ == "__main__":
    for slug, plugin in PLUGINS.items():
        readme = FOLDER / slug / "README.md"
        readme.write_text(written(readme.read_text("utf-8"), plugin), "utf-8")
