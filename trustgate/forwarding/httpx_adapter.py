"""Where our transports and httpx's meet, in both directions; and which of the two a call takes.

Law: nothing here is on the hot path. A call goes through httpx only where a proxy applies, or where somebody plugged an
httpx transport in; our pool serves httpx clients so that a process need not keep two sets of connections.
"""

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from math import inf

import httpx
from msgspec import Struct

from trustgate.contract.upstream import (
    Call,
    Clocks,
    FailureKind,
    Header,
    Origin,
    Transport,
    Upstream,
    UpstreamFailure,
    pieces,
)
from trustgate.forwarding.transport import DEFAULT_PORTS, Pool, PoolLimits, write_head, write_start

_WRITTEN_BY_US = (b"host", b"content-length", b"transfer-encoding")


# httpx's clients over our transport.


class PoolTransport(httpx.AsyncBaseTransport):
    """One of our transports as httpx's: for an `AsyncClient` that is to share its connections."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request, read into memory if it is a stream."""
        call = _call_from(request, await request.aread())
        try:
            upstream = await self._transport.send(call)
        except UpstreamFailure as failure:
            raise _httpx_error(failure, request) from failure
        return httpx.Response(upstream.status, headers=list(upstream.headers), stream=_Stream(upstream, request))

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()


class _Stream(httpx.AsyncByteStream):
    def __init__(self, upstream: Upstream, request: httpx.Request) -> None:
        self._upstream = upstream
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while chunk := await self._upstream.chunk():
                yield chunk
        except UpstreamFailure as failure:
            raise _httpx_error(failure, self._request) from failure

    async def aclose(self) -> None:
        await self._upstream.aclose()


def _call_from(request: httpx.Request, body: bytes) -> Call:
    url = request.url
    origin = Origin(
        scheme=url.scheme, host=url.raw_host.decode("ascii"), port=url.port or DEFAULT_PORTS.get(url.scheme, 0)
    )
    return Call(
        method=request.method,
        origin=origin,
        target=url.raw_path,
        headers=[(name, value) for name, value in request.headers.raw if name.lower() not in _WRITTEN_BY_US],
        body=body,
        clocks=_clocks_from(request.extensions.get("timeout", {})),
    )


def _clocks_from(timeout: dict[str, float | None]) -> Clocks:
    """httpx has no clock for the whole exchange, and `None` where there is none."""
    connect, read = timeout.get("connect"), timeout.get("read")
    read = inf if read is None else read
    return Clocks(connect=inf if connect is None else connect, first_byte=read, idle=read, total=inf)


def _httpx_error(failure: UpstreamFailure, request: httpx.Request) -> httpx.TransportError:
    errors: dict[FailureKind, type[httpx.TransportError]] = {
        "connect_failed": httpx.ConnectError,
        "connect_timeout": httpx.ConnectTimeout,
        "first_byte_timeout": httpx.ReadTimeout,
        "idle_timeout": httpx.ReadTimeout,
        "total_timeout": httpx.ReadTimeout,
        "connection_lost": httpx.ReadError,
        "malformed_answer": httpx.RemoteProtocolError,
    }
    return errors[failure.kind](failure.detail, request=request)


# Our calls over an httpx transport.


class HttpxTransport:
    """Any httpx transport as one of ours: to go through a proxy, or to a `MockTransport` in a test."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def send(self, call: Call) -> "HttpxAnswer":
        """Send the call and wait for the answer's head. Raises UpstreamFailure."""
        write_head(call, write_start(call.origin))  # refuses what our pool refuses
        total_at = asyncio.get_running_loop().time() + call.clocks.total
        request = _request_from(call)
        try:
            async with asyncio.timeout_at(total_at):
                response = await self._transport.handle_async_request(request)
        except (httpx.TransportError, TimeoutError) as error:
            raise UpstreamFailure(_kind(error, reading="first_byte_timeout"), _words(error)) from error
        request.extensions["timeout"]["read"] = None  # from here on the answer keeps the clocks
        return HttpxAnswer(response, call.clocks, total_at)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()


class HttpxAnswer:
    """An httpx response as an `Upstream`: bytes as they came, nothing decoded."""

    __slots__ = ("_chunks", "_clocks", "_fault", "_response", "_total_at", "headers", "status")

    def __init__(self, response: httpx.Response, clocks: Clocks, total_at: float) -> None:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        self.status = response.status_code
        self.headers: Sequence[Header] = [(name.lower(), value) for name, value in response.headers.raw]
        self._response = response
        self._chunks = aiter(response.stream)  # not aiter_raw, which refuses the ready-made answers of a MockTransport
        self._clocks = clocks
        self._total_at = total_at
        self._fault: tuple[FailureKind, str] | None = None

    async def read(self) -> bytes:
        """Read the whole body."""
        chunks = []
        while chunk := await self.chunk():
            chunks.append(chunk)
        return b"".join(chunks)

    async def chunk(self) -> bytes:
        """Return the next bytes, or none at a proper end."""
        if self._fault is not None:
            raise UpstreamFailure(*self._fault)
        idle_at = asyncio.get_running_loop().time() + self._clocks.idle
        try:
            async with asyncio.timeout_at(min(idle_at, self._total_at)):
                chunk = await self._next_chunk()
        except (httpx.TransportError, TimeoutError) as error:
            ours = isinstance(error, TimeoutError) and idle_at < self._total_at
            self._fault = ("idle_timeout" if ours else _kind(error), _words(error))
            await self._response.aclose()
            raise UpstreamFailure(*self._fault) from error
        if not chunk:
            await self._response.aclose()
        return chunk

    async def aclose(self) -> None:
        """Close what is not read out."""
        if not self._response.is_closed:
            self._fault = ("connection_lost", "the answer was given up before its end")
            await self._response.aclose()

    async def _next_chunk(self) -> bytes:
        async for chunk in self._chunks:
            if chunk:
                return chunk
        return b""


def _request_from(call: Call) -> httpx.Request:
    origin, clocks = call.origin, call.clocks
    timeout = {"connect": clocks.connect, "pool": clocks.connect, "write": clocks.idle, "read": clocks.first_byte}
    try:
        url = httpx.URL(scheme=origin.scheme, host=origin.host, port=origin.port, raw_path=call.target)
    except httpx.InvalidURL as error:
        raise ValueError(f"not a request target: {call.target!r}") from error
    return httpx.Request(
        call.method,
        url,
        headers=list(call.headers),
        content=b"".join(pieces(call.body)),  # a stream would be sent chunked, which providers need not take
        extensions={"timeout": {step: None if seconds == inf else seconds for step, seconds in timeout.items()}},
    )


def _kind(error: Exception, *, reading: FailureKind = "idle_timeout") -> FailureKind:
    match error:
        case TimeoutError():
            return "total_timeout"
        case httpx.ConnectTimeout() | httpx.PoolTimeout():
            return "connect_timeout"
        case httpx.ReadTimeout():
            return reading
        case httpx.WriteTimeout():
            return "idle_timeout"
        case httpx.ConnectError() | httpx.ProxyError() | httpx.UnsupportedProtocol():
            return "connect_failed"
        case httpx.RemoteProtocolError() if not _was_cut(error):
            return "malformed_answer"
        case _:
            return "connection_lost"


def _was_cut(error: httpx.RemoteProtocolError) -> bool:
    """httpx tells a connection that ended too early from garbage by its words alone."""
    return "disconnected" in str(error) or "peer closed connection" in str(error)


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


# Which of the two.


class Proxies(Struct, frozen=True, kw_only=True):
    """The proxies to go through, as HTTP_PROXY, HTTPS_PROXY and NO_PROXY name them; the latter split at its commas."""

    http: str | None = None
    https: str | None = None
    no_proxy: tuple[str, ...] = ()


class ProxyingTransport:
    """A `Transport` that takes the proxy of the origin's scheme, and the pool where none applies."""

    def __init__(self, pool: Transport, through: Mapping[str, Transport], no_proxy: Sequence[str] = ()) -> None:
        self._pool = pool
        self._through = through
        self._no_proxy = ("localhost", *(rule.strip().lower() for rule in no_proxy))
        self._routes: dict[Origin, Transport] = {}

    async def send(self, call: Call) -> Upstream:
        """Send the call and wait for the answer's head. Raises UpstreamFailure."""
        return await (self._routes.get(call.origin) or self._route(call.origin)).send(call)

    async def aclose(self) -> None:
        """Close every connection."""
        for transport in (self._pool, *self._through.values()):
            await transport.aclose()

    def _route(self, origin: Origin) -> Transport:
        exempt = any(_exempts(rule, origin) for rule in self._no_proxy)
        self._routes[origin] = route = self._pool if exempt else self._through.get(origin.scheme, self._pool)
        return route


def make_transport(
    proxies: Proxies | None = None, *, limits: PoolLimits | None = None, ssl_context: ssl.SSLContext | None = None
) -> Transport:
    """The transport of a process: our pool, behind a choice only where a proxy is configured."""
    pool = Pool(limits=limits, ssl_context=ssl_context)
    configured = {"http": proxies.http, "https": proxies.https} if proxies else {}
    through = {scheme: _proxy_transport(url, pool) for scheme, url in configured.items() if url}
    return ProxyingTransport(pool, through, proxies.no_proxy) if proxies and through else pool


def _proxy_transport(proxy: str, pool: Pool) -> HttpxTransport:
    limits = httpx.Limits(
        max_connections=pool.limits.open_per_origin,
        max_keepalive_connections=pool.limits.idle,
        keepalive_expiry=pool.limits.idle_expiry,
    )
    url = proxy if "://" in proxy else f"http://{proxy}"
    return HttpxTransport(httpx.AsyncHTTPTransport(proxy=url, verify=pool.tls, trust_env=False, limits=limits))


def _exempts(rule: str, origin: Origin) -> bool:
    """Whether a rule of NO_PROXY covers the origin: `*`, a domain, an address or a network, any of them with a port."""
    host, _, port = rule.rpartition(":") if rule.count(":") == 1 or "]:" in rule else (rule, "", "")
    host = host.strip("[]")
    if not host or port not in ("", str(origin.port)):
        return False
    if host == "*":
        return True
    try:
        address = ipaddress.ip_address(origin.host)
    except ValueError:
        return f".{origin.host.lower()}".endswith("." + host.removeprefix("*").removeprefix("."))
    return address.is_loopback if host == "localhost" else _is_within(address, host)


def _is_within(address: "ipaddress.IPv4Address | ipaddress.IPv6Address", network: str) -> bool:
    try:
        return address in ipaddress.ip_network(network, strict=False)
    except ValueError:  # a rule for names
        return False
