"""Whoever has the least: calls under way, latency, price, or the number of its rank."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Final

from trustgate import Candidate, Strategy, Turn, Usable
from trustgate_plugins.strategies.rotation import Rotation

LOOKED_AT: Final = 64
"""Of more candidates than these, as many are compared in each turn, in turn."""


class LeastConnections(Strategy):
    """Whoever has the fewest calls under way for its weight; of those that have as few, each in turn."""

    def __init__(self, candidates: Sequence[Candidate], chance: Callable[[], float]) -> None:
        self._candidates = candidates
        self._next = int(chance() * len(candidates))

    def pick(self, turn: Turn, usable: Usable | None) -> int | None:
        """Return whoever has the fewest."""
        candidates, size = self._candidates, len(self._candidates)
        start, chosen, fewest = self._next, None, 0.0
        looked_at = 0
        for step in range(size):
            at = (start + step) % size
            if usable is not None and not usable(at):
                continue
            candidate = candidates[at]
            load = candidate.figures.in_flight / candidate.weight
            if chosen is None or load < fewest:
                chosen, fewest = at, load
                if not load:
                    break
            looked_at += 1
            if looked_at == LOOKED_AT:
                break
        if chosen is not None:
            self._next = (chosen + 1) % size
        return chosen


class LeastLatency(Strategy):
    """Of two that chance names, whoever can be expected to answer sooner: its latency times the calls before this one.

    https://www.eecs.harvard.edu/~michaelm/postscripts/handbook2001.pdf (two choices)
    """

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self._candidates = candidates

    def pick(self, turn: Turn, usable: Usable | None) -> int | None:
        """Return the quicker of two."""
        able: Sequence[int] = range(len(self._candidates))
        if usable is not None:
            able = [at for at in able if usable(at)]
        if len(able) < 2:
            return able[0] if able else None
        first = int(turn.chance() * len(able))
        second = int(turn.chance() * (len(able) - 1))
        second += second >= first
        return min(able[first], able[second], key=lambda at: self._wait(at, turn.now))

    def _wait(self, at: int, now: float) -> float:
        figures = self._candidates[at].figures
        return figures.latency(now) * (figures.in_flight + 1)


class Ranked(Strategy):
    """Whoever comes first in rank; those of one rank take turns, and the next rank has what the one before cannot."""

    def __init__(self, ranks: Sequence[Sequence[int]], weights: Sequence[float], chance: Callable[[], float]) -> None:
        self._ranks = [(tuple(rank), Rotation([weights[at] for at in rank], chance)) for rank in ranks]

    def pick(self, turn: Turn, usable: Usable | None) -> int | None:
        """Return somebody of the first rank in which somebody is usable."""
        for rank, rotation in self._ranks:
            place = rotation.pick(turn, _within(rank, usable))
            if place is not None:
                return rank[place]
        return None


def _within(rank: Sequence[int], usable: Usable | None) -> Usable | None:
    return None if usable is None else lambda place: usable(rank[place])


def by_price(candidates: Sequence[Candidate], chance: Callable[[], float]) -> Ranked:
    """Return the ranks by price, the cheapest first; whoever's price nobody knows comes last."""

    def price(at: int) -> tuple[bool, int]:
        known = candidates[at].price
        return (known is None, known or 0)

    return _ranked(candidates, price, [1.0] * len(candidates), chance)


def by_priority(candidates: Sequence[Candidate], chance: Callable[[], float]) -> Ranked:
    """Return the ranks by priority, the lowest number first."""
    weights = [candidate.weight for candidate in candidates]
    return _ranked(candidates, lambda at: candidates[at].priority, weights, chance)


def _ranked(
    candidates: Sequence[Candidate],
    rank: Callable[[int], int | tuple[bool, int]],
    weights: Sequence[float],
    chance: Callable[[], float],
) -> Ranked:
    order = sorted(range(len(candidates)), key=rank)
    return Ranked([list(group) for _, group in groupby(order, key=rank)], weights, chance)
