"""The fan-out: in order, once, bounded; nobody's trouble is anybody else's, and every loss is counted."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustgate.contract.event import Event
from trustgate.telemetry.fanout import BATCH, Fanout, add_fanout
from trustgate.telemetry.metrics import Registry
from trustgate.telemetry.record import Record

from .conftest import Failing, Kept, Stuck, closed

pytestmark = pytest.mark.anyio
GRACE = 5.0


async def run_through(fanout: Fanout, count: int, *, grace: float = GRACE) -> None:
    fanout.start()
    for number in range(count):
        fanout.emit(closed(number))
    await fanout.aclose(grace)


async def until(condition: Any) -> None:
    with anyio.fail_after(GRACE):
        while not condition():  # noqa: ASYNC110 - what is waited for is spread over objects that know no events
            await asyncio.sleep(0.001)


async def test_every_sink_gets_every_event_once_and_in_order() -> None:
    one, two = Kept(), Kept()
    await run_through(Fanout({"one": one, "two": two}, 10_000), 1000)
    assert one.numbers == two.numbers == list(range(1000))
    assert max(one.batches) <= BATCH
    assert one.is_closed
    assert two.is_closed


async def test_events_arrive_without_being_asked_for() -> None:
    sink = Kept()
    fanout = Fanout({"sink": sink}, 100)
    fanout.start()
    fanout.emit(closed(1))
    await until(lambda: sink.events)
    fanout.emit(closed(2))
    await until(lambda: len(sink.events) == 2)
    await fanout.aclose(GRACE)
    assert sink.numbers == [1, 2]


async def test_what_came_before_the_start_is_kept() -> None:
    sink = Kept()
    fanout = Fanout({"sink": sink}, 100)
    fanout.emit(closed(1))
    fanout.start()
    await until(lambda: sink.events)
    await fanout.aclose(GRACE)


async def test_a_stuck_sink_costs_only_itself_and_only_its_newest() -> None:
    stuck, healthy = Stuck(), Kept()
    fanout = Fanout({"stuck": stuck, "healthy": healthy}, 10)
    fanout.start()
    for number in range(10):
        fanout.emit(closed(number))
    await stuck.asked.wait()
    for number in range(10, 15):
        fanout.emit(closed(number))
    await until(lambda: len(healthy.events) == 15)
    stuck.free.set()
    await fanout.aclose(GRACE)
    assert healthy.numbers == list(range(15))
    assert stuck.numbers == list(range(10))
    assert [lane.dropped for lane in fanout.lanes] == [5, 0]


async def test_a_full_queue_drops_the_newest_and_counts_it() -> None:
    sink = Kept()
    fanout = Fanout({"sink": sink}, 3)
    for number in range(5):
        fanout.emit(closed(number))
    assert (fanout.depth, fanout.dropped) == (3, 2)
    await run_through(fanout, 0)
    assert sink.numbers == [0, 1, 2]


async def test_a_failed_batch_is_offered_again_whole(caplog: pytest.LogCaptureFixture) -> None:
    sink, other = Failing(2), Kept()
    fanout = Fanout({"flaky": sink, "other": other}, 100)
    fanout.start()
    for number in range(3):
        fanout.emit(closed(number))
    await until(lambda: len(other.events) == 3)
    assert not sink.events
    await until(lambda: sink.events)
    await fanout.aclose(GRACE)
    assert sink.offered[0] == sink.offered[1] == sink.offered[2]
    assert sink.numbers == [0, 1, 2]
    lane = fanout.lanes[0]
    assert (lane.errors, lane.dropped, lane.delivered) == (2, 0, 3)
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.WARNING]


async def test_closing_does_not_wait_for_a_sink_longer_than_its_grace() -> None:
    stuck, healthy = Stuck(), Kept()
    fanout = Fanout({"stuck": stuck, "healthy": healthy}, 100)
    started = asyncio.get_running_loop().time()
    await run_through(fanout, 7, grace=0.1)
    assert asyncio.get_running_loop().time() - started < 2
    assert fanout.lanes[0].dropped == 7
    assert healthy.numbers == list(range(7))
    assert stuck.is_closed
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("telemetry")]


async def test_closing_gives_a_failing_sink_its_chance_without_its_long_pauses() -> None:
    sink = Failing(6)
    await run_through(Fanout({"flaky": sink}, 100), 5, grace=3.0)
    assert sink.numbers == list(range(5))


async def test_a_sink_that_cannot_close_keeps_no_other_open(caplog: pytest.LogCaptureFixture) -> None:
    class Unclosable(Kept):
        async def aclose(self) -> None:
            raise OSError("still busy")

    healthy = Kept()
    await run_through(Fanout({"odd": Unclosable(), "healthy": healthy}, 100), 1)
    assert healthy.is_closed
    assert "odd did not close" in caplog.text


async def test_what_comes_after_the_end_is_counted() -> None:
    fanout = Fanout({"sink": Kept()}, 100)
    await run_through(fanout, 1)
    fanout.emit(closed())
    assert fanout.dropped == 1


async def test_observers_see_everything_at_once_when_asked_to_settle() -> None:
    seen: list[Event] = []
    fanout = Fanout({}, 1000, observers=[seen.extend])
    for number in range(500):
        fanout.emit(closed(number))
    fanout.settle()
    assert [int(event.trace_id, 16) for event in seen] == list(range(500))
    assert fanout.depth == 0


async def test_a_failing_observer_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def fail(events: Sequence[Event]) -> None:
        raise ValueError("cannot count")

    sink = Kept()
    await run_through(Fanout({"sink": sink}, 100, observers=[fail]), 100)
    assert len(sink.events) == 100
    assert "observer failed" in caplog.text


async def test_a_malformed_record_costs_only_itself(caplog: pytest.LogCaptureFixture) -> None:
    sink = Kept()
    fanout = Fanout({"sink": sink}, 100)
    broken: Any = "not a number"
    fanout.emit(closed(1))
    fanout.emit(Record(started=broken, ended_at=1.0))
    fanout.emit(closed(2))
    await run_through(fanout, 0)
    assert sink.numbers == [1, 2]
    assert fanout.dropped == 1
    assert "could not be turned into an event" in caplog.text


async def test_a_steady_flood_does_not_keep_sinks_from_their_events() -> None:
    """The queue is never empty here, so nothing may wait for it to be."""
    sink = Kept()
    fanout = Fanout({"sink": sink}, 100_000)
    fanout.start()
    with anyio.fail_after(GRACE):
        while not sink.events:
            for number in range(BATCH):
                fanout.emit(closed(number))
            await asyncio.sleep(0)
    await fanout.aclose(GRACE)


async def test_depth_drops_and_failures_are_metrics() -> None:
    registry = Registry()
    stuck = Stuck()
    fanout = Fanout({"stuck": stuck, "fine": Kept()}, 2)
    add_fanout(registry, fanout)
    for number in range(3):
        fanout.emit(closed(number))
    text = registry.render()
    assert 'trustgate_telemetry_queue_depth{sink="records"} 2\n' in text
    assert 'trustgate_telemetry_dropped_total{sink="records"} 1\n' in text
    fanout.start()
    await stuck.asked.wait()
    text = registry.render()
    assert 'trustgate_telemetry_queue_depth{sink="stuck"} 2\n' in text
    await fanout.aclose(0.01)
    text = registry.render()
    assert 'trustgate_telemetry_queue_depth{sink="stuck"} 0\n' in text
    assert 'trustgate_telemetry_dropped_total{sink="stuck"} 2\n' in text
    assert 'trustgate_telemetry_delivered_total{sink="fine"} 2\n' in text
    assert 'trustgate_telemetry_sink_errors_total{sink="stuck"} 0\n' in text


@given(bursts=st.lists(st.integers(0, 40), max_size=8), size=st.integers(1, 60))
@settings(max_examples=40, deadline=None)
def test_every_record_is_delivered_or_counted(bursts: list[int], size: int) -> None:
    async def scenario() -> None:
        sink = Kept()
        fanout = Fanout({"sink": sink}, size)
        fanout.start()
        for burst in bursts:
            for number in range(burst):
                fanout.emit(closed(number))
            fanout.settle()
            await asyncio.sleep(0)
        await fanout.aclose(GRACE)
        lane = fanout.lanes[0]
        assert len(sink.events) == lane.delivered
        assert lane.delivered + lane.dropped + fanout.dropped == sum(bursts)

    asyncio.run(scenario())
