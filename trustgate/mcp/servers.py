"""Servers as they are reached: where, with what proof, for how long. And one exchange with one of them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from time import monotonic
from typing import Any, Final
from urllib.parse import urlsplit

import jwt
from msgspec import Struct

from trustgate.config.mcp import McpAuth
from trustgate.config.records import OAuth2Auth, ProviderAuth, Registry
from trustgate.contract import sse
from trustgate.contract.upstream import (
    Call,
    CannotAuthorise,
    Clocks,
    Credential,
    Header,
    Origin,
    Transport,
    Upstream,
    UpstreamFailure,
)
from trustgate.forwarding.circuits import Circuits
from trustgate.mcp.messages import Json, decode, is_message
from trustgate.providers.credentials import Credentials

PORTS: Final = {"http": 80, "https": 443}
ACCEPTED: Final = (b"accept", b"application/json, text/event-stream")
JSON_BODY: Final = (b"content-type", b"application/json")
CONNECT: Final = 10.0
UNAUTHORIZED: Final = 401
BROKEN: Final = 500
DAY: Final = 86_400.0


class Away(Exception):
    """A server gave no answer that can be used. The message names it, and has nothing of what it said."""


class Server(Struct, frozen=True, kw_only=True, eq=False):
    """One server of a registry. `audience` is that of tokens that callers bring for it; empty: they bring none."""

    registry_id: str
    name: str
    prefix: str
    stamp: str
    origin: Origin
    path: bytes
    headers: tuple[Header, ...]
    credential: Credential | None
    audience: str
    discovery: float
    patience: float
    most: int


def server_of(registry: Registry, credentials: Credentials) -> Server:
    """Return the server of a registry of type MCP. Raises BadCredential."""
    target = registry.mcp_target
    assert target is not None, "the admin plane stores none without"
    url = urlsplit(target.url)
    headers = [(name.lower().encode(), value.encode()) for name, value in target.headers.items()]
    credential = None
    if target.auth.mode == "static":
        headers.append((target.auth.header.lower().encode(), target.auth.value.encode()))
    if target.auth.mode == "client_credentials":
        auth = ProviderAuth(type="oauth2", oauth=_grant(target.auth))
        _, credential = credentials.credential(registry.id, auth, service="mcp", options={})
    return Server(
        registry_id=registry.id,
        name=registry.name,
        prefix=target.prefix,
        stamp=f"{registry.id}@{registry.updated_at}",
        origin=Origin(scheme=url.scheme, host=url.hostname or "", port=url.port or PORTS[url.scheme]),
        path=((url.path or "/") + (f"?{url.query}" if url.query else "")).encode(),
        headers=tuple(headers),
        credential=credential,
        audience=target.auth.expected_audience,
        discovery=target.discovery_timeout_ms / 1000,
        patience=target.timeout_ms / 1000,
        most=target.max_result_bytes,
    )


def _grant(auth: McpAuth) -> OAuth2Auth:
    return OAuth2Auth(
        token_url=auth.token_url,
        grant_type="client_credentials",
        client_id=auth.client_id,
        client_secret=auth.client_secret,
        use_basic_auth=auth.token_endpoint_auth_method == "basic",  # noqa: S105 - how, and not what
        scopes=auth.scopes,
        extra={"resource": auth.resource} if auth.resource else {},
    )


def proof(server: Server, bearer: str) -> list[Header]:
    """Return what of a caller's own token a server may see: one that is for it. Raises Away."""
    if not server.audience:
        return []
    if not bearer:
        raise Away(f"{server.name} needs a bearer token of the caller: send it beside the key, in Authorization")
    try:
        claims = jwt.decode(bearer, options={"verify_signature": False})
    except jwt.PyJWTError:
        raise Away(f"{server.name} needs a bearer token of the caller that says whom it is for") from None
    audience = claims.get("aud", [])
    if server.audience not in ([audience] if isinstance(audience, str) else audience):
        raise Away(f"the caller's bearer token is not for {server.name}")
    return [(b"authorization", f"Bearer {bearer}".encode("latin-1"))]


class Event(Struct, frozen=True, kw_only=True):
    """One thing that a server said: the bytes that it came in, their id, and the message in them, if there is one."""

    raw: bytes
    id: str = ""
    message: Json | None = None


class Incoming:
    """A server's answer, whose messages come one by one. Its holder reads it out or closes it."""

    def __init__(self, server: Server, upstream: Upstream) -> None:
        self.server = server
        self.status = upstream.status
        self.headers = dict(upstream.headers)
        self._upstream = upstream

    @property
    def streams(self) -> bool:
        """Whether messages come as events."""
        return self.headers.get(b"content-type", b"").lower().startswith(b"text/event-stream")

    async def body(self) -> bytes:
        """Return all of it. Raises Away."""
        parts: list[bytes] = []
        size = 0
        try:
            while part := await self._upstream.chunk():
                size += len(part)
                if size > self.server.most:
                    raise Away(f"{self.server.name} says more than the {self.server.most} bytes that it may")
                parts.append(part)
        except UpstreamFailure as failure:
            raise _away(self.server, failure) from None
        return b"".join(parts)

    async def events(self) -> AsyncIterator[Event]:
        """Yield what it says as it comes. Raises Away."""
        if not self.streams:
            raw = await self.body()
            message = _message(raw)
            if raw:
                yield Event(raw=raw, message=message)
            return
        aligner = sse.Aligner()
        try:
            while part := await self._upstream.chunk():
                for raw in sse.split(aligner.feed(part)):
                    yield _event(raw, self.server)
                if aligner.size > self.server.most:
                    raise Away(f"{self.server.name} says more than the {self.server.most} bytes that it may")
        except UpstreamFailure as failure:
            raise _away(self.server, failure) from None

    async def aclose(self) -> None:
        """Let go."""
        await self._upstream.aclose()


class Speaker:
    """Speaks to servers over the transport that everything else uses too."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._circuits: Circuits[str] = Circuits()

    async def say(
        self,
        server: Server,
        method: str,
        body: bytes = b"",
        *,
        headers: Sequence[Header],
        within: float,
        whole: bool = False,
    ) -> Incoming:
        """Return what a server answers, once its head has come. Raises Away.

        `within` seconds is how long that may take, and (`whole`) all of it; what comes later may be apart as long.
        """
        clocks = Clocks(connect=min(CONNECT, within), first_byte=within, idle=within, total=within if whole else DAY)
        told = [ACCEPTED, *([JSON_BODY] if body else []), *server.headers, *headers]
        call = Call(method=method, origin=server.origin, target=server.path, headers=told, body=body, clocks=clocks)
        incoming = await self._send(server, call)
        if incoming.status == UNAUTHORIZED and server.credential is not None:
            server.credential.rejected()
            await incoming.aclose()
            incoming = await self._send(server, call)
        if 300 <= incoming.status < 400:
            await incoming.aclose()
            raise Away(f"{server.name} sends callers elsewhere, and nobody is followed: correct its url")
        return incoming

    async def _send(self, server: Server, call: Call) -> Incoming:
        """Send a call, unless its server keeps failing. A stream that somebody listens to says nothing of that."""
        circuit, began = self._circuits.of(server.stamp), monotonic()
        if not circuit.enter():
            raise Away(f"{server.name} keeps failing and is not asked for another {circuit.closed_for:.1f} s")
        try:
            if server.credential is not None:
                call = await server.credential.authorise(call)
            incoming = Incoming(server, await self._transport.send(call))
        except UpstreamFailure as failure:
            circuit.failed()
            raise _away(server, failure) from None
        except CannotAuthorise as error:
            circuit.left()
            raise Away(f"{server.name} cannot be asked: {error}") from None
        except asyncio.CancelledError:
            # whoever gave up after the time that it may take has seen a failure; who left earlier knows nothing
            (circuit.failed if call.method == "POST" and self._late(server, began) else circuit.left)()
            raise
        if incoming.status >= BROKEN:
            circuit.failed()
        else:
            circuit.succeeded()
        return incoming

    def _late(self, server: Server, began: float) -> bool:
        return monotonic() - began > server.discovery / 2


def _away(server: Server, failure: UpstreamFailure) -> Away:
    return Away(f"{server.name} did not answer ({failure.kind})")


def _event(raw: bytes, server: Server) -> Event:
    if len(raw) > server.most:
        raise Away(f"{server.name} says more than the {server.most} bytes that it may")
    found = b""
    for line in raw.splitlines():
        if line.startswith(b"id:"):
            found = line[3:].strip()
    return Event(raw=raw, id=found.decode("latin-1"), message=_message(sse.data_of(raw)))


def _message(data: bytes) -> Json | None:
    try:
        message: Any = decode(data)
    except ValueError:
        return None
    return message if is_message(message) else None
