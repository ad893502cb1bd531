"""One request's way through those who may serve it: whose turn it is, who is next when one fails, and why nobody is."""

from collections.abc import Callable, Sequence
from math import ceil
from random import random
from time import monotonic
from typing import Any, Final

from msgspec import Struct

from trustgate.contract.context import RequestContext
from trustgate.contract.errors import Refused
from trustgate.contract.strategy import Candidate, Figures, Strategy, Turn
from trustgate.contract.target import Considered, Target
from trustgate.forwarding.gates import Flow, wait
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

    `triggers` are `http_5xx`, `http_429`, `timeout`, `provider_error`; `max_latency` is in seconds. `hedge` is
    after how many seconds a second target is asked beside the first, 0: after what is usual for it, None: never.
    """

    triggers: frozenset[str] = frozenset()
    max_attempts: int = 0
    max_latency: float = 0.0
    hedge: float | None = None


NO_RULES: Final = Rules()
CHAINED: Final = "it is in the fallback chain"


class Choice:
    """One request's. `target` is whom to ask now, and counts as asked until it has `left`."""

    __slots__ = (
        *("_at", "_chance", "_group", "_health", "_in_chain", "_others", "_since", "_tried", "_turn", "_under_way"),
        *("order", "prepared", "queued", "rules", "target"),
    )

    def __init__(self, group: Group, health: Health, *, chance: Callable[[], float], rules: Rules = NO_RULES) -> None:
        self._group = group
        self._health = health
        self._chance = chance
        self._turn: Turn | None = None
        self.prepared: Any = None
        self._tried: set[int] = set()
        self._others: set[int] = set()
        self._in_chain = 0
        self._under_way: Target | None = None
        self._since = 0.0
        self.queued = 0.0
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
        return self.several and self._group.strategy.prepares

    @property
    def several(self) -> bool:
        """Whether there is anything to choose."""
        return len(self._group.targets) > 1

    def only(self, account: str) -> None:
        """Ask nobody but this one, where it is among those who may serve."""
        others = {at for at, target in enumerate(self._group.targets) if target.account != account}
        if len(others) < len(self._group.targets):
            self._others = others
            self._tried |= others

    async def prepare(self, ctx: RequestContext) -> None:
        """Find out about the request what the strategy has to know."""
        self.prepared = await self._group.strategy.prepare(ctx)

    def begin(self, ctx: RequestContext | None = None) -> Target | None:
        """Return whom to ask first; None where all who could be asked are full, and one has to `wait`. Raises Refused
        (503) where nobody can be asked now."""
        if self.several:
            self._turn = Turn(ctx=ctx, now=monotonic(), chance=self._chance, prepared=self.prepared)
        target = self._pick()
        if target is None and self._group.chain:  # whoever is left alone has failed, whatever with
            target = self._chained()
        if target is None and not self._full():
            raise self.nobody()
        return target

    async def wait(self, flow: Flow, within: float) -> float:
        """Wait until one of those who are full can be asked. Returns 0 then, or for how many seconds (1 at least) it is
        expected to take where that is too long."""
        group, started = self._group, monotonic()
        lines = [(at, self._health.gate(group.targets[at].account, group.targets[at].capacity)) for at in self._full()]
        expected = min(gate.expected(flow) for _, gate in lines)
        if expected > within or within <= 0:
            return max(1.0, expected)
        at = await wait(lines, flow, within, lost=self._pass_on)
        self.queued = monotonic() - started
        if at is None:
            return max(1.0, min(gate.expected(flow) for _, gate in lines))
        self._tried.add(at)
        self._take(group.targets[at], group.candidates[at], reserved=True)
        return 0.0

    def next(self, trigger: str) -> Target | None:
        """Return whom to ask next after a failure of that kind: the rest of the pool, then the chain."""
        target = self._pick()
        if target is None and trigger in self.rules.triggers:
            target = self._chained()
        return target

    @property
    def patience(self) -> float | None:
        """For how many seconds a first target is waited for before a second one is asked too; None is for ever."""
        hedge = self.rules.hedge
        if hedge is None or not self.several:
            return None
        return hedge or self.candidate.figures.p95()

    def beside(self) -> "Choice | None":
        """Return the choice of somebody else, who is asked at the same time; None where there is nobody."""
        other = Choice(self._group, self._health, chance=self._chance, rules=self.rules)
        other._turn, other._tried, other.order = self._turn, self._tried, self.order
        return None if other._pick() is None else other

    def twin(self) -> "Choice":
        """Return the choice of the same target, which takes its place: one of several that are asked at a time."""
        twin = Choice(self._group, self._health, chance=self._chance, rules=self.rules)
        twin.become(self)
        return twin

    def become(self, other: "Choice") -> None:
        """Go on as the other choice does."""
        self._under_way, self._since, other._under_way = other._under_way, other._since, None
        self._at, self.target = other._at, other.target

    def again(self) -> Target | None:
        """Begin a new round: whoever was asked may be asked again."""
        self._tried = set(self._others)
        self._in_chain = 0
        return self._pick()

    @property
    def candidate(self) -> Candidate:
        """The target that is asked now, as the strategy sees it."""
        assert self._at is not None, "somebody was chosen"
        return self._at

    def ended(self) -> None:
        """Hear that the request has ended: nothing that it said is remembered."""
        self.left()
        self._turn = self.prepared = None

    def left(self) -> None:
        """Hear that the target is not asked any more; more than once is as good as once."""
        target = self._under_way
        if target is None:
            return
        self._under_way = None
        if target.capacity:
            gate = self._health.gate(target.account, target.capacity)
            gate.ended(monotonic() - self._since)
            if gate.let_in():
                return  # its place is another's already
        self.candidate.figures.in_flight -= 1

    def _pass_on(self, at: int) -> None:
        """A place that was given to somebody who is gone is the next one's."""
        target = self._group.targets[at]
        if not self._health.gate(target.account, target.capacity).let_in():
            self._group.candidates[at].figures.in_flight -= 1

    def _full(self) -> Sequence[int]:
        """Return the places of those who could be asked if they had not so many calls under way."""
        group = self._group
        return [
            at
            for at, target in enumerate(group.targets)
            if target.capacity
            and at not in self._tried
            and self._health.ready(target.account, group.candidates[at].model)
        ]

    def considered(self) -> Sequence[Considered]:
        """Return everybody with the place in which they were, or would be, asked, and with what is known of them."""
        group = self._group
        asked = {id(target): at for at, target in reversed(list(enumerate(self.order)))}
        everybody = [
            *((target, candidate, "") for target, candidate in zip(group.targets, group.candidates, strict=True)),
            *((target, candidate, CHAINED) for target, candidate in zip(group.chain, group.chained, strict=True)),
        ]
        everybody.sort(
            key=lambda each: (asked.get(id(each[0]), len(asked)), self._health.pause(each[0].account, each[1].model))
        )
        return [
            Considered(
                registry_id=target.registry_id,
                registry=target.registry,
                provider=target.provider,
                model=candidate.model,
                place=place,
                reason=self._standing(target, candidate) or otherwise,
            )
            for place, (target, candidate, otherwise) in enumerate(everybody, start=1)
        ]

    def _standing(self, target: Target, candidate: Candidate) -> str:
        """Say why a target cannot be asked now, empty where it can."""
        if pause := self._health.pause(target.account, candidate.model):
            return f"it failed lately and is left alone for another {pause:.1f} s"
        if why := self._health.why_down(target.account):
            return f"it is down: {why}"
        if not candidate.capacity or candidate.figures.in_flight < candidate.capacity:
            return ""
        wait = len(self._health.gate(target.account, candidate.capacity))
        return "it has as many calls under way as it may have" + (", and requests wait for it" if wait else "")

    def _pick(self) -> Target | None:
        group = self._group
        free = not (self._tried or group.limited or self._health.anybody_failed)
        if self._turn is None:  # there is one and no other
            at = 0 if free or self._usable(0) else None
        else:
            at = group.strategy.pick(self._turn, None if free else self._usable)
        if at is None:
            return None
        self._tried.add(at)
        return self._take(group.targets[at], group.candidates[at])

    def _chained(self) -> Target | None:
        group = self._group
        while self._in_chain < len(group.chain) and not self._others:
            at = self._in_chain
            self._in_chain += 1
            if self._ready(group.chained[at], group.chain[at]):
                return self._take(group.chain[at], group.chained[at])
        return None

    def _take(self, target: Target, candidate: Candidate, *, reserved: bool = False) -> Target:
        self.left()
        if not reserved:
            candidate.figures.in_flight += 1
        self._under_way, self._since = target, monotonic() if target.capacity else 0.0
        self._at = candidate
        self.target = target
        self.order.append(target)
        return target

    def _usable(self, at: int) -> bool:
        return at not in self._tried and self._ready(self._group.candidates[at], self._group.targets[at])

    def _ready(self, candidate: Candidate, target: Target) -> bool:
        full = candidate.capacity and candidate.figures.in_flight >= candidate.capacity
        return not full and self._health.ready(target.account, candidate.model)

    def nobody(self) -> Refused:
        """Return what a caller is told where nobody can be asked now, with the reason of each."""
        group = self._group
        pairs = list(zip(group.targets, group.candidates, strict=True))
        pauses = [self._health.pause(target.account, candidate.model) for target, candidate in pairs]
        why = "; ".join(
            f"{target.registry}: {self._standing(target, candidate) or 'it is being tried by another request'}"
            for target, candidate in pairs
        )
        return Refused(
            "no_backend_available",
            f"Nobody who may serve {group.operation} can be asked now ({why[:1000]}).",
            status=503,
            headers=((b"retry-after", b"%d" % max(1, ceil(min(pauses)))),),
        )

    def saturated(self, expected: float) -> Refused:
        """Return what a caller is told who would wait too long (seconds)."""
        return Refused(
            "backend_saturated",
            f"All who may serve {self._group.operation} have as many calls under way as they may, and waiting is "
            f"expected to take {expected:.1f} s. Try again in {max(1, ceil(expected))} s.",
            status=503,
            headers=((b"retry-after", b"%d" % max(1, ceil(expected))),),
        )


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
