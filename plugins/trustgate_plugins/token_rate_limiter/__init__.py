"""Budgets. What a request may use is reserved before its provider is called, for the model that is really asked for;
what it did use takes its place afterwards, whatever the end was. Two requests never both get the last of a budget."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from math import ceil
from typing import Any

from msgspec import Struct

from trustgate import (
    Chosen,
    Cost,
    Deny,
    Outcome,
    PolicyRef,
    Proceed,
    RequestContext,
    Reservation,
    Services,
    Standing,
    Usage,
    Verdict,
    hookimpl,
)
from trustgate_plugins.token_rate_limiter.settings import NANO, Budget, TokenRateLimiterSettings

Header = tuple[bytes, bytes]

LEASE = 900.0
"""Seconds after which a reservation is free that nobody settled, because its process died."""
_FINEST = 10**24 // NANO
"""An amount of a cost is so much finer than a billionth of a dollar."""


class Held(Struct, frozen=True):
    """What one request has reserved, and whether its price had to be assumed."""

    reservation: Reservation
    unpriced: bool


class Amount(Struct, frozen=True):
    """How much a request may use, in tokens or billionths of a dollar; `unpriced` where nobody knows its price."""

    units: int
    unpriced: bool = False


@hookimpl
def settings_type() -> type[TokenRateLimiterSettings]:
    return TokenRateLimiterSettings


@hookimpl
async def pre_call(
    ctx: RequestContext,
    target: Chosen,
    settings: TokenRateLimiterSettings,
    policy: PolicyRef,
    services: Services,
    kept: Held | None,
) -> Verdict:
    if kept is not None:  # of the target before, which came to nothing
        await services.ledger.settle(kept.reservation, [0] * len(kept.reservation.wants))
    budgets = settings.of(target.model)
    if not budgets:
        return None
    amount = _expected(ctx, target, settings, services)
    if amount.unpriced and settings.unknown_price == "reject":
        return _unpriced(target)
    now, who = services.clock(), _who(ctx, settings, policy)
    wants = [each.want(who, amount.units, now, strict=settings.strict) for each in budgets]
    reservation = await services.ledger.reserve(wants, lease=LEASE, beyond=policy.mode == "observe")
    held = Held(reservation, amount.unpriced) if reservation.id else None
    at = _telling(reservation.standings)
    budget, standing = budgets[at], reservation.standings[at]
    headers, details = _headers(settings, budget, standing), _details(settings, budget, standing, amount)
    if reservation.allowed:
        return Proceed(kept=held, headers=headers, details=details)
    if settings.downgrade_to and target.model != settings.downgrade_to:
        told = f"{target.model} -> {settings.downgrade_to}".encode("ascii", "replace")
        asked = [(b"x-ag-model-downgraded", told)]
        return Proceed(model=settings.downgrade_to, kept=held, headers=asked, details=details)
    return _deny(settings, budget, standing, headers=headers, details=details, kept=held)


@hookimpl
async def post_response(
    outcome: Outcome, settings: TokenRateLimiterSettings, services: Services, kept: Held | None
) -> None:
    if kept is not None:
        amount = _used(outcome, settings, services)
        await services.ledger.settle(kept.reservation, [amount] * len(kept.reservation.wants))


def _used(outcome: Outcome, settings: TokenRateLimiterSettings, services: Services) -> int:
    if settings.unit == "tokens":
        return _counted(outcome.usage, settings) if outcome.usage else 0
    target = outcome.target
    if target is None or outcome.usage is None:
        return 0
    if outcome.cost is not None and not settings.custom_pricing:
        return _nano(outcome.cost)  # to the last digit what the event says
    return _priced(target, outcome.usage, settings, services).units


def _counted(usage: Usage, settings: TokenRateLimiterSettings) -> int:
    entered = usage.input if settings.count_cache_reads else max(0, usage.input - usage.cached_input)
    return {"total": entered + usage.output, "input": entered, "output": usage.output}[settings.counting]


def _expected(ctx: RequestContext, target: Chosen, settings: TokenRateLimiterSettings, services: Services) -> Amount:
    """Return what a request may use at most, as far as it says so itself."""
    body = ctx.body.json() if ctx.operation.body == "json" and ctx.body.raw else {}
    usage = services.expect(body, settings.default_output_tokens if ctx.operation.family == "chat" else 0)
    return (
        _priced(target, usage, settings, services) if settings.unit == "dollars" else Amount(_counted(usage, settings))
    )


def _priced(target: Chosen, usage: Usage, settings: TokenRateLimiterSettings, services: Services) -> Amount:
    pricing, now = services.pricing, services.clock()
    own = settings.custom_pricing
    cost = pricing.price(target.provider, target.model, usage, at=now, overrides=target.prices, before=own)
    if cost is not None:
        return Amount(_nano(cost))
    if settings.unknown_price == "assume_max":
        return Amount(_nano(pricing.dearest(target.provider, usage, at=now)), unpriced=True)
    return Amount(0, unpriced=True)


def _nano(cost: Cost) -> int:
    """Return billionths of a dollar, rounded up: a budget is never used for less than its events say."""
    return -(-cost.total // _FINEST)


def _who(ctx: RequestContext, settings: TokenRateLimiterSettings, policy: PolicyRef) -> str:
    caller = ctx.caller
    whose = "global" if policy.is_global else f"consumer:{caller.consumer_id}"
    who = f"{caller.gateway_id}:token_rate_limiter:{policy.id}:{whose}"
    if not settings.group_by_header:
        return who
    # hashed, because a caller chooses it: neither its length nor its content must become a key
    return f"{who}:{blake2b(ctx.headers.get(settings.group_header, b''), digest_size=16).hexdigest()}"


def _telling(standings: Sequence[Standing]) -> int:
    """Return which budget is told of: the first that is short, else that of which the least is left."""
    return min(range(len(standings)), key=lambda at: (not standings[at].short, standings[at].remaining))


def _headers(settings: TokenRateLimiterSettings, budget: Budget, standing: Standing) -> tuple[Header, ...]:
    resets = f"{ceil(standing.reset_after)}s".encode()
    if settings.unit == "tokens":
        return (
            (b"x-ratelimit-limit-tokens", b"%d" % standing.limit),
            (b"x-ratelimit-remaining-tokens", b"%d" % standing.remaining),
            (b"x-ratelimit-reset-tokens", resets),
        )
    return (
        (b"x-budget-unit", b"usd"),
        (b"x-budget-scope", budget.name.encode("ascii", "replace")),
        (b"x-budget-window", budget.told.encode()),
        (b"x-budget-limit-usd", _usd(standing.limit)),
        (b"x-budget-remaining-usd", _usd(standing.remaining)),
        (b"x-budget-reset", resets),
    )


def _usd(nano: int) -> bytes:
    return b"%d.%06d" % (nano // NANO, nano % NANO // 1000)


def _details(
    settings: TokenRateLimiterSettings, budget: Budget, standing: Standing, amount: Amount
) -> Mapping[str, Any]:
    details = {
        "unit": settings.unit,
        "budget": budget.name,
        "window": budget.told,
        "limit": standing.limit,
        "used": standing.used,
        "reserved": standing.reserved,
        "estimate": amount.units,
    }
    return details | {"unpriced": settings.unknown_price} if amount.unpriced else details


def _deny(
    settings: TokenRateLimiterSettings, budget: Budget, standing: Standing, *, headers: tuple[Header, ...], **told: Any
) -> Deny:
    wait = max(1.0, standing.retry_after)
    what, code = (
        ("token", "token_budget_exceeded") if settings.unit == "tokens" else ("dollar", "dollar_budget_exceeded")
    )
    return Deny(
        code=code,
        message=f"The {what} budget of this {budget.told} ({budget.name}) is used up. Try again in {ceil(wait)} s.",
        status=429,
        retry_after=wait,
        headers=headers,
        **told,
    )


def _unpriced(target: Chosen) -> Deny:
    return Deny(
        code="price_unknown",
        message=f'Nobody knows what the model "{target.model[:255]}" costs, and this gateway counts dollars. '
        "Ask for another model, or have its price entered.",
        details={"model": target.model[:255], "provider": target.provider},
    )
