"""Revision changed, so prepare and swap. The last good snapshot stays in force while the store cannot be read."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from trustgate.config.snapshot import Snapshot
from trustgate.config.source import ConfigSource

TOLD = 4
log = logging.getLogger("trustgate.config")


class Fresh(Protocol):
    """Knows whether the configuration was proved to be the newest lately enough."""

    @property
    def fresh(self) -> bool:
        """Say so."""


class Watch:
    """Holds the newest snapshot of a source. `swap` is called with each new one, before anybody is told of it.

    `every` is how often (seconds) the source is looked at where it tells nobody of what is new; one that does is looked
    at four times more seldom. A snapshot is fresh for `max_staleness` seconds after it was last proved to be the
    newest; 0 is for ever.
    """

    def __init__(
        self, source: ConfigSource, swap: Callable[[Snapshot], None], *, every: float, max_staleness: float = 0.0
    ) -> None:
        self._source = source
        self._swap = swap
        self._every = every
        self._max_staleness = max_staleness
        self._taken = asyncio.Event()
        self._lock = asyncio.Lock()
        self.snapshot = Snapshot()
        self.errors = 0
        self.checked_at = 0.0
        self.stale = False

    async def load(self) -> None:
        """Read what changed since the snapshot and swap it in. Raises what the source raises."""
        async with self._lock:
            changes = await self._source.changes(self.snapshot.revision)
            if changes.whole or changes.revision != self.snapshot.revision:
                self._take(self.snapshot.apply(changes))
            self.checked_at = time.time()

    async def newest(self) -> Snapshot:
        """Return the snapshot after having read what changed. Raises what the source raises."""
        await self.load()
        return self.snapshot

    async def applied(self, revision: int) -> None:
        """Return once the snapshot is at least at this revision. Writers in the same process await it."""
        while self.snapshot.revision < revision:
            await self.load()
            if self.snapshot.revision < revision:  # a store that answers from a copy needs a moment
                await asyncio.sleep(self._every)

    async def run(self) -> None:
        """Keep up for ever. A source that fails is asked again; what is known keeps serving."""
        told = False
        while True:
            told = await self._source.news(TOLD * self._every if told else self._every) and not self.stale
            await self._poll()

    def adopt(self, snapshot: Snapshot) -> None:
        """Serve a snapshot that was kept, until the source can be read."""
        self._take(snapshot)
        self.stale = True

    async def beyond(self, revision: int, within: float) -> int:
        """Return the revision once it is another one than this, or after so many seconds."""
        if self.snapshot.revision == revision:
            self._taken.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(within):
                    await self._taken.wait()
        return self.snapshot.revision

    @property
    def fresh(self) -> bool:
        """Whether the snapshot was proved to be the newest lately enough."""
        return not self._max_staleness or self.age <= self._max_staleness

    @property
    def age(self) -> float:
        """For how many seconds nobody has known whether the snapshot is the newest."""
        return time.time() - self.checked_at

    async def _poll(self) -> None:
        try:
            if await self._source.revision() != self.snapshot.revision:
                await self.load()
            self.checked_at = time.time()
            self._fresh()
        except Exception:  # noqa: BLE001 - whatever broke in the store, the data plane keeps its last good snapshot
            self._failed()

    def _take(self, snapshot: Snapshot) -> None:
        self._swap(snapshot)
        self.snapshot = snapshot
        self._taken.set()

    def _fresh(self) -> None:
        if self.stale:
            log.info("the configuration can be read again")
        self.stale = False

    def _failed(self) -> None:
        self.errors += 1
        if not self.stale:
            log.exception("the configuration cannot be read: serving revision %d until it can", self.snapshot.revision)
        self.stale = True
