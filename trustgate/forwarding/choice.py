"""One request's way through those who may serve it: whose turn it is, who is next when one fails, and why nobody is."""

from collections.abc import Callable, Sequence
from math import ceil
from random import random
from time import monotonic
from typing import Any

from msgspec import Struct

from trustgate.contract.context import RequestContext
from trustgate.contract.errors import Refused
from trustgate.contract.strategy import Candidate, Figures, Strategy, Turn
from trustgate.contract.target import Considered, Target
from trustgate.forwarding.health import Health


class Group(Struct, frozen=True, kw_only=True):
    """Those of a pool that may serve one kind of request, as the strategy sees them; `chain` are asked after them.

    `limited` says whether any of them may have only so many calls under way.
    """

    operation: str
    targets: Sequence[Target]
    candidates: Sequence[Candidate]
    strategy: Strategy
    chain: Sequence[Target] = ()
    chained: Sequence[Candidate] = ()
    limited: bool = False


class Rules(Struct, frozen=True, kw_only=True):
    """When a request goes on to the chain, and how much may be tried: 0 is as much as the process allows.

    `triggers` are `http_5xx`, `http_429`, `timeout`, `provider_error`, `plugin_rejection`; `max_latency` is in seconds.
    """

    triggers: frozenset[str] = frozenset()
    max_attempts: int = 0
    max_latency: float = 0.0


NO_RULES = Rules()


class Choice:
    """One request's. `target` is whom to ask now; whoever asks says `entered` and `left`."""

    __slots__ = ("_at", "_group", "_health", "_in_chain", "_tried", "_turn", "_under_way", "order", "rules", "target")

    def __init__(self, group: Group, health: Health, *, chance: Callable[[], float], rules: Rules = NO_RULES) -> None:
        self._group = group
        self._health = health
        self._turn = Turn(ctx=None, now=monotonic(), chance=chance)
        self._tried: set[int] = set()
        self._in_chain = 0
        self._under_way: Candidate | None = None
        self._at: Candidate | None = None
        self.order: list[Target] = []
        self.rules = rules
        self.target: Target | None = None

    @property
    def first(self) -> Target:
        """Whom to ask first."""
        return self.order[0]

    @property
    def prepares(self) -> bool:
        """Whether `prepare` has to be awaited before anybody's turn comes."""
        return self._group.strategy.prepares and len(self._group.targets) > 1

    async def prepare(self, ctx: RequestContext) -> None:
        """Find out about the request what the strategy has to know."""
        prepared = await self._group.strategy.prepare(ctx)
        self._turn = Turn(ctx=ctx, now=self._turn.now, chance=self._turn.chance, prepared=prepared)

    def begin(self, ctx: RequestContext | None = None) -> Target:
        """Return whom to ask first. Raises Refused (503) where nobody can be asked now."""
        turn = self._turn
        if turn.ctx is None and ctx is not None:
            self._turn = Turn(ctx=ctx, now=turn.now, chance=turn.chance, prepared=turn.prepared)
        target = self._pick()
        if target is None and self._group.chain:  # whoever is left alone has failed, whatever with
            target = self._chained()
        if target is None:
            raise self._nobody()
        return target

    def next(self, trigger: str) -> Target | None:
        """Return whom to ask next after a failure of that kind: the rest of the pool, then the chain."""
        target = self._pick()
        if target is None and trigger in self.rules.triggers:
            target = self._chained()
        return target

    def again(self) -> Target | None:
        """Begin a new round: whoever was asked may be asked again."""
        self._tried.clear()
        self._in_chain = 0
        return self._pick()

    @property
    def candidate(self) -> Candidate:
        """The target that is asked now, as the strategy sees it."""
        assert self._at is not None, "somebody was chosen"
        return self._at

    def entered(self) -> None:
        """Hear that the target is asked."""
        self.left()
        self._under_way = self.candidate
        self._under_way.figures.in_flight += 1

    def left(self) -> None:
        """Hear that it is not asked any more; more than once is as good as once."""
        if self._under_way is not None:
            self._under_way.figures.in_flight -= 1
            self._under_way = None

    def considered(self) -> Sequence[Considered]:
        """Return everybody with the place in which they were, or would be, asked, and with what is known of them."""
        group = self._group
        everybody = [*zip(group.targets, group.candidates, strict=True), *zip(group.chain, group.chained, strict=True)]
        model_of = {id(target): candidate.model for target, candidate in everybody}
        asked = list(dict.fromkeys(map(id, self.order)))
        left = [target for target, _ in everybody if id(target) not in asked]
        left.sort(key=lambda target: self._health.pause(target.account, model_of[id(target)]))
        known = {id(target): target for target, _ in everybody}
        order = [*(known[each] for each in asked), *left]
        chain = set(map(id, group.chain))
        return [
            Considered(
                registry_id=target.registry_id,
                registry=target.registry,
                provider=target.provider,
                model=model_of[id(target)],
                place=place,
                reason=self._why(target, model_of[id(target)], chained=id(target) in chain),
            )
            for place, target in enumerate(order, start=1)
        ]

    def _why(self, target: Target, model: str, *, chained: bool) -> str:
        pause = self._health.pause(target.account, model)
        if pause:
            return f"it failed lately and is left alone for another {pause:.1f} s"
        return "it is in the fallback chain" if chained else ""

    def _pick(self) -> Target | None:
        group = self._group
        free = not (self._tried or group.limited or self._health.anybody_failed)
        if free:
            at = 0 if len(group.targets) == 1 else group.strategy.pick(self._turn, None)
        else:
            at = group.strategy.pick(self._turn, self._usable)
        if at is None:
            return None
        self._tried.add(at)
        return self._take(group.targets[at], group.candidates[at])

    def _chained(self) -> Target | None:
        group = self._group
        while self._in_chain < len(group.chain):
            at = self._in_chain
            self._in_chain += 1
            if self._ready(group.chained[at], group.chain[at]):
                return self._take(group.chain[at], group.chained[at])
        return None

    def _take(self, target: Target, candidate: Candidate) -> Target:
        self._at = candidate
        self.target = target
        self.order.append(target)
        return target

    def _usable(self, at: int) -> bool:
        return at not in self._tried and self._ready(self._group.candidates[at], self._group.targets[at])

    def _ready(self, candidate: Candidate, target: Target) -> bool:
        full = candidate.capacity and candidate.figures.in_flight >= candidate.capacity
        return not full and self._health.ready(target.account, candidate.model)

    def _nobody(self) -> Refused:
        group = self._group
        pauses = [
            self._health.pause(target.account, candidate.model)
            for target, candidate in zip(group.targets, group.candidates, strict=True)
        ]
        why = "; ".join(
            f"{target.registry}: {self._left_alone(candidate, pause)}"
            for target, candidate, pause in zip(group.targets, group.candidates, pauses, strict=True)
        )
        return Refused(
            "no_backend_available",
            f"Nobody who may serve {group.operation} can be asked now ({why[:1000]}).",
            status=503,
            headers=((b"retry-after", b"%d" % max(1, ceil(min(pauses)))),),
        )

    def _left_alone(self, candidate: Candidate, pause: float) -> str:
        if pause:
            return f"it failed lately and is left alone for another {pause:.1f} s"
        return "it has all the calls under way that it may have" if candidate.capacity else "it is being tried"


class Single(Strategy):
    """The only one there is."""

    def pick(self, turn: Turn, usable: Any) -> int | None:
        """Return it, if it can be asked."""
        return 0 if usable is None or usable(0) else None


class InOrder(Strategy):
    """One after the other."""

    def __init__(self, number: int) -> None:
        self._number = number

    def pick(self, turn: Turn, usable: Any) -> int | None:
        """Return the first that can be asked."""
        return next((at for at in range(self._number) if usable is None or usable(at)), None)


def in_order(targets: Sequence[Target], model: str) -> Choice:
    """Return the choice of targets that were chosen already, one after the other."""
    candidates = [
        Candidate(
            key=target.account,
            registry_id=target.registry_id,
            registry=target.registry,
            model=model,
            weight=1.0,
            priority=0,
            capacity=0,
            description="",
            price=None,
            figures=Figures(),
        )
        for target in targets
    ]
    group = Group(operation="", targets=targets, candidates=candidates, strategy=InOrder(len(targets)))
    choice = Choice(group, Health(), chance=random)
    choice.begin()
    return choice
