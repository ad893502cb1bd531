"""The mock upstream: a raw protocol on uvloop, so cheap that it never is the bottleneck.

`python -m bench.upstream` takes a free port of loopback, prints it, and answers every request at once until it is
ended or its standard input closes. A body that asks for a stream gets 101 chunks, each written 5 ms after the one
before: one that is late delays the rest and is not bunched with it, so a gateway that keeps up meets all of them.
"""

import asyncio
import contextlib
import sys
from typing import cast

import httptools
import uvloop

from bench import wire

STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"


def _whole() -> bytes:
    body = wire.completion()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def _framed(chunk: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(chunk), chunk)


def _pieces() -> tuple[bytes, ...]:
    first, *rest = (_framed(chunk) for chunk in wire.stream_chunks())
    return (STREAM_HEAD + first, *rest, _framed(wire.DONE) + b"0\r\n\r\n")


WHOLE = _whole()
PIECES = _pieces()


class Answering(asyncio.Protocol):
    """One connection of a gateway: reads requests, answers each from bytes made beforehand."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.parser = httptools.HttpRequestParser(self)
        self.body = b""
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from it

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.timer:
            self.timer.cancel()

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        body, self.body = self.body, b""
        if b'"stream": true' in body or b'"stream":true' in body:
            self._write_piece(0)
        else:
            self.transport.write(WHOLE)

    def _write_piece(self, number: int) -> None:
        self.transport.write(PIECES[number])
        if number + 1 < len(PIECES):
            self.timer = self.loop.call_later(wire.CHUNK_GAP, self._write_piece, number + 1)


async def serve() -> None:
    """Listen, say where, and answer until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answering, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(serve())
