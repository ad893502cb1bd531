"""TrustGate's server and connection pool with nothing between them: what our whole path is compared with.

`python -m bench.apps.bare UPSTREAM_PORT PORT`: an embedded Granian on uvloop with the settings
of `trustgate/planes/serve.py`, so that what differs is our path.
"""

import gc
import sys
from typing import Any

import uvloop
from granian.constants import Interfaces
from granian.server.embed import Server

from trustgate.contract.upstream import Call, Origin, Transport, Upstream
from trustgate.forwarding.transport import Pool

NOT_FORWARDED = frozenset({b"host", b"content-length", b"connection", b"transfer-encoding"})


async def _body(receive: Any) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return body


async def _carry(answer: Upstream, send: Any) -> None:
    whole = any(name == b"content-length" for name, _ in answer.headers)
    headers = [pair for pair in answer.headers if pair[0] not in NOT_FORWARDED]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if whole:
        await send({"type": "http.response.body", "body": await answer.read()})
        return
    while chunk := await answer.chunk():
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def bare(pool: Transport, origin: Origin) -> Any:
    """Make the ASGI application that forwards every request to one origin."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [pair for pair in scope["headers"] if pair[0] not in NOT_FORWARDED]
        body = await _body(receive)
        target = scope["path"].encode()
        call = Call(method=scope["method"], origin=origin, target=target, headers=headers, body=body)
        answer = await pool.send(call)
        try:
            await _carry(answer, send)
        finally:
            await answer.aclose()

    return app


async def serve(upstream_port: int, port: int) -> None:
    """Serve until the process is ended."""
    app = bare(Pool(), Origin(scheme="http", host="127.0.0.1", port=upstream_port))
    options: dict[str, Any] = {"websockets": False, "backlog": 2048, "backpressure": 16_384, "log_enabled": False}
    server = Server(app, "127.0.0.1", port, interface=Interfaces.ASGINL, **options)
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    await server.serve()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
