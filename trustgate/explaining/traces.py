"""Requests that were real, for as long as there is room: what explains them, and nothing that they said.

Other processes find them where they are shared, in the cache that all of them have.
"""

import asyncio
import logging
from collections import OrderedDict, deque
from typing import Final

import msgspec

from trustgate.contract.ports import Cache, StateUnavailable
from trustgate.explaining import mcp
from trustgate.explaining.report import Explanation, Seen, explanation, seen
from trustgate.mcp.asking import Asking
from trustgate.underway import Exchange

Known = Seen | mcp.SeenMcp
EVERY: Final = 0.25
"""Seconds between two times at which what is to be shared is."""
WAITING: Final = 4096
"""Explanations that wait to be shared; the oldest goes first."""
log = logging.getLogger("trustgate.explaining")


class Traces:
    """The last `most` requests of this process. With `shared_for` seconds also others find them, in `cache`."""

    def __init__(self, *, most: int, cache: Cache, shared_for: float = 0.0) -> None:
        self._most = most
        self._cache = cache
        self._shared_for = shared_for
        self._held: OrderedDict[tuple[str, str], Known] = OrderedDict()
        self._waiting: deque[Known] = deque(maxlen=WAITING)
        self._sharing: asyncio.Task[None] | None = None

    def keep(self, exchange: Exchange) -> None:
        """Remember a request that has ended; one of nobody that is known explains nothing."""
        self._hold(seen(exchange))

    def keep_mcp(self, asking: Asking) -> None:
        """Remember a request to MCP servers that has ended."""
        self._hold(mcp.seen(asking))

    def _hold(self, known: Known | None) -> None:
        if known is None or not self._most:
            return
        held = self._held
        held[_gateway(known), known.record.trace_id] = known
        if len(held) > self._most:
            held.popitem(last=False)
        if self._shared_for:
            self._waiting.append(known)

    async def find(self, gateway_id: str, trace_id: str) -> Explanation | None:
        """Return what explains a request of that gateway, if it is still known. Raises StateUnavailable."""
        known = self._held.get((gateway_id, trace_id))
        if known is not None:
            return _explained(known)
        raw = await self._cache.get(_key(gateway_id, trace_id)) if self._shared_for else None
        return None if raw is None else msgspec.json.decode(raw, type=Explanation)

    def start(self) -> None:
        """Begin to share."""
        if self._shared_for and self._sharing is None:
            self._sharing = asyncio.create_task(self._share_for_ever())

    async def aclose(self) -> None:
        """Share what waits, and end."""
        if self._sharing is not None:
            self._sharing.cancel()
            await asyncio.gather(self._sharing, return_exceptions=True)
            self._sharing = None
            await self._share()

    async def _share_for_ever(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            await self._share()

    async def _share(self) -> None:
        try:
            while self._waiting:
                known = self._waiting.popleft()
                key = _key(_gateway(known), known.record.trace_id)
                await self._cache.set(key, msgspec.json.encode(_explained(known)), ttl=self._shared_for)
        except StateUnavailable as error:
            log.warning("explanations cannot be shared: %s", error)


def _gateway(known: Known) -> str:
    return known.caller.gateway_id if isinstance(known, mcp.SeenMcp) else known.caller.caller.gateway_id


def _explained(known: Known) -> Explanation:
    return mcp.explanation(known) if isinstance(known, mcp.SeenMcp) else explanation(known)


def _key(gateway_id: str, trace_id: str) -> str:
    return f"{gateway_id}:trace:{trace_id}"
