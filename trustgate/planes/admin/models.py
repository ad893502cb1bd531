"""Which models there are and what they cost: the shipped prices, or for a registry those that it is charged by."""

import asyncio
import uuid
from collections.abc import Iterator
from functools import lru_cache
from time import time
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from trustgate.config.records import Registry
from trustgate.contract.cost import PriceRule, plain
from trustgate.contract.errors import Refused
from trustgate.planes.admin.operation import Ask, Nothing, Operation, read_ids, serving
from trustgate.planes.admin.plane import AdminServices
from trustgate.planes.admin.services import gateways, registries
from trustgate.planes.admin.wire import Id
from trustgate.providers.catalog import PROVIDERS
from trustgate.providers.prices.names import names_of
from trustgate.providers.prices.overrides import Overrides
from trustgate.providers.prices.rates import Rates
from trustgate.providers.prices.shipped import Offer, offers

PerToken = Annotated[str, Meta(description="US dollars for one token, as a plain decimal; absent when not known.")]
Source = Literal["genai-prices", "registry"]


class ModelItem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One model of one provider. Prices are the base ones of today; `source` says whose, and long inputs may cost more.

    `slug` is what a request names.
    """

    id: Id
    provider_id: Id
    provider: str
    slug: str
    display_name: str = ""
    context_window: int = 0
    input_price: PerToken = ""
    output_price: PerToken = ""
    cached_input_price: PerToken = ""
    cache_write_price: PerToken = ""
    enabled: bool
    source: Source


class ModelsCatalog(Struct, frozen=True, kw_only=True):
    """Every model, by provider and slug."""

    items: list[ModelItem]


class ModelsQuery(Struct, frozen=True, kw_only=True):
    """Which models. A gateway's registry narrows them to its provider; ids that lead nowhere are ignored."""

    provider: Annotated[str, Meta(description="A provider's code.")] = ""
    gateway_id: Annotated[str, Meta(description="With registry_id: the gateway that the registry is in.")] = ""
    registry_id: Annotated[str, Meta(description="With gateway_id: what this registry is charged, by its prices.")] = ""


async def _models(services: AdminServices, ask: Ask[Nothing, ModelsQuery]) -> ModelsCatalog:
    registry = await _registry(services, ask)
    wanted = [registry.provider] if registry else sorted(PROVIDERS)
    names = [name for name in wanted if ask.query.provider in ("", name)]
    rules = registry.prices if registry else ()
    return ModelsCatalog(items=await asyncio.to_thread(_items, names, rules, time()))


async def _registry(services: AdminServices, ask: Ask[Nothing, ModelsQuery]) -> Registry | None:
    """Return the registry that is asked about; none where whoever asks may not see it."""
    try:
        ids = read_ids({"gateway": ask.query.gateway_id, "registry": ask.query.registry_id})
        async with services.store.read() as unit:
            work = services.work(unit, ask.who)
            await gateways.visible(work, ids["gateway"])
            return await registries.get(work, ids["gateway"], ids["registry"])
    except Refused:
        return None


def _items(providers: list[str], rules: tuple[PriceRule, ...], at: float) -> list[ModelItem]:
    if not rules:
        return [item for provider in providers for item in _shipped(provider, _since(provider, at))]
    own = Overrides(rules)
    return [item for provider in providers for item in _items_of(provider, rules, own, at)]


@lru_cache(maxsize=64)
def _shipped(provider: str, since: float) -> tuple[ModelItem, ...]:
    """Thousands of items, made when a price of the provider changes."""
    return tuple(_items_of(provider, (), Overrides(()), since))


def _since(provider: str, at: float) -> float:
    """Return since when all prices of a provider have been as they are (Unix seconds)."""
    return max((offer.listing.since(at) for offer in offers(provider)), default=0.0)


def _items_of(provider: str, rules: tuple[PriceRule, ...], own: Overrides, at: float) -> Iterator[ModelItem]:
    known = {offer.slug: offer for offer in offers(provider)}
    named = {rule.model for rule in rules if "*" not in rule.model}
    for slug in sorted(known.keys() | named):
        ours = own.rates(names_of(provider, slug), at)
        offer = known.get(slug)
        if ours is not None:
            yield _item(provider, slug, offer, ours, "registry")
        elif offer is not None:
            yield _item(provider, slug, offer, offer.listing.rates(at), "genai-prices")


def _item(provider: str, slug: str, offer: Offer | None, rates: Rates | None, source: Source) -> ModelItem:
    row = rates.base if rates else None
    return ModelItem(
        id=_id(f"model:{provider}:{slug}"),
        provider_id=_id(f"provider:{provider}"),
        provider=provider,
        slug=slug,
        display_name=offer.display_name if offer else "",
        context_window=offer.context_window if offer else 0,
        input_price=_price(row.input if row else None),
        output_price=_price(row.output if row else None),
        cached_input_price=_price(row.cached_input if row else None),
        cache_write_price=_price(row.cache_write if row else None),
        enabled=True,
        source=source,
    )


def _price(rate: int | None) -> str:
    return "" if rate is None else plain(rate)


def _id(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"trustgate:{name}"))


OPERATIONS: Final[tuple[Operation, ...]] = (
    serving(
        "GET",
        "/v1/models-catalog",
        _models,
        name="modelsCatalog",
        summary="List models and what they cost",
        tag="Catalogs",
    ),
)
