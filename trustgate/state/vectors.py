"""Stores of vectors that are made when they are first used: numpy is imported then, and by nobody before."""

from collections.abc import Callable, Sequence

from trustgate.contract.ports import Match, Vectors
from trustgate.state.redis_link import Link


class Later:
    """A store that `make` makes when it is first used."""

    def __init__(self, make: Callable[[], Vectors]) -> None:
        self._make = make
        self._made: Vectors | None = None

    @property
    def _store(self) -> Vectors:
        if self._made is None:
            self._made = self._make()
        return self._made

    async def add(self, partition: str, key: str, vector: Sequence[float], value: bytes, *, ttl: float) -> None:
        """Keep a value."""
        await self._store.add(partition, key, vector, value, ttl=ttl)

    async def nearest(self, partition: str, vector: Sequence[float], *, at_least: float) -> Match | None:
        """Return the most similar value."""
        return await self._store.nearest(partition, vector, at_least=at_least)


def in_memory(*, max_bytes: int) -> Vectors:
    """Return vectors of this process alone."""

    def make() -> Vectors:
        from trustgate.state.memory_vectors import MemoryVectors  # noqa: PLC0415 - see the module's law

        return MemoryVectors(max_bytes=max_bytes)

    return Later(make)


def in_redis(link: Link) -> Vectors:
    """Return the vectors of all processes that share a Redis."""

    def make() -> Vectors:
        from trustgate.state.redis_vectors import RedisVectors  # noqa: PLC0415 - see the module's law

        return RedisVectors(link)

    return Later(make)
