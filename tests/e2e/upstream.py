"""An upstream that does what a test tells it to, byte by byte, and remembers what it was asked and who left when."""

import asyncio
import json
import socket
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import Future

HOST = "127.0.0.1"
Header = tuple[bytes, bytes]


class Exchange:
    """One request as it came in, and the way back. `left` is set once the caller's connection is gone."""

    def __init__(self, connection: "_Connection", head: bytes, body: bytes) -> None:
        line, *rest = head.split(b"\r\n")
        self.line = line
        self.method, self.target, _ = line.split(b" ", 2)
        self.headers: list[Header] = [
            (name.lower(), value.strip()) for name, _, value in (h.partition(b":") for h in rest)
        ]
        self.body = body
        self.at = time.monotonic()
        self.left = threading.Event()
        self.left_at = 0.0
        self.finished = False
        self.connection = connection
        self.gone = asyncio.Event()

    def header(self, name: str) -> str | None:
        """Return a header of the request; it must not come twice."""
        found = [value for known, value in self.headers if known == name.lower().encode()]
        assert len(found) < 2, (name, found)
        return found[0].decode("latin-1") if found else None

    def json(self) -> dict[str, object]:
        """Return the body of the request."""
        decoded: dict[str, object] = json.loads(self.body)
        return decoded

    # What scripts do. They run on the upstream's loop.

    async def write(self, data: bytes) -> None:
        """Send bytes, in a write of their own, and let the network have them."""
        self.connection.transport.write(data)
        await asyncio.sleep(0)

    async def head(self, status: int, *headers: Header, reason: bytes = b"X") -> None:
        """Send a status line and headers."""
        lines = b"".join(b"%s: %s\r\n" % header for header in headers)
        await self.write(b"HTTP/1.1 %d %s\r\n%s\r\n" % (status, reason, lines))

    async def chunk(self, data: bytes) -> None:
        """Send one chunk of a chunked body."""
        await self.write(b"%x\r\n%s\r\n" % (len(data), data))

    async def end(self) -> None:
        """End a chunked body."""
        await self.write(b"0\r\n\r\n")

    def close(self) -> None:
        """Close the connection once everything has been sent."""
        self.connection.transport.close()

    def reset(self) -> None:
        """Break the connection off."""
        plug = self.connection.transport.get_extra_info("socket")
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.transport.abort()

    async def silence(self) -> None:
        """Do nothing until the caller leaves."""
        await self.gone.wait()


Script = Callable[[Exchange], Awaitable[None]]


class _Connection(asyncio.Protocol):
    def __init__(self, upstream: "Upstream") -> None:
        self._upstream = upstream
        self._data = b""
        self._exchange: Exchange | None = None
        self._task: asyncio.Task[None] | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.transport = transport
        self._upstream.connections.add(self)
        self._upstream.connected += 1

    @property
    def busy(self) -> bool:
        """Whether a request on it has not been answered to its end."""
        return self._exchange is not None and not self._exchange.finished

    def data_received(self, data: bytes) -> None:
        self._data += data
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._upstream.connections.discard(self)
        if self._exchange is not None:
            self._exchange.left_at = time.monotonic()
            self._exchange.left.set()
            self._exchange.gone.set()

    def _next(self) -> None:
        head, found, rest = self._data.partition(b"\r\n\r\n")
        if not found or self.busy:
            return
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        if len(rest) < length:
            return
        self._data = rest[length:]
        self._exchange = exchange = Exchange(self, head, rest[:length])
        self._upstream.seen.append(exchange)
        self._task = asyncio.get_running_loop().create_task(self._play(exchange))

    async def _play(self, exchange: Exchange) -> None:
        try:
            await self._upstream.script(exchange)
        except Exception as error:  # noqa: BLE001 - a script that fails fails the test that looks here
            self._upstream.errors.append(error)
            self.transport.abort()
        finally:
            exchange.finished = True
            self._next()


class Upstream:
    """The server, on a thread of its own. Each request is answered by the script that is in force when it comes."""

    def __init__(self) -> None:
        self.script: Script = completion()
        self.seen: list[Exchange] = []
        self.errors: list[Exception] = []
        self.connections: set[_Connection] = set()
        self.connected = 0
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="upstream", daemon=True)

    def __enter__(self) -> "Upstream":
        self._thread.start()
        self._on_loop(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self._on_loop(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def url(self) -> str:
        """The base URL to give to a registry."""
        return f"http://{HOST}:{self.port}/v1"

    @property
    def busy(self) -> int:
        """How many connections carry a request that has not been answered to its end."""
        return sum(connection.busy for connection in list(self.connections))

    def play(self, script: Script) -> None:
        """Answer the next requests like this, and forget what was seen."""
        self.script = script
        self.seen = []
        self.errors = []

    def last(self) -> Exchange:
        """Return the last request that came in."""
        assert not self.errors, self.errors
        return self.seen[-1]

    def _on_loop(self, work: Awaitable[None]) -> None:
        async def job() -> None:
            await work

        future: Future[None] = asyncio.run_coroutine_threadsafe(job(), self._loop)
        future.result(10)

    async def _open(self) -> None:
        self._server = await self._loop.create_server(lambda: _Connection(self), HOST, 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        for connection in list(self.connections):
            connection.transport.abort()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)


# Scripts.

JSON: Header = (b"content-type", b"application/json")
EVENTS: Header = (b"content-type", b"text/event-stream; charset=utf-8")
CHUNKED: Header = (b"transfer-encoding", b"chunked")
DONE = b"data: [DONE]\n\n"


def answer(status: int, body: bytes, *headers: Header) -> Script:
    """A whole answer."""

    async def script(exchange: Exchange) -> None:
        await exchange.head(status, *(headers or (JSON,)), (b"content-length", b"%d" % len(body)))
        await exchange.write(body)

    return script


def says(value: object, status: int = 200, *headers: Header) -> Script:
    """A whole answer of JSON."""
    return answer(status, json.dumps(value).encode(), JSON, *headers)


def completion_of(text: str = "Hello!", **message: object) -> dict[str, object]:
    """Return a chat completion as OpenAI writes it."""
    said = {"role": "assistant", "content": text, "refusal": None, "annotations": [], **message}
    reason = "tool_calls" if "tool_calls" in message else "stop"
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "message": said, "logprobs": None, "finish_reason": reason}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
    }


def completion(*headers: Header, text: str = "Hello!") -> Script:
    """A proper chat completion."""
    return says(completion_of(text), 200, *headers)


def delta(content: object = None, *, finish: str | None = None, **more: object) -> bytes:
    """Return one event of a chat stream."""
    said = {**({} if content is None else {"content": content}), **more}
    choice = {"index": 0, "delta": said, "logprobs": None, "finish_reason": finish}
    event = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [choice],
    }
    return b"data: " + json.dumps(event).encode() + b"\n\n"


def story(words: Sequence[str]) -> list[bytes]:
    """Return the events of a proper chat stream that says these words."""
    return [delta("", role="assistant"), *(delta(word) for word in words), delta(finish="stop"), DONE]


def stream(events: Iterable[bytes], *headers: Header, pause: float = 0.0) -> Script:
    """A proper stream: an event a chunk, with a pause between two."""

    async def script(exchange: Exchange) -> None:
        await exchange.head(200, EVENTS, CHUNKED, *headers)
        for event in events:
            await exchange.chunk(event)
            if pause:
                await asyncio.sleep(pause)
        await exchange.end()

    return script


def raw(*parts: bytes, then: str = "close") -> Script:
    """Bytes as they are, then `close`, `reset` or `hold` the connection until the caller leaves."""

    async def script(exchange: Exchange) -> None:
        for part in parts:
            await exchange.write(part)
        if then == "close":
            exchange.close()
        elif then == "reset":
            await asyncio.sleep(0.05)  # what was written goes first
            exchange.reset()
        await exchange.silence()

    return script


async def silent(exchange: Exchange) -> None:
    """Never answer."""
    await exchange.silence()
