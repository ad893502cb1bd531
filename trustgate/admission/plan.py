"""What a tenant bought: a burst per minute and a quota per calendar month (UTC), counted before anything else runs."""

from datetime import UTC, datetime, timedelta
from typing import Final

from trustgate.config.records import Entitlements
from trustgate.contract.errors import Refused
from trustgate.contract.ports import Allowance, Limiter

MINUTE: Final = 60.0
LONGEST_MONTH: Final = 31 * 86400.0


async def charge(limiter: Limiter, gateway_id: str, plan: Entitlements) -> None:
    """Count one request against the plan. Raises Refused (429) when it is used up, StateUnavailable."""
    burst = await limiter.take(f"{gateway_id}:plan:burst", limit=plan.burst_per_min, window=MINUTE)
    if not burst.allowed:
        raise _used_up("burst", burst, "per minute", burst.retry_after)
    if plan.quota_per_month:
        now = datetime.now(UTC)
        key = f"{gateway_id}:plan:quota:{now:%Y-%m}"
        quota = await limiter.take(key, limit=plan.quota_per_month, window=LONGEST_MONTH)
        if not quota.allowed:
            await limiter.refund(f"{gateway_id}:plan:burst", window=MINUTE)
            raise _used_up("quota", quota, "this month", _until_next_month(now))


def _until_next_month(now: datetime) -> float:
    first = (now.replace(day=1) + timedelta(days=32)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first - now).total_seconds()


def _used_up(reason: str, allowance: Allowance, period: str, wait: float) -> Refused:
    seconds = max(1, int(wait + 0.999))
    return Refused(
        "plan_limit_exceeded",
        f"This gateway's plan allows {allowance.limit} requests {period}, all used. Retry after {seconds}s.",
        status=429,
        headers=(
            (b"retry-after", str(seconds).encode()),
            (b"x-ratelimit-limit", str(allowance.limit).encode()),
            (b"x-ratelimit-remaining", b"0"),
            (b"x-ratelimit-reason", reason.encode()),
        ),
        retry=seconds <= MINUTE,
    )
