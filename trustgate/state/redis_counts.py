"""Counts as Redis keeps them: the Lua that all scripts begin with, and how keys are named.

A count is a hash. Of a window: `t` the total, `o` the oldest slot, `n` the newest, and each slot by its number, as
`windows` has them in memory. Of a period of the calendar: `t` only. Time is microseconds of Redis' own clock, so that
gateways need not agree on one; if it is set back, it stands still for counts that are ahead. Every key lives as long as
what it counts and a little longer; a period for a minute more, because a gateway whose clock is behind still names it.
"""

from collections.abc import Callable

from trustgate.contract.ports import Take, Want
from trustgate.state.redis_wire import Word
from trustgate.state.windows import slot_width

MICROSECONDS = 1_000_000
LARGEST = 2**53 - 1
"""Lua counts in floating point: up to here every whole number is one."""

Now = Callable[[], int] | None
"""Microseconds that tests let pass; None is Redis' own clock."""

COUNTS = """
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end

local function keep(key, microseconds)
  local ttl = math.ceil(microseconds / 1000)
  if redis.call('PTTL', key) < ttl then redis.call('PEXPIRE', key, ttl) end
end

local function keep_count(count, least)
  if count.width == 0 then
    keep(count.key, math.max(count.ends - now + 60000000, least))
  else
    keep(count.key, math.max(count.width * 65 + 10000000, least))
  end
end

-- what was taken before the newest 65 slots goes; the oldest and the newest are never more than 64 slots apart
local function forget(count)
  if not count.oldest or count.oldest > count.slot - 65 then return end
  local slots, gone, oldest = {}, {}, nil
  for slot = count.oldest, count.newest do slots[#slots + 1] = slot end
  for i, cost in ipairs(redis.call('HMGET', count.key, unpack(slots))) do
    if cost and slots[i] <= count.slot - 65 then
      count.total = count.total - cost
      gone[#gone + 1] = slots[i]
    elseif cost and not oldest then
      oldest = slots[i]
    end
  end
  if oldest then
    if #gone > 0 then redis.call('HDEL', count.key, unpack(gone)) end
    redis.call('HSET', count.key, 't', count.total, 'o', oldest)
  else
    redis.call('HDEL', count.key, 't', 'o', 'n', unpack(gone))
    count.total = 0
  end
  count.oldest = oldest
end

-- width 0 is a period of the calendar, which ends at `ends`
local function find(key, width, ends)
  local got = redis.call('HMGET', key, 't', 'o', 'n')
  local count = {key = key, width = width, ends = ends, now = now, total = tonumber(got[1] or 0)}
  if width > 0 then
    count.oldest = got[2] and tonumber(got[2])
    count.newest = got[3] and tonumber(got[3])
    count.slot = math.floor(now / width)
    if count.newest and count.newest > count.slot then
      count.slot = count.newest
      count.now = count.newest * width
    end
    forget(count)
  end
  return count
end

local function take(count, cost, for_real)
  if cost == 0 then return end
  count.total = count.total + cost
  if count.width > 0 then
    count.oldest = count.oldest or count.slot
    count.newest = count.slot
  end
  if not for_real then return end
  redis.call('HSET', count.key, 't', count.total)
  if count.width > 0 then
    redis.call('HSET', count.key, 'o', count.oldest, 'n', count.newest)
    redis.call('HINCRBY', count.key, count.slot, cost)
  end
  keep_count(count, 0)
end

local function whole(count)
  if count.width == 0 then return math.max(0, count.ends - now) end
  return (count.slot + 65) * count.width - count.now
end

local function reset_after(count)
  if count.width == 0 then return count.total > 0 and whole(count) or 0 end
  return count.oldest and (count.oldest + 65) * count.width - count.now or 0
end

local function wait(count, wanted)
  if count.width > 0 and count.oldest then
    local slots, freed = {}, 0
    for slot = count.oldest, count.newest do slots[#slots + 1] = slot end
    for i, cost in ipairs(redis.call('HMGET', count.key, unpack(slots))) do
      freed = freed + (cost or 0)
      if cost and freed >= wanted then return (slots[i] + 65) * count.width - count.now end
    end
  end
  return whole(count)
end
"""


def key_name(kind: str, key: str) -> str:
    """Return the key as Redis has it: `tg:<kind>:{<first segment>}:<rest>`.

    In a cluster all keys of one call must live together, and those that share what is in braces do: callers name the
    gateway first. Different keys never get the same name.
    """
    segment, colon, rest = key.partition(":")
    return f"tg:{kind}:{{{segment}}}{colon}{rest}"


def width_and_end(counted: Take | Want) -> tuple[int, int]:
    """Return the width of a slot and the end of the period, in microseconds; one of the two is zero."""
    if counted.until:
        return 0, round(counted.until * MICROSECONDS)
    return slot_width(counted.window, MICROSECONDS), 0


def kind_of(width: int, ends: int) -> str:
    """Return what tells counts of one key apart: the same key with two windows is two counts."""
    return f"w{width}" if width else f"p{ends}"


def moment(now: Now) -> Word:
    """Return the time for a script; empty says that Redis shall look at its clock."""
    return now() if now else ""
