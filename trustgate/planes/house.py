"""The order in which a process comes up and goes down, whichever planes it holds."""

import asyncio
import contextlib
import logging

from trustgate.board import Board
from trustgate.config.watch import Watch
from trustgate.contract.upstream import Transport
from trustgate.explaining.traces import Traces
from trustgate.lifecycle import Lifecycle
from trustgate.mcp.gate import Gate
from trustgate.planes.presence import Presence
from trustgate.probing import Prober
from trustgate.providers.prices import PriceBook
from trustgate.state.redis_link import Link
from trustgate.storage.database import Unavailable
from trustgate.storage.kept import KeptSnapshot
from trustgate.telemetry.fanout import Fanout
from trustgate.telemetry.kafka import KafkaSink
from trustgate.telemetry.process import LoopLag
from trustgate.variables import BadSetting

FLUSH = 10.0
"""Seconds that events get to leave at the end."""
log = logging.getLogger("trustgate.house")


class DataPlane:
    """What a plane that serves requests needs: the configuration watched, the telemetry running."""

    def __init__(
        self,
        *,
        watch: Watch,
        lifecycle: Lifecycle,
        gate: Gate,
        fanout: Fanout,
        loop_lag: LoopLag,
        transport: Transport,
        prices: PriceBook,
        link: Link | None,
        traces: Traces,
        board: Board,
        prober: Prober,
        presence: Presence,
        kept: KeptSnapshot | None,
        kafka: KafkaSink | None,
    ) -> None:
        self._watch = watch
        self._lifecycle = lifecycle
        self._gate = gate
        self._fanout = fanout
        self._loop_lag = loop_lag
        self._transport = transport
        self._prices = prices
        self._link = link
        self._traces = traces
        self._board = board
        self._prober = prober
        self._presence = presence
        self._kept = kept
        self._kafka = kafka
        self._polling: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Read the configuration and the prices once, then keep watching the configuration."""
        loading = asyncio.create_task(asyncio.to_thread(self._prices.load))
        await self._load()
        await loading
        if self._link is not None:
            await self._link.open()
        self._polling = asyncio.create_task(self._watch.run())
        self._start_spool()
        self._fanout.start()
        self._loop_lag.start()
        self._traces.start()
        self._board.start()
        self._presence.start()

    def _start_spool(self) -> None:
        """Send what processes before this one have left on disk."""
        try:
            if self._kafka is not None:
                self._kafka.start()
        except OSError as error:
            raise BadSetting(
                f"TRUSTGATE_DATA_DIR has no place for the events that wait for Kafka ({error.strerror}: "
                f"{error.filename}): use a folder that this user may write"
            ) from error

    async def _load(self) -> None:
        """Read the configuration, or what was kept of it while the database cannot be reached. Raises StorageError."""
        try:
            await self._watch.load()
        except Unavailable as unavailable:
            kept = await asyncio.to_thread(self._kept.read) if self._kept is not None else None
            if kept is None:
                raise
            log.warning("%s: serving revision %d, which was kept, until it can be", unavailable, kept.revision)
            self._watch.adopt(kept)

    async def close(self) -> None:
        """Let what has ended be told of, then close the connections to providers."""
        self._loop_lag.stop()
        if self._polling is not None:
            self._polling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._polling
        await self._presence.aclose()
        await self._prober.aclose()
        await self._board.aclose()
        await self._lifecycle.settled()
        await self._gate.aclose()
        await self._traces.aclose()
        await self._fanout.aclose(FLUSH)
        await self._transport.aclose()
        if self._link is not None:
            await self._link.aclose()
