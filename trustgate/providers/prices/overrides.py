"""A registry's own prices, compiled once, and which of its rules counts for a model at a time. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from msgspec import Struct

from trustgate.contract.cost import PriceRule, PriceTier, TokenPrices
from trustgate.providers.prices.rates import Rates, Row, per_token

MOST: Final = 2048
"""Models whose rules are remembered; names come from callers, so there must be an end to it."""
_FIELDS: Final = tuple(name for name in TokenPrices.__struct_fields__)


class _Compiled(Struct, frozen=True, kw_only=True):
    parts: tuple[str, ...]
    order: tuple[bool, int, str, float]
    since: float
    rates: Rates


class Overrides:
    """The rules of one registry."""

    __slots__ = ("_known", "_rules")

    def __init__(self, rules: Sequence[PriceRule]) -> None:
        self._rules = sorted(map(_compile, rules), key=lambda rule: rule.order)
        self._known: dict[tuple[str, ...], tuple[_Compiled, ...]] = {}

    def rates(self, names: tuple[str, ...], at: float) -> Rates | None:
        """Return the rates of the best rule that is in force for a model of one of these names."""
        found = self._known.get(names)
        if found is None:
            if len(self._known) >= MOST:
                self._known.clear()
            found = self._known[names] = self._matching(names)
        for rule in found:
            if rule.since <= at:
                return rule.rates
        return None

    def _matching(self, names: tuple[str, ...]) -> tuple[_Compiled, ...]:
        folded = [name.lower() for name in names]
        return tuple(rule for rule in self._rules if any(matches(rule.parts, name) for name in folded))


def starts_at(day: str) -> float:
    """Return when a day begins, in Unix seconds of UTC; an empty one always has. Raises ValueError."""
    return datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).timestamp() if day else float("-inf")


def matches(parts: Sequence[str], name: str) -> bool:
    """Say whether a name consists of these parts with anything between them. Takes time linear in the name."""
    if len(parts) == 1:
        return name == parts[0]
    first, *middle, last = parts
    at = len(first)
    if not name.startswith(first):
        return False
    for part in middle:
        found = name.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(name) - at >= len(last) and name.endswith(last)


def _compile(rule: PriceRule) -> _Compiled:
    name = rule.model.lower()
    since = starts_at(rule.effective_from)
    return _Compiled(
        parts=tuple(name.split("*")),
        order=("*" in name, name.count("*") - len(name), name, -since),
        since=since,
        rates=_rates(rule),
    )


def _rates(rule: PriceRule) -> Rates:
    tiers = sorted(rule.tiers, key=lambda tier: tier.above)
    return Rates(base=_row(rule), tiers=tuple((tier.above, _row(tier, rule)) for tier in tiers))


def _row(prices: TokenPrices, otherwise: "PriceRule | PriceTier | None" = None) -> Row:
    said = {name: getattr(prices, name) or getattr(otherwise, name, None) for name in _FIELDS}
    rates = {name: per_token(Decimal(text)) for name, text in said.items() if text is not None}
    if "cache_write_1h" in rates:  # what is kept for an hour is a part of what is written, so both need a rate
        rates.setdefault("cache_write", rates["input"])
    return Row(**rates)
