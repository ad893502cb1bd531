"""Circuits: who keeps failing is left alone for a while, then asked by one, and by all once that one was answered."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final, Generic, TypeVar

FAILURES: Final = 3
"""Failures in a row after which nobody asks."""
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0
"""Seconds in which nobody asks: first, and at most, doubled by each probe that fails."""
LONGEST_WISH: Final = 3600.0
"""Seconds in which nobody asks because the origin asked for it."""
MOST: Final = 10_000
"""Circuits that are remembered; the one that was used longest ago is forgotten first."""

K = TypeVar("K")


class Circuit:
    """One origin's. Whoever `enters` tells how it went: `succeeded`, `failed`, or `left` when nobody can know."""

    __slots__ = ("_now", "_opens_at", "_pause", "_probing", "failures")

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self.failures = 0
        self._pause = 0.0
        self._opens_at = 0.0
        self._probing = False

    def closed(self, pause: float) -> None:
        """Hear from somebody else for how many seconds nobody is to ask."""
        self._pause = self._pause or FIRST_PAUSE
        self._opens_at = max(self._opens_at, self._now() + pause)

    @property
    def closed_for(self) -> float:
        """For how many seconds nobody asks; 0 when somebody may."""
        return max(0.0, self._opens_at - self._now())

    @property
    def may_enter(self) -> bool:
        """Whether `enter` would let somebody in."""
        return not self._pause or not (self._probing or self.closed_for)

    def enter(self) -> bool:
        """Say whether this one may ask. While it is not sure that asking helps, one at a time may."""
        if not self._pause:
            return True
        if self._probing or self.closed_for:
            return False
        self._probing = True
        return True

    def succeeded(self) -> None:
        """Hear of an answer."""
        self.failures, self._pause, self._probing = 0, 0.0, False

    def failed(self, retry_after: float = 0.0, threshold: int = FAILURES) -> None:
        """Hear of a failure, and for how many seconds the origin asked to be left alone, if it did."""
        self.failures += 1
        if self._probing:
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
        elif self.failures >= threshold or retry_after:
            self._pause = self._pause or FIRST_PAUSE
        if self._pause:
            self._opens_at = max(self._opens_at, self._now() + (min(retry_after, LONGEST_WISH) or self._pause))
        self._probing = False

    def left(self) -> None:
        """Hear that nobody waited for the end."""
        self._probing = False


class Circuits(Generic[K]):
    """Circuits by whatever they are of."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._known: OrderedDict[K, Circuit] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    @property
    def names(self) -> Sequence[K]:
        """Return of whom something is known."""
        return tuple(self._known)

    def known(self, key: K) -> Circuit | None:
        """Return the circuit of somebody who failed and is not forgotten, if there is one."""
        return self._known.get(key)

    def forget(self, key: K) -> None:
        """Know nothing of somebody any more, as of one who never failed."""
        self._known.pop(key, None)

    def of(self, key: K) -> Circuit:
        """Return a circuit, a fresh one for what is not known."""
        circuit = self._known.get(key)
        if circuit is None:
            circuit = self._known[key] = Circuit(self._now)
            if len(self._known) > MOST:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        return circuit
