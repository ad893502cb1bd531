"""What forwarding asks of a transport, and what comes back.

The data path speaks these small types rather than `httpx.Request` and `httpx.Response`, which cost 17 µs a request to
build (docs/decisions/0002-own-call-types.md). Any `httpx.AsyncBaseTransport` can stand behind the same port.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

from msgspec import Struct

Header = tuple[bytes, bytes]

FailureKind = Literal[
    "connect_failed",
    "connect_timeout",
    "first_byte_timeout",
    "idle_timeout",
    "total_timeout",
    "connection_lost",
    "malformed_answer",
]


class UpstreamFailure(Exception):
    """The exchange with an upstream broke; `kind` says at which clock or step, `detail` in words for an operator."""

    def __init__(self, kind: FailureKind, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail


class Clocks(Struct, frozen=True, kw_only=True):
    """How long each step may take, in seconds: to connect, to the first byte, between two chunks, and in all."""

    connect: float = 10.0
    first_byte: float = 60.0
    idle: float = 60.0
    total: float = 300.0


class Origin(Struct, frozen=True, kw_only=True):
    """Where a connection goes: scheme `http` or `https`, host name or address, port."""

    scheme: str
    host: str
    port: int


class Call(Struct, frozen=True, kw_only=True):
    """One HTTP request as it leaves: `target` is path and query; `headers` lack only host and content-length."""

    method: str
    origin: Origin
    target: bytes
    headers: Sequence[Header]
    body: bytes = b""
    clocks: Clocks = Clocks()


class Upstream(Protocol):
    """An answer whose head has arrived; header names are lower case. Its holder reads it out or closes it."""

    status: int
    headers: Sequence[Header]

    async def read(self) -> bytes:
        """Read the whole body. Raises UpstreamFailure when it breaks off or a clock runs out."""

    async def chunk(self) -> bytes:
        """Return the next bytes as they arrived, or `b""` at a proper end. Raises UpstreamFailure otherwise."""

    async def aclose(self) -> None:
        """Give the connection back when the body was read out, close it otherwise. Idempotent; never blocks."""


class Transport(Protocol):
    """Sends calls. Implementations: the pool in forwarding/transport.py, and any httpx transport behind an adapter."""

    async def send(self, call: Call) -> Upstream:
        """Send the call and wait for the answer's head. Raises UpstreamFailure."""

    async def aclose(self) -> None:
        """Close every connection."""
