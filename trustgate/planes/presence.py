"""What a data plane does with each revision that it has taken up: it says so, and keeps it for a start without a
database."""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from time import time
from typing import Final
from uuid import uuid4

from msgspec.structs import replace

from trustgate.config.watch import Watch
from trustgate.storage.database import StorageError
from trustgate.storage.kept import KeptSnapshot
from trustgate.storage.processes import ALIVE, Process, Processes

BEAT: Final = ALIVE / 5
"""Seconds between two signs of life."""
CALM: Final = 1.0
"""Seconds for which more may come before a snapshot is kept: a file for each of a thousand writes helps nobody."""
log = logging.getLogger("trustgate.presence")


def this_process(planes: str, version: str) -> Process:
    """Return the row of this process, which serves nothing yet."""
    now = time()
    return Process(
        id=str(uuid4()),
        planes=planes,
        version=version,
        host=socket.gethostname(),
        pid=os.getpid(),
        revision=0,
        started_at=now,
        seen_at=now,
    )


class Presence:
    """Follows a watch. `kept` None keeps nothing: an embedded database is as near as a file."""

    def __init__(self, watch: Watch, processes: Processes, kept: KeptSnapshot | None, me: Process) -> None:
        self._watch = watch
        self._processes = processes
        self._kept = kept
        self._me = me
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin."""
        follow = [self._follow(BEAT, self._say, "this process cannot say that it lives")]
        if self._kept is not None:
            follow.append(self._follow(None, self._keep, "the configuration cannot be kept for a start without it"))
        self._tasks = [asyncio.create_task(each) for each in follow]

    async def aclose(self) -> None:
        """Say goodbye. What was taken up last is kept before."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._kept is not None and self._watch.snapshot.revision and not self._watch.stale:
            await self._safely(self._keep(self._watch.snapshot.revision), "the configuration cannot be kept", "")
        await self._safely(self._processes.remove(self._me.id), "this process cannot say that it leaves", "")

    async def _follow(self, at_least: float | None, act: Callable[[int], Awaitable[None]], failing: str) -> None:
        """Act on each new revision, and after `at_least` seconds on the old one."""
        revision, told = -1, ""
        while True:
            revision = self._watch.snapshot.revision
            told = await self._safely(act(revision), failing, told)
            pause = at_least or 3600.0
            await self._watch.beyond(revision, 1.0 if told else pause)  # what failed is tried again soon

    async def _say(self, revision: int) -> None:
        await self._processes.put(replace(self._me, revision=revision, seen_at=time()))

    async def _keep(self, revision: int) -> None:
        if self._kept is None or not revision or self._watch.stale:
            return
        await self._kept.write(self._watch.snapshot)
        await asyncio.sleep(CALM)

    async def _safely(self, work: Awaitable[None], failing: str, told: str) -> str:
        """Return what is wrong, after having said so once."""
        try:
            await work
        except (StorageError, OSError) as error:
            if str(error) != told:
                log.warning("%s: %s", failing, error)
            return str(error)
        return ""
