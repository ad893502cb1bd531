"""What a routing strategy sees and what it says: which of several candidates a request goes to first.

A strategy is made once for a fixed list of candidates and asked for every request. It is a pure choice: what it may
look at are the candidates, their live figures, and what the request brings with it.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from math import exp
from typing import Any, ClassVar, Final

from msgspec import Struct

from trustgate.contract.context import RequestContext
from trustgate.contract.ports import Services

FADES: Final = 10.0
"""Seconds in which what was seen of a target's speed loses most of its weight."""

REMEMBERED: Final = 128
ENOUGH: Final = 20
"""Calls of which the newest 5 % are made out, and how many it takes for that."""

Usable = Callable[[int], bool]
"""Whether the candidate at a place may be asked now: not one that failed, is left alone, or is full."""


class Figures:
    """What is seen of one target: calls under way, and how long it takes to begin an answer (seconds).

    The latency is a peak EWMA: a slow answer counts at once, quick ones only gradually, and what was seen long ago
    fades, so that whoever was slow is tried again.
    """

    __slots__ = ("__weakref__", "_lately", "_latency", "_seen", "in_flight")

    def __init__(self) -> None:
        self.in_flight = 0
        self._latency = 0.0
        self._seen = 0.0
        self._lately: deque[float] = deque(maxlen=REMEMBERED)

    def p95(self) -> float | None:
        """Return within how many seconds 19 of 20 calls began to answer lately; None while too few have."""
        if len(self._lately) < ENOUGH:
            return None
        return sorted(self._lately)[-1 - len(self._lately) // 20]

    def latency(self, now: float) -> float:
        """Return the latency as it is to be expected at a moment (monotonic seconds); 0 where nothing is known."""
        return self._latency * exp((self._seen - now) / FADES) if self._latency else 0.0

    def took(self, seconds: float, now: float) -> None:
        """Hear how long a call took to its first byte."""
        self._lately.append(seconds)
        known = self.latency(now)
        share = exp((self._seen - now) / FADES)
        self._latency = seconds if seconds > known else known * share + seconds * (1.0 - share)
        self._seen = now


class Candidate(Struct, frozen=True, kw_only=True):
    """One target that may serve: `key` names it for good, `model` is what it would be asked for.

    `capacity` is how many calls it may have under way (0: any number), `price` what a million tokens in and a million
    out cost together, where that is known, in any unit; the lower its `priority` number, the sooner it is asked.
    """

    key: str
    registry_id: str
    registry: str
    model: str
    weight: float
    priority: int
    capacity: int
    description: str
    price: int | None
    figures: Figures


class Turn(Struct, frozen=True, kw_only=True):
    """One request's. `ctx` is None where only somebody wonders who would be next; `chance` is uniform in [0, 1)."""

    ctx: RequestContext | None
    now: float
    chance: Callable[[], float]
    prepared: Any = None


class Tier(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From which score on (0 to 1) a request goes to this registry, and to which of its models."""

    min_score: float
    registry_id: str
    model: str = ""


class StrategyOptions(Struct, frozen=True, kw_only=True):
    """What a consumer's `lb_config` says beside the algorithm.

    `hash_on` is `ip`, `session`, `user`, `key` or `header:<name>`; `scorer_url` asks another service for the score of a
    request instead of the built-in one; `embedder` is a registry's name or `hashing`.
    """

    gateway_id: str = ""
    hash_on: str = ""
    tiers: tuple[Tier, ...] = ()
    scorer_url: str = ""
    embedder: str = "hashing"
    embedding_model: str = ""


class Strategy(ABC):
    """One way to choose. Subclasses implement `pick`; those that have to ask somebody first also `prepare`."""

    prepares: ClassVar[bool] = False
    """Whether `prepare` is to be awaited before a request's first `pick`."""

    async def prepare(self, ctx: RequestContext) -> Any:
        """Return what `pick` then finds in `turn.prepared`."""
        return None

    @abstractmethod
    def pick(self, turn: Turn, usable: Usable | None) -> int | None:
        """Return the place of the candidate whose turn it is, None where nobody is usable. `usable` None: all are."""


Factory = Callable[[Sequence[Candidate], StrategyOptions, Services, Callable[[], float]], Strategy]
"""Makes a strategy for these candidates; the last argument is chance, uniform in [0, 1)."""
Strategies = Mapping[str, Factory]
