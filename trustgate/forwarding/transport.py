"""The connection pool: the only owner of upstream sockets.

Law: a connection that may be used again lies in its origin's lane, the freshest on top; one that may not is closed on
the spot. A request whose reused connection turns out dead before a single byte came back is sent once more, on a fresh
connection, and never a third time.
"""

import asyncio
import re
import socket
import ssl
import sys
from collections import deque
from contextlib import suppress
from functools import lru_cache
from operator import itemgetter

from msgspec import Struct

from trustgate.contract.upstream import Call, Clocks, Origin, UpstreamFailure, size_of
from trustgate.forwarding.arriving import Answer
from trustgate.forwarding.connection import Connection

DEFAULT_PORTS = {"http": 80, "https": 443}

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OURS = (b"host", b"content-length", b"transfer-encoding")  # a second one is how requests are smuggled
_WITH_BODY = ("POST", "PUT", "PATCH")
_good_names: set[bytes] = set()  # remembers what was checked: a third of the time of an lru_cache
_name = itemgetter(0)
_line = b": ".join


class PoolLimits(Struct, frozen=True, kw_only=True):
    """How many connections may be open per origin, idle per origin, and idle in all; and for how long idle."""

    open_per_origin: int | None = 1024
    idle_per_origin: int = 256
    idle: int = 1024
    idle_expiry: float = 30.0


class Pool:
    """A `Transport` of keep-alive connections, for one event loop."""

    __slots__ = ("_lanes", "_sweeper", "closed", "idle", "limits", "tls")

    def __init__(self, *, limits: PoolLimits | None = None, ssl_context: ssl.SSLContext | None = None) -> None:
        self.limits = limits or PoolLimits()
        self.tls = ssl_context or ssl.create_default_context()
        self.tls.set_alpn_protocols(["http/1.1"])
        self.idle = 0
        self.closed = False
        self._lanes: dict[Origin, Lane] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    async def send(self, call: Call) -> Answer:
        """Send the call and wait for the answer's head. Raises UpstreamFailure."""
        lane = self._lanes.get(call.origin) or self._lane(call.origin)
        head = write_head(call, lane.start)
        now = lane.loop.time()
        total_at = now + call.clocks.total
        connection = lane.take(now) or await lane.obtain(call.clocks, total_at)
        reused = connection.reused
        answer = await connection.exchange(call, head, total_at)
        if not answer.status and reused and not connection.heard and answer.was_cut():
            connection = await lane.obtain(call.clocks, total_at, fresh=True)
            answer = await connection.exchange(call, head, total_at)
        if not answer.status:
            answer.check()
        return answer

    async def aclose(self) -> None:
        """Close every connection, and wait until the sockets are gone."""
        self.closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        sockets = [connection.lost for lane in self._lanes.values() for connection in lane.close()]
        if sockets:
            await asyncio.wait(sockets)

    def evict(self) -> None:
        """Close the connection that has been idle for longest, of all origins."""
        oldest = min((lane.idle[0] for lane in self._lanes.values() if lane.idle), key=lambda idle: idle.idle_since)
        oldest.close()

    def check_open(self) -> None:
        """Raise UpstreamFailure when the pool is closed."""
        if self.closed:
            raise UpstreamFailure("connect_failed", "the pool is closed")

    def _lane(self, origin: Origin) -> "Lane":
        """Open the lane to an origin. It stays: origins come from the configuration, so there are few."""
        self.check_open()
        self._lanes[origin] = lane = Lane(self, origin)
        if self._sweeper is None:
            self._sweeper = lane.loop.call_later(self.limits.idle_expiry / 2, self._sweep, lane.loop)
        return lane

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        horizon = loop.time() - self.limits.idle_expiry
        for lane in self._lanes.values():
            lane.sweep(horizon)
        self._sweeper = loop.call_later(self.limits.idle_expiry / 2, self._sweep, loop)


class Lane:
    """The connections to one origin: those at rest, how many there are, and who waits for one."""

    __slots__ = ("_bound", "_idle_bound", "_members", "_open", "_pool", "_waiters", "idle", "loop", "origin", "start")

    def __init__(self, pool: Pool, origin: Origin) -> None:
        self._pool = pool
        self._bound = pool.limits.open_per_origin or sys.maxsize
        self._idle_bound = pool.limits.idle_per_origin
        self._members: set[Connection] = set()
        self._open = 0  # slots taken, by members and by attempts to connect
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self.idle: list[Connection] = []
        self.loop = asyncio.get_running_loop()
        self.origin = origin
        self.start = write_start(origin)

    def take(self, now: float) -> Connection | None:
        """The freshest idle connection, if there is one that has not expired."""
        while self.idle:
            connection = self.idle.pop()
            self._pool.idle -= 1
            if now - connection.idle_since < self._pool.limits.idle_expiry:
                return connection
            connection.close()
        return None

    async def obtain(self, clocks: Clocks, total_at: float, *, fresh: bool = False) -> Connection:
        """Connect, or wait for a slot or for a connection that somebody is done with (not when it must be fresh)."""
        connect_at = self.loop.time() + clocks.connect
        try:
            async with asyncio.timeout_at(min(connect_at, total_at)):
                return await self._turn(fresh) or await self._connect()
        except TimeoutError:
            if total_at <= connect_at:
                raise UpstreamFailure("total_timeout", f"no connection within {clocks.total:g} s in all") from None
            raise UpstreamFailure("connect_timeout", f"no connection within {clocks.connect:g} s") from None

    def freed(self, connection: Connection) -> None:
        waiter = self._next_waiter()
        if waiter is not None:
            waiter.set_result(connection)
        elif len(self.idle) >= self._idle_bound:
            connection.close()
        else:
            self._lay_down(connection)

    def closed(self, connection: Connection) -> None:
        if connection in self.idle:
            self.idle.remove(connection)
            self._pool.idle -= 1
        if connection in self._members:
            self._vacate()

    def close(self) -> list[Connection]:
        """Close all connections, turn away who waits, and return the connections whose sockets are not gone yet."""
        while waiter := self._next_waiter():  # to find the pool closed
            self._open += 1
            waiter.set_result(None)
        members = list(self._members)
        for connection in members:
            connection.fail("connection_lost", "the pool was closed")
        return members

    def sweep(self, horizon: float) -> None:
        """Close what has been idle since before the horizon."""
        for connection in [idle for idle in self.idle if idle.idle_since <= horizon]:
            connection.close()

    def _lay_down(self, connection: Connection) -> None:
        connection.idle_since = self.loop.time()
        self.idle.append(connection)
        self._pool.idle += 1
        if self._pool.idle > self._pool.limits.idle:
            self._pool.evict()

    async def _turn(self, fresh: bool) -> Connection | None:
        """Take a slot, in which to connect (None), or be handed a connection: first come, first served."""
        while self._open >= self._bound:
            if fresh and self.idle:
                self.idle[0].close()
                continue
            connection = await self._queue()
            if connection is None:
                return None
            if connection.closed:  # since it was handed over
                continue
            if not fresh:
                return connection
            self._open += 1  # its slot is ours
            connection.close()
            return None
        self._open += 1
        return None

    async def _queue(self) -> Connection | None:
        waiter: asyncio.Future[Connection | None] = self.loop.create_future()
        self._waiters.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            with suppress(ValueError):
                self._waiters.remove(waiter)
            if not waiter.cancelled():  # it was served all the same
                self._pass_on(waiter.result())
            raise

    def _pass_on(self, connection: Connection | None) -> None:
        if connection is None:
            self._vacate()
        elif not connection.closed:
            self.freed(connection)

    def _next_waiter(self) -> "asyncio.Future[Connection | None] | None":
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                return waiter
        return None

    def _vacate(self) -> None:
        self._open -= 1
        if self._open < self._bound and (waiter := self._next_waiter()):
            self._open += 1
            waiter.set_result(None)

    async def _connect(self) -> Connection:
        try:
            connection = await self._open_socket()
        except BaseException:  # a cancelled attempt must give its slot back, too
            self._vacate()
            raise
        self._members.add(connection)
        connection.lost.add_done_callback(lambda _: self._members.discard(connection))
        return connection

    async def _open_socket(self) -> Connection:
        self._pool.check_open()
        origin = self.origin
        tls = self._pool.tls if origin.scheme == "https" else None
        name = origin.host if tls else None
        try:
            _, connection = await self.loop.create_connection(
                lambda: Connection(self, self.loop), origin.host, origin.port, ssl=tls, server_hostname=name
            )
        except (OSError, UnicodeError) as error:  # UnicodeError: not a host name at all
            raise UpstreamFailure("connect_failed", f"{origin.host}:{origin.port}: {_describe(error)}") from error
        if self._pool.closed:
            connection.close()
            self._pool.check_open()
        if connection.closed:
            raise UpstreamFailure("connection_lost", "the upstream closed the connection or spoke before it was asked")
        return connection


def write_start(origin: Origin) -> bytes:
    """What stands in every request to an origin: the end of the first line, and the host."""
    if origin.scheme not in DEFAULT_PORTS:
        raise ValueError(f"not a scheme of HTTP: {origin.scheme!r}")
    host = origin.host.encode("ascii" if origin.host.isascii() else "idna")
    host = b"[%b]" % host if b":" in host else host
    port = b"" if origin.port == DEFAULT_PORTS[origin.scheme] else b":%d" % origin.port
    return b" HTTP/1.1\r\nhost: " + host + port


def write_head(call: Call, start: bytes) -> bytes:
    """The head of the request. Raises ValueError where it could be read as anything but the head of one request."""
    bodied = call.body or call.method in _WITH_BODY
    length = b"\r\ncontent-length: %d\r\n\r\n" % size_of(call.body) if bodied else b"\r\n\r\n"
    lines = b"\r\n".join((start, *map(_line, call.headers)))
    head = b"".join((_method(call.method), call.target, lines, length))
    breaks = len(call.headers) + (4 if len(length) > 4 else 3)
    if len(head.translate(None, b"\r\n\0")) != len(head) - 2 * breaks:
        raise ValueError("a line break or a NUL in the target or a header")
    if b" " in call.target or not call.target.startswith(b"/"):
        raise ValueError(f"not a request target: {call.target!r}")
    if not _good_names.issuperset(map(_name, call.headers)):
        _check_names(call)
    return head


def _check_names(call: Call) -> None:
    for name, _ in call.headers:
        if not _TOKEN.fullmatch(name) or name.lower() in _OURS:
            raise ValueError(f"not a header of a call: {name!r}")
        if len(_good_names) < 4096:
            _good_names.add(name)


@lru_cache(maxsize=64)
def _method(method: str) -> bytes:
    token = method.encode("ascii")
    if not _TOKEN.fullmatch(token):
        raise ValueError(f"not a method: {method!r}")
    return token + b" "


def _describe(error: Exception) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate was not accepted: {error.verify_message}"
        case ssl.SSLError():
            return f"the TLS handshake failed: {error.reason or error}"
        case socket.gaierror():
            return f"its name does not resolve: {error.strerror}"
        case _:
            return f"cannot connect: {error}"
