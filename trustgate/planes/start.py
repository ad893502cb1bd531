"""Starting one plane, or all of them: the containers, what surrounds them, and what a newcomer is told."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from textwrap import dedent

import uvloop
from starlette.types import ASGIApp

from trustgate.enforcement.plugins import BadPlugin
from trustgate.planes.admin.container import Admin
from trustgate.planes.admin.tokens import mint_token
from trustgate.planes.demo import Demo, seed
from trustgate.planes.mcp.container import Mcp
from trustgate.planes.proxy.container import Proxy
from trustgate.planes.serve import House, Plane, serve
from trustgate.settings import Settings
from trustgate.storage.database import StorageError, Unavailable
from trustgate.storage.migrate import migrate, pending
from trustgate.telemetry.process_log import configure_logging

DAY = 86_400
RECONNECT = 1.0
"""Seconds between two tries to reach a database that was not there at the start."""
Fail = Callable[[int, str], None]
log = logging.getLogger("trustgate.start")


class Run(Admin, Proxy, Mcp):
    """All planes on one ground: the same database, state and snapshot."""


def start(settings: Settings, command: str, *, demo: bool, fail: Fail) -> None:
    """Serve what the command names until a signal. Calls `fail` where it cannot start."""
    configure_logging(settings.log_level, settings.log_format)
    try:
        uvloop.run(_serve(settings, command, demo=demo))
    except (StorageError, BadPlugin) as error:
        fail(1, str(error))


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


async def _serve(settings: Settings, command: str, *, demo: bool) -> None:
    run = Run(settings=settings)
    names = ("admin", "proxy", "mcp") if command == "run" else (command,)
    run.planes.override(",".join(names))
    if "proxy" in names and "admin" in names:
        run.applied.override(run.watch.provided.applied)
    serving = _Serving(run, names, demo=demo)
    await serve(serving.house(), serving.planes)


class _Serving:
    """One process: which planes it serves and what it opens for them."""

    def __init__(self, run: Run, names: Sequence[str], *, demo: bool) -> None:
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
        run, ports = self._run, self._run.settings().ports
        apps: dict[str, Callable[[], ASGIApp]] = {
            "admin": run.admin_app,
            "proxy": run.proxy_app,
            "mcp": run.mcp_app,
        }
        return [
            Plane(
                name=name,
                app=apps[name](),
                host=ports.host,
                port=getattr(ports, name),
                variable=f"SERVER_{name.upper()}_PORT",
            )
            for name in self._names
        ]

    def house(self) -> House:
        """Return what surrounds the servers."""
        run = self._run
        return House(
            open=self._open,
            opened=self._opened,
            close=self._close,
            idle=run.lifecycle().idle,
            cut=run.proxy_app().cut,
            drain=run.drain(),
            grace=run.settings().limits.grace,
        )

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
        if self._seeded is not None:
            _welcome(self._run, self._seeded)

    async def _close(self) -> None:
        run = self._run
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self._serves_data:
            await run.data_plane().close()
        elif (link := run.link()) is not None:
            await link.aclose()
        await run.database().aclose()


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
