"""Budgets kept in Redis, for all processes that share it. One call is one script, and nobody comes between.

A budget is two keys: the count of what is settled, with `r` what is reserved and `p` when that was last looked through,
and a sorted set of the reservations by the end of their lease. Those up to `p` have lapsed and are no longer in `r`;
they stay for an hour, so that whoever settles late is counted, and once.
"""

from collections.abc import Sequence
from itertools import count
from secrets import token_hex

from trustgate.contract.ports import Reservation, Standing, Want
from trustgate.state.redis_counts import COUNTS, LARGEST, MICROSECONDS, Now, key_name, kind_of, moment, width_and_end
from trustgate.state.redis_link import Link, Script
from trustgate.state.redis_wire import Word
from trustgate.state.terms import GUESS, LATE, check_amount, check_amounts

ACCOUNTS = (
    COUNTS
    + f"""
local LATE, GUESS = {LATE * MICROSECONDS}, {round(GUESS * MICROSECONDS)}
"""
    + """
local function lapse(account)
  if account.reserved == 0 then return end
  local lapsed = redis.call('ZRANGEBYSCORE', account.holds, '(' .. string.format('%.0f', account.seen), now)
  for _, hold in ipairs(lapsed) do
    account.reserved = account.reserved - tonumber(string.match(hold, '%d+$'))
  end
  if #lapsed > 0 then
    account.seen = now
    redis.call('ZREMRANGEBYSCORE', account.holds, '-inf', now - LATE)
  end
  -- if the reservations are lost, nothing is reserved
  local lost = redis.call('EXISTS', account.holds) == 0
  if lost then account.reserved = 0 end
  if lost or #lapsed > 0 then redis.call('HSET', account.key, 'r', account.reserved, 'p', account.seen) end
end

local accounts = {}
local function open(i)
  local key, at = KEYS[2 * i - 1], 6 * i - 3
  local account = accounts[key]
  if not account then
    account = find(key, tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]))
    local got = redis.call('HMGET', key, 'r', 'p')
    account.holds, account.reserved, account.seen = KEYS[2 * i], tonumber(got[1] or 0), tonumber(got[2] or 0)
    lapse(account)
    accounts[key] = account
  end
  return account, tonumber(ARGV[at]), tonumber(ARGV[at + 1]), ARGV[at + 4] == '1', tonumber(ARGV[at + 5])
end

local function stand(account, shortage, limit, amount, strict)
  local retry_after = 0
  if shortage > 0 then
    if (strict and amount > limit) or shortage <= account.total then
      retry_after = wait(account, shortage)
    else
      retry_after = math.min(GUESS, whole(account))
    end
  end
  return {account.total, account.reserved, reset_after(account), shortage > 0 and 1 or 0, retry_after}
end
"""
)

RESERVE = Script(
    ACCOUNTS
    + """
local id, lease = ARGV[2], tonumber(ARGV[3 + 6 * #KEYS / 2])
local beyond = ARGV[4 + 6 * #KEYS / 2] == '1'
local shortages, before, short = {}, {}, false
for i = 1, #KEYS / 2 do
  local account, limit, amount, strict = open(i)
  local spoken = before[account.key] or account.total + account.reserved
  shortages[i] = math.max(0, spoken + (strict and amount or 1) - limit)
  if shortages[i] > 0 then short = true else before[account.key] = spoken + amount end
end
local replies = {}
for i = 1, #KEYS / 2 do
  local account, limit, amount, strict = open(i)
  if lease > 0 and (beyond or not short) then
    account.reserved = account.reserved + amount
    redis.call('HSET', account.key, 'r', account.reserved, 'p', account.seen)
    redis.call('ZADD', account.holds, now + lease, string.format('%s:%d:%.0f', id, i, amount))
    keep_count(account, lease + LATE)
    keep(account.holds, lease + LATE)
  end
  replies[i] = stand(account, shortages[i], limit, amount, strict)
end
return replies
"""
)

SETTLE = Script(
    ACCOUNTS
    + """
local id = ARGV[2]
local replies = {}
for i = 1, #KEYS / 2 do
  local account, limit, amount, strict, used = open(i)
  local hold = string.format('%s:%d:%.0f', id, i, amount)
  local lapses = redis.call('ZSCORE', account.holds, hold)
  if lapses then
    redis.call('ZREM', account.holds, hold)
    if tonumber(lapses) > account.seen then
      account.reserved = math.max(0, account.reserved - amount)
      redis.call('HSET', account.key, 'r', account.reserved)
    end
    if account.width > 0 or now < account.ends then take(account, used, true) end
    keep_count(account, 0)
  end
  replies[i] = stand(account, 0, limit, amount, strict)
end
return replies
"""
)


class RedisLedger:
    """The ledger of all processes that share a Redis."""

    def __init__(self, link: Link, *, now: Now = None) -> None:
        self._link = link
        self._now = now
        self._process = token_hex(8)
        self._ids = count(1)

    async def reserve(self, wants: Sequence[Want], *, lease: float, beyond: bool = False) -> Reservation:
        """Reserve of every budget, or of none; `beyond` also where one is short."""
        asked = tuple(wants)
        name = f"{self._process}-{next(self._ids)}"
        standings = await self._reserve(name, asked, max(1, round(lease * MICROSECONDS)), beyond=beyond)
        allowed = not any(standing.short for standing in standings)
        return Reservation(id=name if allowed or beyond else "", allowed=allowed, wants=asked, standings=standings)

    async def settle(self, reservation: Reservation, amounts: Sequence[int]) -> tuple[Standing, ...]:
        """Count what was really used, once; of what was never reserved nothing is counted."""
        check_amounts(amounts, reservation.wants)
        return await self._run(SETTLE, reservation.id, reservation.wants, amounts)

    async def look(self, wants: Sequence[Want]) -> tuple[Standing, ...]:
        """Say how budgets stand, and which `reserve` would find short."""
        return await self._reserve("", wants, 0, beyond=False)

    async def _reserve(self, name: str, wants: Sequence[Want], lease: int, *, beyond: bool) -> tuple[Standing, ...]:
        for want in wants:
            check_amount(want.amount)
        return await self._run(RESERVE, name, wants, (0,) * len(wants), lease, int(beyond))

    async def _run(
        self, script: Script, name: str, wants: Sequence[Want], used: Sequence[int], *rest: int
    ) -> tuple[Standing, ...]:
        if not wants:
            return ()
        keys: list[str] = []
        args: list[Word] = [moment(self._now), name]
        for want, amount in zip(wants, used, strict=True):
            width, ends = width_and_end(want)
            kind = kind_of(width, ends)
            keys += (key_name(f"b{kind}", want.key), key_name(f"h{kind}", want.key))
            args += (min(want.limit, LARGEST), min(want.amount, LARGEST), width, ends)
            args += (int(want.strict), min(amount, LARGEST))
        replies = await self._link.run(script, keys, (*args, *rest))
        return tuple([_standing(want.limit, reply) for want, reply in zip(wants, replies, strict=True)])


def _standing(limit: int, reply: Sequence[int]) -> Standing:
    used, reserved, reset_after, short, retry_after = reply
    return Standing(
        limit=limit,
        used=used,
        reserved=reserved,
        remaining=max(0, limit - used - reserved),
        reset_after=reset_after / MICROSECONDS,
        short=short == 1,
        retry_after=retry_after / MICROSECONDS,
    )
