"""Vectors kept in a plain Redis. A partition is small, because all but one text is compared exactly: it is scanned.

A partition is a hash of entries by key, and a sorted set of the same keys by the time at which they are over. An entry
is its vector in half precision, which moves a similarity by less than 0.001, with the value behind it.
"""

from collections.abc import Sequence
from math import ceil
from struct import Struct as Packed

from trustgate.contract.ports import Match
from trustgate.state.redis_counts import key_name
from trustgate.state.redis_link import Link, Script
from trustgate.state.rows import nearest, packed, stacked, unpacked
from trustgate.state.terms import check_ttl

MAX_ENTRIES = 256
"""Entries of one partition, which all travel for every lookup: what is over soonest goes first."""
_SIZE = Packed("<H")

_FORGET = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local over = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now)
if #over > 0 then
  redis.call('HDEL', KEYS[1], unpack(over))
  redis.call('ZREM', KEYS[2], unpack(over))
end
"""
_ADD = Script(
    _FORGET
    + """
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], now + ARGV[3], ARGV[1])
local surplus = redis.call('ZCARD', KEYS[2]) - ARGV[4]
if surplus > 0 then
  local gone = redis.call('ZPOPMIN', KEYS[2], surplus)
  for i = 1, #gone, 2 do redis.call('HDEL', KEYS[1], gone[i]) end
end
local last = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')
for _, key in ipairs(KEYS) do redis.call('PEXPIREAT', key, last[2]) end
"""
)
_ALL = Script(_FORGET + "return redis.call('HVALS', KEYS[1])")


class RedisVectors:
    """The vectors of all processes that share a Redis."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def add(self, partition: str, key: str, vector: Sequence[float], value: bytes, *, ttl: float) -> None:
        """Keep a value."""
        check_ttl(ttl)
        entry = _SIZE.pack(len(vector)) + packed(vector) + value
        await self._link.run(_ADD, _keys(partition), (key, entry, ceil(ttl * 1000), MAX_ENTRIES))

    async def nearest(self, partition: str, vector: Sequence[float], *, at_least: float) -> Match | None:
        """Return the most similar value."""
        entries: list[bytes] = await self._link.run(_ALL, _keys(partition), ())
        return _nearest(entries, vector, at_least) if entries else None


def _keys(partition: str) -> tuple[str, str]:
    return key_name("v", partition), key_name("vt", partition)


def _nearest(entries: Sequence[bytes], vector: Sequence[float], at_least: float) -> Match | None:
    size = len(vector)
    fitting = [entry for entry in entries if _SIZE.unpack_from(entry)[0] == size]
    if not fitting:
        return None
    rows = stacked([unpacked(entry, size=size, offset=_SIZE.size) for entry in fitting])
    found = nearest(rows, vector, at_least=at_least)
    return None if found is None else Match(similarity=found[1], value=fitting[found[0]][_SIZE.size + 2 * size :])
