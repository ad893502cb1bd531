"""Registries that are asked whether they are up, and what processes tell one another of it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.lifecycle.kit import House, Scripted, configured, consumer, gateway, registry, whole
from tests.lifecycle.test_failover import Hosts, failing
from trustgate.board import Board
from trustgate.config.records import HealthChecks
from trustgate.config.snapshot import build
from trustgate.contract.ports import StateUnavailable
from trustgate.contract.upstream import Call, Upstream, UpstreamFailure
from trustgate.forwarding.health import Health
from trustgate.probing import Prober
from trustgate.providers.credentials import Credentials
from trustgate.state.memory_cache import MemoryCache

pytestmark = pytest.mark.anyio
CHECKS = HealthChecks(path="/healthz", interval=1, threshold=2, headers={"X-Probe": "yes"})


class Probed(Hosts):
    """Hosts that are probed beside what they are asked; `rounds` is told of each probe."""

    def __init__(self, **answers: Any) -> None:
        super().__init__(**answers)
        self.probes: list[Call] = []
        self.probed = asyncio.Condition()
        self.well: Callable[[], Upstream | Exception] = lambda: Scripted(b"ok")

    async def send(self, call: Call) -> Upstream:
        if call.method != "GET":
            return await super().send(call)
        async with self.probed:
            self.probes.append(call)
            self.probed.notify_all()
        answer = self.well()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def after(self, number: int) -> None:
        """Wait until there have been so many probes more."""
        wanted = len(self.probes) + number
        async with asyncio.timeout(10), self.probed:
            await self.probed.wait_for(lambda: len(self.probes) >= wanted)


def prober(line: Probed, health: Health, checks: HealthChecks | None = CHECKS, **fields: Any) -> Prober:
    made = Prober(line, Credentials(), health, chance=lambda: 0.0)
    made.swap(build(1, [gateway(), registry(health_checks=checks, **fields)]))
    return made


async def test_what_is_asked() -> None:
    line = Probed()
    made = prober(line, Health())
    await line.after(1)
    await made.aclose()
    (call,) = line.probes
    assert (call.origin.host, call.target) == ("r1.test", b"/healthz")
    assert (b"x-probe", b"yes") in call.headers
    assert call.clocks.total == CHECKS.timeout


async def test_without_a_path_it_is_the_list_of_models() -> None:
    line = Probed()
    made = prober(line, Health(), HealthChecks(active=True))
    await line.after(1)
    await made.aclose()
    assert line.probes[0].target == b"/v1/models"


@pytest.mark.parametrize("checks", [None, HealthChecks()])
async def test_who_is_not_to_be_asked_is_not(checks: HealthChecks | None) -> None:
    line = Probed()
    made = prober(line, Health(), checks)
    assert not made.asking
    await made.aclose()


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (lambda: Scripted(b"", status=503), "it answered 503"),
        (lambda: Scripted(b"", status=404), "it answered 404"),
        (lambda: UpstreamFailure("connect_failed", "10.0.0.7"), "connect_failed"),
    ],
)
async def test_one_of_three_is_down_and_comes_back_within_two_probes(
    bad: Callable[[], Upstream | Exception], why: str
) -> None:
    """Must be shown: nobody fails, and it has its share again within two probes of its recovery."""
    line = Probed(r1=failing(500), r2=whole, r3=whole)
    health = Health()
    registries = [registry("r1", health_checks=CHECKS), registry("r2"), registry("r3")]
    house = House(line, records=configured(*registries, consumer("r1", "r2", "r3")), health=health)
    line.well = bad
    made = Prober(line, Credentials(), health, chance=lambda: 0.0)
    made.swap(house.snapshot)
    await line.after(3)
    assert health.why_down("r1") == why
    assert {(await house.ask()).status for _ in range(30)} == {200}
    assert line.order.count("r1") == 0, "nobody had to find out"
    explained = await house.dry()
    assert [each.reason for each in explained.targets if each.registry == "r1"] == [f"it is down: {why}"]
    line.well = lambda: Scripted(b"ok")
    line.hosts["r1"] = whole
    await line.after(2)
    before = len(line.order)
    assert {(await house.ask()).status for _ in range(30)} == {200}
    assert line.order[before:].count("r1") >= 9
    await made.aclose()


async def test_what_callers_saw_is_forgotten_when_it_is_up_again() -> None:
    health = Health()
    for _ in range(5):
        health.failed("r1", "m", 60.0)
    health.is_down("r1", "why")
    health.is_up("r1")
    assert health.ready("r1", "m")


async def test_a_registry_that_changes_is_asked_as_it_is_now() -> None:
    line = Probed()
    health = Health()
    made = prober(line, health)
    await line.after(1)
    made.swap(build(2, [gateway(), registry(health_checks=HealthChecks(path="/other"))]))
    await line.after(1)
    assert line.probes[-1].target == b"/other"
    health.is_down("r1", "why")
    made.swap(build(3, [gateway(), registry(enabled=False, health_checks=CHECKS)]))
    assert not made.asking
    assert health.ready("r1", "m"), "what nobody asks any more is not down for ever"
    await made.aclose()


# The board.


async def test_one_process_hears_what_another_learnt() -> None:
    cache = MemoryCache()
    now = 1000.0
    one, other = Health(), Health()
    boards = [Board(health, cache, shared=True, clock=lambda: now) for health in (one, other)]
    kept = [other.figures("r1", "m"), other.figures("r1#blue", "m")]
    one.failed("r1", "m", retry_after=20.0)
    one.failed("r1#blue", "m", retry_after=30.0)
    for board in boards:
        await board.exchange()
    assert 19.0 < other.pause("r1", "m") <= 20.0
    assert 29.0 < other.pause("r1#blue", "m") <= 30.0
    assert other.pause("r1#green", "m") == 0.0
    (blue, plain) = sorted(await boards[1].read("r1"), key=lambda note: not note.key)
    assert (plain.model, plain.failures) == ("m", 1)
    assert plain.until == pytest.approx(1020.0, abs=0.5)
    assert blue.key == "blue"
    one.succeeded("r1", "m")
    one.succeeded("r1#blue", "m")
    await boards[0].exchange()
    assert await boards[1].read("r1") == ()
    assert kept


class Flaky(MemoryCache):
    """A cache that cannot be reached while it is `gone`."""

    gone = False

    async def set(self, key: str, value: bytes, *, ttl: float) -> None:
        if self.gone:
            raise StateUnavailable("nobody is there")
        await super().set(key, value, ttl=ttl)


async def test_what_could_not_be_told_is_told_later() -> None:
    health, cache = Health(), Flaky()
    board = Board(health, cache, shared=False)
    health.failed("r1", "m", 20.0)
    cache.gone = True
    with pytest.raises(StateUnavailable):
        await board.exchange()
    cache.gone = False
    await board.exchange()
    assert [note.model for note in await board.read("r1")] == ["m"]


async def test_what_is_down_is_on_the_board() -> None:
    health, cache = Health(), MemoryCache()
    board = Board(health, cache, shared=False)
    health.is_down("r1", "it answered 503")
    await board.exchange()
    (note,) = await board.read("r1")
    assert (note.model, note.down) == ("", "it answered 503")
    health.is_up("r1")
    await board.exchange()
    assert await board.read("r1") == ()
