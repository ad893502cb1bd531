"""How much was taken, and when it comes back: windows that slide, and periods of the calendar that end.

A window of time is cut into 64 slots; what was taken is kept by the slot in which it was taken. Any interval as long as
the window touches at most 65 slots, so the sum over the newest 65 is never less than what the interval holds: the count
errs by at most one slot, and only to the safe side. Time is whole nanoseconds, so that slots have no ragged edges.
"""

from collections.abc import Callable

SLOTS = 64
SPAN = SLOTS + 1
NANOSECONDS = 1_000_000_000


class Window:
    """What was taken under one key: pairs of slot and cost, oldest first, in one flat list, and their sum."""

    __slots__ = ("marks", "total", "width")

    def __init__(self, window: float) -> None:
        self.width = slot_width(window, NANOSECONDS)
        self.marks: list[int] = []
        self.total = 0

    def forget(self, now: int) -> None:
        """Drop what was taken before the newest 65 slots, of which that of `now` is the last."""
        marks = self.marks
        if marks:
            edge = now // self.width - SPAN
            while marks and marks[0] <= edge:
                self.total -= marks[1]
                del marks[:2]

    def over(self, now: int) -> bool:
        """Say whether everything is back."""
        self.forget(now)
        return not self.marks

    def take(self, now: int, cost: int) -> None:
        """Add to the newest slot."""
        marks = self.marks
        slot = now // self.width
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

    def reset_after(self, now: int) -> float:
        """Return in how many seconds the oldest is back."""
        return ((self.marks[0] + SPAN) * self.width - now) / NANOSECONDS if self.marks else 0.0

    def whole(self, now: int) -> float:
        """Return in how many seconds what is taken now is back."""
        return ((now // self.width + SPAN) * self.width - now) / NANOSECONDS

    def wait(self, now: int, wanted: int) -> float:
        """Return in how many seconds `wanted` is back; what never comes back waits as long as what is taken now."""
        marks = self.marks
        freed = 0
        for at in range(0, len(marks), 2):
            freed += marks[at + 1]
            if freed >= wanted:
                return ((marks[at] + SPAN) * self.width - now) / NANOSECONDS
        return self.whole(now)


class Period:
    """What was taken in a period of the calendar. It ends by the clock on the wall, and all is back at once."""

    __slots__ = ("total", "until", "wall")

    def __init__(self, until: float, wall: Callable[[], float]) -> None:
        self.until = until
        self.wall = wall
        self.total = 0

    def forget(self, now: int) -> None:
        """Keep all: whoever comes a moment late is counted in the period that it named."""

    def over(self, now: int) -> bool:
        """Say whether the period has ended."""
        return self.wall() >= self.until

    def take(self, now: int, cost: int) -> None:
        """Add."""
        self.total += cost

    def refund(self, cost: int) -> None:
        """Give back."""
        self.total = max(0, self.total - cost)

    def reset_after(self, now: int) -> float:
        """Return in how many seconds the period ends, if anything was taken in it."""
        return self.whole(now) if self.total else 0.0

    def whole(self, now: int) -> float:
        """Return in how many seconds the period ends."""
        return max(0.0, self.until - self.wall())

    def wait(self, now: int, wanted: int) -> float:
        """Return in how many seconds the period ends: nothing is back sooner."""
        return self.whole(now)


Count = Window | Period


def slot_width(window: float, per_second: int) -> int:
    """Return a slot's width, rounded up: a window is never counted as shorter than it is."""
    return -int(-window * per_second // SLOTS)


def name_of(key: str, window: float, until: float) -> tuple[str, float]:
    """Return what a count is kept under. No window is negative, so that no period is taken for one."""
    return (key, -until if until else window)
