"""Pages that tests write: written, or compared with what stands there."""

import sys
from pathlib import Path


def write_or_check(path: Path, page: str, arguments: list[str], *, command: str) -> int:
    """Write a page, or with `--check` say whether it is current. Returns the exit status."""
    if "--check" not in arguments:
        path.write_text(page, "utf-8")
        return 0
    current = path.exists() and path.read_text("utf-8") == page
    if not current:
        sys.stderr.write(f"docs/{path.name} is not current: {command}\n")
    return 0 if current else 1
