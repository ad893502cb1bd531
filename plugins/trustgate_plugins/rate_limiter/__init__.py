"""At most so many requests in any window of time. The limiter behind the port counts; this says what it means."""

from hashlib import blake2b
from math import ceil
from time import time

from trustgate import Allowance, Deny, PolicyRef, Proceed, RequestContext, Services, Verdict, hookimpl
from trustgate_plugins.rate_limiter.settings import RateLimiterSettings

Header = tuple[bytes, bytes]

GLOBAL = (b"x-ratelimit-global-limit", b"x-ratelimit-global-remaining", b"x-ratelimit-global-reset")
CONSUMER = (b"x-ratelimit-consumer-limit", b"x-ratelimit-consumer-remaining", b"x-ratelimit-consumer-reset")


@hookimpl
def settings_type() -> type[RateLimiterSettings]:
    return RateLimiterSettings


@hookimpl
async def pre_request(
    ctx: RequestContext, settings: RateLimiterSettings, policy: PolicyRef, services: Services
) -> Verdict:
    key = _key(ctx, settings, policy)
    allowance = await services.limiter.take(key, limit=settings.limit, window=settings.window_seconds)
    headers = _headers(GLOBAL if policy.is_global else CONSUMER, settings, allowance)
    return Proceed(headers=headers, kept=key) if allowance.allowed else _deny(settings, policy, allowance, headers)


@hookimpl
async def refund(settings: RateLimiterSettings, services: Services, kept: str) -> None:
    await services.limiter.refund(kept, window=settings.window_seconds)


def _key(ctx: RequestContext, settings: RateLimiterSettings, policy: PolicyRef) -> str:
    caller = ctx.caller
    gateway = caller.gateway_id
    who = f"global:{gateway}" if policy.is_global else f"consumer:{caller.consumer_id}"
    key = f"rate_limiter:{policy.id}:{gateway}:{who}"
    return f"{key}:{_group(ctx, settings)}" if settings.group_by_header else key


def _group(ctx: RequestContext, settings: RateLimiterSettings) -> str:
    # hashed, because a caller chooses it: its length must not become ours, nor its content a key that somebody reads
    return blake2b(ctx.headers.get(settings.group_header, b""), digest_size=16).hexdigest()


def _headers(
    names: tuple[bytes, bytes, bytes], settings: RateLimiterSettings, allowance: Allowance
) -> tuple[Header, ...]:
    return (
        (names[0], settings.limit_text),
        (names[1], b"%d" % allowance.remaining),
        (names[2], b"%d" % ceil(time() + allowance.reset_after)),
    )


def _deny(settings: RateLimiterSettings, policy: PolicyRef, allowance: Allowance, headers: tuple[Header, ...]) -> Deny:
    whose = "this gateway" if policy.is_global else "this consumer"
    wait = settings.told_to_wait if settings.told_to_wait is not None else allowance.retry_after
    asks = "1 request" if settings.limit == 1 else f"{settings.limit} requests"
    return Deny(
        code="rate_limit_exceeded",
        message=f"The limit of {asks} per {settings.window} for {whose} is reached. Try again in {ceil(wait)} s.",
        status=429,
        retry_after=wait,
        headers=headers,
        details={
            "scope": "global" if policy.is_global else "consumer",
            "limit": settings.limit,
            "window": settings.window,
            "retry_after": round(wait, 3),
        },
    )
