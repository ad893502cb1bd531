"""Starting one plane, or all of them: the containers, what surrounds them, and what a newcomer is told."""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import dedent

import uvloop
from starlette.types import ASGIApp, Receive, Scope, Send

from trustgate.enforcement.plugins import BadPlugin
from trustgate.planes.admin.container import Admin
from trustgate.planes.admin.tokens import mint_token
from trustgate.planes.demo import Demo, seed
from trustgate.planes.mcp.container import Mcp
from trustgate.planes.proxy.container import Proxy
from trustgate.planes.serve import House, Plane, listening, serve
from trustgate.planes.workers import Above, Supervisor
from trustgate.settings import Settings
from trustgate.storage.database import StorageError, Unavailable
from trustgate.storage.migrate import migrate, pending
from trustgate.telemetry.process_log import configure_logging
from trustgate.variables import BadSetting

DAY = 86_400
ORPHANED = 1.0
RECONNECT = 1.0
"""Seconds between two tries to reach a database that was not there at the start."""
Fail = Callable[[int, str], None]
log = logging.getLogger("trustgate.start")


class Run(Admin, Proxy, Mcp):
    """All planes on one ground: the same database, state and snapshot."""


def start(settings: Settings, command: str, *, demo: bool, workers: int, worker: Path | None, fail: Fail) -> None:
    """Serve what the command names until a signal, as one process, as several `workers`, or as one `worker` whose place
    is in that folder. Calls `fail` where it cannot start."""
    configure_logging(settings.log_level, settings.log_format)
    _check_counts(settings, command, workers=workers)
    if workers > 1:
        fail_with = Supervisor([command], workers, listening(_planes(settings, _names(command)))).run()
        if fail_with:
            fail(fail_with, "the workers did not end in good order: see the log above")
        return
    try:
        uvloop.run(_serve(settings, command, demo=demo, worker=worker))
    except (StorageError, BadPlugin) as error:
        fail(1, str(error))


def _check_counts(settings: Settings, command: str, *, workers: int) -> None:
    """Several processes that each count by themselves would let through that many times each limit."""
    if settings.redis.host or settings.allow_local_limits or command == "admin":
        return
    if workers > 1:
        raise BadSetting(
            f"--workers is {workers} and REDIS_HOST is not set: each worker would count limits by itself, and together "
            f"they would let through {workers} times as much. Set REDIS_HOST, or ALLOW_LOCAL_LIMITS=true to have it so"
        )
    if settings.postgres.host:
        raise BadSetting(
            "DB_HOST is set and REDIS_HOST is not: processes that share a database would each count limits by "
            "themselves. Set REDIS_HOST, or ALLOW_LOCAL_LIMITS=true where there is one process or that is meant"
        )


def _names(command: str) -> Sequence[str]:
    return ("admin", "proxy", "mcp") if command == "run" else (command,)


async def _nobody(_: Scope, __: Receive, ___: Send) -> None:
    """Serve nothing: where only the ports are of interest."""


def _planes(settings: Settings, names: Sequence[str], apps: Mapping[str, Callable[[], ASGIApp]] = {}) -> list[Plane]:
    return [
        Plane(
            name=name,
            app=apps[name]() if name in apps else _nobody,
            host=settings.ports.host,
            port=getattr(settings.ports, name),
            variable=f"SERVER_{name.upper()}_PORT",
        )
        for name in names
    ]


async def migrate_now(settings: Settings, *, fail: Fail) -> Sequence[str]:
    """Apply what is pending and return the names."""
    database = Run(settings=settings).database()
    try:
        await database.open()
        return await migrate(database)
    except StorageError as error:
        fail(1, str(error))
        raise
    finally:
        await database.aclose()


async def migrations_to_come(settings: Settings, *, fail: Fail) -> Sequence[str]:
    """Return the names of what is pending, and apply nothing."""
    database = Run(settings=settings).database()
    try:
        await database.open()
        return await pending(database)
    except StorageError as error:
        fail(1, str(error))
        raise
    finally:
        await database.aclose()


async def _serve(settings: Settings, command: str, *, demo: bool, worker: Path | None) -> None:
    run = Run(settings=settings)
    names = _names(command)
    run.planes.override(",".join(names))
    if "proxy" in names and "admin" in names:
        run.applied.override(run.watch.provided.applied)
    serving = _Serving(run, names, demo=demo, worker=worker)
    await serve(serving.house(), serving.planes)


class _Serving:
    """One process: which planes it serves and what it opens for them."""

    def __init__(self, run: Run, names: Sequence[str], *, demo: bool, worker: Path | None) -> None:
        self._worker = worker
        self._orphaned: asyncio.Task[None] | None = None
        self._run = run
        self._names = names
        self._demo = demo
        self._seeded: Demo | None = None
        self._connecting: asyncio.Task[None] | None = None

    @property
    def _serves_data(self) -> bool:
        return "proxy" in self._names or "mcp" in self._names

    def planes(self) -> list[Plane]:
        """Return the planes to serve."""
        run = self._run
        apps: dict[str, Callable[[], ASGIApp]] = {
            "admin": run.admin_app,
            "proxy": run.proxy_app,
            "mcp": run.mcp_app,
        }
        return _planes(run.settings(), self._names, apps)

    def house(self) -> House:
        """Return what surrounds the servers."""
        run = self._run
        return House(
            open=self._open,
            opened=self._opened,
            close=self._close,
            idle=self._idle,
            cut=self._cut,
            part=self._part,
            drain=run.drain(),
            grace=run.settings().limits.grace,
            sockets=Above.read(self._worker).sockets if self._worker is not None else {},
        )

    async def _idle(self) -> None:
        await asyncio.gather(self._run.lifecycle().idle(), self._run.mcp_app().idle())

    async def _cut(self) -> int:
        return await self._run.proxy_app().cut() + await self._run.mcp_app().cut()

    def _part(self) -> None:
        self._run.proxy_app().part()
        self._run.mcp_app().part()

    async def _open(self) -> None:
        run = self._run
        await self._open_database()
        if self._demo:
            self._seeded = await seed(run.store(), run.tools(), run.settings())
        if self._serves_data:
            await run.data_plane().open()
        elif (link := run.link()) is not None:
            await link.open()

    async def _open_database(self) -> None:
        """Connect and migrate. A data plane that has something to serve without it goes on, and tries until it can."""
        database = self._run.database()
        try:
            await database.open()
            await migrate(database)
        except Unavailable:
            kept = self._run.kept()
            if "admin" in self._names or kept is None or not kept.is_there:
                raise
            self._connecting = asyncio.create_task(self._connect())

    async def _connect(self) -> None:
        database = self._run.database()
        while True:
            await asyncio.sleep(RECONNECT)
            with contextlib.suppress(Unavailable):
                await database.open()
                await migrate(database)
                return

    async def _opened(self) -> None:
        if self._worker is not None:
            await self._run.together().start(self._worker / f"{os.getpid()}.sock")
            self._orphaned = asyncio.create_task(_end_with(Above.read(self._worker).pid))
        if self._seeded is not None:
            _welcome(self._run, self._seeded)

    async def _close(self) -> None:
        run = self._run
        if self._orphaned is not None:
            self._orphaned.cancel()
        await run.together().aclose()
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self._serves_data:
            await run.data_plane().close()
        elif (link := run.link()) is not None:
            await link.aclose()
        await run.database().aclose()


async def _end_with(supervisor: int) -> None:
    """Stop where the supervisor is gone: nobody would see to this worker any more."""
    while os.getppid() == supervisor:  # noqa: ASYNC110 - nobody tells a process that its parent has died
        await asyncio.sleep(ORPHANED)
    log.warning("the supervisor is gone: stopping")
    os.kill(os.getpid(), signal.SIGTERM)


def _welcome(run: Run, demo: Demo) -> None:
    ports = run.settings().ports
    token = mint_token(run.secret(), subject="demo", lifetime_seconds=DAY)
    print(  # noqa: T201 - what a newcomer pastes next
        dedent(f"""
        TrustGate is ready.

          admin   http://localhost:{ports.admin}   (docs at http://localhost:{ports.admin}/docs)
          proxy   http://localhost:{ports.proxy}
          mcp     http://localhost:{ports.mcp}

          Admin token, good for a day:
          {token}

          The first request:

        curl http://localhost:{ports.proxy}/{demo.consumer}/v1/chat/completions \\
          -H 'X-AG-Gateway-Slug: {demo.gateway}' \\
          -H 'X-AG-API-Key: {demo.key}' \\
          -H 'Content-Type: application/json' \\
          -d '{{"model": "{demo.model}", "messages": [{{"role": "user", "content": "Hello!"}}]}}'
        """),
        flush=True,
    )
