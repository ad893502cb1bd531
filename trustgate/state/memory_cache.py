"""Bytes kept in this process for a while. Nothing here awaits, so that an addition cannot be interrupted by another."""

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

from trustgate.state.terms import check_ttl

MAX_BYTES = 64 * 1024 * 1024
OVERHEAD = 256
"""What an entry takes beside its key and value, about."""


class MemoryCache:
    """The cache of a process that shares its values with nobody: what was not read for longest goes first.

    A value larger than all the room there is, is not kept.
    """

    def __init__(self, *, max_bytes: int = MAX_BYTES, clock: Callable[[], float] = monotonic) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._held: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        return len(self._held)

    async def get(self, key: str) -> bytes | None:
        """Return what is kept, which is then the last to go."""
        entry = self._held.get(key)
        if entry is None:
            return None
        value, until = entry
        if until <= self._clock():
            self._drop(key)
            return None
        self._held.move_to_end(key)
        return value

    async def set(self, key: str, value: bytes, *, ttl: float) -> None:
        """Keep a value, and let go of others until it fits."""
        check_ttl(ttl)
        self._drop(key)
        size = _size(key, value)
        if size > self._max_bytes:
            return
        while self.size + size > self._max_bytes:
            self._drop(next(iter(self._held)))
        self._held[key] = (value, self._clock() + ttl)
        self.size += size

    async def add(self, key: str, value: bytes, *, ttl: float) -> bool:
        """Keep a value unless there is one."""
        entry = self._held.get(key)
        if entry is not None and entry[1] > self._clock():
            return False
        await self.set(key, value, ttl=ttl)
        return True

    async def delete(self, key: str) -> None:
        """Forget."""
        self._drop(key)

    def _drop(self, key: str) -> None:
        entry = self._held.pop(key, None)
        if entry is not None:
            self.size -= _size(key, entry[0])


def _size(key: str, value: bytes) -> int:
    return len(key) + len(value) + OVERHEAD
