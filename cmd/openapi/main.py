"""Writes docs/openapi.json from the admin plane's table; with --check only says whether it is current."""

import sys
from pathlib import Path

from trustgate.planes.admin.openapi import rendered

FILE = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"


def main(arguments: list[str]) -> int:
    """Return the exit status: 1 when the file is not what it should be."""
    text = rendered()
    current = FILE.is_file() and FILE.read_text("utf-8") == text
    if "--check" not in arguments:
        FILE.write_text(text, "utf-8")
        return 0
    if not current:
        print("docs/openapi.json is not what the code says: run `make openapi` and commit it", file=sys.stderr)
    return 0 if current else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
