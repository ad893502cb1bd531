"""A server over stdio with nothing but the standard library: it tells where it runs, and does what servers should not.

`python tests/agents/program.py`
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

NAMES = ("surroundings", "leave_a_child", "chatter", "shout", "die", "last_call")


def called(name: str, arguments: dict[str, Any]) -> str:
    """Do what a tool does, and return what it says."""
    match name:
        case "surroundings":
            return json.dumps(
                {
                    "env": dict(os.environ),
                    "cwd": str(Path.cwd()),
                    "files": [each.name for each in Path().iterdir()],
                    "pid": os.getpid(),
                }
            )
        case "leave_a_child":
            # which waits for a signal, and for no longer than a minute if nobody sends one
            waits = "import signal; signal.alarm(60); signal.pause()"
            return str(subprocess.Popen([sys.executable, "-c", waits]).pid)
        case "chatter":
            sys.stdout.write("this is no message\n\n[]\n17\n")
        case "shout":
            return "x" * int(arguments["bytes"])
        case "die":
            sys.exit(3)
    return name


def answered(message: dict[str, Any]) -> dict[str, Any]:
    """Return the result of a request."""
    match message["method"]:
        case "initialize":
            info = {"name": "program", "version": "1"}
            return {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}
        case "tools/list":
            return {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in NAMES]}
        case "tools/call":
            given = message["params"]
            return {"content": [{"type": "text", "text": called(given["name"], given.get("arguments") or {})}]}
    return {}


for line in sys.stdin:
    asked = json.loads(line)
    if "id" in asked and "method" in asked:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": answered(asked)}) + "\n")
        sys.stdout.flush()
