"""The way to Redis: up, or known to be down, in which case nobody waits for it.

While it is down one probe after the other looks whether it is back; everybody else is told at once. One connection
serves all: commands of one tick of the loop travel together, so that Redis sees few packets and we make few system
calls.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Sequence
from hashlib import sha1
from typing import Any

import hiredis

from trustgate.connections import RedisVariables
from trustgate.contract.ports import StateUnavailable
from trustgate.state.redis_wire import Wire, Word

CONNECT_WITHIN = 1.0
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 1.0
MOST_TRIPS = 3


class Script:
    """Lua that Redis runs as one step, known to it by a hash."""

    __slots__ = ("sha", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        self.sha = sha1(source.encode(), usedforsecurity=False).hexdigest().encode()


class Link:
    """Asks Redis. `open` it before, in the loop in which it is used."""

    def __init__(self, place: RedisVariables) -> None:
        self._place = place
        self._name = f"Redis at {place.host}:{place.port}"
        self._tls = ssl.create_default_context(cafile=place.tls_ca_cert or None) if place.tls else None
        self._wire: Wire | None = None
        self._why = "is not open"
        self._probe: asyncio.Task[None] | None = None
        self._round_trips = 0

    @property
    def patience(self) -> float:
        """After how many seconds a call that has to be said again, and again elsewhere, is given up at the latest."""
        return MOST_TRIPS * (self._place.timeout + CONNECT_WITHIN)

    @property
    def up(self) -> bool:
        """Whether it answered the last time."""
        return self._wire is not None

    @property
    def round_trips(self) -> int:
        """How many batches of commands were sent."""
        return self._round_trips + (self._wire.round_trips if self._wire else 0)

    async def open(self) -> None:
        """Connect. Without success too this returns: it is tried again until it works."""
        if not await self._connect():
            self._probe = asyncio.create_task(self._keep_probing())

    async def aclose(self) -> None:
        """Hang up, and probe no more."""
        if self._probe is not None:
            self._probe.cancel()
            await asyncio.gather(self._probe, return_exceptions=True)
        wire, self._wire, self._why = self._wire, None, "is closed"
        if wire is not None:
            wire.end("is closed")

    async def ask(self, *words: Word) -> Any:
        """Return the reply to a command. Raises StateUnavailable."""
        return self._checked(await self._ask(words))

    async def run(self, script: Script, keys: Sequence[str | bytes], args: Sequence[Word]) -> Any:
        """Return what a script returns; a Redis that does not know it is told it. Raises StateUnavailable."""
        reply = await self._ask((b"EVALSHA", script.sha, len(keys), *keys, *args))
        if isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT"):
            reply = await self._ask((b"EVAL", script.source, len(keys), *keys, *args))
        return self._checked(reply)

    def _ask(self, words: Sequence[Word]) -> Awaitable[Any]:
        wire = self._wire
        if wire is None:
            raise StateUnavailable(f"{self._name} {self._why}")
        return wire.ask(*words)

    def _checked(self, reply: Any) -> Any:
        if isinstance(reply, hiredis.ReplyError):
            raise StateUnavailable(f"{self._name} replies: {reply}")
        return reply

    async def _connect(self) -> bool:
        wire: Wire | None = None
        try:
            async with asyncio.timeout(CONNECT_WITHIN):
                wire = await self._dial()
                await self._greet(wire)
        except (OSError, TimeoutError) as error:
            self._why = f"cannot be reached: {type(error).__name__}"
        except StateUnavailable as error:
            self._why = str(error).removeprefix(f"{self._name} ")
        else:
            self._wire = wire
            return True
        if wire is not None:
            wire.end(self._why)
        return False

    async def _dial(self) -> Wire:
        place = self._place
        host, port = await self._master() if place.mode == "sentinel" else (place.host, place.port)
        loop = asyncio.get_running_loop()
        _, wire = await loop.create_connection(self._make_wire, host, port, ssl=self._tls)
        return wire

    async def _master(self) -> tuple[str, int]:
        """Return where a Sentinel says that the master is. Raises StateUnavailable, OSError."""
        place, loop = self._place, asyncio.get_running_loop()

        def forgotten(_: str) -> None:
            """Nobody waits for a Sentinel that has answered."""

        _, wire = await loop.create_connection(
            lambda: Wire(name=self._name, timeout=CONNECT_WITHIN, lost=forgotten), place.host, place.port, ssl=self._tls
        )
        try:
            told = await wire.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", place.sentinel_master)
        finally:
            wire.end("is not needed any more")
        if not isinstance(told, list) or len(told) != 2:
            raise StateUnavailable(f"is a Sentinel that knows no master {place.sentinel_master}: {told}")
        return told[0].decode(), int(told[1])

    def _make_wire(self) -> Wire:
        def lost(why: str) -> None:
            self._lose(wire, why)

        wire = Wire(name=self._name, timeout=self._place.timeout, lost=lost)
        return wire

    async def _greet(self, wire: Wire) -> None:
        place = self._place
        words: list[tuple[Word, ...]] = [("SELECT", place.db), ("PING",)]
        if place.mode == "sentinel":
            words.append(("ROLE",))
        if place.password:
            words.insert(0, ("AUTH", *([place.username] if place.username else []), place.password))
        for reply in await asyncio.gather(*(wire.ask(*command) for command in words)):
            if isinstance(reply, hiredis.ReplyError):
                raise StateUnavailable(f"does not let us in: {reply}")
            if isinstance(reply, list) and reply[0] != b"master":
                raise StateUnavailable("is no master: a Sentinel is about to name another one")

    def _lose(self, wire: Wire, why: str) -> None:
        if self._wire is not wire:
            return
        self._round_trips += wire.round_trips
        self._wire, self._why = None, why
        self._probe = asyncio.create_task(self._keep_probing())

    async def _keep_probing(self) -> None:
        pause = FIRST_PAUSE
        await asyncio.sleep(pause)
        while not await self._connect():
            pause = min(2 * pause, LONGEST_PAUSE)
            await asyncio.sleep(pause)
