"""Vectors kept in this process for a while."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from time import monotonic

from trustgate.contract.ports import Match
from trustgate.state.rows import Row, nearest, row, stacked
from trustgate.state.terms import check_ttl

MAX_BYTES = 64 * 1024 * 1024
MAX_ENTRIES = 1024
"""Entries of one partition, of which every lookup scans all: the oldest goes first."""
OVERHEAD = 256


class MemoryVectors:
    """The vectors of a process that shares them with nobody. The partition that was used longest ago goes first."""

    def __init__(self, *, max_bytes: int = MAX_BYTES, clock: Callable[[], float] = monotonic) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._partitions: OrderedDict[str, _Partition] = OrderedDict()
        self.size = 0

    async def add(self, partition: str, key: str, vector: Sequence[float], value: bytes, *, ttl: float) -> None:
        """Keep a value."""
        check_ttl(ttl)
        held = self._partitions.setdefault(partition, _Partition())
        self._partitions.move_to_end(partition)
        self.size += held.add(key, vector, value, until=self._clock() + ttl)
        while self.size > self._max_bytes and self._partitions:
            _, gone = self._partitions.popitem(last=False)
            self.size -= gone.size

    async def nearest(self, partition: str, vector: Sequence[float], *, at_least: float) -> Match | None:
        """Return the most similar value."""
        held = self._partitions.get(partition)
        if held is None:
            return None
        self._partitions.move_to_end(partition)
        self.size -= held.forget(self._clock())
        if not held.size:
            del self._partitions[partition]
            return None
        return held.nearest(vector, at_least=at_least)


class _Partition:
    """Entries that are compared with one another; the matrix of their vectors is put together when it is needed."""

    __slots__ = ("_entries", "_matrix", "size")

    def __init__(self) -> None:
        self._entries: OrderedDict[str, tuple[Row, bytes, float]] = OrderedDict()
        self._matrix: tuple[Sequence[bytes], Row] | None = None
        self.size = 0

    def add(self, key: str, vector: Sequence[float], value: bytes, *, until: float) -> int:
        """Keep an entry; returns by how many bytes there is more."""
        before = self.size
        self._drop(key)
        while len(self._entries) >= MAX_ENTRIES:
            self._drop(next(iter(self._entries)))
        kept = row(vector)
        self._entries[key] = (kept, value, until)
        self.size += _size(key, kept, value)
        self._matrix = None
        return self.size - before

    def forget(self, now: float) -> int:
        """Drop what is over; returns how many bytes that was."""
        before = self.size
        for key in [key for key, (_, _, until) in self._entries.items() if until <= now]:
            self._drop(key)
        return before - self.size

    def nearest(self, vector: Sequence[float], *, at_least: float) -> Match | None:
        """Return the most similar entry."""
        if self._matrix is None or self._matrix[1].shape[1] != len(vector):
            fitting = [(kept, value) for kept, value, _ in self._entries.values() if kept.size == len(vector)]
            if not fitting:
                return None
            self._matrix = [value for _, value in fitting], stacked([kept for kept, _ in fitting])
        values, rows = self._matrix
        found = nearest(rows, vector, at_least=at_least)
        return None if found is None else Match(similarity=found[1], value=values[found[0]])

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.size -= _size(key, entry[0], entry[1])
            self._matrix = None


def _size(key: str, kept: Row, value: bytes) -> int:
    return len(key) + kept.nbytes + len(value) + OVERHEAD
