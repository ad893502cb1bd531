"""Budgets. What a request may use is reserved before its provider is called, for the model that is really asked for;
what it did use takes its place afterwards, whatever the end was. Two requests never both get the last of a budget."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from math import ceil
from typing import Any

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
    Want,
    hookimpl,
)
from trustgate_plugins.token_rate_limiter.settings import NANO, Budget, TokenRateLimiterSettings

Header = tuple[bytes, bytes]

LEASE = 900.0
"""Seconds after which a reservation is free that nobody settled, because its process died."""
_FINEST = 10**24 // NANO
"""An amount of a cost is so much finer than a billionth of a dollar."""
_MOST = ("max_completion_tokens", "max_tokens", "max_output_tokens", "maxOutputTokens", "maxTokens")
_WITHIN = ("generationConfig", "generation_config", "inferenceConfig")


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
    kept: Reservation | None,
) -> Verdict:
    if kept is not None:  # of the target before, which came to nothing
        await services.ledger.settle(kept, [0] * len(kept.wants))
    budgets = settings.of(target.model)
    if not budgets:
        return None
    amount = _estimated(ctx, target, settings, services)
    who = _who(ctx, settings, policy)
    wants = [
        Want(key=f"{who}:{each.name}", limit=each.limit, window=each.window, amount=amount, strict=settings.strict)
        for each in budgets
    ]
    held = await services.ledger.reserve(wants, lease=LEASE)
    at = _telling(held.standings)
    headers = _headers(settings, budgets[at], held.standings[at])
    if held.allowed:
        return Proceed(kept=held, headers=headers, details=_details(settings, budgets[at], held.standings[at], amount))
    if settings.downgrade_to and target.model != settings.downgrade_to:
        told = f"{target.model} -> {settings.downgrade_to}".encode("ascii", "replace")
        return Proceed(
            model=settings.downgrade_to,
            headers=[(b"x-ag-model-downgraded", told)],
            details=_details(settings, budgets[at], held.standings[at], amount),
        )
    return _deny(settings, budgets[at], held.standings[at], headers, amount)


@hookimpl
async def post_response(
    outcome: Outcome, settings: TokenRateLimiterSettings, services: Services, kept: Reservation | None
) -> None:
    if kept is not None:
        await services.ledger.settle(kept, [_used(outcome, settings)] * len(kept.wants))


def _used(outcome: Outcome, settings: TokenRateLimiterSettings) -> int:
    if settings.unit == "dollars":
        return _nano(outcome.cost)
    return _counted(outcome.usage, settings) if outcome.usage else 0


def _counted(usage: Usage, settings: TokenRateLimiterSettings) -> int:
    entered = usage.input if settings.count_cache_reads else max(0, usage.input - usage.cached_input)
    return {"total": entered + usage.output, "input": entered, "output": usage.output}[settings.counting]


def _estimated(ctx: RequestContext, target: Chosen, settings: TokenRateLimiterSettings, services: Services) -> int:
    """Return what a request may use at most, as far as it says so itself."""
    body = ctx.body.json() if ctx.operation.body == "json" and ctx.body.raw else {}
    asked = services.estimate(body, "").input
    answer = _allowed_output(body, settings.default_output_tokens) if ctx.operation.family == "chat" else 0
    usage = Usage(input=asked, output=answer, estimated=True)
    if settings.unit == "tokens":
        return _counted(usage, settings)
    price = services.pricing.price
    return _nano(price(target.provider, target.model, usage, at=services.clock(), overrides=target.prices))


def _nano(cost: Cost | None) -> int:
    """Return billionths of a dollar, rounded up: a budget is never used for less than its events say."""
    return 0 if cost is None else -(-cost.total // _FINEST)


def _allowed_output(body: Any, default: int) -> int:
    if not isinstance(body, Mapping):
        return default
    places = [body, *(body[name] for name in _WITHIN if isinstance(body.get(name), Mapping))]
    said: list[int] = [place[name] for place in places for name in _MOST if _is_count(place.get(name))]
    times: list[int] = [
        place[name] for place in places for name in ("n", "candidateCount") if _is_count(place.get(name))
    ]
    return (said[0] if said else default) * max([1, *times])


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**9


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


def _details(settings: TokenRateLimiterSettings, budget: Budget, standing: Standing, amount: int) -> Mapping[str, Any]:
    return {
        "unit": settings.unit,
        "budget": budget.name,
        "window": budget.told,
        "limit": standing.limit,
        "used": standing.used,
        "reserved": standing.reserved,
        "estimate": amount,
    }


def _deny(
    settings: TokenRateLimiterSettings, budget: Budget, standing: Standing, headers: tuple[Header, ...], amount: int
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
        details=_details(settings, budget, standing, amount),
    )
