"""A service that policies ask, on a real socket: it answers as a test tells it, and remembers what it was asked."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from msgspec import Struct


class Question(Struct, frozen=True):
    """One request as it arrived; header names are lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Reply(Struct, frozen=True):
    """One answer. `raw` is sent instead of an answer, as it is."""

    body: object = None
    status: int = 200
    headers: Sequence[tuple[str, str]] = ()
    raw: bytes = b""

    def written(self) -> bytes:
        if self.raw:
            return self.raw
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        lines = [f"HTTP/1.1 {self.status} X", f"content-length: {len(body)}", "content-type: application/json"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        return "\r\n".join([*lines, "", ""]).encode() + body


Answering = Callable[[Question], "Reply | Awaitable[Reply]"]


class Service:
    """Listens on a loopback port from `start` to `stop`."""

    def __init__(self, answer: Answering) -> None:
        self.answer = answer
        self.asked: list[Question] = []
        self.port = 0
        self._server: asyncio.Server | None = None
        self._talking: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> "Service":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen, on the same port as before."""
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Be gone: nobody listens, and who was talking is cut off."""
        assert self._server is not None
        self._server.close()
        for task in self._talking:
            task.cancel()
        await asyncio.gather(*self._talking, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talking.add(task)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                while True:
                    question = await _question(reader)
                    self.asked.append(question)
                    reply = self.answer(question)
                    writer.write((reply if isinstance(reply, Reply) else await reply).written())
                    await writer.drain()
        finally:
            self._talking.discard(task)
            writer.close()


async def _question(reader: asyncio.StreamReader) -> Question:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ")
    headers = dict(_header(line) for line in head[1:] if line)
    return Question(method, path, headers, await reader.readexactly(int(headers.get("content-length", "0"))))


def _header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.lower(), value.strip()


async def hang(_: Question) -> Reply:
    """Never answer."""
    await asyncio.Event().wait()
    raise AssertionError("nobody wakes it")
