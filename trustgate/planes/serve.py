"""Serving planes with Granian, side by side in one event loop, until a signal says stop; and stopping in good order.

On SIGTERM or SIGINT readiness drops at once, requests under way get their grace, then the servers stop, then what they
left behind is flushed. A second signal cuts the grace short.
"""

import asyncio
import errno
import gc
import logging
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from granian._granian import SocketHolder
from granian.constants import Interfaces
from granian.server.embed import Server
from msgspec import Struct
from starlette.types import ASGIApp

from trustgate.planes.workers import LEAVE
from trustgate.variables import BadSetting

BACKLOG = 2048
CONCURRENCY = 16_384
"""Requests that a plane takes at once; Granian's own default is its backlog, which would queue long streams."""
POLL = 0.02
PARTING = 1.0
"""Seconds in which those who are connected are told to connect anew, before a worker that leaves stops."""
SWITCH_INTERVAL = 0.0003
log = logging.getLogger("trustgate.serve")


class Plane(Struct, frozen=True, kw_only=True):
    """One plane to serve: `variable` names the setting that chose its port."""

    name: str
    app: ASGIApp
    host: str
    port: int
    variable: str


class Drain(Struct):
    """Whether the process is on its way out; readiness looks at it."""

    draining: bool = False


class House(Struct, frozen=True, kw_only=True):
    """What surrounds the servers: `open` before them, `opened` once they listen, `close` after them.

    `sockets` are descriptors that listen already, by plane: others serve beside us. `idle` returns once no request is
    under way, `cut` ends those that outlive the grace (seconds), `part` has connections closed after their next answer.
    """

    open: Callable[[], Awaitable[None]]
    opened: Callable[[], Awaitable[None]]
    close: Callable[[], Awaitable[None]]
    idle: Callable[[], Awaitable[None]]
    cut: Callable[[], Awaitable[int]]
    drain: Drain
    grace: float
    part: Callable[[], None]
    sockets: Mapping[str, int] = {}


async def serve(house: House, planes: Callable[[], Sequence[Plane]]) -> None:
    """Serve until a signal. Raises BadSetting for a port that is taken, and what `open` raises."""
    stop, hurry, leave = _on_signals()
    await house.open()
    try:
        chosen = planes()
        if not house.sockets:
            check_ports(chosen)
        servers = [_server(plane, house.sockets.get(plane.name)) for plane in chosen]
        running = [asyncio.create_task(server.serve()) for server in servers]
        await _until_listening(chosen, running)
        settle_interpreter()
        await house.opened()
        await _until_stopped(stop, running)
        if leave.is_set():
            house.part()
            await asyncio.sleep(PARTING)
        else:
            await _let_finish(house, hurry)
        _stop(servers)  # what is under way then is let finish
        await _within(house, running)
    finally:
        await house.close()


def check_ports(planes: Sequence[Plane]) -> None:
    """Raise BadSetting where a plane cannot have its port."""
    _check_apart(planes)
    for plane in planes:
        _check_free(plane)


def _on_signals() -> tuple[asyncio.Event, asyncio.Event, asyncio.Event]:
    """Return what says stop, hurry, and that others are there to serve, so that nothing has to be waited for."""
    stop, hurry, leave = asyncio.Event(), asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def told() -> None:
        (hurry if stop.is_set() else stop).set()

    def told_to_leave() -> None:
        leave.set()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told)
    loop.add_signal_handler(LEAVE, told_to_leave)
    return stop, hurry, leave


async def _within(house: House, running: Sequence["asyncio.Task[None]"]) -> None:
    """Let the servers end, and cut off what outlives its grace."""
    ended = asyncio.gather(*running)
    await asyncio.wait((ended,), timeout=house.grace)
    if not ended.done() and (number := await house.cut()):
        log.warning("%d requests outlived their grace and were cut off", number)
    await ended


def _check_apart(planes: Sequence[Plane]) -> None:
    for at, plane in enumerate(planes):
        for other in planes[:at]:
            if plane.port == other.port:
                raise BadSetting(f"{other.variable} and {plane.variable} are both {plane.port}: give each its own port")


def _check_free(plane: Plane) -> None:
    """Granian shares ports (SO_REUSEPORT): a forgotten server would silently take half of the requests."""
    family = socket.AF_INET6 if ":" in plane.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((plane.host, plane.port))
        except socket.gaierror as error:
            raise BadSetting(
                f"SERVER_HOST is {plane.host}, which is no address of this machine: use 0.0.0.0, 127.0.0.1 or its own"
            ) from error
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            why = "which another process uses" if taken else f"which cannot be opened ({error.strerror})"
            raise BadSetting(
                f"{plane.variable} is {plane.port}, {why} on {plane.host}: stop that process or choose another port"
            ) from error


def listening(planes: Sequence[Plane]) -> Mapping[str, socket.socket]:
    """Return a socket that listens for each plane. Raises BadSetting where a plane cannot have its port."""
    check_ports(planes)
    found = {}
    for plane in planes:
        found[plane.name] = each = socket.socket(socket.AF_INET6 if ":" in plane.host else socket.AF_INET)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        each.bind((plane.host, plane.port))
        each.listen(BACKLOG)
        each.setblocking(False)
    return found


class _Inheriting(Server):
    """A server on a socket that listens already."""

    def __init__(self, descriptor: int, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self._descriptor = descriptor

    def _init_shared_socket(self) -> None:
        holder: Any = SocketHolder  # its stub knows nothing of what it takes
        self._shd: Any = holder(self._descriptor, False, BACKLOG)
        self._sfd: Any = self._descriptor
        self._ssp = None


def _server(plane: Plane, descriptor: int | None) -> Server:
    make: Callable[..., Server] = Server if descriptor is None else partial(_Inheriting, descriptor)
    return make(
        plane.app,
        address=plane.host,
        port=plane.port,
        interface=Interfaces.ASGINL,
        websockets=False,
        backlog=BACKLOG,
        backpressure=CONCURRENCY,
        log_enabled=False,
    )


def _stop(servers: Sequence[Server]) -> None:
    for server in servers:
        stop: Callable[[], None] = server.stop  # Granian leaves it untyped
        stop()


async def _until_listening(planes: Sequence[Plane], running: Sequence["asyncio.Task[None]"]) -> None:
    for plane in planes:
        while not await _listens(plane):
            _raise_early_end(running)
            await asyncio.sleep(POLL)
        log.info("the %s plane listens on %s:%d", plane.name, plane.host, plane.port)


async def _listens(plane: Plane) -> bool:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(plane.host, plane.host)  # noqa: S104 - compared, not bound
    try:
        _, writer = await asyncio.open_connection(host, plane.port)
    except OSError:
        return False
    writer.close()
    return True


def _raise_early_end(running: Sequence["asyncio.Task[None]"]) -> None:
    for task in running:
        if task.done():
            task.result()
            raise RuntimeError("a server ended before it listened")


def settle_interpreter() -> None:
    """What is there now stays: the collector need not look at it again, and need not look so often.

    And Granian's thread, which brings requests and needs the interpreter for it, gets it sooner than Python's usual
    5 ms: it then brings what has arrived together, which saves switches between threads (4 µs of CPU per request).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    sys.setswitchinterval(SWITCH_INTERVAL)


async def _until_stopped(stop: asyncio.Event, running: Sequence["asyncio.Task[None]"]) -> None:
    told = asyncio.create_task(stop.wait())
    await asyncio.wait((told, *running), return_when=asyncio.FIRST_COMPLETED)
    told.cancel()


async def _let_finish(house: House, hurry: asyncio.Event) -> None:
    house.drain.draining = True
    log.info("stopping: requests under way have %gs to finish", house.grace)
    idle, hurried = asyncio.ensure_future(house.idle()), asyncio.create_task(hurry.wait())
    await asyncio.wait((idle, hurried), timeout=house.grace, return_when=asyncio.FIRST_COMPLETED)
    for waiting in (idle, hurried):
        waiting.cancel()
    if number := await house.cut():
        log.warning("%d requests outlived their grace and were cut off", number)
