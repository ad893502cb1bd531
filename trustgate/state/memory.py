"""Limits counted in this process. Nothing here awaits, so that a take cannot be interrupted by another.

A window of time is cut into 64 slots; what was taken is kept by the slot in which it was taken. Any interval as long as
the window touches at most 65 slots, so the sum over the newest 65 is never less than what the interval holds: the count
errs by at most one slot, and only to the safe side. Time is whole nanoseconds, so that slots have no ragged edges.
"""

from collections import deque
from collections.abc import Callable
from time import monotonic_ns

from trustgate.contract.ports import Allowance, StateUnavailable

SLOTS = 64
SPAN = SLOTS + 1
NANOSECONDS = 1_000_000_000
MAX_KEYS = 250_000


class Window:
    """What was taken under one key: pairs of slot and cost, oldest first, in one flat list, and their sum."""

    __slots__ = ("marks", "total")

    def __init__(self) -> None:
        self.marks: list[int] = []
        self.total = 0

    def forget(self, slot: int) -> None:
        """Drop what was taken before the newest 65 slots, of which `slot` is the last."""
        marks = self.marks
        while marks and marks[0] <= slot - SPAN:
            self.total -= marks[1]
            del marks[:2]

    def take(self, slot: int, cost: int) -> None:
        """Add to the newest slot."""
        marks = self.marks
        if marks and marks[-2] == slot:
            marks[-1] += cost
        elif cost:
            marks += (slot, cost)
        self.total += cost

    def refund(self, cost: int) -> None:
        """Give back from the oldest slot: what stays counts at least as long as what really was taken."""
        marks = self.marks
        while cost and marks:
            back = min(cost, marks[1])
            cost -= back
            self.total -= back
            marks[1] -= back
            if not marks[1]:
                del marks[:2]

    def slot_freeing(self, wanted: int) -> int:
        """Return the slot whose end gives back at least `wanted`; the newest when all of them hold less."""
        marks = self.marks
        freed = at = 0
        for at in range(0, len(marks), 2):
            freed += marks[at + 1]
            if freed >= wanted:
                break
        return marks[at]


class MemoryLimiter:
    """The limiter of a process that shares its counts with nobody.

    Keys whose time has passed go: every new key sweeps two old ones. With `max_keys` all in use it says that it is
    unavailable rather than forget what was taken. One key with two windows counts as two keys.
    """

    def __init__(self, *, clock: Callable[[], int] = monotonic_ns, max_keys: int = MAX_KEYS) -> None:
        self._clock = clock
        self._max_keys = max_keys
        self._windows: dict[tuple[str, float], Window] = {}
        self._sweep: deque[tuple[str, float]] = deque()

    def __len__(self) -> int:
        return len(self._windows)

    async def take(self, key: str, *, limit: int, window: float, cost: int = 1) -> Allowance:
        """Take, or say when to come back; a `cost` of 0 only looks. Never more than `limit` in any window."""
        if cost < 0:
            raise ValueError(f"a cost of {cost} would give back what nobody took: refund it")
        now = self._clock()
        width = _slot_width(window)
        slot = now // width
        held = self._windows.get((key, window)) or self._open((key, window), now)
        held.forget(slot)
        if held.total + cost > limit:
            return self._refuse(held, limit, cost, now, width)
        held.take(slot, cost)
        return Allowance(
            allowed=True,
            limit=limit,
            remaining=limit - held.total,
            reset_after=((held.marks[0] + SPAN) * width - now) / NANOSECONDS if held.marks else 0.0,
        )

    async def refund(self, key: str, *, window: float, cost: int = 1) -> None:
        """Give back; more than was taken is as much as was taken."""
        if held := self._windows.get((key, window)):
            held.forget(self._clock() // _slot_width(window))
            held.refund(cost)

    def _refuse(self, held: Window, limit: int, cost: int, now: int, width: int) -> Allowance:
        def wait(slot: int) -> float:
            return ((slot + SPAN) * width - now) / NANOSECONDS

        whole = SPAN * width / NANOSECONDS
        return Allowance(
            allowed=False,
            limit=limit,
            remaining=max(0, limit - held.total),
            reset_after=wait(held.marks[0]) if held.marks else 0.0,
            # what costs more than the limit never fits: the longest honest wait is the window
            retry_after=wait(held.slot_freeing(held.total + cost - limit)) if held.marks and cost <= limit else whole,
        )

    def _open(self, key: tuple[str, float], now: int) -> Window:
        self._sweep_some(now, 2 if len(self._windows) < self._max_keys else SLOTS)
        if len(self._windows) >= self._max_keys:
            raise StateUnavailable(f"{len(self._windows)} keys are being counted, which is as many as fit")
        self._sweep.append(key)
        opened = self._windows[key] = Window()
        return opened

    def _sweep_some(self, now: int, most: int) -> None:
        for _ in range(min(most, len(self._sweep))):
            key = self._sweep.popleft()
            held = self._windows[key]
            held.forget(now // _slot_width(key[1]))
            if held.marks:
                self._sweep.append(key)
            else:
                del self._windows[key]


def _slot_width(window: float) -> int:
    """Return a slot's width in nanoseconds, rounded up: a window is never counted as shorter than it is."""
    return -int(-window * NANOSECONDS // SLOTS)
