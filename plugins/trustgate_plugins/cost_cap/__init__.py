"""Ceilings of prices, compared before a provider is called, for the model that is really asked for."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from msgspec import Struct

from trustgate import Chosen, Cost, Deny, Proceed, RequestContext, Services, Usage, Verdict, hookimpl, plain_usd
from trustgate_plugins.cost_cap.settings import Cap, CostCapSettings

Priced = Callable[[Usage], Cost | None]
_SOME = 1000
"""Tokens whose price is asked to learn that of one: so few that no tier for long prompts counts."""


class Price(Struct, frozen=True, kw_only=True):
    """What a token costs in each direction and what the request may cost, in amounts of 10⁻²⁴ USD."""

    input: int
    output: int
    request: int


@hookimpl
def settings_type() -> type[CostCapSettings]:
    return CostCapSettings


@hookimpl
def pre_call(ctx: RequestContext, target: Chosen, settings: CostCapSettings, services: Services) -> Verdict:
    cap = settings.cap_of(target.model)
    expected = _expected(ctx, settings, services)
    price = _price(expected, _known(target, settings, services))
    unknown = price is None
    if price is None and settings.unknown_price == "pass_through":
        return Proceed(details={"model": target.model[:255], "unpriced": "pass_through"})
    if price is None and settings.unknown_price == "assume_max":
        price = _price(expected, _dearest(target, services))
    details = _details(target, cap, price, settings.unknown_price if unknown else "")
    if price is not None and not _exceeds(price, cap):
        return Proceed(details=details)
    instead = _cheaper(target.model, settings)
    if instead:
        told = f"{target.model} -> {instead}".encode("ascii", "replace")
        return Proceed(model=instead, headers=[(b"x-ag-model-downgraded", told)], details=details)
    return _deny(target.model[:255], details, unknown=price is None)


def _expected(ctx: RequestContext, settings: CostCapSettings, services: Services) -> Usage:
    body = ctx.body.json() if ctx.operation.body == "json" and ctx.body.raw else {}
    return services.expect(body, settings.default_output_tokens if ctx.operation.family == "chat" else 0)


def _known(target: Chosen, settings: CostCapSettings, services: Services) -> Priced:
    return partial(
        services.pricing.price,
        target.provider,
        target.model,
        at=services.clock(),
        overrides=target.prices,
        before=settings.custom_pricing,
    )


def _dearest(target: Chosen, services: Services) -> Priced:
    return lambda usage: services.pricing.dearest(target.provider, usage, at=services.clock())


def _price(expected: Usage, priced: Priced) -> Price | None:
    some, whole = priced(Usage(input=_SOME, output=_SOME)), priced(expected)
    if some is None or whole is None:
        return None
    return Price(input=-(-some.prompt // _SOME), output=-(-some.completion // _SOME), request=whole.total)


def _exceeds(price: Price, cap: Cap) -> bool:
    pairs = ((price.input, cap.input), (price.output, cap.output), (price.request, cap.request))
    return any(most is not None and asked > most for asked, most in pairs)


def _cheaper(model: str, settings: CostCapSettings) -> str:
    """Return which model is asked instead: the next of the chain, or its first for one that is not in it."""
    if not settings.downgrade_chain:
        return ""
    first = settings.downgrade_chain[0]
    return settings.next_model.get(model, "" if model in settings.downgrade_chain else first)


def _details(target: Chosen, cap: Cap, price: Price | None, unpriced: str) -> Mapping[str, Any]:
    told: dict[str, Any] = {"model": target.model[:255]}
    if unpriced:
        told["unpriced"] = unpriced
    if price is not None:
        told |= {
            "input_price": plain_usd(price.input * 1_000_000),
            "output_price": plain_usd(price.output * 1_000_000),
            "request_cost": plain_usd(price.request),
        }
    most = {"max_input_price": cap.input, "max_output_price": cap.output}
    told |= {name: plain_usd(value * 1_000_000) for name, value in most.items() if value is not None}
    return told if cap.request is None else told | {"max_request_cost": plain_usd(cap.request)}


def _deny(model: str, details: Mapping[str, Any], *, unknown: bool) -> Deny:
    if unknown:
        return Deny(
            code="price_unknown",
            message=f'Nobody knows what the model "{model}" costs, and this gateway has a ceiling of costs. '
            "Ask for another model, or have its price entered.",
            details=details,
        )
    return Deny(
        code="model_too_expensive",
        message=f'The model "{model}" costs more for this request than may be paid here. '
        "Ask for a cheaper model, or for a shorter answer.",
        details=details,
    )
