"""Whose turn it is: pure choices over candidates and the little that a pool remembers."""

from collections.abc import Sequence

from trustgate.contract.target import Target


class Rotation:
    """Smooth weighted round robin: over any n turns each target gets its share, and never all of it in a row.

    Every turn each candidate's credit grows by its weight; the richest is chosen and pays the sum of the weights.
    """

    __slots__ = ("_credit",)

    def __init__(self) -> None:
        self._credit: dict[str, int] = {}

    def order(self, candidates: Sequence[Target], *, turn: bool = True) -> Sequence[Target]:
        """Return the candidates, the one whose turn it is first; without a `turn` it stays its turn."""
        if len(candidates) < 2:
            return candidates
        before = None if turn else dict(self._credit)
        for target in candidates:
            self._credit[target.registry_id] = self._credit.get(target.registry_id, 0) + target.weight
        chosen = max(candidates, key=lambda target: self._credit[target.registry_id])
        self._credit[chosen.registry_id] -= sum(target.weight for target in candidates)
        if before is not None:
            self._credit = before
        return (chosen, *(target for target in candidates if target is not chosen))
