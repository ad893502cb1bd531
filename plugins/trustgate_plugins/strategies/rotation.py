"""Taking turns, each in proportion to its weight."""

from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush, heapreplace

from trustgate import Candidate, Strategy, Turn, Usable


class Rotation(Strategy):
    """Smooth weighted round robin: over any number of turns everybody gets its share, and never all of it in a row.

    Everybody's next turn is due `1/weight` after its last one, and whoever is due first is next: a heap, so that a turn
    among a thousand costs no more than a few steps. Where each begins is left to chance: a pool that is seldom asked
    would otherwise always ask its first.
    """

    def __init__(self, weights: Sequence[float], chance: Callable[[], float]) -> None:
        self._weights = weights
        self._turns = [chance() for _ in weights]  # counted, and not summed up, so that no error grows
        self._due = [(turn / weight, at) for at, (turn, weight) in enumerate(zip(self._turns, weights, strict=True))]
        heapify(self._due)

    def pick(self, turn: Turn, usable: Usable | None) -> int | None:
        """Return whose turn it is. Whoever is not usable stays first in line, and is owed nothing for the meantime."""
        due = self._due
        if usable is None:
            at = due[0][1]
            heapreplace(due, (self._next(at), at))
            return at
        passed: list[int] = []
        chosen: int | None = None
        moment = due[0][0]
        while due:
            moment, at = heappop(due)
            if usable(at):
                chosen = at
                heappush(due, (self._next(at), at))
                break
            passed.append(at)
        for at in passed:
            self._turns[at] = moment * self._weights[at]
            heappush(due, (moment, at))
        return chosen

    def _next(self, at: int) -> float:
        self._turns[at] += 1.0
        return self._turns[at] / self._weights[at]


def even(candidates: Sequence[Candidate], chance: Callable[[], float]) -> Rotation:
    """Return the rotation in which everybody's turn comes as often."""
    return Rotation([1.0] * len(candidates), chance)


def weighted(candidates: Sequence[Candidate], chance: Callable[[], float]) -> Rotation:
    """Return the rotation in which everybody's turn comes as often as its weight says."""
    return Rotation([candidate.weight for candidate in candidates], chance)


class Anybody(Strategy):
    """Each as likely as the other, whatever went before."""

    def __init__(self, number: int) -> None:
        self._number = number

    def pick(self, turn: Turn, usable: Usable | None) -> int | None:
        """Return somebody."""
        if usable is None:
            return int(turn.chance() * self._number)
        able = [at for at in range(self._number) if usable(at)]
        return able[int(turn.chance() * len(able))] if able else None
