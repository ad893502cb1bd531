"""Where counts are kept by key: bounded, and free of those whose time has passed."""

from collections import deque
from typing import Generic, Protocol, TypeVar

from trustgate.contract.ports import StateUnavailable

MAX_KEYS = 250_000
THOROUGH = 64


class Passing(Protocol):
    """What is of no more account one day."""

    def over(self, now: int) -> bool:
        """Say whether it may be thrown away."""


K = TypeVar("K")
V = TypeVar("V", bound=Passing)


class Shelf(Generic[K, V]):
    """Keeps values by key. Whoever needs room first sweeps two old keys for each new one.

    With `max_keys` all in use it says that it is unavailable rather than forget what was counted.
    """

    __slots__ = ("_max_keys", "_sweep", "held")

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self.held: dict[K, V] = {}
        self._max_keys = max_keys
        self._sweep: deque[K] = deque()

    def make_room(self, new: int, now: int) -> None:
        """Sweep, so that `new` keys can be put. What is over goes, whoever looked it up before. Raises
        StateUnavailable."""
        full = len(self.held) + new > self._max_keys
        self._sweep_some(now, THOROUGH * new if full else 2 * new)
        if len(self.held) + new > self._max_keys:
            raise StateUnavailable(f"{len(self.held)} keys are being counted, which is as many as fit")

    def put(self, key: K, value: V) -> V:
        """Keep a value under a key that there is not."""
        self._sweep.append(key)
        self.held[key] = value
        return value

    def _sweep_some(self, now: int, most: int) -> None:
        for _ in range(min(most, len(self._sweep))):
            key = self._sweep.popleft()
            if self.held[key].over(now):
                del self.held[key]
            else:
                self._sweep.append(key)
