"""The watch: the newest snapshot, whatever the store does, and never one that is older than promised."""

import asyncio
import logging
from contextlib import suppress

import pytest

from trustgate.config.snapshot import Snapshot
from trustgate.config.source import Changes
from trustgate.config.watch import Watch

from .kit import Source, consumer, gateway, put

pytestmark = pytest.mark.anyio

SOON = 5.0


class Taken:
    """What was swapped in, and a way to wait for the next one."""

    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = []
        self.news = asyncio.Event()

    def __call__(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)
        self.news.set()

    @property
    def revisions(self) -> list[int]:
        return [snapshot.revision for snapshot in self.snapshots]


class Watched:
    """A watch over a source in memory, polling as fast as it can."""

    def __init__(self) -> None:
        self.source = Source()
        self.taken = Taken()
        self.watch = Watch(self.source, self.taken, every=0.0005)

    async def until(self, revision: int) -> None:
        async with asyncio.timeout(SOON):
            while self.watch.snapshot.revision != revision:
                self.taken.news.clear()
                await self.taken.news.wait()

    async def polls(self, number: int = 2) -> None:
        """Wait for polls to have begun; of two, the first is over."""
        async with asyncio.timeout(SOON):
            for _ in range(number):
                self.source.polled.clear()
                await self.source.polled.wait()

    async def __aenter__(self) -> "Watched":
        self._task = asyncio.create_task(self.watch.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task


async def test_a_load_swaps_in_what_is_stored() -> None:
    watched = Watched()
    watched.source.commit(put(gateway()))
    await watched.watch.load()
    assert watched.taken.revisions == [1]
    assert watched.watch.snapshot is watched.taken.snapshots[0]
    assert watched.watch.checked_at > 0


async def test_a_load_without_news_swaps_nothing() -> None:
    watched = Watched()
    watched.source.commit(put(gateway()))
    await watched.watch.load()
    await watched.watch.load()
    assert watched.taken.revisions == [1]


async def test_polling_sees_every_change() -> None:
    async with Watched() as watched:
        for revision in (1, 2, 3):
            watched.source.commit(put(gateway(name=str(revision))))
            await watched.until(revision)
            assert watched.watch.snapshot.tenants["g1"].gateway.name == str(revision)
    assert watched.taken.revisions == [1, 2, 3]


async def test_a_source_that_fails_keeps_the_last_good_snapshot_and_recovers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "trustgate.config")
    async with Watched() as watched:
        watched.source.commit(put(gateway()))
        await watched.until(1)
        watched.source.fault = ConnectionError("the store is gone")
        watched.source.commit(put(consumer("c1")))
        await watched.polls(4)
        assert watched.watch.snapshot.revision == 1
        assert watched.watch.stale
        assert watched.watch.errors >= 2
        watched.source.fault = None
        await watched.until(2)
        await watched.polls()
        assert not watched.watch.stale
    levels = [record.levelname for record in caplog.records]
    assert levels == ["ERROR", "INFO"], "told once when it breaks and once when it is back"


async def test_a_load_says_what_the_source_says() -> None:
    watched = Watched()
    watched.source.fault = ConnectionError("the store is gone")
    with pytest.raises(ConnectionError):
        await watched.watch.load()
    assert watched.taken.revisions == []


async def test_a_snapshot_that_cannot_be_swapped_in_is_not_taken_for_served() -> None:
    source = Source()
    faults = [RuntimeError("not now")]

    def swap(_: Snapshot) -> None:
        if faults:
            raise faults.pop()

    watch = Watch(source, swap, every=1)
    source.commit(put(gateway()))
    with pytest.raises(RuntimeError):
        await watch.load()
    assert watch.snapshot.revision == 0
    await watch.load()
    assert watch.snapshot.revision == 1


async def test_the_swap_comes_before_anybody_is_told() -> None:
    source = Source()
    seen: list[int] = []
    watch: Watch

    def swap(_: Snapshot) -> None:
        seen.append(watch.snapshot.revision)

    watch = Watch(source, swap, every=1)
    source.commit(put(gateway()))
    await watch.load()
    assert seen == [0]


# `applied`.


async def test_applied_returns_at_once_for_what_is_served() -> None:
    watched = Watched()
    watched.source.commit(put(gateway()))
    await watched.watch.load()
    reads = watched.source.reads
    await watched.watch.applied(1)
    assert watched.source.reads == reads


async def test_applied_is_not_content_with_a_read_from_before_the_write() -> None:
    watched = Watched()
    watched.source.gate = asyncio.Event()
    watched.source.commit(put(gateway()))
    early = asyncio.create_task(watched.watch.load())
    await watched.source.reading.wait()
    revision = watched.source.commit(put(consumer("c1")))
    promised = asyncio.create_task(watched.watch.applied(revision))
    await asyncio.sleep(0)
    assert not promised.done()
    watched.source.gate.set()
    await promised
    assert watched.watch.snapshot.revision == revision
    assert "c1" in watched.watch.snapshot.tenants["g1"].consumers
    await early


class Lagging(Source):
    """A replica: what it tells is one revision behind for a while."""

    async def changes(self, since: int) -> Changes:
        told = await super().changes(since)
        if self.reads < 3:
            items = [change for change, at in zip(self.log, self.at, strict=True) if at < self.revision_now]
            return Changes(revision=self.revision_now - 1, whole=True, items=items)
        return told


async def test_applied_returns_only_once_it_is_reached() -> None:
    source, taken = Lagging(), Taken()
    watch = Watch(source, taken, every=0.0005)
    source.commit(put(gateway()))
    revision = source.commit(put(consumer("c1")))
    async with asyncio.timeout(SOON):
        await watch.applied(revision)
    assert watch.snapshot.revision >= revision


async def test_loads_at_the_same_time_never_go_back() -> None:
    watched = Watched()

    async def write(number: int) -> None:
        revision = watched.source.commit(put(consumer(f"c{number}")))
        await asyncio.sleep(0)
        await watched.watch.applied(revision)
        assert watched.watch.snapshot.revision >= revision

    watched.source.commit(put(gateway()))
    await asyncio.gather(*(write(number) for number in range(40)), *(watched.watch.load() for _ in range(10)))
    assert watched.taken.revisions == sorted(set(watched.taken.revisions))
    assert len(watched.watch.snapshot.tenants["g1"].consumers) == 40


async def test_writers_are_heard_while_the_watch_polls() -> None:
    async with Watched() as watched:
        watched.source.commit(put(gateway()))
        for number in range(20):
            revision = watched.source.commit(put(consumer(f"c{number}")))
            await watched.watch.applied(revision)
            assert f"c{number}" in watched.watch.snapshot.tenants["g1"].consumers
    assert watched.taken.revisions == sorted(set(watched.taken.revisions))


async def test_a_writer_is_told_when_its_change_cannot_be_read_back() -> None:
    watched = Watched()
    watched.source.fault = ConnectionError("the store is gone")
    with pytest.raises(ConnectionError):
        await watched.watch.applied(1)
