"""Which targets may serve: a consumer's pool, an operation and a model → candidates in the order to try them."""

from collections.abc import Mapping, Sequence
from typing import Final

from trustgate.contract.errors import Refused
from trustgate.contract.target import Target
from trustgate.forwarding.strategies import Rotation

AUTO: Final = "auto"


class Pool:
    """One consumer's targets. What cannot be called says why, in `unusable`, by registry name."""

    __slots__ = ("_rotation", "targets", "unusable")

    def __init__(self, targets: Sequence[Target], unusable: Mapping[str, str]) -> None:
        self.targets = targets
        self.unusable = unusable
        self._rotation = Rotation()

    def candidates(self, operation: str, model: str) -> Sequence[Target]:
        """Return who may serve, in the order to try them. Raises Refused: 503 for nobody at all, 403 for the model."""
        able = [target for target in self.targets if operation in target.targets]
        if not able:
            raise _nobody(operation, self.unusable)
        if not model or model.lower() == AUTO:
            fitting = [target for target in able if target.default]
        else:
            fitting = [target for target in able if target.allowed is None or model in target.allowed]
        if not fitting:
            raise _not_allowed(model)
        return self._rotation.order(fitting)

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


def _not_allowed(model: str) -> Refused:
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
