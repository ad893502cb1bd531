"""Which targets may serve: a consumer's pool, an operation and a model → candidates in the order to try them."""

from collections.abc import Mapping, Sequence

from trustgate.contract.context import AUTO, Operation
from trustgate.contract.errors import Refused
from trustgate.contract.target import Considered, Target
from trustgate.forwarding.health import Health
from trustgate.forwarding.strategies import Rotation


class Pool:
    """One consumer's targets. What cannot be called says why, in `unusable`, by registry name."""

    __slots__ = ("_health", "_rotation", "targets", "unusable")

    def __init__(self, targets: Sequence[Target], unusable: Mapping[str, str], health: Health | None = None) -> None:
        self._health = health or Health()
        self.targets = targets
        self.unusable = unusable
        self._rotation = Rotation()

    def asked(self, operation: Operation, model: str, item: str, *, turn: bool = True) -> Sequence[Target]:
        """Return whom to try, in this order; `item` is what the path names. Raises Refused.

        Without a `turn` nobody's turn comes by it: who would be first, is.
        """
        match operation.family:
            case "passthrough":
                target = self.named(item)
                if model and not target.may_serve(model):
                    raise not_allowed(model)
                return (target,)
            case "stored":
                return self.holders(operation.name)
            case _:
                return self.candidates(operation.name, model, turn=turn)

    def candidates(self, operation: str, model: str, *, turn: bool = True) -> Sequence[Target]:
        """Return who may serve, in the order to try them. Raises Refused: 503 for nobody at all, 403 for the model."""
        able = [target for target in self.targets if operation in target.ways]
        if not able:
            raise _nobody(operation, self.unusable)
        if not model or model.lower() == AUTO:
            fitting = [target for target in able if target.default and target.way(operation, target.default)]
        else:
            fitting = [target for target in able if target.may_serve(model) and target.way(operation, model)]
        if not fitting:
            raise not_allowed(model)
        if len(fitting) > 1 and self._health.anybody_failed:
            return self._healthy_first(fitting, model, turn=turn)
        return self._rotation.order(fitting, turn=turn)

    def _healthy_first(self, fitting: Sequence[Target], model: str, *, turn: bool) -> Sequence[Target]:
        """Those who failed lately are asked last, whoever is back soonest first; where all failed, as if nobody had."""
        ready = [target for target in fitting if self._health.ready(target.registry_id, _asked_for(target, model))]
        if not ready:
            return self._rotation.order(fitting, turn=turn)
        last = [target for target in fitting if target not in ready]
        last.sort(key=lambda target: self._health.pause(target.registry_id, _asked_for(target, model)))
        return (*self._rotation.order(ready, turn=turn), *last)

    def explain(self, operation: Operation, model: str, item: str) -> Sequence[Considered]:
        """Return every target with its place, or with the reason why it is not asked."""
        try:
            order = list(self.asked(operation, model, item, turn=False))
        except Refused:
            order = []
        placed = [
            self._considered(target, model, place=at, reason=self._lately(target, model))
            for at, target in enumerate(order, start=1)
        ]
        others = [target for target in self.targets if target not in order]
        left = [self._considered(target, model, reason=_why_not(target, operation, model)) for target in others]
        unusable = [
            Considered(registry_id="", registry=name, provider="", model="", reason=why)
            for name, why in self.unusable.items()
        ]
        return (*placed, *left, *unusable)

    def _lately(self, target: Target, model: str) -> str:
        pause = self._health.pause(target.registry_id, _asked_for(target, model))
        return f"it failed lately and is asked last for another {pause:.1f} s" if pause else ""

    def _considered(self, target: Target, model: str, *, place: int = 0, reason: str = "") -> Considered:
        return Considered(
            registry_id=target.registry_id,
            registry=target.registry,
            provider=target.provider,
            model=_asked_for(target, model),
            place=place,
            reason=reason,
        )

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
        why = self.unusable.get(registry)
        raise Refused(
            "registry_not_found",
            f'The registry "{registry}" cannot be used: {why}.'
            if why
            else f'This consumer has no registry "{registry}": attach it, or name one that is attached.',
            status=503 if why else 404,
            retry=False,
        )

    def models(self) -> Mapping[str, str]:
        """Return every model that configuration names for this consumer, with the provider that serves it."""
        named: dict[str, str] = {}
        for target in self.targets:
            for model in sorted((target.allowed or frozenset()) | ({target.default} if target.default else set())):
                named.setdefault(model, target.provider)
        return named


def _asked_for(target: Target, model: str) -> str:
    """The model that a target is asked for: the caller's, or its own where the caller leaves it to us."""
    return model if model and model.lower() != AUTO else target.default or model


def _why_not(target: Target, operation: Operation, model: str) -> str:
    if operation.name not in target.ways:
        return f"it cannot be asked for {operation.name}"
    if not model or model.lower() == AUTO:
        return "it has no default model for this consumer"
    if not target.may_serve(model):
        return f'this consumer may not use the model "{model}" of it'
    return f'it cannot be asked for {operation.name} with the model "{model}"'


def _nobody(operation: str, unusable: Mapping[str, str]) -> Refused:
    why = "; ".join(f"{name}: {reason}" for name, reason in unusable.items())
    return Refused(
        "no_backend_available",
        f"No registry of this consumer can serve {operation}" + (f" ({why})." if why else ": attach one that can."),
        status=503,
        retry=False,
    )


def not_allowed(model: str) -> Refused:
    """Return what a caller is told of a model that may not be used, or of none where one is needed."""
    if not model or model.lower() == AUTO:
        return Refused(
            "model_required",
            "The request names no model and no registry of this consumer has a default one: name a model.",
            status=400,
            param="model",
            retry=False,
        )
    return Refused(
        "model_not_allowed",
        f'This consumer may not use the model "{model}".',
        status=403,
        param="model",
        retry=False,
    )
