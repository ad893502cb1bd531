"""rate_limiter: who counts together, what callers are told, and that nobody is let through beyond the limit."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import anyio
import msgspec
import pytest

from tests import world
from tests.lifecycle.kit import House, Line, Rule, rule, whole
from tests.plugins.house import rule_of
from trustgate import Allowance, Deny, PolicyRef, Proceed, RequestContext, Services, StateUnavailable
from trustgate.enforcement.plugins import load_plugins
from trustgate_plugins import rate_limiter
from trustgate_plugins.rate_limiter import pre_request
from trustgate_plugins.rate_limiter.settings import RateLimiterSettings

pytestmark = pytest.mark.anyio


def settings(**given: Any) -> RateLimiterSettings:
    return msgspec.convert({"limit": 2, "window": "1m", **given}, RateLimiterSettings)


def policy(policy_id: str = "policy-1", *, is_global: bool = False) -> PolicyRef:
    return PolicyRef(id=policy_id, name="limit", slug="rate_limiter", is_global=is_global, mode="enforce")


def other_consumer(ctx: RequestContext, **caller: str) -> RequestContext:
    changed = msgspec.structs.replace(ctx.caller, **{"consumer_id": "consumer-2", **caller})
    return msgspec.structs.replace(ctx, caller=changed)


def with_header(ctx: RequestContext, name: bytes, value: bytes) -> RequestContext:
    return msgspec.structs.replace(ctx, headers={**ctx.headers, name: value})


async def count_let_through(ctx: RequestContext, services: Services, asked: PolicyRef, chosen: Any, tries: int) -> int:
    verdicts = [await pre_request(ctx, chosen, asked, services) for _ in range(tries)]
    return sum(isinstance(verdict, Proceed) for verdict in verdicts)


async def test_a_caller_is_told_where_it_stands(ctx: RequestContext, services: Services) -> None:
    before = time.time()
    verdict = await pre_request(ctx, settings(), policy(), services)
    assert isinstance(verdict, Proceed)
    headers = dict(verdict.headers)
    assert headers[b"x-ratelimit-consumer-limit"] == b"2"
    assert headers[b"x-ratelimit-consumer-remaining"] == b"1"
    assert before + 59 <= int(headers[b"x-ratelimit-consumer-reset"]) <= time.time() + 62


async def test_beyond_the_limit_a_caller_is_refused_and_told_when_to_return(
    ctx: RequestContext, services: Services
) -> None:
    assert await count_let_through(ctx, services, policy(), settings(), 2) == 2
    verdict = await pre_request(ctx, settings(), policy(), services)
    assert isinstance(verdict, Deny)
    assert (verdict.status, verdict.code) == (429, "rate_limit_exceeded")
    assert verdict.retry_after is not None
    assert 59 <= verdict.retry_after <= 61
    assert "2 requests per 1m for this consumer" in verdict.message
    assert dict(verdict.headers)[b"x-ratelimit-consumer-remaining"] == b"0"
    assert isinstance(verdict.details, Mapping)
    assert verdict.details["scope"] == "consumer"


async def test_a_chosen_retry_after_replaces_the_counted_one(ctx: RequestContext, services: Services) -> None:
    chosen = settings(limit=1, retry_after="90s")
    await pre_request(ctx, chosen, policy(), services)
    verdict = await pre_request(ctx, chosen, policy(), services)
    assert isinstance(verdict, Deny)
    assert verdict.retry_after == 90
    assert "Try again in 90 s." in verdict.message


async def test_consumers_are_counted_apart(ctx: RequestContext, services: Services) -> None:
    assert await count_let_through(ctx, services, policy(), settings(), 3) == 2
    assert await count_let_through(other_consumer(ctx), services, policy(), settings(), 3) == 2


async def test_a_global_policy_counts_the_whole_gateway(ctx: RequestContext, services: Services) -> None:
    everyone = policy(is_global=True)
    assert await count_let_through(ctx, services, everyone, settings(), 1) == 1
    assert await count_let_through(other_consumer(ctx), services, everyone, settings(), 3) == 1
    elsewhere = other_consumer(ctx, gateway_id="gateway-2")
    verdict = await pre_request(elsewhere, settings(), everyone, services)
    assert isinstance(verdict, Proceed)
    assert dict(verdict.headers)[b"x-ratelimit-global-remaining"] == b"1"


async def test_policies_are_counted_apart(ctx: RequestContext, services: Services) -> None:
    assert await count_let_through(ctx, services, policy("policy-1"), settings(), 3) == 2
    assert await count_let_through(ctx, services, policy("policy-2"), settings(), 3) == 2


async def test_each_value_of_a_header_is_counted_apart(ctx: RequestContext, services: Services) -> None:
    chosen = settings(group_by_header="X-User")
    for user in (b"ann", b"bob", b"x" * 100_000):
        assert await count_let_through(with_header(ctx, b"x-user", user), services, policy(), chosen, 3) == 2
    assert await count_let_through(ctx, services, policy(), chosen, 3) == 2


async def test_a_header_value_is_not_kept(ctx: RequestContext) -> None:
    class Keys:
        def __init__(self) -> None:
            self.seen: list[str] = []

        async def take(self, key: str, *, limit: int, window: float, cost: int = 1) -> Allowance:
            self.seen.append(key)
            return Allowance(allowed=True, limit=limit, remaining=limit - cost, reset_after=window)

        async def refund(self, key: str, *, window: float, cost: int = 1) -> None:
            raise AssertionError("nothing is refunded")

    keys = Keys()
    chosen = settings(group_by_header="X-User")
    await pre_request(with_header(ctx, b"x-user", b"ann" * 9000), chosen, policy(), world.services(limiter=keys))
    await pre_request(ctx, settings(), policy(is_global=True), world.services(limiter=keys))
    grouped, whole = keys.seen
    assert grouped.startswith("rate_limiter:policy-1:gateway-1:consumer:consumer-1:")
    assert "ann" not in grouped
    assert len(grouped) < 120
    assert whole == "rate_limiter:policy-1:gateway-1:global:gateway-1"


async def test_200_concurrent_callers_share_a_limit_of_50(ctx: RequestContext, services: Services) -> None:
    verdicts: list[object] = []

    async def ask() -> None:
        verdicts.append(await pre_request(ctx, settings(limit=50), policy(), services))

    async with anyio.create_task_group() as group:
        for _ in range(200):
            group.start_soon(ask)
    assert sum(isinstance(verdict, Proceed) for verdict in verdicts) == 50
    assert sum(isinstance(verdict, Deny) for verdict in verdicts) == 150


async def test_a_store_that_is_away_is_for_on_error_to_judge(ctx: RequestContext) -> None:
    class Away:
        async def take(self, key: str, *, limit: int, window: float, cost: int = 1) -> Allowance:
            raise StateUnavailable("nobody home")

        async def refund(self, key: str, *, window: float, cost: int = 1) -> None:
            raise StateUnavailable("nobody home")

    with pytest.raises(StateUnavailable):
        await pre_request(ctx, settings(), policy(), world.services(limiter=Away()))
    assert RateLimiterSettings.on_error == "allow"


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": "2"}, "limit"),
        ({"window": "999ms"}, "window"),
        ({"window": "a while"}, "window"),
        ({"retry_after": "soon"}, "retry_after"),
        ({"group_by_header": "X User"}, "group_by_header"),
        ({"burst": 3}, "burst"),
    ],
)
def test_wrong_settings_are_named(given: dict[str, Any], named: str) -> None:
    plugin = load_plugins().get("ratelimit")
    assert plugin is not None
    with pytest.raises(ValueError, match=named):
        plugin.parse({"limit": 2, "window": "1m", **given})


def test_it_declares_its_modes() -> None:
    assert RateLimiterSettings.modes == ("enforce", "throttle", "observe")


# Through a whole proxy.


def limited(limit: int, **fields: Any) -> Rule:
    return rule_of(rate_limiter, {"limit": limit, "window": "1m"}, **fields)


async def test_of_two_limits_a_caller_is_told_the_tighter_one() -> None:
    for limits in ((5, 3), (3, 5)):
        told = await House(Line(whole), *map(limited, limits)).ask()
        assert told.header(b"x-ratelimit-consumer-limit") == "3"
        assert told.header(b"x-ratelimit-consumer-remaining") == "2"
        assert told.header(b"x-ratelimit-consumer-reset")


async def test_a_refusal_tells_of_the_limit_that_is_reached() -> None:
    house = House(Line(whole), limited(5), limited(1))
    await house.ask()
    told = await house.ask()
    assert (told.status, told.header(b"x-ratelimit-consumer-limit")) == (429, "1")
    assert told.header(b"x-ratelimit-consumer-remaining") == "0"


async def test_a_request_that_another_policy_refuses_does_not_count() -> None:
    async def pre_request() -> Deny:
        return Deny(code="no", message="No.")

    house = House(Line(whole), limited(2), rule(pre_request=pre_request, fields={"priority": 1}))
    assert [(await house.ask()).status for _ in range(5)] == [403] * 5


async def test_200_at_once_are_50_of_50() -> None:
    house = House(Line(whole), limited(50))
    told = await asyncio.gather(*(house.caller().call() for _ in range(200)))
    assert sorted(each.status for each in told) == [200] * 50 + [429] * 150
