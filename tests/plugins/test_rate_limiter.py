"""rate_limiter: who counts together, what callers are told, and that nobody is let through beyond the limit."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from hashlib import sha256
from typing import Any

import anyio
import msgspec
import pytest

from tests import world
from tests.lifecycle.kit import (
    ASKED,
    House,
    Line,
    Rule,
    configured,
    consumer,
    live,
    registry,
    rule,
    says,
    stream,
    whole,
)
from tests.plugins.house import rule_of
from trustgate import (
    Allowance,
    Count,
    Deny,
    PolicyRef,
    Proceed,
    RequestContext,
    Services,
    StateUnavailable,
    Take,
    Verdict,
)
from trustgate.config.records import Auth, ModelPolicy
from trustgate.contract.upstream import UpstreamFailure
from trustgate.enforcement.plugins import load_plugins
from trustgate.state.memory import MemoryLimiter
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


async def decided(ctx: RequestContext, chosen: Any, asked: PolicyRef, services: Services) -> Verdict:
    verdict = pre_request(ctx, chosen, asked, services)
    return await verdict if isinstance(verdict, Awaitable) else verdict


def told(verdict: Proceed) -> Mapping[bytes, bytes]:
    assert verdict.quota is not None
    return dict(verdict.quota.headers())


async def count_let_through(ctx: RequestContext, services: Services, asked: PolicyRef, chosen: Any, tries: int) -> int:
    verdicts = [await decided(ctx, chosen, asked, services) for _ in range(tries)]
    return sum(isinstance(verdict, Proceed) for verdict in verdicts)


async def test_a_caller_is_told_where_it_stands(ctx: RequestContext, services: Services) -> None:
    before = time.time()
    verdict = await decided(ctx, settings(), policy(), services)
    assert isinstance(verdict, Proceed)
    headers = told(verdict)
    assert headers[b"x-ratelimit-consumer-limit"] == b"2"
    assert headers[b"x-ratelimit-consumer-remaining"] == b"1"
    assert before + 59 <= int(headers[b"x-ratelimit-consumer-reset"]) <= time.time() + 62


async def test_beyond_the_limit_a_caller_is_refused_and_told_when_to_return(
    ctx: RequestContext, services: Services
) -> None:
    assert await count_let_through(ctx, services, policy(), settings(), 2) == 2
    verdict = await decided(ctx, settings(), policy(), services)
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
    await decided(ctx, chosen, policy(), services)
    verdict = await decided(ctx, chosen, policy(), services)
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
    verdict = await decided(elsewhere, settings(), everyone, services)
    assert isinstance(verdict, Proceed)
    assert told(verdict)[b"x-ratelimit-global-remaining"] == b"1"


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

        def take_now(self, takes: Sequence[Take]) -> tuple[Allowance, ...]:
            self.seen += [take.key for take in takes]
            return tuple(Allowance(allowed=True, limit=each.limit, remaining=1, reset_after=1.0) for each in takes)

    keys = Keys()
    chosen = settings(group_by_header="X-User")
    await decided(with_header(ctx, b"x-user", b"ann" * 9000), chosen, policy(), world.services(limiter=keys))
    await decided(ctx, settings(), policy(is_global=True), world.services(limiter=keys))
    grouped, whole = keys.seen
    assert grouped.startswith("gateway-1:rate_limiter:policy-1:consumer:consumer-1:")
    assert "ann" not in grouped
    assert len(grouped) < 120
    assert whole == "gateway-1:rate_limiter:policy-1:global"


async def test_200_concurrent_callers_share_a_limit_of_50(ctx: RequestContext, services: Services) -> None:
    verdicts: list[object] = []

    async def ask() -> None:
        verdicts.append(await decided(ctx, settings(limit=50), policy(), services))

    async with anyio.create_task_group() as group:
        for _ in range(200):
            group.start_soon(ask)
    assert sum(isinstance(verdict, Proceed) for verdict in verdicts) == 50
    assert sum(isinstance(verdict, Deny) for verdict in verdicts) == 150


async def test_a_store_that_is_away_is_for_on_error_to_judge(ctx: RequestContext) -> None:
    class Away:
        def take_now(self, takes: Sequence[Take]) -> None:
            return None

        async def take_all(self, takes: Sequence[Take]) -> tuple[Allowance, ...]:
            raise StateUnavailable("nobody home")

    away = world.services(limiter=Away())
    with pytest.raises(StateUnavailable):
        await decided(ctx, settings(concurrency=2), policy(), away)
    wanted = await decided(ctx, settings(), policy(), away)
    assert isinstance(wanted, Count), "and who only counts says what is to be taken, together with others"
    assert [(take.limit, take.window) for take in wanted.takes] == [(2, 60.0)]
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
        ({"window": None}, "go together"),
        ({"limit": None, "window": None}, "concurrency"),
        ({"windows": [{"limit": 3}]}, "period"),
        ({"windows": [{"limit": 3, "window": "1m", "period": "day"}]}, "period"),
        ({"windows": [{"limit": 3, "window": "1m"}]}, "twice"),
        ({"windows": [{"limit": 3, "window": "500ms"}]}, "too short"),
        ({"windows": [{"limit": 3, "period": "year"}]}, "period"),
        ({"time_zone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"time_zone": "../etc/passwd"}, "time zone"),
        ({"count_by": ["planet"]}, "count_by"),
        ({"count_by": ["key", "key"]}, "count_by"),
        ({"concurrency": 0}, "concurrency"),
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


class Wall:
    """A clock that the test moves, in Unix seconds."""

    def __init__(self, told: str) -> None:
        self.now = datetime.fromisoformat(told).timestamp()

    def __call__(self) -> float:
        return self.now

    def be(self, told: str) -> None:
        self.now = datetime.fromisoformat(told).timestamp()


def world_at(wall: Wall) -> dict[str, Any]:
    limiter = MemoryLimiter(clock=lambda: round(wall() * 1e9), wall=wall)
    return {"limiter": limiter, "clock": wall}


async def answers(house: House, tries: int, **fields: Any) -> list[int]:
    return [(await house.ask(**fields)).status for _ in range(tries)]


async def test_a_request_has_to_fit_into_every_window_and_takes_of_none_otherwise() -> None:
    wall = Wall("2026-03-01T12:00:00+00:00")
    windows = [{"limit": 2, "window": "1m"}, {"limit": 3, "window": "1h"}]
    house = House(Line(whole), rule_of(rate_limiter, {"windows": windows}), **world_at(wall))
    assert await answers(house, 5) == [200, 200, 429, 429, 429]
    wall.now += 70
    told = await house.ask()  # the third of this hour: what the minute refused took nothing of it
    assert (told.status, told.header(b"x-ratelimit-consumer-limit")) == (200, "3")
    assert told.header(b"x-ratelimit-consumer-remaining") == "0"
    told = await house.ask()
    assert told.status == 429
    assert "3 requests per 1h" in told.error["message"]
    assert 3400 < int(told.header(b"retry-after")) <= 3600


@pytest.mark.parametrize(
    ("period", "zone", "just_before", "just_after"),
    [
        ("minute", "UTC", "2026-03-01T12:00:59.9+00:00", "2026-03-01T12:01:00+00:00"),
        ("hour", "Asia/Kolkata", "2026-03-01T12:29:59+00:00", "2026-03-01T12:30:00+00:00"),
        ("day", "Europe/Madrid", "2026-03-01T22:59:59+00:00", "2026-03-01T23:00:00+00:00"),
        ("week", "UTC", "2026-03-01T23:59:59+00:00", "2026-03-02T00:00:00+00:00"),
        ("month", "America/New_York", "2026-04-01T03:59:59+00:00", "2026-04-01T04:00:00+00:00"),
    ],
)
async def test_a_period_of_the_calendar_begins_anew_where_the_people_are(
    period: str, zone: str, just_before: str, just_after: str
) -> None:
    wall = Wall(just_before)
    chosen = {"windows": [{"limit": 2, "period": period}], "time_zone": zone}
    house = House(Line(whole), rule_of(rate_limiter, chosen), **world_at(wall))
    assert await answers(house, 3) == [200, 200, 429]
    told = await house.ask()
    assert f"2 requests per {period}" in told.error["message"]
    assert told.header(b"retry-after") == "1"
    wall.be(just_after)
    assert await answers(house, 3) == [200, 200, 429]


async def test_two_periods_that_end_at_once_are_two_counts() -> None:
    wall = Wall("2026-03-01T12:00:00+00:00")  # a Sunday: the day and the week end together
    chosen = {"windows": [{"limit": 2, "period": "day"}, {"limit": 4, "period": "week"}]}
    house = House(Line(whole), rule_of(rate_limiter, chosen), **world_at(wall))
    assert await answers(house, 3) == [200, 200, 429]


TWO_APPS = configured(
    consumer(),
    consumer("r1", id="c2", name="Other", slug="other", auth_ids=("a2",)),
    *(
        Auth(id=f"a{at}", gateway_id="g1", name=f"key {at}", key_hash=sha256(b"ag_key%d" % at).hexdigest())
        for at in (1, 2)
    ),
)


@pytest.mark.parametrize(
    ("count_by", "apart"),
    [
        (["gateway"], [(1, 2)]),
        (["consumer"], [(1, 1), (2, 2)]),
        (["key"], [(1, 1), (2, 2)]),
        (["consumer", "model"], [(1, 1), (2, 2)]),
    ],
)
async def test_who_is_counted_together(count_by: list[str], apart: list[tuple[int, int]]) -> None:
    chosen = rule_of(rate_limiter, {"limit": 2, "window": "1m", "count_by": count_by}, consumer_ids=("c1", "c2"))
    house = House(Line(whole), chosen, records=TWO_APPS)
    for pair in apart:
        told = [
            (await house.ask(key=b"ag_key%d" % at, path=f"/{app}/v1/chat/completions")).status
            for at, app in ((at, ("my-app", "other")[at - 1]) for at in (*pair, *pair))
        ]
        assert told == [200, 200, 429, 429]


async def test_the_model_that_counts_is_the_one_that_is_asked_for_in_the_end() -> None:
    pools = consumer(model_policies=(ModelPolicy(registry_id="r1", default="m-1"),))
    house = House(
        Line(whole),
        rule_of(rate_limiter, {"limit": 2, "window": "1m", "count_by": ["model"]}),
        records=configured(pools),
    )
    asked = [{**ASKED, "model": model} for model in ("auto", "m-1", "m-1", "m-2", "auto")]
    assert [(await house.ask(each)).status for each in asked] == [200, 200, 429, 200, 429]


async def test_a_target_that_came_to_nothing_gives_its_count_back() -> None:
    failing = UpstreamFailure("connect_failed", "nobody listens")
    records = configured(
        registry("r1"),
        registry("r2"),
        consumer(
            "r1",
            "r2",
            model_policies=tuple(ModelPolicy(registry_id=f"r{at}", default=f"m-{at}") for at in (1, 2)),
        ),
    )
    line = Line(failing, whole, failing, whole, whole)
    chosen = rule_of(rate_limiter, {"limit": 2, "window": "1m", "count_by": ["model"]})
    house = House(line, chosen, records=records)
    asked = {**ASKED, "model": "auto"}
    first, second = await house.ask(asked), await house.ask(asked)
    assert (first.status, second.status) == (200, 200)
    assert second.header(b"x-ratelimit-consumer-remaining") == "0", "the second target answered both"
    for model, statuses in (("m-1", [200, 200, 429]), ("m-2", [429])):
        assert [(await house.ask({**ASKED, "model": model})).status for _ in statuses] == statuses


# Places.


def placed(places: int, **settings: Any) -> Rule:
    return rule_of(rate_limiter, {"concurrency": places, **settings})


async def test_only_so_many_are_under_way_and_whoever_ends_makes_room() -> None:
    gates = [asyncio.Event() for _ in range(3)]
    line = Line(*(live(says("a"), gate, *stream("b")) for gate in gates))
    house = House(line, placed(2))
    asked = {**ASKED, "stream": True}
    callers = [house.caller(asked) for _ in range(2)]
    under_way = [asyncio.create_task(caller.call()) for caller in callers]
    for caller in callers:
        await caller.until(b"a")
    told = await house.ask(asked)
    assert (told.status, told.error["code"]) == (429, "concurrency_limit_exceeded")
    assert told.header(b"retry-after") == "1"
    assert len(line.calls) == 2
    gates[0].set()
    await under_way[0]
    await house.settled()
    third = house.caller(asked)
    under_way.append(asyncio.create_task(third.call()))
    await third.until(b"a")
    for gate in gates:
        gate.set()
    assert [each.status for each in await asyncio.gather(*under_way)] == [200, 200, 200]


@pytest.mark.parametrize("end", ["refused", "failed", "left"])
async def test_a_place_is_free_whatever_the_end_was(end: str) -> None:
    async def pre_request() -> Deny:
        return Deny(code="no", message="No.")

    gate = asyncio.Event()
    line = Line(UpstreamFailure("connect_failed", "nobody listens"), whole) if end == "failed" else Line(gate, whole)
    others = (rule(pre_request=pre_request, fields={"priority": 9}),) if end == "refused" else ()
    house = House(line, placed(1), *others)
    for _ in range(3):
        caller = house.caller()
        call = asyncio.create_task(caller.call())
        if end == "left":
            await asyncio.wait_for(line.asked.wait(), 5)
            line.asked.clear()
            caller.left.set()
        await asyncio.gather(call, return_exceptions=True)
        await house.settled()
        assert caller.told.status in {"refused": (403,), "failed": (502, 200), "left": (0, 200)}[end]
    assert all(record.reason != "concurrency_limit_exceeded" for record in house.records)


async def test_one_trace_id_for_many_requests_is_many_places() -> None:
    gate = asyncio.Event()
    house = House(Line(gate), placed(1))
    same = {b"traceparent": b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    first = asyncio.create_task(house.caller(headers=same).call())
    await asyncio.wait_for(house.line.asked.wait(), 5)
    assert (await house.ask(headers=same)).status == 429
    gate.set()
    assert (await first).status == 200


async def test_whoever_finds_no_place_takes_nothing_of_the_windows() -> None:
    gate = asyncio.Event()
    house = House(Line(gate, whole), placed(1, limit=2, window="1m"))
    first = asyncio.create_task(house.caller().call())
    await asyncio.wait_for(house.line.asked.wait(), 5)
    assert await answers(house, 4) == [429] * 4
    gate.set()
    await first
    await house.settled()
    assert await answers(house, 2) == [200, 429]


async def test_those_who_wait_for_a_place_get_it_in_the_order_in_which_they_came() -> None:
    gates = [asyncio.Event() for _ in range(5)]
    order: list[int] = []

    async def pre_call(ctx: RequestContext) -> None:
        order.append(int(ctx.headers[b"x-number"]))

    waiting = rule_of(rate_limiter, {"concurrency": 1, "retry_after": "10ms"}, mode="throttle")
    house = House(Line(*gates), waiting, rule(pre_call=pre_call))
    calls = []
    for number in range(5):
        calls.append(asyncio.create_task(house.caller(headers={b"x-number": b"%d" % number}).call()))
        await until(partial(lambda number: house.lifecycle.in_flight == number + 1, number))
    for number, gate in enumerate(gates):
        await until(partial(lambda number: len(order) == number + 1, number))
        gate.set()
    assert [each.status for each in await asyncio.gather(*calls)] == [200] * 5
    assert order == list(range(5))
    await house.settled()
    found = [each for record in house.records for each in record.findings if each.stage == "pre_request"]
    assert sorted(each.decision for each in found) == ["allowed", *["throttle"] * 4]


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.001)
