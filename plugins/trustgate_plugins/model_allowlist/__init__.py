"""Which models may be asked for. The model that a request names is judged at once, the one that a target would be asked
for (a default, a pool's) before that target is called."""

from trustgate import Chosen, Deny, Proceed, RequestContext, Verdict, hookimpl
from trustgate_plugins.model_allowlist.settings import ModelAllowlistSettings


@hookimpl
def settings_type() -> type[ModelAllowlistSettings]:
    return ModelAllowlistSettings


@hookimpl
def pre_request(ctx: RequestContext, settings: ModelAllowlistSettings) -> Verdict:
    if ctx.operation.family in {"models", "stored", "passthrough"}:
        return None
    if not ctx.body.names_model:
        if not settings.default_model:
            return None
        return Proceed(model=settings.default_model, details={"model": settings.default_model, "defaulted": True})
    return _judged(ctx.body.model, settings)


@hookimpl
def pre_call(ctx: RequestContext, target: Chosen, settings: ModelAllowlistSettings) -> Verdict:
    if ctx.operation.family == "stored" or not target.model:
        return None
    if ctx.operation.family == "passthrough" and not settings.allows(target.model):
        return _deny(target.model)
    return _judged(target.model, settings)


def _judged(model: str, settings: ModelAllowlistSettings) -> Verdict:
    if settings.allows(model):
        return None
    if settings.behavior_on_disallowed == "substitute":
        return Proceed(model=settings.substitute_with, details={"model": model, "substitute": settings.substitute_with})
    return _deny(model)


def _deny(model: str) -> Deny:
    return Deny(
        code="model_not_allowed",
        message=f'The policies of this gateway do not allow the model "{model[:255]}".',
        status=403,
        param="model",
        details={"model": model[:255]},
    )
