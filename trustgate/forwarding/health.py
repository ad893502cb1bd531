"""Who failed lately: a circuit for each registry and model, told by real traffic and asked when a pool is put in order.

Whoever keeps failing is left alone, so that it costs nobody a failure. Once its pause is over one request may try it,
and the others follow when that one was answered.
"""

from collections.abc import Callable, Sequence
from email.utils import parsedate_to_datetime
from time import monotonic, time
from typing import Final
from weakref import WeakValueDictionary

from trustgate.contract.strategy import Figures
from trustgate.contract.upstream import Header
from trustgate.forwarding.circuits import FAILURES, Circuits

FAILING: Final = frozenset((401, 403, 408, 429))
"""Statuses below 500 that say nothing about the request, but that this key or this provider cannot serve it now."""


def fails(status: int) -> bool:
    """Say whether somebody else may be able to answer what was answered so."""
    return status >= 500 or status in FAILING


class Health:
    """What a process has learnt about its targets: only those who failed are known. `now` is monotonic seconds."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._circuits: Circuits[tuple[str, str]] = Circuits(now)
        self._figures: WeakValueDictionary[tuple[str, str], Figures] = WeakValueDictionary()

    def figures(self, account: str, model: str) -> Figures:
        """Return the live figures of a target and model, shared by everybody who asks it."""
        found = self._figures.get((account, model))
        if found is None:
            found = self._figures[account, model] = Figures()
        return found

    @property
    def anybody_failed(self) -> bool:
        """Whether there is anybody whose turn it may not be: mostly there is nobody, and nothing to look up."""
        return bool(self._circuits)

    def ready(self, account: str, model: str) -> bool:
        """Say whether a target may be asked in its turn."""
        circuit = self._circuits.known((account, model))
        return circuit is None or circuit.may_enter

    def pause(self, account: str, model: str) -> float:
        """Return for how many seconds a target is still left alone."""
        circuit = self._circuits.known((account, model))
        return 0.0 if circuit is None else circuit.closed_for

    def enter(self, account: str, model: str) -> bool:
        """Say whether this request may ask a target in its turn. Whoever asks tells how it went."""
        circuit = self._circuits.known((account, model))
        return circuit is None or circuit.enter()

    def succeeded(self, account: str, model: str) -> None:
        """Hear that a target answered."""
        self._circuits.forget((account, model))

    def failed(self, account: str, model: str, retry_after: float = 0.0, threshold: int = FAILURES) -> None:
        """Hear that a target failed, and for how many seconds it asked to be left alone, if it did. After so many
        failures in a row it is left alone; a threshold of 0 heeds none."""
        if threshold:
            self._circuits.of((account, model)).failed(retry_after, threshold)

    def left(self, account: str, model: str) -> None:
        """Hear that nobody waited for the end."""
        circuit = self._circuits.known((account, model))
        if circuit is not None:
            circuit.left()


def retry_after(headers: Sequence[Header]) -> float:
    """Return for how many seconds an answer asks to be left alone; 0 where it does not say. RFC 9110, 10.2.3."""
    told = next((value for name, value in headers if name == b"retry-after"), b"").decode("latin-1").strip()
    if told.isdigit():
        return float(told)
    try:
        return max(0.0, parsedate_to_datetime(told).timestamp() - time())
    except (ValueError, TypeError):
        return 0.0
