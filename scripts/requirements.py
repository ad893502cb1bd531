"""Prints what TrustGate itself needs, one requirement a line: for images that bring it before the code."""

import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).resolve().parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
print("\n".join(project["dependencies"]))  # noqa: T201 - that is what it is for
