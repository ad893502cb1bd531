"""Limits counted in Redis, for all processes that share it. One call is one script, and nobody comes between."""

from collections.abc import Coroutine, Sequence
from functools import lru_cache
from typing import Any

from trustgate.contract.ports import Allowance, Take
from trustgate.state.redis_counts import COUNTS, LARGEST, MICROSECONDS, Now, key_name, kind_of, moment, width_and_end
from trustgate.state.redis_link import Link, Script
from trustgate.state.terms import GUESS, check_cost

TAKE = Script(
    COUNTS
    + """
local for_real, counts, replies, told = ARGV[2] == 'take', {}, {}, {}
-- of each key its limit, cost, width and end; then how many keys each group has, below zero if its refusal ends it
for word in string.gmatch(ARGV[3], '%S+') do told[#told + 1] = tonumber(word) end
local function limit_of(i) return told[4 * i - 3], told[4 * i - 2] end
local function take_group(first, last)
  local fits, before, all_fit = {}, {}, true
  for i = first, last do
    local key, limit, cost = KEYS[i], limit_of(i)
    counts[key] = counts[key] or find(key, told[4 * i - 1], told[4 * i])
    local total = (before[key] or counts[key].total) + cost
    fits[i] = total <= limit
    if fits[i] then before[key] = total else all_fit = false end
  end
  for i = first, last do
    local count, limit, cost = counts[KEYS[i]], limit_of(i)
    local retry_after = 0
    if all_fit then
      take(count, cost, for_real)
    elseif not fits[i] then
      retry_after = wait(count, count.total + cost - limit)
    end
    replies[#replies + 1] = fits[i] and 1 or 0
    replies[#replies + 1] = math.max(0, limit - count.total)
    replies[#replies + 1] = reset_after(count)
    replies[#replies + 1] = retry_after
  end
  return all_fit
end
local first = 1
for group = 4 * #KEYS + 1, #told do
  local size = told[group]
  local last = first + math.abs(size) - 1
  if not take_group(first, last) and size < 0 then break end
  first = last + 1
end
return replies
"""
)

REFUND = Script(
    COUNTS
    + """
local function refund(count, cost)
  if count.width == 0 then
    if count.total > 0 then redis.call('HSET', count.key, 't', math.max(0, count.total - cost)) end
    return
  end
  while cost > 0 and count.oldest do
    local held = tonumber(redis.call('HGET', count.key, count.oldest) or 0)
    local back = math.min(cost, held)
    cost, count.total = cost - back, count.total - back
    if held > back then
      redis.call('HINCRBY', count.key, count.oldest, -back)
    else
      redis.call('HDEL', count.key, count.oldest)
      count.oldest = count.oldest < count.newest and count.oldest + 1 or nil
    end
  end
  -- the oldest is the first that holds something: when it comes back is what callers are told
  while count.oldest and redis.call('HEXISTS', count.key, count.oldest) == 0 do
    count.oldest = count.oldest < count.newest and count.oldest + 1 or nil
  end
  if count.oldest then
    redis.call('HSET', count.key, 't', count.total, 'o', count.oldest)
  else
    redis.call('DEL', count.key)
  end
end
for i, key in ipairs(KEYS) do
  refund(find(key, tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])), tonumber(ARGV[3 * i - 1]))
end
return 0
"""
)

ENTER = Script(
    COUNTS
    + """
local room, ticket, limit, lease = KEYS[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
redis.call('ZREMRANGEBYSCORE', room, '-inf', now)
local inside = redis.call('ZCARD', room)
local is_in = redis.call('ZSCORE', room, ticket)
if not is_in and inside >= limit then return {0, 0} end
redis.call('ZADD', room, now + lease, ticket)
keep(room, lease + 10000000)
return {1, math.max(0, limit - inside - (is_in and 0 or 1))}
"""
)


class RedisLimiter:
    """The limiter of all processes that share a Redis."""

    def __init__(self, link: Link, *, now: Now = None) -> None:
        self.patience = link.patience
        self._link = link
        self._now = now

    async def take(self, key: str, *, limit: int, window: float, cost: int = 1) -> Allowance:
        """Take, or say when to come back; a `cost` of 0 only looks."""
        return (await self.take_all((Take(key=key, limit=limit, window=window, cost=cost),)))[0]

    def take_now(self, takes: Sequence[Take]) -> None:
        """Return None: counts are in another process."""

    async def take_all(self, takes: Sequence[Take]) -> tuple[Allowance, ...]:
        """Take of every one, or of none."""
        return (await self._run_takes("take", (takes,), (False,)))[0] or ()

    def take_each(
        self, groups: Sequence[Sequence[Take]], halts: Sequence[bool]
    ) -> Coroutine[Any, Any, tuple[tuple[Allowance, ...] | None, ...]]:
        """Take of one group after the other, up to one that has too little and halts."""
        return self._run_takes("take", groups, halts)

    async def look(self, takes: Sequence[Take]) -> tuple[Allowance, ...]:
        """Say what `take_all` would."""
        return (await self._run_takes("look", (takes,), (False,)))[0] or ()

    async def refund(self, key: str, *, window: float, cost: int = 1) -> None:
        """Give back; more than was taken is as much as was taken."""
        await self.refund_all((Take(key=key, limit=0, window=window, cost=cost),))

    async def refund_all(self, takes: Sequence[Take]) -> None:
        """Give back of every one."""
        keys, args = [], [moment(self._now)]
        for take in takes:
            width, ends = width_and_end(take)
            keys.append(key_name(kind_of(width, ends), take.key))
            args += (min(take.cost, LARGEST), width, ends)
        if keys:
            await self._link.run(REFUND, keys, args)

    async def enter(self, key: str, ticket: str, *, limit: int, lease: float) -> Allowance:
        """Let one more in, or say that all places are taken. Whoever is inside already gets a new lease."""
        args = (moment(self._now), ticket, limit, round(lease * MICROSECONDS))
        allowed, remaining = await self._link.run(ENTER, (key_name("in", key),), args)
        return Allowance(
            allowed=bool(allowed),
            limit=limit,
            remaining=remaining,
            reset_after=lease,
            retry_after=0.0 if allowed else min(GUESS, lease),
        )

    async def leave(self, key: str, ticket: str) -> None:
        """Make room, if its lease had not done so already."""
        await self._link.ask("ZREM", key_name("in", key), ticket)

    async def _run_takes(
        self, mode: str, groups: Sequence[Sequence[Take]], halts: Sequence[bool]
    ) -> tuple[tuple[Allowance, ...] | None, ...]:
        keys: list[bytes] = []
        told: list[bytes] = []
        sizes: list[bytes] = []
        for takes, halt in zip(groups, halts, strict=True):
            for take in takes:
                key, words = _words(take)
                keys.append(key)
                told.append(words)
            sizes.append(b"%d" % (-len(takes) if halt else len(takes)))
        if not keys:
            return ((),) * len(groups)
        reply = await self._link.run(TAKE, keys, (moment(self._now), mode, b" ".join(told + sizes)))
        allowances: list[tuple[Allowance, ...] | None] = []
        at = 0
        for takes in groups:
            allowances.append(_allowances(takes, reply, at) if at < len(reply) or not takes else None)
            at += 4 * len(takes)
        return tuple(allowances)


@lru_cache(maxsize=8192)
def _words(take: Take) -> tuple[bytes, bytes]:
    """Return a take as a script reads it: the key, and limit, cost, width and end in one word. Words cost more than
    what is in them."""
    check_cost(take.cost)
    width, ends = width_and_end(take)
    told = b"%d %d %d %d" % (min(take.limit, LARGEST), min(take.cost, LARGEST), width, ends)
    return key_name(kind_of(width, ends), take.key).encode(), told


def _allowances(takes: Sequence[Take], reply: Sequence[int], at: int) -> tuple[Allowance, ...]:
    """Return what a reply says from a place in it on: four numbers of each."""
    told = []
    for take in takes:
        fits, remaining, reset_after, retry_after = reply[at : at + 4]
        at += 4
        told.append(
            Allowance(
                allowed=fits == 1,
                limit=take.limit,
                remaining=remaining,
                reset_after=reset_after / MICROSECONDS,
                retry_after=retry_after / MICROSECONDS,
            )
        )
    return tuple(told)
