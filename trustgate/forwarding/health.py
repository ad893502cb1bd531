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
from trustgate.forwarding.gates import Gate

FAILING: Final = frozenset((401, 403, 408, 429))
"""Statuses below 500 that say nothing about the request, but that this key or this provider cannot serve it now."""


def fails(status: int) -> bool:
    """Say whether somebody else may be able to answer what was answered so."""
    return status >= 500 or status in FAILING


class Health:
    """What a process has learnt about its targets: only those who failed are known. `now` is monotonic seconds.

    An account is a registry, or one key of it (`registry#key`).
    """

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._circuits: Circuits[tuple[str, str]] = Circuits(now)
        self._figures: WeakValueDictionary[tuple[str, str], Figures] = WeakValueDictionary()
        self._gates: dict[str, Gate] = {}
        self._down: dict[str, str] = {}
        self._news: set[tuple[str, str]] = set()

    def figures(self, account: str, model: str) -> Figures:
        """Return the live figures of a target and model, shared by everybody who asks it."""
        found = self._figures.get((account, model))
        if found is None:
            found = self._figures[account, model] = Figures()
        return found

    def gate(self, account: str, capacity: int) -> Gate:
        """Return where callers wait for a target that may have only so many calls under way."""
        gate = self._gates.get(account)
        if gate is None:
            gate = self._gates[account] = Gate(capacity)
        gate.capacity = capacity
        return gate

    @property
    def anybody_failed(self) -> bool:
        """Whether there is anybody whose turn it may not be: mostly there is nobody, and nothing to look up."""
        return bool(self._circuits) or bool(self._down)

    def ready(self, account: str, model: str) -> bool:
        """Say whether a target may be asked in its turn."""
        if self._down and registry_of(account) in self._down:
            return False
        circuit = self._circuits.known((account, model))
        return circuit is None or circuit.may_enter

    def pause(self, account: str, model: str) -> float:
        """Return for how many seconds a target is still left alone."""
        circuit = self._circuits.known((account, model))
        return 0.0 if circuit is None else circuit.closed_for

    def why_down(self, account: str) -> str:
        """Return what probes say is wrong with a target, empty where nothing is."""
        return self._down.get(registry_of(account), "")

    def enter(self, account: str, model: str) -> bool:
        """Say whether this request may ask a target in its turn. Whoever asks tells how it went."""
        circuit = self._circuits.known((account, model))
        return circuit is None or circuit.enter()

    def succeeded(self, account: str, model: str) -> None:
        """Hear that a target answered."""
        if self._circuits and self._circuits.known((account, model)) is not None:
            self._circuits.forget((account, model))
            self._news.add((account, model))

    def failed(self, account: str, model: str, retry_after: float = 0.0, threshold: int = FAILURES) -> None:
        """Hear that a target failed, and for how many seconds it asked to be left alone, if it did. After so many
        failures in a row it is left alone; a threshold of 0 heeds none."""
        if threshold:
            self._circuits.of((account, model)).failed(retry_after, threshold)
            self._news.add((account, model))

    def left(self, account: str, model: str) -> None:
        """Hear that nobody waited for the end."""
        circuit = self._circuits.known((account, model))
        if circuit is not None:
            circuit.left()

    def is_down(self, registry_id: str, why: str) -> None:
        """Hear from probes that a registry is not up: it is asked for nothing until they say otherwise."""
        self._down[registry_id] = why
        self._news.add((registry_id, ""))

    def is_up(self, registry_id: str) -> None:
        """Hear from probes that a registry is up: what callers saw of it before is of no account."""
        if self._down.pop(registry_id, None) is not None:
            self._news.add((registry_id, ""))
            for account, model in [key for key in self._circuits.names if registry_of(key[0]) == registry_id]:
                self._circuits.forget((account, model))
                self._news.add((account, model))

    def heard(self, account: str, model: str, pause: float) -> None:
        """Hear from another process for how many seconds a target is to be left alone."""
        if pause > self.pause(account, model):
            self._circuits.of((account, model)).closed(pause)

    def news(self) -> Sequence[tuple[str, str]]:
        """Return the targets of which something was learnt since the last time, by account and model; those of one
        registry stand together."""
        news, self._news = self._news, set()
        return sorted(news, key=lambda each: (registry_of(each[0]), each))

    def tell_again(self, news: Sequence[tuple[str, str]]) -> None:
        """Have these be news once more: nobody could be told."""
        self._news.update(news)

    def state(self, account: str, model: str) -> tuple[float, int]:
        """Return for how many seconds a target is left alone, and how often it failed in a row."""
        circuit = self._circuits.known((account, model))
        return (0.0, 0) if circuit is None else (circuit.closed_for, circuit.failures)

    def asked(self) -> frozenset[str]:
        """Return the registries that somebody may ask."""
        return frozenset(registry_of(account) for account, _ in list(self._figures))

    def left_alone(self) -> int:
        """Return how many targets are left alone now."""
        return len(self._down) + sum(self.pause(*key) > 0 for key in self._circuits.names)

    def waiting(self) -> int:
        """Return how many requests wait for a target that is full."""
        return sum(map(len, self._gates.values()))


def registry_of(account: str) -> str:
    """Return the registry of an account."""
    return account.partition("#")[0]


def retry_after(headers: Sequence[Header]) -> float:
    """Return for how many seconds an answer asks to be left alone; 0 where it does not say. RFC 9110, 10.2.3."""
    told = next((value for name, value in headers if name == b"retry-after"), b"").decode("latin-1").strip()
    if told.isdigit():
        return float(told)
    try:
        return max(0.0, parsedate_to_datetime(told).timestamp() - time())
    except (ValueError, TypeError):
        return 0.0
