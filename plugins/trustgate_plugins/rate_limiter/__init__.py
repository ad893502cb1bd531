"""At most so many requests in any window of time, or at a time. The limiter behind the port counts; this says what it
means."""

from collections.abc import Awaitable, Sequence
from functools import partial
from math import ceil
from secrets import token_hex

from msgspec import Struct

from trustgate import (
    Allowance,
    Chosen,
    Count,
    Deny,
    PolicyRef,
    Proceed,
    Quota,
    RequestContext,
    Services,
    Take,
    Verdict,
    hookimpl,
)
from trustgate_plugins.rate_limiter.settings import Rate, RateLimiterSettings

GLOBAL = (b"x-ratelimit-global-limit", b"x-ratelimit-global-remaining", b"x-ratelimit-global-reset")
CONSUMER = (b"x-ratelimit-consumer-limit", b"x-ratelimit-consumer-remaining", b"x-ratelimit-consumer-reset")
MCP_CALLS = frozenset(("tools/call", "prompts/get", "resources/read"))
LEASE = 900.0
"""Seconds after which a place is free again whose request nobody ended, because its process died."""
AGAIN = 0.1
"""Seconds after which a place may be free: nobody knows, so it is soon."""


class Standings(Struct, frozen=True):
    """How several limits stand, for the event."""

    limits: tuple[Allowance, ...]


class Inside(Struct, frozen=True):
    """What one request took where places are counted: of its windows, and its place in a room."""

    takes: tuple[Take, ...]
    room: str
    ticket: str


Kept = tuple[Take, ...] | Inside
"""What one request took."""


@hookimpl
def settings_type() -> type[RateLimiterSettings]:
    return RateLimiterSettings


@hookimpl
def pre_request(
    ctx: RequestContext, settings: RateLimiterSettings, policy: PolicyRef, services: Services
) -> Verdict | Awaitable[Verdict]:
    if ctx.operation.family == "mcp" and ctx.operation.name not in MCP_CALLS:
        return None  # agents list what there is again and again, and use nothing by it
    key = settings.key(ctx, policy)
    if settings.concurrency is None:
        return _count(key, settings, policy, services)
    return _decide(key, settings, policy, services)


@hookimpl
def pre_call(
    ctx: RequestContext,
    target: Chosen,
    settings: RateLimiterSettings,
    policy: PolicyRef,
    services: Services,
    kept: Kept | None,
) -> Verdict | Awaitable[Verdict]:
    key = settings.key(ctx, policy, target.model)
    if kept is not None:  # of the target before, which came to nothing
        return _again(kept, key, settings, policy, services)
    if settings.concurrency is None:
        return _count(key, settings, policy, services)
    return _decide(key, settings, policy, services)


@hookimpl
async def post_response(services: Services, kept: Kept | None) -> None:
    if isinstance(kept, Inside):
        await services.limiter.leave(kept.room, kept.ticket)


@hookimpl
async def refund(services: Services, kept: Kept) -> None:
    if isinstance(kept, Inside):
        await services.limiter.refund_all(kept.takes)
        await services.limiter.leave(kept.room, kept.ticket)
    else:
        await services.limiter.refund_all(kept)


def _count(key: str, settings: RateLimiterSettings, policy: PolicyRef, services: Services) -> Verdict:
    """Take on the spot where counts are in this process, and say what has to be taken where they are not."""
    now = services.clock()
    takes = settings.taken(key, now)
    if (allowances := services.limiter.take_now(takes)) is not None:
        return _told(settings, policy, takes, now, allowances)
    return Count(takes, partial(_told, settings, policy, takes, now))


async def _again(kept: Kept, key: str, settings: RateLimiterSettings, policy: PolicyRef, services: Services) -> Verdict:
    await refund(services, kept)
    return await _decide(key, settings, policy, services)


async def _decide(key: str, settings: RateLimiterSettings, policy: PolicyRef, services: Services) -> Verdict:
    now = services.clock()
    takes = settings.taken(key, now)
    told: Proceed | Deny = Proceed()
    if takes:
        told = _told(settings, policy, takes, now, await services.limiter.take_all(takes))
    if settings.concurrency is None or isinstance(told, Deny):
        return told
    # a number of our own: callers choose their trace ids, and might choose one twice
    taken = Inside(takes, f"{key}:under_way", token_hex(12))
    inside = await services.limiter.enter(taken.room, taken.ticket, limit=settings.concurrency, lease=LEASE)
    if inside.allowed:
        return Proceed(kept=taken, details=told.details, quota=told.quota)
    await services.limiter.refund_all(takes)
    return _full(settings, settings.concurrency, policy)


def _telling(allowances: Sequence[Allowance]) -> int:
    """Return which limit is told of: that which takes longest to come back, else that of which the least is left."""
    return min(
        range(len(allowances)),
        key=lambda at: (allowances[at].allowed, -allowances[at].retry_after, allowances[at].remaining),
    )


def _told(
    settings: RateLimiterSettings,
    policy: PolicyRef,
    takes: tuple[Take, ...],
    now: float,
    allowances: tuple[Allowance, ...],
) -> Proceed | Deny:
    """Return what follows from what the limiter said."""
    at = 0 if len(allowances) == 1 else _telling(allowances)
    telling, rate = allowances[at], settings.rates[at]
    names = GLOBAL if policy.is_global else CONSUMER
    quota = Quota(names, rate.limit_text, telling.remaining, now + telling.reset_after)
    if not telling.allowed:
        return _deny(settings, rate, policy, telling, quota)
    return Proceed(kept=takes, details=telling if len(allowances) == 1 else Standings(allowances), quota=quota)


def _deny(settings: RateLimiterSettings, rate: Rate, policy: PolicyRef, allowance: Allowance, quota: Quota) -> Deny:
    wait = settings.told_to_wait if settings.told_to_wait is not None else allowance.retry_after
    asks = "1 request" if rate.limit == 1 else f"{rate.limit} requests"
    return Deny(
        code="rate_limit_exceeded",
        message=f"The limit of {asks} per {rate.told} for {settings.whose(policy)} is reached. "
        f"Try again in {ceil(wait)} s.",
        status=429,
        retry_after=wait,
        headers=quota.headers(),
        details={
            "scope": "global" if policy.is_global else "consumer",
            "limit": rate.limit,
            "window": rate.told,
            "retry_after": round(wait, 3),
        },
    )


def _full(settings: RateLimiterSettings, places: int, policy: PolicyRef) -> Deny:
    wait = settings.told_to_wait if settings.told_to_wait is not None else AGAIN
    requests = "1 request" if places == 1 else f"{places} requests"
    return Deny(
        code="concurrency_limit_exceeded",
        message=f"There may be {requests} at a time of {settings.whose(policy)}, and there are. "
        "Try again when one has ended.",
        status=429,
        retry_after=wait,
        details={"scope": "global" if policy.is_global else "consumer", "concurrency": places},
    )
