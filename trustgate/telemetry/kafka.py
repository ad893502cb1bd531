"""Events to Kafka, by way of the disk: they are put into a spool, and leave it in order once a broker has them.

So a broker that is away costs disk and no event, and a process that is killed leaves what it had for the next one.
Within one process nothing arrives twice. What arrived in the moment before a kill may arrive again afterwards: the
`trace_id` in a record's headers tells.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from trustgate.connections import KafkaVariables
from trustgate.contract.event import Event
from trustgate.telemetry.kafka_producer import BATCH_BYTES, Entry, Producer
from trustgate.telemetry.spool import Spool, open_spools

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 5.0
FLUSH: Final = 4.0
"""Seconds that what waits may still leave when the process ends; the rest stays on disk."""
UNKNOWN: Final = "it has not been reached yet"
log = logging.getLogger("trustgate.kafka")


class KafkaSink:
    """A sink. `dropped` counts events for which the spool had no room, `refused` those that brokers will not have.

    `why` says what is wrong with Kafka, empty where nothing is.
    """

    def __init__(self, place: KafkaVariables, folder: Path) -> None:
        self.dropped = 0
        self.refused = 0
        self.why = UNKNOWN
        self._place = place
        self._folder = folder
        self._encoder = msgspec.json.Encoder(enc_hook=str)
        self._spools: list[Spool] = []
        self._disk = asyncio.Lock()
        self._more = asyncio.Event()
        self._empty = asyncio.Event()
        self._sending: asyncio.Task[None] | None = None
        self._producer: Producer | None = None
        self._taking: tuple[Spool, Sequence[bytes]] | None = None

    @property
    def waiting(self) -> int:
        """How many bytes wait on disk."""
        return sum(spool.waiting for spool in self._spools)

    @property
    def oldest(self) -> float:
        """For how many seconds the oldest of it has waited."""
        return max((spool.oldest for spool in self._spools), default=0.0)

    def start(self) -> None:
        """Begin to send what dead processes have left. Raises OSError where there is no place for a spool."""
        if not self._spools:
            self._spools = list(open_spools(self._folder, most=self._place.spool_bytes))
            self._sending = asyncio.create_task(self._send())

    async def deliver(self, events: Sequence[Event]) -> None:
        """Put events on disk: from here on they are safe. Raises OSError where the disk does not take them."""
        self.start()
        entries = [self._entry(event) for event in events]
        spool = self._spools[-1]
        self._empty.clear()
        taken = await self._on_disk(lambda: spool.put(entries))
        if taken < len(entries):
            if not self.dropped:
                log.error("the spool is full (%d bytes): events are lost until Kafka is back", self._place.spool_bytes)
            self.dropped += len(entries) - taken
        self._more.set()

    async def aclose(self) -> None:
        """Let what waits leave, as far as there is time, and leave the rest on disk."""
        if self._sending is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.0 if self.why and self.waiting else FLUSH):
                await self._empty.wait()
        self._sending.cancel()
        await asyncio.gather(self._sending, return_exceptions=True)
        await self._keep(await self._part())
        for spool in self._spools:
            await self._on_disk(spool.close)
        self._spools = []

    def _entry(self, event: Event) -> bytes:
        try:
            return self._encoded(event)
        except Exception as error:  # noqa: BLE001 - a plugin's details can be anything; they must not cost the event
            log.warning("event %s has something that is not JSON: %r", event.trace_id, error)
            return self._encoded(msgspec.structs.replace(event, policy_chain=()))

    def _encoded(self, event: Event) -> bytes:
        return f"{event.gateway_id}\t{event.trace_id}\t".encode() + self._encoder.encode(event)

    async def _on_disk(self, work: Callable[[], T]) -> T:
        async with self._disk:
            return await asyncio.to_thread(work)

    async def _send(self) -> None:
        """Send for ever what waits on disk, the oldest first."""
        while True:
            spool = next((each for each in self._spools if each.waiting), None)
            if spool is None:
                await self._let_go_of_empty()
                self._empty.set()
                await self._more.wait()
                self._more.clear()
            else:
                await self._send_some(spool)

    async def _send_some(self, spool: Spool) -> None:
        """Send the oldest of a spool until all of it has arrived."""
        lines = await self._on_disk(lambda: spool.peek(BATCH_BYTES))
        self._taking = (spool, lines)
        left, pause = [Entry.read(line) for line in lines], FIRST_PAUSE
        while left:
            error = await self._try(left)
            if error is None:
                break
            self._away(f"{type(error).__name__}: {error}")
            if self._producer is not None:
                left = list(await self._part())
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, 2 * pause)
        await self._on_disk(lambda: spool.taken(len(lines), lines))
        self._taking = None
        self._there()

    async def _try(self, entries: Sequence[Entry]) -> Exception | None:
        try:
            if self._producer is None:
                producer = Producer(self._place, refused=self._will_not_be, stalled=self._away)
                await producer.connect()
                self._producer = producer
            return await self._producer.send(entries)
        except Exception as error:  # noqa: BLE001 - the client raises many kinds; whatever it is, it is tried again
            return error

    async def _part(self) -> Sequence[Entry]:
        producer, self._producer = self._producer, None
        return await producer.part() if producer is not None else ()

    async def _keep(self, left: Sequence[Entry]) -> None:
        """Of what was being sent at the end, leave on disk what has not arrived, and nothing else."""
        if self._taking is None:
            return
        spool, lines = self._taking
        if 0 < len(left) < len(lines):
            again = [b"\t".join((each.gateway_id, each.trace_id, each.value)) for each in left]
            await self._on_disk(lambda: spool.put(again, beyond=True))
            await self._on_disk(lambda: spool.taken(len(lines), lines))

    def _will_not_be(self, entry: Entry, why: str) -> None:
        self.refused += 1
        log.error("Kafka refuses the event of request %s (%s): it is lost", entry.trace_id.decode(), why)

    async def _let_go_of_empty(self) -> None:
        """What dead processes had left has left."""
        for spool in [each for each in self._spools[:-1] if not each.waiting]:
            self._spools.remove(spool)
            await self._on_disk(spool.close)

    def _away(self, why: str) -> None:
        if not self.why or self.why is UNKNOWN:
            where = ",".join(self._place.brokers)
            log.warning("Kafka at %s does not take events (%s): they are kept on disk", where, why)
        self.why = why

    def _there(self) -> None:
        if self.why and self.why is not UNKNOWN:
            log.info("Kafka takes events again")
        self.why = ""
