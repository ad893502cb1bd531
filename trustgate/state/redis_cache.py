"""Bytes kept in Redis for a while, for all processes that share it. How much it keeps is Redis' own setting."""

from math import ceil

from trustgate.state.redis_counts import key_name
from trustgate.state.redis_link import Link
from trustgate.state.terms import check_ttl


class RedisCache:
    """The cache of all processes that share a Redis."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def get(self, key: str) -> bytes | None:
        """Return what is kept."""
        value: bytes | None = await self._link.ask("GET", key_name("c", key))
        return value

    async def set(self, key: str, value: bytes, *, ttl: float) -> None:
        """Keep a value."""
        check_ttl(ttl)
        await self._link.ask("SET", key_name("c", key), value, "PX", ceil(ttl * 1000))

    async def add(self, key: str, value: bytes, *, ttl: float) -> bool:
        """Keep a value unless there is one."""
        check_ttl(ttl)
        return await self._link.ask("SET", key_name("c", key), value, "PX", ceil(ttl * 1000), "NX") is not None

    async def delete(self, key: str) -> None:
        """Forget."""
        await self._link.ask("DEL", key_name("c", key))
