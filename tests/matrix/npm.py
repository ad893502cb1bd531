"""Node and what the tests need from npm, installed once beside the scripts; without npm the tests fail."""

import fcntl
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent / "node"
_DONE: Final = FOLDER / "node_modules" / ".installed.json"


def node() -> str:
    """Return the path of node. Raises RuntimeError where there is none."""
    found = shutil.which("node")
    if found is None or shutil.which("npm") is None:
        raise RuntimeError("the SDK matrix needs node 20.15 or newer and npm: install them, they are not optional")
    return found


def install() -> None:
    """Install the packages of package.json, unless these very versions are there. Raises RuntimeError.

    Of several test processes one does it, and the others wait for it.
    """
    node()
    with (FOLDER / "package.json").open(encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        wanted = file.read()
        if not _DONE.exists() or _DONE.read_text("utf-8") != wanted:
            _install()
            _DONE.write_text(wanted, "utf-8")


def _install() -> None:
    command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise RuntimeError(f"npm install failed: {done.stderr[-2000:]}")


def run(script: str, asks: object) -> Any:
    """Run a script with JSON as its input, and return the JSON that it prints. Raises RuntimeError where it fails."""
    command = [node(), script]
    text = json.dumps(asks)
    done = subprocess.run(command, cwd=FOLDER, input=text, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise RuntimeError(f"{script} failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout)
