"""What `/readyz` says: of everything that a plane needs, whether it is there; and whether requests should come."""

import asyncio
from collections.abc import Mapping
from typing import Final

from trustgate.config.watch import Watch
from trustgate.planes.serve import Drain
from trustgate.planes.states import DEGRADED, OK
from trustgate.state.redis_link import Link
from trustgate.storage.database import Database, StorageError
from trustgate.telemetry.kafka import KafkaSink

WITHIN: Final = 1.0
"""Seconds that a database has for an answer."""


class Readiness:
    """Looks at what a plane needs."""

    def __init__(
        self,
        drain: Drain,
        *,
        snapshot: Watch | None = None,
        database: Database | None = None,
        link: Link | None = None,
        kafka: KafkaSink | None = None,
        refuses_stale: bool = False,
    ) -> None:
        self._drain = drain
        self._snapshot = snapshot
        self._database = database
        self._link = link
        self._kafka = kafka
        self._refuses_stale = refuses_stale

    async def of_data_plane(self) -> Mapping[str, str]:
        """Return the states of what serving needs: without its database it serves what it knows."""
        assert self._snapshot is not None, "a data plane has a snapshot"
        watch = self._snapshot
        found = self._of_process()
        if not watch.fresh and watch.snapshot.revision:
            said = f"for {watch.age:.0f} s nobody has known whether revision {watch.snapshot.revision} is the newest"
            found["snapshot"] = said if self._refuses_stale else DEGRADED + said
        else:
            found["snapshot"] = OK if watch.checked_at or watch.snapshot.revision else "not read yet"
        found["database"] = f"{DEGRADED}cannot be read; what is known is served" if watch.stale else OK
        return found | self._of_state() | self._of_events()

    async def of_admin_plane(self) -> Mapping[str, str]:
        """Return the states of what administering needs: there is none without a database."""
        assert self._database is not None, "an admin plane has a database"
        found = self._of_process()
        try:
            async with asyncio.timeout(WITHIN):
                await self._database.fetch("SELECT 1 AS one")
            found["database"] = OK
        except StorageError as error:
            found["database"] = str(error)
        except TimeoutError:
            found["database"] = f"has not answered within {WITHIN:g} s"
        return found | self._of_state()

    def _of_process(self) -> dict[str, str]:
        return {"process": "draining" if self._drain.draining else OK}

    def _of_events(self) -> dict[str, str]:
        """Where events go; while it is away they wait on disk."""
        if self._kafka is None:
            return {}
        kafka = self._kafka
        away = kafka.why and kafka.waiting
        return {"kafka": f"{DEGRADED}{kafka.waiting} bytes of events are kept on disk ({kafka.why})" if away else OK}

    def _of_state(self) -> dict[str, str]:
        """Where counts are shared; without them each policy does as its `on_error` says."""
        if self._link is None:
            return {}
        return {"redis": OK if self._link.up else f"{DEGRADED}does not answer; policies do as their on_error says"}
