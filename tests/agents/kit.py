"""Agents and servers around the MCP plane: a virtual server made through the admin API, and a door that has a key."""

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx

from tests.e2e.program import HOST, Admin, Gateway, Program, free_ports, until

ACCEPT = "application/json, text/event-stream"


@contextlib.contextmanager
def serving(*command: str, env: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run a server of which one word is its port, as `PORT` in its arguments or environment; yield its address."""
    (port,) = free_ports(1)
    words = [word.replace("PORT", str(port)) for word in command]
    known = {name: value.replace("PORT", str(port)) for name, value in env.items()} if env is not None else None
    process = subprocess.Popen(words, env=known, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://{HOST}:{port}/mcp"
    try:
        until(lambda: _answers(url), patience=20, what="the server answers")
        yield url
    finally:
        process.terminate()
        process.wait(10)


def everything(*way: str) -> contextlib.AbstractContextManager[str]:
    """Serve the server that has something of everything."""
    return serving(sys.executable, "-W", "ignore", "-m", "tests.agents.everything", *way, "PORT")


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code < 500
    except httpx.TransportError:
        return False


class Agency:
    """One gateway with servers behind it, and a consumer of type MCP for them."""

    def __init__(self, admin: Admin, servers: Mapping[str, Any], **consumer: Any) -> None:
        self.admin = admin
        self.gateway: Gateway = admin.gateway()
        self.registries = {name: self.register(name, target) for name, target in servers.items()}
        bound = list(self.registries.values())
        self.consumer = self.gateway.consumer("agent", *bound, type="MCP", **consumer)
        self.key = self.gateway.key(self.consumer)

    def register(self, name: str, target: Any) -> str:
        """Make a registry of a server: by its address, or by all that there is to say of it."""
        said = {"url": target} if isinstance(target, str) else target
        body = {"name": name, "type": "MCP", "mcp_target": said}
        made: str = self.admin.done("POST", self.gateway.path("/registries"), body)["id"]
        return made

    def url(self, program: Program) -> str:
        """Return the address of the virtual server."""
        return program.url("mcp", f"/{self.gateway.slug}/agent/mcp")

    def set(self, **changes: Any) -> None:
        """Change the consumer."""
        self.admin.done("PUT", self.gateway.path(f"/consumers/{self.consumer}"), changes)


class Agent:
    """A plain client of the revisions with sessions, which sees all that comes."""

    def __init__(self, url: str, key: str, revision: str = "2025-11-25") -> None:
        self.url = url
        self.headers = {"x-ag-api-key": key, "accept": ACCEPT}
        self.revision = revision
        self.said: Any = None
        self._next = 0
        self._client = httpx.Client(trust_env=False, timeout=30)

    def __enter__(self) -> "Agent":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def post(self, message: Any, **headers: str) -> httpx.Response:
        """Send any JSON."""
        return self._client.post(self.url, json=message, headers={**self.headers, **headers})

    def begin(self, **capabilities: Any) -> Any:
        """Initialize, and keep the session."""
        hello = {
            "protocolVersion": self.revision,
            "capabilities": capabilities,
            "clientInfo": {"name": "agent", "version": "1"},
        }
        told = self.post({"jsonrpc": "2.0", "id": "hello", "method": "initialize", "params": hello})
        assert told.status_code == 200, told.text
        answer = messages(told)[-1]
        if "error" in answer:
            return answer["error"]
        self.headers["mcp-session-id"] = told.headers["mcp-session-id"]
        self.headers["mcp-protocol-version"] = answer["result"]["protocolVersion"]
        assert self.post({"jsonrpc": "2.0", "method": "notifications/initialized"}).status_code == 202
        self.said = answer["result"]
        return self.said

    def ask(self, method: str, **given: Any) -> Any:
        """Ask, and return the result or the error."""
        self._next += 1
        told = self.post({"jsonrpc": "2.0", "id": self._next, "method": method, "params": given})
        message = [each for each in messages(told) if each.get("id") == self._next][-1]
        return message["result"] if "result" in message else message["error"]

    @contextlib.contextmanager
    def asking(self, method: str, **given: Any) -> Iterator[Iterator[Any]]:
        """Ask, and yield what comes as it comes: the answer may need something of us first."""
        self._next += 1
        message = {"jsonrpc": "2.0", "id": self._next, "method": method, "params": given}
        with httpx.stream("POST", self.url, json=message, headers=self.headers, trust_env=False, timeout=20) as told:
            yield (json.loads(line[5:]) for line in told.iter_lines() if line.startswith("data:") and line[5:].strip())

    def names(self, kind: str = "tools") -> list[str]:
        """Return the names of a list."""
        return [each["name"] for each in self.ask(f"{kind}/list")[kind]]


def messages(told: httpx.Response) -> list[Any]:
    """Return the messages of an answer, of either kind."""
    if told.headers["content-type"].startswith("text/event-stream"):
        lines = [line for line in told.text.splitlines() if line.startswith("data:")]
        return [json.loads(line[5:]) for line in lines if line[5:].strip()]
    return [told.json()]


class Door:
    """Stands before the gateway and adds a key to every request: for clients that cannot be given one."""

    def __init__(self, target: str, key: str) -> None:
        place = httpx.URL(target)
        self._host, self._port = place.host, place.port or 80
        self._path = place.path
        self._line = f"x-ag-api-key: {key}\r\n".encode()
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self) -> str:
        """Its address: the same path, on another port."""
        assert self._server is not None, "it is open"
        return f"http://{HOST}:{self._server.sockets[0].getsockname()[1]}{self._path}"

    def __enter__(self) -> "Door":
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _close(self) -> None:
        assert self._server is not None, "it is open"
        self._server.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _open(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, HOST, 0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        try:
            there, back = await asyncio.open_connection(self._host, self._port)
        except OSError:
            writer.close()
            return
        self._writers.append(back)
        answering = asyncio.create_task(_pass(there, writer))
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                line, _, rest = head.partition(b"\r\n")
                length = next(
                    (
                        int(each.partition(b":")[2])
                        for each in rest.lower().split(b"\r\n")
                        if each.startswith(b"content-length:")
                    ),
                    0,
                )
                back.write(line + b"\r\n" + self._line + rest + await reader.readexactly(length))
                await back.drain()
        back.close()
        answering.cancel()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


def scenarios(output: str) -> dict[str, str]:
    """Return what conformance said of each scenario, by name."""
    found: dict[str, str] = {}
    for line in output.partition("=== SUMMARY ===")[2].splitlines():
        mark, _, rest = line.strip().partition(" ")
        if mark in ("✓", "✗") and ":" in rest:
            name, _, said = rest.partition(":")
            found[name] = f"{mark} {said.strip()}"
    return found


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> Sequence[tuple[str, str, str]]:
    """Return the scenarios of which two outputs say different things."""
    names = sorted({*one, *other})
    return [(name, one.get(name, ""), other.get(name, "")) for name in names if one.get(name) != other.get(name)]
