"""What processes tell one another of the health of targets: who is left alone, and until when.

A process that learns something of a target writes it under the registry's key in the cache that all of them have, and
reads those of the targets that it asks. In one process it is how the admin plane sees what the proxy knows.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from time import time
from typing import Final

import msgspec
from msgspec import Struct

from trustgate.contract.ports import Cache, StateUnavailable
from trustgate.forwarding.health import Health, registry_of

EVERY: Final = 0.25
"""Seconds between two times at which news are told and heard."""
KEPT: Final = 3600.0
"""Seconds for which a note is kept at least."""
log = logging.getLogger("trustgate.health")


class Note(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One model of a registry, or of one key of it. `until` (Unix seconds) is when somebody may ask it again.

    Without a model it is what probes say of the registry: why it is `down`.
    """

    model: str
    key: str = ""
    until: float = 0.0
    failures: int = 0
    down: str = ""
    at: float = 0.0


class Board:
    """The board of one process. `shared` says whether others write on it too."""

    def __init__(self, health: Health, cache: Cache, *, shared: bool, clock: Callable[[], float] = time) -> None:
        self._health = health
        self._cache = cache
        self._shared = shared
        self._clock = clock
        self._running: asyncio.Task[None] | None = None

    async def read(self, registry_id: str) -> Sequence[Note]:
        """Return what is known of a registry. Raises StateUnavailable."""
        raw = await self._cache.get(_key(registry_id))
        return () if raw is None else msgspec.json.decode(raw, type=tuple[Note, ...])

    def start(self) -> None:
        """Begin to tell and to hear."""
        if self._running is None:
            self._running = asyncio.create_task(self._run())

    async def aclose(self) -> None:
        """End."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
            self._running = None

    async def _run(self) -> None:
        lost = False
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self.exchange()
                lost = False
            except StateUnavailable as error:
                if not lost:
                    log.warning("the health of targets is not shared with other processes: %s", error)
                lost = True

    async def exchange(self) -> None:
        """Tell what is new, then hear what others know. Raises StateUnavailable."""
        news = self._health.news()
        try:
            for registry_id, of_it in groupby(news, key=lambda each: registry_of(each[0])):
                await self._tell(registry_id, [self._note(account, model) for account, model in of_it])
        except StateUnavailable:
            self._health.tell_again(news)
            raise
        if self._shared:
            await self._hear(self._health.asked())

    async def _tell(self, registry_id: str, mine: Sequence[Note]) -> None:
        named = {(note.key, note.model) for note in mine}
        others = [note for note in await self.read(registry_id) if (note.key, note.model) not in named]
        notes = [note for note in (*others, *mine) if note.until or note.failures or note.down]
        if notes:
            await self._cache.set(_key(registry_id), msgspec.json.encode(notes), ttl=KEPT)
        else:
            await self._cache.delete(_key(registry_id))

    def _note(self, account: str, model: str) -> Note:
        pause, failures = self._health.state(account, model)
        now = self._clock()
        until = now + pause if pause else 0.0
        down = "" if model else self._health.why_down(account)
        return Note(model=model, key=account.partition("#")[2], until=until, failures=failures, down=down, at=now)

    async def _hear(self, registry_ids: Iterable[str]) -> None:
        now = self._clock()
        for registry_id in registry_ids:
            for note in await self.read(registry_id):
                account = f"{registry_id}#{note.key}" if note.key else registry_id
                if note.until > now:
                    self._health.heard(account, note.model, note.until - now)


def _key(registry_id: str) -> str:
    return f"health:{registry_id}"
