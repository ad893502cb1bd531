"""Limits counted in Redis, for all processes that share it. One call is one script, and nobody comes between."""

from collections.abc import Sequence

from trustgate.contract.ports import Allowance, Take
from trustgate.state.redis_counts import COUNTS, LARGEST, MICROSECONDS, Now, key_name, kind_of, moment, width_and_end
from trustgate.state.redis_link import Link, Script
from trustgate.state.redis_wire import Word
from trustgate.state.terms import GUESS, check_cost

TAKE = Script(
    COUNTS
    + """
local for_real = ARGV[2] == 'take'
local counts, fits, before, all_fit = {}, {}, {}, true
for i, key in ipairs(KEYS) do
  local at = 4 * i - 1
  local limit, cost = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  local width, ends = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  counts[key] = counts[key] or find(key, width, ends)
  local total = (before[key] or counts[key].total) + cost
  fits[i] = total <= limit
  if fits[i] then before[key] = total else all_fit = false end
end
local replies = {}
for i, key in ipairs(KEYS) do
  local limit, cost, count = tonumber(ARGV[4 * i - 1]), tonumber(ARGV[4 * i]), counts[key]
  local retry_after = 0
  if all_fit then
    take(count, cost, for_real)
  elseif not fits[i] then
    retry_after = wait(count, count.total + cost - limit)
  end
  replies[i] = {fits[i] and 1 or 0, math.max(0, limit - count.total), reset_after(count), retry_after}
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
        self._link = link
        self._now = now

    async def take(self, key: str, *, limit: int, window: float, cost: int = 1) -> Allowance:
        """Take, or say when to come back; a `cost` of 0 only looks."""
        return (await self.take_all((Take(key=key, limit=limit, window=window, cost=cost),)))[0]

    def take_now(self, takes: Sequence[Take]) -> None:
        """Return None: counts are in another process."""

    async def take_all(self, takes: Sequence[Take]) -> tuple[Allowance, ...]:
        """Take of every one, or of none."""
        return await self._run_takes("take", takes)

    async def look(self, takes: Sequence[Take]) -> tuple[Allowance, ...]:
        """Say what `take_all` would."""
        return await self._run_takes("look", takes)

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

    async def _run_takes(self, mode: str, takes: Sequence[Take]) -> tuple[Allowance, ...]:
        keys: list[str] = []
        args: list[Word] = [moment(self._now), mode]
        for take in takes:
            check_cost(take.cost)
            width, ends = width_and_end(take)
            keys.append(key_name(kind_of(width, ends), take.key))
            args += (min(take.limit, LARGEST), min(take.cost, LARGEST), width, ends)
        if not keys:
            return ()
        replies = await self._link.run(TAKE, keys, args)
        return tuple([_allowance(take.limit, *reply) for take, reply in zip(takes, replies, strict=True)])


def _allowance(limit: int, fits: int, remaining: int, reset_after: int, retry_after: int) -> Allowance:
    return Allowance(
        allowed=fits == 1,
        limit=limit,
        remaining=remaining,
        reset_after=reset_after / MICROSECONDS,
        retry_after=retry_after / MICROSECONDS,
    )
