"""A server that says exactly what a test has it say, late or never, and keeps what it was asked."""

import contextlib
import json
import queue
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Json = dict[str, Any]
Say = Callable[[Json], tuple[int, str, bytes] | None]
"""What answers instead: a status, a content type and a body; None leaves it to the script."""


def events(*messages: Json, mark: str = "", name: str = "") -> Say:
    """Return what answers calls of tools, or of the one of that name, with these messages as events."""
    first = f"id: {mark}\n".encode() if mark else b""
    said = b"".join(first + b"data: " + json.dumps(each).encode() + b"\n\n" for each in messages)

    def say(message: Json) -> tuple[int, str, bytes] | None:
        called = message.get("method") == "tools/call" and message["params"]["name"]
        return (200, "text/event-stream", said) if called and name in ("", called) else None

    return say


class Scripted:
    """Speaks 2025-11-25 as JSON. `late` is how many seconds it takes, `tools` are what it has; `say` answers instead.

    A `dead` one hangs up. `says` is what it says of its tools, `beside` what it lists beside them.

    One that `speaks` says by itself what it is told to `tell`: to its `listeners`, by their sessions. `missed` is what
    it says to one who comes back, by the id that was heard last; `resumed` are those ids.

    `asked` are the messages, `headers` what they came with; `sessions` those that it knows.
    """

    def __init__(self, name: str = "scripted", *, tools: tuple[str, ...] = ("look",), late: float = 0.0) -> None:
        self.name = name
        self.tools = list(tools)
        self.late = late
        self.says: dict[str, str] = {}
        self.beside: list[Json] = []
        self.asked: list[Json] = []
        self.headers: list[dict[str, str]] = []
        self.sessions: set[str] = set()
        self.say: Say = lambda _: None
        self.dead = False
        self.speaks = False
        self.missed: dict[str, list[tuple[str, Json]]] = {}
        self.resumed: list[str] = []
        self.listeners: dict[str, queue.Queue[Json]] = {}
        self.hangs = threading.Event()
        handler = type("Handler", (_Handler,), {"server_": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/mcp"

    @property
    def methods(self) -> list[str]:
        return [each.get("method", "") for each in self.asked]

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hangs.set()
        self._http.shutdown()
        self._http.server_close()

    def tell(self, *messages: Json) -> None:
        """Say something to all who listen."""
        for message in messages:
            for waiting in self.listeners.values():
                waiting.put(message)

    def described(self, name: str) -> Json:
        """Return what it lists of a tool."""
        told = {"description": self.says[name]} if name in self.says else {}
        return {"name": name, **told, "inputSchema": {"type": "object"}}

    def answer(self, message: Json) -> Json:
        """Return the result of a request."""
        match message["method"]:
            case "initialize":
                return {
                    "protocolVersion": message["params"]["protocolVersion"],
                    "capabilities": {"tools": {"listChanged": True}},
                    "serverInfo": {"name": self.name, "version": "1"},
                }
            case "tools/list":
                return {"tools": [*(self.described(name) for name in self.tools), *self.beside]}
            case "tools/call":
                return {"content": [{"type": "text", "text": f"{self.name}: {message['params']['name']}"}]}
        return {}


class _Handler(BaseHTTPRequestHandler):
    server_: Scripted
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        script = self.server_
        if script.dead:
            self.close_connection = True
            return
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        script.asked.append(message)
        script.headers.append({name.lower(): value for name, value in self.headers.items()})
        if script.late < 0:
            script.hangs.wait()
            return
        time.sleep(script.late)
        said = script.say(message)
        if said is not None:
            self._send(*said)
        elif "id" not in message or "method" not in message:
            self._send(202, "", b"")
        else:
            session = {}
            if message["method"] == "initialize":
                session["mcp-session-id"] = f"s{len(script.sessions)}"
                script.sessions.add(session["mcp-session-id"])
            elif self.headers.get("mcp-session-id") not in script.sessions:
                self._send(404, "application/json", b'{"jsonrpc":"2.0","id":null,"error":{"code":-1,"message":"gone"}}')
                return
            body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": script.answer(message)}).encode()
            self._send(200, "application/json", body, **session)

    def do_GET(self) -> None:
        script = self.server_
        if not script.speaks:
            self._send(405, "", b"")
            return
        last = self.headers.get("last-event-id", "")
        script.resumed.append(last)
        waiting = script.listeners[self.headers.get("mcp-session-id", "")] = queue.Queue()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for mark, said in script.missed.get(last, ()):
            self.wfile.write(f"id: {mark}\ndata: {json.dumps(said)}\n\n".encode())
        while not script.hangs.is_set():
            with contextlib.suppress(queue.Empty):
                said = waiting.get(timeout=0.05)
                self.wfile.write(b"data: " + json.dumps(said).encode() + b"\n\n")

    def do_DELETE(self) -> None:
        self.server_.sessions.discard(self.headers.get("mcp-session-id", ""))
        self._send(200, "", b"")

    def _send(self, status: int, kind: str, body: bytes, **headers: str) -> None:
        self.send_response(status)
        if kind:
            self.send_header("content-type", kind)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
