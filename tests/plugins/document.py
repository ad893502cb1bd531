"""Writes docs/policies.md from the rows of the table; with --check only says whether it is current.

`python -m tests.plugins.document [--check]`
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.pages import write_or_check
from tests.plugins.rows import ROWS
from tests.plugins.table import PARTS, Cell, Nothing
from trustgate.enforcement.plugins import load_plugins

PATH: Final = Path(__file__).resolve().parents[2] / "docs" / "policies.md"
_OPENING: Final = """\
# Policies

What each policy does to requests, whole answers and live streams. Each cell is shown by a test through a whole proxy,
in the dialects of OpenAI's chat completions and responses, Anthropic's messages and Gemini's generateContent, in the
modes `enforce` and `observe` (`tests/plugins/test_table.py`). A policy without a row fails the build, and so does a
page that is not written anew: `python -m tests.plugins.document`.

| policy | group | request | answer | stream | when it cannot decide |
|---|---|---|---|---|---|
"""


def render() -> str:
    """Return the page."""
    return _OPENING + "\n".join((*_rows(), "", "Why a cell is empty:", "", *_reasons())) + "\n"


def _rows() -> Iterator[str]:
    for plugin in sorted(load_plugins(), key=lambda plugin: plugin.slug):
        settings, row = plugin.settings_type, ROWS[plugin.slug]
        cells = " | ".join(row.cell(part).does for part in PARTS)
        link = f"[{plugin.slug}](../plugins/trustgate_plugins/{plugin.slug}/README.md)"
        yield f"| {link} | {settings.group} | {cells} | {'refuses' if settings.on_error == 'deny' else 'lets pass'} |"


def _reasons() -> Iterator[str]:
    for slug, row in sorted(ROWS.items()):
        empty: dict[str, list[str]] = {}
        for part in PARTS:
            cell: Cell = row.cell(part)
            if isinstance(cell, Nothing):
                empty.setdefault(cell.why, []).append(part)
        for why, parts in empty.items():
            yield f"- `{slug}`, {' and '.join(parts)}: {why}."


def main(arguments: list[str]) -> int:
    """Write the page, or say whether it is current."""
    return write_or_check(PATH, render(), arguments, command="python -m tests.plugins.document")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
