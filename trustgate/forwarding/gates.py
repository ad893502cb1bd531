"""Waiting for a target that is full: fairly between consumers, each in proportion to its share, and never in vain.

Start-time fair queueing: each consumer's waiters have tags `1/share` apart, beginning no earlier than the tag that was
let in last; whoever has the lowest tag is next. One that asks a hundred times as often waits behind itself.
https://www.cs.utexas.edu/~vin/publications/97-ton.pdf
"""

import asyncio
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import Final

from msgspec import Struct

LEARNS: Final = 0.2
"""How much the newest duration of a call counts for what the next one is expected to take."""


class Flow(Struct, frozen=True):
    """Who waits: a consumer, and its share."""

    consumer_id: str
    share: int = 1


class Waiter:
    """One request that waits, at one gate or at several: whichever opens first lets it in."""

    __slots__ = ("admitted", "flow")

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.admitted: asyncio.Future[int] = asyncio.get_running_loop().create_future()


class Gate:
    """Before one target. Whoever leaves it says so, and the next is let in, in whose place then nobody else comes."""

    __slots__ = ("_ahead", "_last", "_order", "_tag", "_took", "_waiting", "capacity")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._order = count()
        self._waiting: list[tuple[float, int, int, Waiter]] = []
        self._last: dict[str, float] = {}
        self._ahead: dict[str, int] = {}
        self._tag = 0.0
        self._took = 0.0

    def __len__(self) -> int:
        return sum(self._ahead.values())

    def join(self, waiter: Waiter, place: int) -> None:
        """Stand in line; `place` is what the waiter is told when it is let in here."""
        flow = waiter.flow
        tag = max(self._tag, self._last.get(flow.consumer_id, 0.0))
        self._last[flow.consumer_id] = tag + 1.0 / flow.share
        self._ahead[flow.consumer_id] = self._ahead.get(flow.consumer_id, 0) + 1
        heappush(self._waiting, (tag, next(self._order), place, waiter))

    def leave(self, waiter: Waiter) -> None:
        """Stand in line no longer."""
        flow = waiter.flow.consumer_id
        self._ahead[flow] -= 1
        if not self._ahead[flow]:
            del self._ahead[flow]
        if not self._ahead:  # the next who comes begins anew
            self._waiting.clear()
            self._last.clear()
            self._tag = 0.0

    def let_in(self) -> bool:
        """Let the next one in. Returns whether there was anybody."""
        while self._waiting:
            tag, _, place, waiter = heappop(self._waiting)
            if not waiter.admitted.done():
                self._tag = tag
                waiter.admitted.set_result(place)
                return True
        return False

    def ended(self, seconds: float) -> None:
        """Hear how long a call took."""
        self._took += (LEARNS if self._took else 1.0) * (seconds - self._took)

    def expected(self, flow: Flow) -> float:
        """Return for how many seconds one more of that consumer is expected to wait: until its own and, for each of
        those, one of everybody else's have been let in. While no call has ended nobody knows, and it is 0."""
        own = self._ahead.get(flow.consumer_id, 0)
        others = sum(min(number, own + 1) for name, number in self._ahead.items() if name != flow.consumer_id)
        return (own + others + 1) * self._took / self.capacity


async def wait(
    gates: Sequence[tuple[int, Gate]], flow: Flow, within: float, *, lost: Callable[[int], None]
) -> int | None:
    """Wait at all of these gates until one of them opens. Returns its place, None when that took too long; `lost` is
    told of a place that was given to somebody who is not there any more."""
    waiter = Waiter(flow)
    for place, gate in gates:
        gate.join(waiter, place)
    try:
        async with asyncio.timeout(within):
            return await asyncio.shield(waiter.admitted)
    except TimeoutError:
        return waiter.admitted.result() if waiter.admitted.done() else None
    except asyncio.CancelledError:
        if waiter.admitted.done():
            lost(waiter.admitted.result())
        raise
    finally:
        if not waiter.admitted.done():
            waiter.admitted.cancel()
        for _, gate in gates:
            gate.leave(waiter)
