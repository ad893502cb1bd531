"""From closed records to every sink: bounded, in batches, off the response path. What is dropped is counted.

`emit` appends to a queue. Within 50 ms, or as soon as a batch is there, the queue is turned into events in slices short
enough not to be felt by the requests under way, shown to the observers, and offered to the sinks: each has a lane, a
bounded queue and a task of its own, so that a slow or failing sink costs itself its newest events and nobody else
anything.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from trustgate.contract.cost import Pricing
from trustgate.contract.event import Event, Sink
from trustgate.telemetry.metrics import Gauge, Labels, Registry
from trustgate.telemetry.record import Record, build_event

logger = logging.getLogger(__name__)

BATCH = 128
SLICE = 32
LINGER = 0.05
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
# after about two minutes a batch is given up: it may be the batch, and not the sink, that is broken
MOST_TRIES = 30

Observer = Callable[[Sequence[Event]], None]


class Lane:
    """One sink's queue and task. `dropped`, `errors` and `delivered` count events, failures and events."""

    def __init__(self, name: str, sink: Sink, size: int) -> None:
        self.name = name
        self.dropped = 0
        self.errors = 0
        self.delivered = 0
        self._sink = sink
        self._size = size
        self._events: deque[Event] = deque()
        self._under_way = 0
        self._wake = asyncio.Event()
        self._closing = asyncio.Event()

    @property
    def depth(self) -> int:
        """How many events wait or are being delivered."""
        return len(self._events) + self._under_way

    def offer(self, events: Sequence[Event]) -> None:
        """Queue what fits; the rest, the newest, is dropped."""
        room = max(0, self._size - self.depth)
        self._events.extend(events[:room])
        self.dropped += max(0, len(events) - room)
        if len(self._events) >= BATCH:
            self._wake.set()

    def wake(self) -> None:
        """Have the task look at the queue."""
        self._wake.set()

    def close(self) -> None:
        """Have the task end once the queue is empty, without pausing between tries."""
        self._closing.set()
        self._wake.set()

    async def run(self) -> None:
        """Deliver until closed and empty."""
        while self._events or not self._closing.is_set():
            if self._events:
                await self._deliver(self._take())
            else:
                await self._wake.wait()
                self._wake.clear()

    async def finish(self) -> None:
        """Count as dropped what was not delivered, and close the sink."""
        self.dropped += self.depth
        self._events.clear()
        self._under_way = 0
        await self._sink.aclose()

    def _take(self) -> Sequence[Event]:
        return [self._events.popleft() for _ in range(min(BATCH, len(self._events)))]

    async def _deliver(self, events: Sequence[Event]) -> None:
        self._under_way = len(events)
        for tried in range(MOST_TRIES):
            if await self._try(events):
                break
            await self._pause(min(LONGEST_PAUSE, FIRST_PAUSE * 2**tried))
        else:
            self.dropped += len(events)
        self._under_way = 0

    async def _try(self, events: Sequence[Event]) -> bool:
        try:
            await self._sink.deliver(events)
        except Exception as error:  # noqa: BLE001 - a sink is foreign code; whatever it raises is its failure alone
            self.errors += 1
            logger.warning("telemetry sink %s failed (%s events): %r", self.name, len(events), error)
            return False
        self.delivered += len(events)
        return True

    async def _pause(self, pause: float) -> None:
        # a plane that is stopping tries once more a little later, and aclose's grace ends the trying
        try:
            await asyncio.wait_for(self._closing.wait(), pause)
            await asyncio.sleep(FIRST_PAUSE)
        except TimeoutError:
            pass


class Fanout:
    """Takes closed records and sees to it that observers and sinks get their events."""

    def __init__(
        self,
        sinks: Mapping[str, Sink],
        queue_size: int,
        *,
        observers: Sequence[Observer] = (),
        pricing: Pricing | None = None,
    ) -> None:
        self.dropped = 0
        self.lanes = [Lane(name, sink, queue_size) for name, sink in sinks.items()]
        self._records: deque[Record] = deque()
        self._size = queue_size
        self._observers = observers
        self._pricing = pricing
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._timer: asyncio.Handle | None = None
        self._soon = False
        self._closed = False

    @property
    def depth(self) -> int:
        """How many records are not events yet."""
        return len(self._records)

    def start(self) -> None:
        """Begin to deliver, on the running loop; records emitted before are kept."""
        self._loop = asyncio.get_running_loop()
        self._tasks = [self._loop.create_task(lane.run(), name=f"telemetry {lane.name}") for lane in self.lanes]
        self._schedule()

    def emit(self, record: Record) -> None:
        """Take a closed record. Never blocks, never raises; drops it when the queue is full."""
        records = self._records
        if len(records) >= self._size or self._closed:
            self.dropped += 1
            return
        records.append(record)
        if self._timer is None or (len(records) >= BATCH and not self._soon):
            self._schedule()

    def settle(self) -> None:
        """Turn everything that waits into events now, and have the lanes look at them."""
        while self._records:
            self._turn(SLICE)
        self._wake()

    async def aclose(self, grace: float) -> None:
        """Take nothing more, deliver what is queued for at most `grace` seconds, then close the sinks."""
        self._closed = True
        if self._timer:
            self._timer.cancel()
        self.settle()
        for lane in self.lanes:
            lane.close()
        await self._await_tasks(grace)
        for lane in self.lanes:
            await _finish(lane, max(1.0, grace))

    async def _await_tasks(self, grace: float) -> None:
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=grace)
        for task in late:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _schedule(self) -> None:
        if self._loop is None or not self._records:
            return
        if self._timer:
            self._timer.cancel()
        self._soon = len(self._records) >= BATCH
        self._timer = self._loop.call_soon(self._run) if self._soon else self._loop.call_later(LINGER, self._run)

    def _run(self) -> None:
        """Turn one slice; then let the loop serve requests before the next."""
        self._turn(SLICE)
        if self._records and self._loop:
            self._timer = self._loop.call_soon(self._run)
            self._soon = True
            return
        self._timer = None
        self._soon = False
        self._wake()

    def _turn(self, most: int) -> None:
        records = self._records
        events = self._build([records.popleft() for _ in range(min(most, len(records)))])
        for lane in self.lanes:
            lane.offer(events)
        for observer in self._observers:
            self._show(observer, events)

    def _build(self, records: Sequence[Record]) -> Sequence[Event]:
        events = []
        for record in records:
            try:
                events.append(build_event(record, self._pricing))
            except Exception:  # one malformed record must not cost the others their events
                self.dropped += 1
                logger.exception("a record could not be turned into an event")
        return events

    def _show(self, observer: Observer, events: Sequence[Event]) -> None:
        try:
            observer(events)
        except Exception:  # what only watches must not stop what delivers
            logger.exception("a telemetry observer failed")

    def _wake(self) -> None:
        for lane in self.lanes:
            lane.wake()


async def _finish(lane: Lane, grace: float) -> None:
    try:
        await asyncio.wait_for(lane.finish(), grace)
    except Exception as error:  # noqa: BLE001 - a sink that cannot close must not keep the others open
        logger.warning("telemetry sink %s did not close: %r", lane.name, error)


def add_fanout(registry: Registry, fanout: Fanout) -> None:
    """Expose depth, drops and failures, of the common queue (`records`) and of every sink."""

    def read(take: Callable[[Lane], float], common: float) -> Mapping[Labels, float]:
        return {("records",): common, **{(lane.name,): take(lane) for lane in fanout.lanes}}

    sink: Labels = ("sink",)
    registry.add(
        Gauge(
            "trustgate_telemetry_queue_depth",
            "Events that wait for a sink.",
            lambda: read(lambda lane: lane.depth, fanout.depth),
            sink,
        ),
        Gauge(
            "trustgate_telemetry_dropped_total",
            "Events lost because a queue was full or a sink kept failing.",
            lambda: read(lambda lane: lane.dropped, fanout.dropped),
            sink,
            kind="counter",
        ),
        Gauge(
            "trustgate_telemetry_sink_errors_total",
            "Failed deliveries.",
            lambda: {(lane.name,): lane.errors for lane in fanout.lanes},
            sink,
            kind="counter",
        ),
        Gauge(
            "trustgate_telemetry_delivered_total",
            "Events that a sink took.",
            lambda: {(lane.name,): lane.delivered for lane in fanout.lanes},
            sink,
            kind="counter",
        ),
    )
