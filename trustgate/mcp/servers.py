"""Servers as they are reached: where, with what proof, for how long."""

from pathlib import PurePath
from typing import Final
from urllib.parse import urlsplit

import jwt
from msgspec import Struct

from trustgate.config.mcp import McpAuth, OpenApi, Pinning, Program, Reach
from trustgate.config.records import OAuth2Auth, ProviderAuth, Registry
from trustgate.contract.upstream import (
    Call,
    Credential,
    Header,
    Origin,
    Transport,
    Upstream,
    UpstreamFailure,
)
from trustgate.providers.credentials import Credentials

PORTS: Final = {"http": 80, "https": 443}
UNAUTHORIZED: Final = 401
HELD: Final = frozenset(("sse", "stdio"))
"""Ways on which a session is a line that one process holds; another process opens one of its own for it."""


class Away(Exception):
    """A server gave no answer that can be used. The message names it, and has nothing of what it said.

    `detail` may have, for those who look after it.
    """

    def __init__(self, message: str, *, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail or message


class Server(Struct, frozen=True, kw_only=True, eq=False):
    """One server of a registry. `audience` is that of tokens that callers bring for it; empty: they bring none. Its
    `origin` is for whoever is told of it: of a program it is its name."""

    registry_id: str
    name: str
    prefix: str
    stamp: str
    reach: Reach
    url: str
    program: Program | None
    api: OpenApi | None
    pinning: Pinning
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
    origin, path = origin_of(target.url or (target.openapi.base_url if target.openapi else ""))
    if target.program is not None:
        origin = Origin(scheme="stdio", host=PurePath(target.program.command[0]).name, port=0)
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
        reach=target.transport,
        url=target.url,
        program=target.program,
        api=target.openapi,
        pinning=target.pinning,
        origin=origin,
        path=path,
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


def origin_of(url: str) -> tuple[Origin, bytes]:
    """Return where an address is, and the path and query there."""
    parts = urlsplit(url)
    origin = Origin(scheme=parts.scheme, host=parts.hostname or "", port=parts.port or PORTS.get(parts.scheme, 0))
    return origin, ((parts.path or "/") + (f"?{parts.query}" if parts.query else "")).encode()


async def authorised(transport: Transport, server: Server, call: Call) -> Upstream:
    """Send a call with the server's credential; a token that it does not take is fetched anew, once.

    Raises UpstreamFailure, CannotAuthorise.
    """
    credential = server.credential
    if credential is None:
        return await transport.send(call)
    upstream = await transport.send(await credential.authorise(call))
    if upstream.status == UNAUTHORIZED:
        credential.rejected()
        await upstream.aclose()
        upstream = await transport.send(await credential.authorise(call))
    return upstream


async def read_up_to(server: Server, upstream: Upstream, most: int) -> bytes:
    """Return all that a server says. Raises UpstreamFailure, and Away when it is more than it may."""
    parts: list[bytes] = []
    size = 0
    while part := await upstream.chunk():
        size += len(part)
        if size > most:
            raise Away(f"{server.name} says more than the {most} bytes that it may")
        parts.append(part)
    return b"".join(parts)


def away(server: Server, failure: UpstreamFailure) -> Away:
    """Return what is said of a server that failed."""
    return Away(f"{server.name} did not answer ({failure.kind})")
