"""Which targets may serve: a consumer's pool, an operation and a model → candidates in the order to try them."""

from collections.abc import Mapping, Sequence

from trustgate.contract.context import AUTO, Operation
from trustgate.contract.errors import Refused
from trustgate.contract.target import Target
from trustgate.forwarding.strategies import Rotation


class Pool:
    """One consumer's targets. What cannot be called says why, in `unusable`, by registry name."""

    __slots__ = ("_rotation", "targets", "unusable")

    def __init__(self, targets: Sequence[Target], unusable: Mapping[str, str]) -> None:
        self.targets = targets
        self.unusable = unusable
        self._rotation = Rotation()

    def asked(self, operation: Operation, model: str, item: str) -> Sequence[Target]:
        """Return whom to try, in this order; `item` is what the path names. Raises Refused."""
        match operation.family:
            case "passthrough":
                target = self.named(item)
                if model and not target.may_serve(model):
                    raise not_allowed(model)
                return (target,)
            case "stored":
                return self.holders(operation.name)
            case _:
                return self.candidates(operation.name, model)

    def candidates(self, operation: str, model: str) -> Sequence[Target]:
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
        return self._rotation.order(fitting)

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
