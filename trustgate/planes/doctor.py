"""`trustgate doctor`: looks at everything that a process needs, and says how to mend what is not as it should be."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from time import perf_counter, time
from typing import Final

from msgspec import Struct

from trustgate.contract.ports import StateUnavailable
from trustgate.enforcement.plugins import BadPlugin, load_plugins
from trustgate.planes.ground import Ground
from trustgate.settings import Settings
from trustgate.storage.database import CannotMigrate, StorageError
from trustgate.storage.migrate import pending
from trustgate.storage.postgres import PostgresDatabase
from trustgate.telemetry.kafka_producer import Entry, Producer
from trustgate.variables import BadSetting

ROOM: Final = 200 * 1024 * 1024
"""Bytes that should be free where data is kept."""
SKEW: Final = 2.0
"""Seconds by which clocks may differ."""
WITHIN: Final = 10.0


class Finding(Struct, frozen=True, kw_only=True):
    """What one check found. `mend` is what to do; empty where nothing is to be done. Only `fails` ones fail."""

    name: str
    said: str
    mend: str = ""
    fails: bool = False

    def __str__(self) -> str:
        """Return it as a line to read."""
        mark = "FAIL" if self.fails else "warn" if self.mend else "ok"
        return f"{mark:<5} {self.name}: {self.said}" + (f"\n      {self.mend}" if self.mend else "")


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Yield what each check finds, as it finds it."""
    ground = Ground(settings=settings)
    yield _secret(settings)
    yield _folder(settings)
    yield _plugins(settings)
    for check in (_database, _redis, _kafka):
        async for finding in check(ground, settings):
            yield finding


def _secret(settings: Settings) -> Finding:
    if settings.secret_key:
        return Finding(name="secret", said="SERVER_SECRET_KEY is set")
    if settings.production:
        return Finding(
            name="secret",
            said=f"SERVER_SECRET_KEY is not set, and APP_ENV is {settings.app_env}",
            mend="set it to the output of `openssl rand -hex 32`, to the same for all processes",
            fails=True,
        )
    return Finding(name="secret", said="SERVER_SECRET_KEY is not set: one is made and kept in TRUSTGATE_DATA_DIR")


def _folder(settings: Settings) -> Finding:
    folder = settings.data_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".doctor-{os.getpid()}"
        probe.write_bytes(b"x")
        probe.unlink()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Finding(
            name="folder",
            said=f"TRUSTGATE_DATA_DIR is {folder}, which cannot be written ({error.strerror})",
            mend="use a folder that this user may write",
            fails=True,
        )
    said = f"{folder.resolve()} can be written and has {free // 1024**2} MiB free"
    return Finding(name="folder", said=said, mend="make room, or name another one" if free < ROOM else "")


def _plugins(settings: Settings) -> Finding:
    try:
        plugins = load_plugins(settings.plugins)
    except BadPlugin as error:
        return Finding(name="plugins", said=str(error), mend="mend it or leave it out of TRUSTGATE_PLUGINS", fails=True)
    return Finding(name="plugins", said=f"{len(list(plugins))} loaded")


async def _database(ground: Ground, settings: Settings) -> AsyncIterator[Finding]:
    kind = "Postgres" if settings.postgres.host else "SQLite"
    try:
        database = ground.database()
        started = perf_counter()
        await database.open()
    except (StorageError, BadSetting) as error:
        yield Finding(name="database", said=str(error), mend="mend that and ask again", fails=True)
        return
    try:
        await database.fetch("SELECT 1 AS one")
        yield Finding(name="database", said=f"{kind} answers after {(perf_counter() - started) * 1000:.0f} ms")
        yield _migrations(await pending(database))
        yield await _sealed(ground)
        if isinstance(database, PostgresDatabase):
            yield await _clock(database)
            yield await _connections(database, settings)
    except CannotMigrate as error:
        yield Finding(name="migrations", said=str(error), mend="see above", fails=True)
    except StorageError as error:
        yield Finding(name="database", said=str(error), mend="mend that and ask again", fails=True)
    finally:
        await database.aclose()


def _migrations(waiting: Sequence[str]) -> Finding:
    if not waiting:
        return Finding(name="migrations", said="the database is up to date")
    return Finding(
        name="migrations", said=f"to be applied: {', '.join(waiting)}", mend="run `trustgate migrate`, or start a plane"
    )


async def _sealed(ground: Ground) -> Finding:
    """What was sealed can be opened with the secret that is set."""
    with suppress(StorageError):
        if not await ground.database().fetch("SELECT 1 AS one FROM schema_migrations LIMIT 1"):
            return Finding(name="sealed values", said="there are none yet")
    try:
        await ground.source().changes(0)
        unreadable = ground.source().skipped
    except (StorageError, BadSetting):
        return Finding(name="sealed values", said="there are none yet")
    if not unreadable:
        return Finding(name="sealed values", said="every record can be read")
    return Finding(
        name="sealed values",
        said=f"{len(unreadable)} records cannot be read, such as {unreadable[0]}",
        mend="start with the SERVER_SECRET_KEY that sealed them, or write their secrets again",
        fails=True,
    )


async def _clock(database: PostgresDatabase) -> Finding:
    row = (await database.fetch("SELECT EXTRACT(EPOCH FROM clock_timestamp())::float8 AS now"))[0]
    skew = abs(time() - row["now"])
    mend = "have both machines set their clocks by NTP: tokens, limits and leases go by them" if skew > SKEW else ""
    return Finding(name="clock", said=f"{skew:.1f} s from the database's", mend=mend, fails=skew > SKEW)


async def _connections(database: PostgresDatabase, settings: Settings) -> Finding:
    row = (await database.fetch("SELECT current_setting('max_connections')::int AS most"))[0]
    each = settings.postgres.max_conns + 1
    said = f"a process uses up to {each}, the server has {row['most']}: room for {row['most'] // each} processes"
    few = row["most"] // each < 2
    return Finding(name="connections", said=said, mend="lower DB_MAX_CONNS or use a pooler" if few else "")


async def _redis(ground: Ground, _: Settings) -> AsyncIterator[Finding]:
    if (link := ground.link()) is None:
        yield Finding(name="redis", said="REDIS_HOST is not set: limits are of one process")
        return
    await link.open()
    try:
        policy = await link.ask("CONFIG", "GET", "maxmemory-policy")
        said = bytes(policy[1]).decode() if policy else "unknown"
        mend = "use noeviction: limits are counted in what it would throw away" if said != "noeviction" else ""
        yield Finding(name="redis", said=f"answers; maxmemory-policy is {said}", mend=mend)
    except StateUnavailable as error:
        up = link.up
        yield Finding(
            name="redis",
            said=f"answers; its settings are not for us ({error})" if up else str(error),
            mend="" if up else "check REDIS_HOST, REDIS_PORT, REDIS_USERNAME, REDIS_PASSWORD, REDIS_TLS_ENABLED",
            fails=not up,
        )
    finally:
        await link.aclose()


async def _kafka(_: Ground, settings: Settings) -> AsyncIterator[Finding]:
    if not settings.kafka.brokers:
        yield Finding(name="kafka", said="KAFKA_BROKERS is not set: events go to TELEMETRY_LOG")
        return

    def ignore(_: Entry, __: str) -> None:
        """Nothing is sent."""

    def quiet(_: str) -> None:
        """Nothing stalls."""

    producer = Producer(settings.kafka, refused=ignore, stalled=quiet)
    try:
        async with asyncio.timeout(WITHIN):
            await producer.connect()
        yield Finding(name="kafka", said=f"answers; the topic {settings.kafka.topic} is there")
    except Exception as error:  # noqa: BLE001 - the client raises many kinds, and each is what was found
        yield Finding(
            name="kafka",
            said=f"does not take part: {type(error).__name__} {error}".rstrip(),
            mend="check KAFKA_BROKERS, KAFKA_SECURITY_PROTOCOL, the credentials, and that the topic was made",
            fails=True,
        )
    finally:
        await producer.part()
