"""A request as it comes from the server, in ASGI's words: its head, and its body, which is read within a limit."""

import asyncio
from collections.abc import Sequence
from typing import Final

from starlette.types import Message, Receive, Scope

from trustgate.contract.errors import Refused
from trustgate.contract.upstream import Header
from trustgate.underway import CallerLeft

DRAIN_BYTES: Final = 1024 * 1024
DRAIN_SECONDS: Final = 2.0
"""A caller that is refused before its body was read may still be sending it. So much of it is read and thrown away, so
that the refusal is not lost in a reset; beyond that the connection is closed."""


class HttpArrival:
    """An ASGI request as the life cycle sees it."""

    __slots__ = ("_read", "_receive", "client_ip", "gone", "headers", "method", "path", "query", "reading")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        client = scope.get("client")
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: str = scope["query_string"].decode("latin-1")
        self.headers: Sequence[Header] = scope["headers"]
        self.client_ip: str = client[0] if client else ""
        self._receive = receive
        self.reading = False
        self.gone = False
        self._read = False

    async def read(self, limit: int) -> bytes | bytearray:
        """Read the body. Raises Refused (413) beyond `limit` bytes, CallerLeft when the caller left meanwhile.

        A body of many pieces grows in one place, so that there is never a second copy of it.
        """
        declared = self._declared()
        if declared > limit:
            raise _too_large(limit)
        self.reading = True
        message = await self._next()
        body: bytes = message.get("body", b"")
        # a body that is as long as it said is whole: asking the server for its end would be another trip to its thread
        if len(body) == declared or not message.get("more_body", False):
            self.reading, self._read = False, True
            return _within(body, limit)
        return await self._rest(body, declared, limit)

    def _declared(self) -> int:
        for name, value in self.headers:
            if name == b"content-length" and value.isdigit():
                return int(value)
        return -1

    async def drain(self) -> bool:
        """Read what was sent and nobody wants, within reason. Returns whether the connection is of use afterwards."""
        if self._read:
            return True
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await self.read(DRAIN_BYTES)
        except (Refused, TimeoutError, CallerLeft):
            return False
        return True

    async def _rest(self, first: bytes, declared: int, limit: int) -> bytearray:
        body = bytearray(max(declared, len(first)))  # all of it at once: growing would copy
        body[: len(first)] = first
        size, more = len(first), True
        while more and size != declared:
            message = await self._next()
            part: bytes = message.get("body", b"")
            body[size : size + len(part)] = part
            size += len(part)
            more = message.get("more_body", False)
            if size > limit:
                raise _too_large(limit)
        del body[size:]
        self.reading, self._read = False, True
        return body

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.gone = True
            raise CallerLeft
        return message


def _within(body: bytes, limit: int) -> bytes:
    if len(body) > limit:
        raise _too_large(limit)
    return body


def _too_large(limit: int) -> Refused:
    return Refused(
        "request_too_large", f"The body is larger than the {limit} bytes that are accepted.", status=413, retry=False
    )
