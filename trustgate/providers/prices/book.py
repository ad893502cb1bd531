"""The price book: which price counts, remembered, so that pricing an answer costs two look-ups and some additions."""

from collections.abc import Sequence
from typing import Final

from trustgate.contract.cost import Cost, PriceRule
from trustgate.contract.usage import Usage
from trustgate.providers.prices.dearest import dearest
from trustgate.providers.prices.names import TIERS, names_of
from trustgate.providers.prices.overrides import Overrides
from trustgate.providers.prices.rates import Rates, cost_of
from trustgate.providers.prices.shipped import Listing, shipped

_DAY: Final = 86_400
MOST: Final = 8192
"""Models and registries that are remembered; model names come from callers, so there must be an end to it."""


class PriceBook:
    """Knows what answers cost. May be asked from any thread."""

    def __init__(self) -> None:
        self._listings: dict[tuple[str, str, str], tuple[Listing | None]] = {}
        self._overrides: dict[int, tuple[Sequence[PriceRule], Overrides]] = {}

    def load(self) -> None:
        """Read the shipped prices: to be called in a thread before requests come. Without it the first price waits."""
        shipped()

    def price(
        self,
        provider: str,
        model: str,
        usage: Usage,
        *,
        at: float,
        service_tier: str = "",
        overrides: Sequence[PriceRule] = (),
        asked: str = "",
        before: Sequence[PriceRule] = (),
    ) -> Cost | None:
        """Return what an answer costs; None where its price is not known. Never raises.

        `at` is when, in Unix seconds; `service_tier` as the provider's answer has it; `asked` is the model's name in
        the request, tried where the name in the answer is not known. `overrides`, and `before` that count before
        them, are remembered by identity: hand over the registry's own tuple, not a copy of it.
        """
        rates = self._own(before, provider, model, asked, at) if before else None
        if rates is None and overrides:
            rates = self._own(overrides, provider, model, asked, at)
        if rates is None:
            tier = service_tier if service_tier in TIERS else ""
            listing = self._listing(provider, model, tier)
            if listing is None and asked and asked != model:
                listing = self._listing(provider, asked, tier)
            rates = listing.rates(at) if listing is not None else None
        return cost_of(rates, usage) if rates is not None else None

    def dearest(self, provider: str, usage: Usage, *, at: float) -> Cost:
        """Return what an answer costs of the dearest models that a provider has, or anybody where it lists none."""
        return dearest(provider, at // _DAY * _DAY).cost(usage)

    def _own(self, rules: Sequence[PriceRule], provider: str, model: str, asked: str, at: float) -> Rates | None:
        known = self._overrides.get(id(rules))  # which stays theirs, because they are kept beside it
        if known is None:
            if len(self._overrides) >= MOST:
                self._overrides.clear()
            known = self._overrides[id(rules)] = (rules, Overrides(rules))
        names = names_of(provider, model)
        return known[1].rates(names + names_of(provider, asked) if asked != model else names, at)

    def _listing(self, provider: str, model: str, tier: str) -> Listing | None:
        key = (provider, model, tier)
        known = self._listings.get(key)
        if known is not None:
            return known[0]
        if len(self._listings) >= MOST:
            self._listings.clear()
        found = shipped().find(provider, model, tier)
        self._listings[key] = (found,)
        return found
