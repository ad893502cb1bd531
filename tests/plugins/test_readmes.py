"""The README of every first-party plugin says what its settings class says, and its examples are accepted."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from trustgate.enforcement.plugins import load_plugins

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "plugins" / "trustgate_plugins"
PLUGINS = {plugin.slug: plugin for plugin in load_plugins()}


def test_every_plugin_is_found() -> None:
    assert {path.parent.name for path in FOLDER.glob("*/__init__.py")} == {*PLUGINS, "strategies"}


def test_the_settings_tables_are_current() -> None:
    ran = subprocess.run(
        [sys.executable, str(ROOT / "cmd" / "docs" / "main.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("slug", PLUGINS)
def test_a_readme_has_an_example_that_names_the_policy(slug: str) -> None:
    text = (FOLDER / slug / "README.md").read_text("utf-8")
    assert text.startswith(f"# {slug}\n")
    assert f'"slug": "{slug}"' in text.partition("## Example")[2]


@pytest.mark.parametrize("slug", PLUGINS)
def test_the_example_settings_are_accepted(slug: str) -> None:
    text = (FOLDER / slug / "README.md").read_text("utf-8")
    bodies = text.split("POST /v1/gateways/{gateway}/policies\n")[1:]
    examples = [json.JSONDecoder().raw_decode(body)[0] for body in bodies if body.startswith("{")]
    assert examples
    for example in examples:
        assert example["slug"] == slug
        PLUGINS[slug].parse(example["settings"])
