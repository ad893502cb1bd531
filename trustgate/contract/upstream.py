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


class CannotAuthorise(Exception):
    """No credential for a call could be had: a token endpoint, a role or a key file failed. No secret in the message.

    `retryable` says whether asking again can help: an endpoint that is down, not a key that is wrong.
    """

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


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


Payload = bytes | bytearray | tuple[bytes | memoryview, ...]
"""A body as it leaves: in one piece, or in several that are sent one after the other and never joined."""


def pieces(payload: Payload) -> tuple[bytes | bytearray | memoryview, ...]:
    """Return the pieces of a body."""
    return payload if isinstance(payload, tuple) else (payload,)


def size_of(payload: Payload) -> int:
    """Return how many bytes a body has."""
    return sum(map(len, payload)) if isinstance(payload, tuple) else len(payload)


class Call(Struct, frozen=True, kw_only=True):
    """One HTTP request as it leaves: `target` is path and query; `headers` lack only host and content-length."""

    method: str
    origin: Origin
    target: bytes
    headers: Sequence[Header]
    body: Payload = b""
    clocks: Clocks = Clocks()


class Credential(Protocol):
    """What proves a call where fixed headers cannot: signatures and tokens that expire."""

    async def authorise(self, call: Call) -> Call:
        """Return the call with its proof. Raises CannotAuthorise. Concurrent calls share one token request."""

    def rejected(self) -> None:
        """Hear that a provider did not take the proof: one that was kept is fetched anew for the next call."""


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


class Chunked(Protocol):
    """What comes in pieces."""

    async def chunk(self) -> bytes:
        """Return the next bytes, or `b""` at the end."""


async def read_out(source: Chunked) -> bytes:
    """Return all that is still to come. Raises what its `chunk` does."""
    parts = []
    while part := await source.chunk():
        parts.append(part)
    return b"".join(parts)
