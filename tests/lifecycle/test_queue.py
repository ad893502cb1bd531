"""When all are full: who waits, who is next, and who is told to come again."""

import asyncio
import time
from collections import Counter
from hashlib import sha256
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lifecycle.kit import ASKED, KEY, House, Line, configured, consumer, registry, whole
from trustgate.config.records import AnyRecord, Auth, Binding, Consumer
from trustgate.contract.upstream import Call, Upstream
from trustgate.forwarding.gates import Flow, Gate, Waiter, wait
from trustgate.settings import Limits

pytestmark = pytest.mark.anyio


class Busy(Line):
    """A provider whose answers take so many seconds, give or take a `spread`, and that counts how many it works on."""

    def __init__(self, seconds: float, spread: float = 0.0) -> None:
        super().__init__()
        self.seconds = seconds
        self._spread = spread
        self._chance = Random(4)
        self.under_way = self.most = 0
        self._wanted = 0
        self._reached = asyncio.Event()

    async def working_on(self, number: int) -> None:
        """Wait until it works on so many at once."""
        self._wanted = number
        self._reached.clear()
        async with asyncio.timeout(10):
            await self._reached.wait()

    async def send(self, call: Call) -> Upstream:
        self.calls.append(call)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        if self.under_way >= self._wanted:
            self._reached.set()
        try:
            await asyncio.sleep(self.seconds * (1 + self._spread * (2 * self._chance.random() - 1)))
        finally:
            self.under_way -= 1
        return whole()


def records(capacity: int, **shares: int) -> list[AnyRecord]:
    """Consumers by slug with their shares, each with a key that is its slug."""
    made: list[AnyRecord] = [registry(max_concurrency=capacity), consumer()]
    made.append(Auth(id="a1", gateway_id="g1", name="key", key_hash=sha256(KEY).hexdigest()))
    for name, share in shares.items():
        key_hash = sha256(name.encode()).hexdigest()
        made.append(Auth(id=f"a-{name}", gateway_id="g1", name=name, key_hash=key_hash))
        pool = (Binding(registry_id="r1"),)
        made.append(
            Consumer(
                id=f"c-{name}",
                gateway_id="g1",
                name=name,
                slug=name,
                registries=pool,
                auth_ids=(f"a-{name}",),
                share=share,
            )
        )
    return configured(*made)


async def ask(house: House, name: str) -> tuple[int, float]:
    started = time.perf_counter()
    told = await house.caller(path=f"/{name}/v1/chat/completions", key=name.encode(), within=30.0).call()
    return told.status, time.perf_counter() - started


async def test_never_more_than_it_may_have() -> None:
    line = Busy(0.01)
    house = House(line, records=records(5, one=1))
    found = await asyncio.gather(*(ask(house, "one") for _ in range(60)))
    assert {status for status, _ in found} == {200}
    assert line.most == 5


async def test_how_long_it_waited_is_told() -> None:
    house = House(Busy(0.05), records=records(1))
    first, second = await asyncio.gather(house.caller().call(), house.caller().call())
    await house.settled()
    assert first.header(b"x-ag-queue-ms") == ""
    assert 30 <= int(second.header(b"x-ag-queue-ms")) < 1000
    waits = sorted(event.latency.queue_ms for event in house.events)
    assert waits[0] == 0
    assert waits[1] >= 30
    assert house.events[1].latency.gateway_ms < 30, "waiting for others is not the gateway's own time"


async def test_whoever_would_wait_too_long_is_told_at_once() -> None:
    house = House(Busy(0.5), records=records(1), limits=Limits(queue_wait=0.9))
    assert (await house.ask()).status == 200
    inside = asyncio.create_task(house.caller().call())
    waiting = [asyncio.create_task(house.caller().call()) for _ in range(3)]
    done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=0.2)
    told = done.pop().result()
    assert (told.status, told.error["code"]) == (503, "backend_saturated")
    assert int(told.header(b"retry-after")) >= 1
    await asyncio.gather(inside, *waiting)


async def test_whoever_waited_too_long_is_told_so() -> None:
    line = Busy(0.01)
    house = House(line, records=records(1), limits=Limits(queue_wait=1.05))
    assert (await house.ask()).status == 200
    line.seconds = 3.0
    inside = asyncio.create_task(house.caller().call())
    await asyncio.sleep(0)
    told = await house.caller().call()
    assert told.error["code"] == "backend_saturated"
    assert 1000 <= int(told.header(b"x-ag-queue-ms")) < 2500
    await inside


async def test_whoever_has_no_time_to_wait_is_told_at_once() -> None:
    line = Busy(0.3)
    house = House(line, records=records(1))
    inside = asyncio.create_task(house.caller().call())
    await line.working_on(1)
    told = await house.caller(headers={b"x-stainless-timeout": b"0.0000001"}).call()
    assert (told.status, told.error["code"], told.header(b"retry-after")) == (503, "backend_saturated", "1")
    assert (await inside).status == 200


async def test_whoever_leaves_gives_up_the_place() -> None:
    line = Busy(1.5)
    house = House(line, records=records(1))
    inside = asyncio.create_task(house.caller().call())
    leaver = house.caller()
    leaving = asyncio.create_task(leaver.call())
    await asyncio.sleep(0)
    leaver.left.set()
    await leaving
    assert len(line.calls) == 1, "it left while it waited"
    line.seconds = 0.0
    assert (await house.caller().call()).status == 200
    await inside
    await house.settled()
    assert line.most == 1
    assert len(line.calls) == 2
    assert (await house.ask()).status == 200, "no place was lost"


async def test_a_refusal_behind_the_queue_gives_up_the_place() -> None:
    house = House(Busy(0.01), records=records(1))
    for _ in range(3):
        assert (await house.ask(ASKED | {"messages": "?", "model": ""})).status == 400
    assert (await house.ask()).status == 200


async def test_one_that_asks_a_hundred_times_as_often_slows_nobody_down() -> None:
    """The others' p95 stays within a tenth of what it is alone."""
    line = Busy(0.1, spread=0.4)
    house = House(line, records=records(50, greedy=1, modest=1))

    async def modestly(number: int) -> list[float]:
        found = []
        for _ in range(number):
            status, seconds = await ask(house, "modest")
            assert status == 200
            found.append(seconds)
        return sorted(found)

    alone = await modestly(40)
    greedy = [asyncio.create_task(ask(house, "greedy")) for _ in range(100)]
    going = True

    async def keep_asking() -> None:
        while going:
            await ask(house, "greedy")

    crowd = [asyncio.create_task(keep_asking()) for _ in range(100)]
    await line.working_on(50)
    beside = await modestly(40)
    assert line.under_way >= 45, "it is full"
    going = False
    await asyncio.gather(*greedy, *crowd)
    assert line.most == 50
    assert beside[37] <= alone[37] * 1.1, (alone[37], beside[37])


# Gates by themselves.


def let_in(gate: Gate, waiters: dict[str, Waiter]) -> str:
    assert gate.let_in()
    (name,) = [name for name, waiter in waiters.items() if waiter.admitted.done()]
    gate.leave(waiters.pop(name))
    return name


@settings(deadline=None, max_examples=60)
@given(shares=st.dictionaries(st.sampled_from("abcd"), st.integers(1, 5), min_size=1), number=st.integers(1, 30))
def test_everybody_gets_their_share(shares: dict[str, int], number: int) -> None:
    async def run() -> None:
        gate, waiters = Gate(1), dict[str, Waiter]()
        for flow, share in shares.items():
            for at in range(40 * share):
                waiters[f"{flow}{at}"] = waiter = Waiter(Flow(flow, share))
                gate.join(waiter, 0)
        found = Counter(let_in(gate, waiters)[0] for _ in range(number))
        for flow, share in shares.items():
            assert abs(found[flow] - number * share / sum(shares.values())) <= len(shares)

    asyncio.run(run())


async def test_who_comes_late_does_not_wait_behind_all() -> None:
    gate, waiters = Gate(1), dict[str, Waiter]()
    for at in range(100):
        waiters[f"a{at}"] = Waiter(Flow("a"))
        gate.join(waiters[f"a{at}"], 0)
    for _ in range(10):
        let_in(gate, waiters)
    waiters["b"] = Waiter(Flow("b"))
    gate.join(waiters["b"], 0)
    assert "b" in [let_in(gate, waiters) for _ in range(2)]


async def test_who_waits_at_two_gates_is_let_in_once() -> None:
    one, two = Gate(1), Gate(1)
    lost: list[int] = []
    waiting = asyncio.create_task(wait([(7, one), (8, two)], Flow("a"), 5.0, lost=lost.append))
    await asyncio.sleep(0)
    assert two.let_in()
    assert not one.let_in()
    assert await waiting == 8
    assert (len(one), len(two), lost) == (0, 0, [])


async def test_a_place_that_nobody_takes_is_passed_on() -> None:
    gate, lost = Gate(1), list[int]()
    waiting = asyncio.create_task(wait([(3, gate)], Flow("a"), 5.0, lost=lost.append))
    await asyncio.sleep(0)
    assert gate.let_in()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert lost == [3]
    assert len(gate) == 0


async def test_what_is_expected_grows_with_those_who_wait() -> None:
    gate = Gate(10)
    for _ in range(50):
        gate.ended(2.0)
    flow, other = Flow("a"), Flow("b")
    assert gate.expected(flow) == pytest.approx(0.2, rel=0.01)
    for at in range(20):
        gate.join(Waiter(flow), at)
    assert gate.expected(flow) == pytest.approx(4.2, rel=0.01)
    assert gate.expected(other) == pytest.approx(0.4, rel=0.01), "it waits for one of them, and not for all"
