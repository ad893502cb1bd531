"""The dearest that tokens can be: for those who must assume something about a model whose price nobody knows."""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from msgspec import Struct
from msgspec.structs import astuple

from trustgate.contract.cost import Cost
from trustgate.contract.usage import Usage
from trustgate.providers.prices.names import SHIPPED
from trustgate.providers.prices.rates import LARGEST, Rates, Row
from trustgate.providers.prices.shipped import compile_prices, hours_of, shipped

_INPUT: Final = 7
"""The first so many rates of a row are for what goes in, the others for what comes out."""


class Dearest(Struct, frozen=True, kw_only=True):
    """The highest rates that anything has in each direction, and the highest fee, in amounts of 10⁻²⁴ USD."""

    input: int
    output: int
    request: int

    def cost(self, usage: Usage) -> Cost:
        """Return what so many tokens cost, whatever kind they are of."""
        prompt = min(max(usage.input, 0), LARGEST) * self.input
        completion = min(max(usage.output, 0), LARGEST) * self.output
        return Cost(prompt=prompt, completion=completion, total=prompt + completion + self.request)


@lru_cache(maxsize=128)
def dearest(provider: str, day: float) -> Dearest:
    """Return the dearest of one of our providers on a day (Unix seconds); takes 10 ms the first time."""
    rates = list(_rates(SHIPPED.get(provider, ""), day)) or list(_rates("", day))
    rows = [row for each in rates for row in (each.base, *(row for _, row in each.tiers))]
    return Dearest(
        input=max(rate for row in rows for rate in _listed(row)[:_INPUT]),
        output=max(rate for row in rows for rate in _listed(row)[_INPUT:]),
        request=max(each.request for each in rates),
    )


def _rates(provider: str, day: float) -> Iterator[Rates]:
    for model in shipped().models_of(provider):
        for second in (0, *hours_of(model)):  # some are cheaper at night
            rates = compile_prices(model.get_prices(datetime.fromtimestamp(day + second, UTC), {}))
            if rates is not None:
                yield rates


def _listed(row: Row) -> tuple[int, ...]:
    rates: tuple[int | None, ...] = astuple(row)
    return tuple(rate or 0 for rate in rates)
