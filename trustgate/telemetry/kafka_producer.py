"""Speaking to Kafka: what is handed over is sent until a broker has it, once and in order, or until it never will."""

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

from msgspec import Struct

from trustgate.connections import KafkaVariables

BATCH_BYTES: Final = 512 * 1024
"""Bytes of one batch before compression; brokers take twice as much unless they are told otherwise."""
LARGEST: Final = 8 * 1024 * 1024
STALLED: Final = 2.0
"""Seconds without an acknowledgement after which Kafka is taken to be away. What was sent goes on being sent."""
PARTING: Final = 3.0


class Entry(Struct, frozen=True):
    """One event on its way: its gateway, which says where it goes, its trace and its JSON."""

    gateway_id: bytes
    trace_id: bytes
    value: bytes

    @classmethod
    def read(cls, line: bytes) -> "Entry":
        """Return the entry that a line of the spool is."""
        return cls(*line.split(b"\t", 2))


class Group(Struct, frozen=True):
    """Entries that travel together, and what becomes the broker's answer."""

    entries: Sequence[Entry]
    acknowledged: "asyncio.Future[Any]"


class Producer:
    """One connection to a cluster. `refused` hears of entries that brokers will never take, `stalled` of silence."""

    def __init__(
        self, place: KafkaVariables, *, refused: Callable[[Entry, str], None], stalled: Callable[[str], None]
    ) -> None:
        self._place = place
        self._refused = refused
        self._stalled = stalled
        self._client: Any = None  # aiokafka is untyped
        self._partitions: Sequence[int] = ()
        self._under_way: list[Group] = []

    async def connect(self) -> None:
        """Connect, and find the topic. Raises what the client raises."""
        from aiokafka import AIOKafkaProducer  # noqa: PLC0415 - heavy; only who uses it pays for it

        client = AIOKafkaProducer(**_options(self._place))
        try:
            await client.start()
            self._partitions = sorted(await client.partitions_for(self._place.topic))
        except BaseException:
            with contextlib.suppress(Exception):
                await client.stop()
            raise
        self._client = client

    async def send(self, entries: Sequence[Entry]) -> Exception | None:
        """Return once all have arrived or were refused. An error says that some have not: `part` says which."""
        broken: Exception | None = None
        for partition, ours in self._by_partition(entries).items():
            broken = await self._send_to(partition, ours, broken)
        while self._under_way:
            waiting = [group.acknowledged for group in self._under_way if not group.acknowledged.done()]
            if waiting and not (await asyncio.wait(waiting, timeout=STALLED))[0]:
                self._stalled("no broker acknowledges what is sent")
                continue
            error = await self._look()
            if error is not None:
                return error
        return None

    async def part(self) -> Sequence[Entry]:
        """Hang up, and return what has not arrived."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(PARTING):
                    await client.stop()
        left = [entry for group in self._under_way if not _arrived(group) for entry in group.entries]
        self._under_way = []
        return left

    def _by_partition(self, entries: Sequence[Entry]) -> dict[int, list[Entry]]:
        found: dict[int, list[Entry]] = {}
        for entry in entries:
            found.setdefault(self._partitions[_hash(entry.gateway_id) % len(self._partitions)], []).append(entry)
        return found

    async def _send_to(
        self, partition: int, entries: Sequence[Entry], broken: Exception | None = None
    ) -> Exception | None:
        """Send in as many batches as it takes; of one partition they arrive in order. Once something is broken the rest
        is not tried, and counts as having failed."""
        rest = list(entries)
        while rest and broken is None:
            batch, number = self._client.create_batch(), 0
            while number < len(rest) and _added(batch, rest[number]):
                number += 1
            batch.close()
            if not number:
                self._refused(rest.pop(0), "larger than any batch")
                continue
            try:
                acknowledged = await self._client.send_batch(batch, self._place.topic, partition=partition)
            except Exception as error:  # noqa: BLE001 - the client raises many kinds
                broken = error
                break
            self._under_way.append(Group(rest[:number], acknowledged))
            del rest[:number]
        if rest and broken is not None:
            failed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            failed.set_exception(broken)
            self._under_way.append(Group(rest, failed))
        return broken

    async def _look(self) -> Exception | None:
        """Let go of what has arrived. A batch that is refused goes again piece by piece, to find the one that is."""
        from aiokafka.errors import InvalidTimestampError, MessageSizeTooLargeError  # noqa: PLC0415

        groups, self._under_way = self._under_way, []
        failed: Exception | None = None
        for group in groups:
            if not group.acknowledged.done():
                self._under_way.append(group)
                continue
            error = group.acknowledged.exception()
            if error is None:
                continue
            if not isinstance(error, MessageSizeTooLargeError | InvalidTimestampError):
                self._under_way.append(group)
                failed = error if isinstance(error, Exception) else RuntimeError(repr(error))
            elif len(group.entries) == 1:
                self._refused(group.entries[0], type(error).__name__)
            else:
                for entry in group.entries:
                    await self._send_to(next(iter(self._by_partition([entry]))), [entry])
        return failed


def _added(batch: Any, entry: Entry) -> bool:
    key, headers = entry.gateway_id or None, [("trace_id", entry.trace_id)]
    return batch.append(key=key, value=entry.value, timestamp=None, headers=headers) is not None


def _arrived(group: Group) -> bool:
    done = group.acknowledged
    return done.done() and not done.cancelled() and done.exception() is None


@lru_cache(maxsize=4096)
def _hash(key: bytes) -> int:
    """As Kafka's own clients do, so that others who write for a gateway write to the same place."""
    from aiokafka.partitioner import murmur2  # noqa: PLC0415

    return int(murmur2(key)) & 0x7FFFFFFF


def _options(place: KafkaVariables) -> dict[str, Any]:
    options: dict[str, Any] = {
        "bootstrap_servers": list(place.brokers),
        "client_id": "trustgate",
        "acks": "all",
        "enable_idempotence": True,
        "compression_type": None if place.compression == "none" else place.compression,
        "max_batch_size": BATCH_BYTES,
        "max_request_size": LARGEST,
        "request_timeout_ms": 10_000,
        "security_protocol": place.security,
    }
    if "SSL" in place.security:
        context = ssl.create_default_context(cafile=place.ca_cert or None)
        if place.client_cert:
            context.load_cert_chain(place.client_cert, place.client_key or None)
        options["ssl_context"] = context
    if "SASL" in place.security:
        options |= {
            "sasl_mechanism": place.mechanism,
            "sasl_plain_username": place.username,
            "sasl_plain_password": place.password,
        }
    return options
