"""Which targets may serve: a consumer's pool, an operation and what is wanted → those who may, and whose turn it is."""

from collections.abc import Callable, Mapping, Sequence
from random import random
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from trustgate.contract.context import Operation
from trustgate.contract.errors import Refused
from trustgate.contract.strategy import Candidate, Strategy
from trustgate.contract.target import Considered, Target
from trustgate.forwarding.choice import NO_RULES, Choice, Group, InOrder, Rules
from trustgate.forwarding.health import Health
from trustgate.forwarding.wanted import Wanted, invalid_model, read_wanted

MOST_GROUPS: Final = 1000
"""Kinds of requests whose candidates are remembered; beyond it they are worked out anew, so that this cannot grow."""

Make = Callable[[Sequence[Candidate]], Strategy]


def _in_order(candidates: Sequence[Candidate]) -> Strategy:
    return InOrder(len(candidates))


def _no_price(_target: Target, _model: str) -> int | None:
    return None


class Routing(Struct, frozen=True, kw_only=True):
    """What a consumer's configuration says of the way of its requests.

    `members` are the targets of `pool_alias`, and of requests that leave the model to the gateway; empty is the whole
    pool. `chain` are asked when the pool has failed, as `rules` has it. `make` makes the strategy for some candidates,
    `price` says what a million tokens in and out cost.
    """

    aliases: Mapping[str, str] = {}
    pool_alias: str = ""
    members: tuple[Target, ...] = ()
    chain: tuple[Target, ...] = ()
    rules: Rules = NO_RULES
    make: Make = _in_order
    price: Callable[[Target, str], int | None] = _no_price
    chance: Callable[[], float] = random


class Pool:
    """One consumer's targets. What cannot be called says why, in `unusable`, by registry name."""

    __slots__ = ("_groups", "_health", "routing", "targets", "unusable")

    def __init__(
        self,
        targets: Sequence[Target],
        unusable: Mapping[str, str],
        health: Health | None = None,
        routing: Routing | None = None,
    ) -> None:
        self._health = health or Health()
        self.targets = targets
        self.unusable = unusable
        self.routing = routing or Routing()
        self._groups: dict[tuple[str, str, str], Group] = {}

    def wanted(self, model: str) -> Wanted:
        """Return what a model's name asks for. Raises Refused (400) for what there is not."""
        wanted = read_wanted(model, self.routing.aliases)
        if wanted.pool and wanted.pool.lower() != self.routing.pool_alias.lower():
            raise invalid_model(model, "this consumer has no pool of that name")
        return wanted

    def choose(self, operation: Operation, wanted: Wanted, item: str) -> Choice:
        """Return the choice among those who may serve; `item` is what the path names. Raises Refused: 503 for nobody at
        all, 403 for the model."""
        match operation.family:
            case "passthrough":
                target = self.named(item)
                if wanted.model and not target.may_serve(wanted.model):
                    raise not_allowed(wanted)
                group = self._alone([target], operation.name, wanted)
            case "stored":
                group = self._alone(self.holders(operation.name), operation.name, wanted)
            case _:
                group = self.group(operation.name, wanted)
        routing = self.routing
        return Choice(group, self._health, chance=routing.chance, rules=routing.rules)

    def group(self, operation: str, wanted: Wanted) -> Group:
        """Return who may serve. Raises Refused."""
        key = (operation, wanted.provider, wanted.model)
        group = self._groups.get(key)
        if group is None:
            group = self._group(operation, wanted)
            if len(self._groups) >= MOST_GROUPS:
                self._groups.clear()
            self._groups[key] = group
        return group

    def explain(self, operation: Operation, wanted: Wanted, item: str, choice: Choice | None) -> Sequence[Considered]:
        """Return every target with its place, or with the reason why it is not asked."""
        try:
            placed = list((choice or self.choose(operation, wanted, item)).considered())
        except Refused:
            placed = []
        named = {each.registry_id for each in placed}
        others = [target for target in (*self.targets, *self.routing.chain) if target.registry_id not in named]
        left = [_considered(target, wanted, reason=_why_not(target, operation, wanted)) for target in others]
        unusable = [
            Considered(registry_id="", registry=name, provider="", model="", reason=why)
            for name, why in self.unusable.items()
        ]
        return (*placed, *left, *unusable)

    def has(self, operation: str, model: str) -> bool:
        """Say whether anybody has this operation itself, for that model."""
        return any(target.may_serve(model) and target.way(operation, model) for target in self.targets)

    def holders(self, operation: str) -> Sequence[Target]:
        """Return who may hold what an earlier answer left there. Raises Refused (503) for nobody."""
        able = [target for target in self.targets if operation in target.ways]
        if not able:
            raise _nobody(operation, self.unusable)
        return able

    def named(self, registry: str) -> Target:
        """Return the target of that registry, by name or id. Raises Refused (404)."""
        for target in self.targets:
            if registry in (target.registry, target.registry_id):
                return target
        raise Refused(
            "registry_not_found",
            f'This consumer has no registry "{registry[:100]}" that can be called.',
            status=404,
            retry=False,
        )

    def models(self) -> Mapping[str, str]:
        """Return every model that configuration names for this consumer, with the provider that serves it."""
        named: dict[str, str] = {}
        for target in self.targets:
            for model in sorted((target.allowed or frozenset()) | ({target.default} if target.default else set())):
                named.setdefault(model, target.provider)
        return named

    def _group(self, operation: str, wanted: Wanted) -> Group:
        routing = self.routing
        of_pool = bool(wanted.pool) or wanted.open
        everybody = routing.members if of_pool and routing.members else self.targets
        able = [target for target in everybody if operation in target.ways]
        if not able:
            raise _nobody(operation, self.unusable)
        fitting = [target for target in able if not _why_no_model(target, operation, wanted)]
        if not of_pool and routing.members:
            fitting = [_weighed(target, wanted.model, routing.members) for target in fitting]
        chain = [
            target
            for target in routing.chain
            if operation in target.ways and not _why_no_model(target, operation, wanted)
        ]
        if not fitting:
            if not chain:
                raise not_allowed(wanted)
            fitting, chain = chain, []
        return self._grouped(operation, wanted, fitting, chain)

    def _alone(self, targets: Sequence[Target], operation: str, wanted: Wanted) -> Group:
        candidates = [self._candidate(target, wanted, priced=False) for target in targets]
        return Group(operation=operation, targets=targets, candidates=candidates, strategy=InOrder(len(candidates)))

    def _grouped(self, operation: str, wanted: Wanted, fitting: Sequence[Target], chain: Sequence[Target]) -> Group:
        candidates = [self._candidate(target, wanted) for target in fitting]
        return Group(
            operation=operation,
            targets=fitting,
            candidates=candidates,
            strategy=self.routing.make(candidates) if len(candidates) > 1 else InOrder(1),
            chain=chain,
            chained=[self._candidate(target, wanted) for target in chain],
            limited=any(target.capacity for target in (*fitting, *chain)),
        )

    def _candidate(self, target: Target, wanted: Wanted, *, priced: bool = True) -> Candidate:
        model = asked_for(target, wanted)
        return Candidate(
            key=f"{target.account}/{model}" if wanted.open or wanted.pool else target.account,
            registry_id=target.registry_id,
            registry=target.registry,
            model=model,
            weight=target.weight,
            priority=target.priority,
            capacity=target.capacity,
            description=target.description,
            price=self.routing.price(target, model) if priced else None,
            figures=self._health.figures(target.account, model if not target.capacity else ""),
        )


def _weighed(target: Target, model: str, members: Sequence[Target]) -> Target:
    """Return a target with the weight and the priority that it has as a member that serves this model, if it is one."""
    own = [member for member in members if member.account == target.account and member.may_serve(model)]
    own.sort(key=lambda member: member.default != model)
    return replace(target, weight=own[0].weight, priority=own[0].priority) if own else target


def asked_for(target: Target, wanted: Wanted) -> str:
    """Return the model that a target is asked for: the caller's, or its own where the caller leaves it to us."""
    return target.default if wanted.open or wanted.pool else wanted.model


def _considered(target: Target, wanted: Wanted, *, reason: str) -> Considered:
    return Considered(
        registry_id=target.registry_id,
        registry=target.registry,
        provider=target.provider,
        model=asked_for(target, wanted) or wanted.model,
        reason=reason,
    )


def _why_not(target: Target, operation: Operation, wanted: Wanted) -> str:
    if operation.name not in target.ways:
        return f"it cannot be asked for {operation.name}"
    return _why_no_model(target, operation.name, wanted) or "it is no member of the pool that was asked for"


def _why_no_model(target: Target, operation: str, wanted: Wanted) -> str:
    """Say why a target may not be asked for what is wanted; empty where it may."""
    if wanted.provider and target.provider != wanted.provider:
        return f"it is no registry of the provider {wanted.provider}"
    if wanted.open or wanted.pool:
        if not target.default:
            return "it has no default model for this consumer"
        return "" if target.way(operation, target.default) else _no_way(operation, target.default)
    if not target.may_serve(wanted.model):
        return f'this consumer may not use the model "{wanted.model}" of it'
    return "" if target.way(operation, wanted.model) else _no_way(operation, wanted.model)


def _no_way(operation: str, model: str) -> str:
    return f'it cannot be asked for {operation} with the model "{model}"'


def _nobody(operation: str, unusable: Mapping[str, str]) -> Refused:
    why = "; ".join(f"{name}: {reason}" for name, reason in unusable.items())
    return Refused(
        "no_backend_available",
        f"No registry of this consumer can serve {operation}" + (f" ({why})." if why else ": attach one that can."),
        status=503,
        retry=False,
    )


def not_allowed(wanted: Wanted) -> Refused:
    """Return what a caller is told of a model that may not be used, or of none where one is needed."""
    if wanted.open or wanted.pool:
        return Refused(
            "model_required",
            "The request names no model and no registry of this consumer has a default one: name a model.",
            status=400,
            param="model",
            retry=False,
        )
    of = f" of the provider {wanted.provider}" if wanted.provider else ""
    return Refused(
        "model_not_allowed",
        f'This consumer may not use the model "{wanted.model}"{of}.',
        status=403,
        param="model",
        retry=False,
    )
