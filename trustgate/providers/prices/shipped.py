"""The prices that are shipped: genai-prices' data, compiled model by model into rates.

Which model a name means, and which of its prices is in force when, genai-prices itself says; here is only the turning
of its answers into integers. Source: https://github.com/pydantic/genai-prices, the package of that name.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, time
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from trustgate.providers.prices.names import BY_EXACT_NAME, SHIPPED, names_of
from trustgate.providers.prices.rates import Rates, Row, amount, per_token

if TYPE_CHECKING:
    from genai_prices.types import MatchLogic, ModelInfo, ModelPrice, Provider, TieredPrices

_UNITS: Final[Mapping[str, str]] = {
    "input": "input_mtok",
    "cached_input": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "audio_input": "input_audio_mtok",
    "audio_cached_input": "cache_audio_read_mtok",
    "image_input": "input_image_mtok",
    "output": "output_mtok",
    "reasoning_output": "output_reasoning_mtok",
    "audio_output": "output_audio_mtok",
    "image_output": "output_image_mtok",
}
_CONTEXT: Final = ("service_tier", "processing", "speed")
_DAY: Final = 86_400
_END_OF_TIME: Final = 253_402_300_799
"""The last second that a date can be written for."""


class Listing:
    """One model's prices over time: from a day on, and by the hour where they vary so. Compiled when first needed."""

    __slots__ = ("_context", "_days", "_hours", "_rates", "model")

    def __init__(self, model: "ModelInfo", context: Mapping[str, str]) -> None:
        self.model = model
        self._context = context
        self._days, self._hours = _boundaries(model)
        self._rates: dict[tuple[int, int], Rates | None] = {}

    def rates(self, at: float) -> Rates | None:
        """Return the rates in force at a time in Unix seconds; None where there is no usable price."""
        if not 0 <= at <= _END_OF_TIME:
            return None
        slot = (
            bisect_right(self._days, at) if self._days else 0,
            bisect_right(self._hours, at % _DAY) if self._hours else 0,
        )
        if slot not in self._rates:
            self._rates[slot] = self._compile(at)
        return self._rates[slot]

    def since(self, at: float) -> float:
        """Return since when the rates of a time have been in force without a break (Unix seconds; 0: always)."""
        before = bisect_right(self._days, at)
        day = self._days[before - 1] if before else 0.0
        if not self._hours:
            return day
        midnight = at // _DAY * _DAY
        before = bisect_right(self._hours, at - midnight)
        hour = midnight + self._hours[before - 1] if before else midnight - _DAY + self._hours[-1]
        return max(day, hour)

    def _compile(self, at: float) -> Rates | None:
        return compile_prices(self.model.get_prices(datetime.fromtimestamp(at, UTC), self._context))


class Offer(Struct, frozen=True, kw_only=True):
    """A model that a provider has: `slug` is what to ask for, `context_window` tokens, 0 where it is not known."""

    slug: str
    display_name: str
    context_window: int
    listing: Listing


class Shipped:
    """Every provider and model of the price list. Immutable once made."""

    def __init__(self, providers: "list[Provider]") -> None:
        self._all = providers
        self._by_id = {provider.id: provider for provider in providers}
        self._exact = {ours: _exact_names(self._by_id[theirs]) for ours, theirs in BY_EXACT_NAME.items()}

    def find(self, provider: str, model: str, service_tier: str = "") -> Listing | None:
        """Return the prices of a model of one of our providers, under one of the names that it may have."""
        if provider in self._exact:
            exact = self._exact[provider]
            found = next((exact[name.lower()] for name in names_of(provider, model) if name.lower() in exact), None)
            return Listing(found, {}) if found else None
        theirs = self._by_id.get(SHIPPED.get(provider, ""))
        if theirs is None:
            return None
        for name in names_of(provider, model):
            found = theirs.find_model(name, all_providers=self._all)
            if found is not None:
                return Listing(found, _context(theirs, found, service_tier))
        return None

    def offers(self, provider: str) -> tuple[Offer, ...]:
        """Return what one of our providers has, by slug; what goes by no name that could be asked for is left out."""
        offers = [offer for model in self._models(provider) if (offer := self._offer(provider, model))]
        return tuple(sorted(offers, key=lambda offer: offer.slug))

    def models_of(self, theirs: str) -> "Sequence[ModelInfo]":
        """Return the models of one of genai-prices' providers with those that it resells, or of all of them."""
        own = self._by_id.get(theirs)
        if own is None:
            return [] if theirs else [model for provider in self._all for model in provider.models]
        resold = [self._by_id[each] for each in own.fallback_model_providers or () if each in self._by_id]
        return [model for provider in (own, *resold) for model in provider.models]

    def _offer(self, provider: str, model: "ModelInfo") -> Offer | None:
        for name in (model.id, *_equals(model.match)):
            if listing := self.find(provider, name):
                return Offer(
                    slug=name,
                    display_name=model.name or "",
                    context_window=model.context_window or 0,
                    listing=listing,
                )
        return None

    def _models(self, provider: str) -> Iterator["ModelInfo"]:
        """Yield the models of one of our providers, its own before those that it resells; each name once."""
        theirs = self._by_id.get(SHIPPED.get(provider, ""))
        seen: set[str] = set()
        for each in (theirs, *map(self._by_id.get, theirs.fallback_model_providers or ())) if theirs else ():
            for model in each.models if each else ():
                if model.id not in seen:
                    seen.add(model.id)
                    yield model


@lru_cache(maxsize=1)
def shipped() -> Shipped:
    """Return the price list. The first call reads it: 0.1 s and 15 MB, so it is made in a thread at warm-up."""
    from genai_prices.data import providers  # noqa: PLC0415 - heavy; only who prices something pays for it

    return Shipped(providers)


@lru_cache(maxsize=len(SHIPPED))
def offers(provider: str) -> tuple[Offer, ...]:
    """Return what one of our providers has, by slug. The first call takes up to 0.2 s: make it in a thread."""
    return shipped().offers(provider) if provider in SHIPPED else ()


def hours_of(model: "ModelInfo") -> Sequence[float]:
    """Return at which seconds of the UTC day the prices of a model change."""
    return _boundaries(model)[1]


def compile_prices(prices: "ModelPrice") -> Rates | None:
    """Return the rates that genai-prices' prices for a model are; None where none of them is for tokens."""
    listed = {name: value for name, key in _UNITS.items() if (value := prices.__dict__.get(key)) is not None}
    if not listed or any(price < 0 for value in listed.values() for price in _prices_in(value)):
        return None
    starts = sorted({tier.start for value in listed.values() if not isinstance(value, Decimal) for tier in value.tiers})
    fee: Decimal = prices.__dict__.get("requests_kcount") or Decimal(0)
    return Rates(
        base=_row(listed, -1),
        tiers=tuple((start, _row(listed, start)) for start in starts),
        request=amount(fee.scaleb(-3)),
    )


def _row(listed: "Mapping[str, Decimal | TieredPrices]", start: int) -> Row:
    return Row(**{name: per_token(_price_from(value, start)) for name, value in listed.items()})


def _price_from(value: "Decimal | TieredPrices", start: int) -> Decimal:
    """Return the price that counts beyond `start` input tokens: genai-prices sorts tiers, and the last one wins."""
    if isinstance(value, Decimal):
        return value
    return next((tier.price for tier in reversed(value.tiers) if tier.start <= start), value.base)


def _prices_in(value: "Decimal | TieredPrices") -> list[Decimal]:
    return [value] if isinstance(value, Decimal) else [value.base, *(tier.price for tier in value.tiers)]


def _context(provider: "Provider", model: "ModelInfo", service_tier: str) -> Mapping[str, str]:
    """A resold model has no variants: they are the terms of the one who sells it first."""
    own = any(model is each for each in provider.models)
    return dict.fromkeys(_CONTEXT, service_tier) if own and service_tier else {}


def _boundaries(model: "ModelInfo") -> tuple[list[float], list[float]]:
    """Return the times at which a model's prices may change: days in Unix seconds, hours in seconds of the UTC day."""
    from genai_prices.types import StartDateConstraint, TimeOfDateConstraint  # noqa: PLC0415 - read with its data

    listed = [] if not isinstance(model.prices, list) else [entry.constraint for entry in model.prices]
    limits = [*listed, *(variant.constraint for variant in model.price_variants or ())]
    days = {
        datetime.combine(limit.start_date, time(), UTC).timestamp()
        for limit in limits
        if isinstance(limit, StartDateConstraint)
    }
    hours = {
        _second_of_day(each)
        for limit in limits
        if isinstance(limit, TimeOfDateConstraint)
        for each in (limit.start_time, limit.end_time)
    }
    return sorted(days), sorted(hours)


def _second_of_day(moment: time) -> float:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return datetime.combine(datetime(2000, 1, 2, tzinfo=UTC), aware).timestamp() % _DAY


def _exact_names(provider: "Provider") -> dict[str, "ModelInfo"]:
    """Return a provider's models by their very names: ids, and what their matching has to equal."""
    names: dict[str, ModelInfo] = {}
    for model in provider.models:
        for name in (model.id, *_equals(model.match)):
            names.setdefault(name.lower(), model)
    return names


def _equals(clause: "MatchLogic") -> Iterator[str]:
    from genai_prices.types import ClauseEquals, ClauseOr  # noqa: PLC0415 - read with its data

    if isinstance(clause, ClauseEquals):
        yield clause.equals
    elif isinstance(clause, ClauseOr):
        for each in clause.or_:
            yield from _equals(each)
