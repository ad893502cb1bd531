"""Rates, and the arithmetic: tokens times rates, in integers. Pure.

Rule 1: a part without a rate of its own costs what the whole that it is part of does.
Rule 2: tokens of a direction that has no rate at all have no price: None, and never 0.
"""

from decimal import Decimal
from typing import Final

from msgspec import Struct

from trustgate.contract.cost import DECIMALS, Cost
from trustgate.contract.usage import Usage

LARGEST: Final = 1_000_000_000
"""More tokens than any answer has: a count beyond it is a provider's mistake, and not money."""


class Row(Struct, frozen=True, kw_only=True):
    """Rates per token, in amounts of 10⁻²⁴ USD. None is no rate of its own; for `input` and `output`, no price."""

    input: int | None = None
    cached_input: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    audio_input: int | None = None
    audio_cached_input: int | None = None
    image_input: int | None = None
    output: int | None = None
    reasoning_output: int | None = None
    audio_output: int | None = None
    image_output: int | None = None


class Rates(Struct, frozen=True, kw_only=True):
    """All rates of a model: `tiers` are what counts beyond so many input tokens, ascending; `request` is a fee."""

    base: Row
    tiers: tuple[tuple[int, Row], ...] = ()
    request: int = 0


def per_token(dollars: Decimal) -> int:
    """Return the rate of a price in US dollars for a million tokens."""
    return amount(dollars.scaleb(-6))


def amount(dollars: Decimal) -> int:
    """Return US dollars as an amount of 10⁻²⁴."""
    return int(dollars.scaleb(DECIMALS).to_integral_value())


def cost_of(rates: Rates, usage: Usage) -> Cost | None:
    """Return what so many tokens cost; None where some of them have no price, or the counts contradict each other."""
    if not (0 <= usage.input <= LARGEST and 0 <= usage.output <= LARGEST):
        return None
    row = rates.base
    for above, higher in rates.tiers:
        if usage.input <= above:
            break
        row = higher
    prompt = _input(row, usage)
    completion = _output(row, usage)
    if prompt is None or completion is None:
        return None
    return Cost(prompt=prompt, completion=completion, total=prompt + completion + rates.request)


def _input(row: Row, usage: Usage) -> int | None:
    if row.input is None:
        return None if usage.input else 0
    rest, sum_ = usage.input, 0
    if usage.cached_input and row.cached_input is not None:
        rest -= usage.cached_input
        sum_ += usage.cached_input * row.cached_input
    if usage.cache_write and row.cache_write is not None:
        rest -= usage.cache_write
        sum_ += usage.cache_write * row.cache_write
    if usage.cache_write_1h and row.cache_write_1h is not None and row.cache_write is not None:
        sum_ += usage.cache_write_1h * (row.cache_write_1h - row.cache_write)
    if usage.audio_input or usage.image_input:
        spoken = _modalities(row, row.input, usage, rest)
        if spoken is None:
            return None
        sum_ += spoken
    return None if rest < 0 or _contradicts(usage) else sum_ + rest * row.input


def _contradicts(usage: Usage) -> bool:
    return (
        usage.cached_input < 0
        or usage.cache_write_1h < 0
        or usage.cache_write < usage.cache_write_1h
        or usage.cached_input + usage.cache_write > usage.input
    )


def _modalities(row: Row, text: int, usage: Usage, rest: int) -> int | None:
    """What audio and images cost beyond text; what of them a cache held is charged as cached."""
    if usage.audio_input < 0 or usage.image_input < 0 or usage.audio_cached_input < 0:
        return None
    extra = 0
    if row.audio_input is not None:
        cached = 0
        if row.cached_input is not None:
            cached = min(usage.audio_cached_input, usage.audio_input, usage.cached_input)
            if row.audio_cached_input is not None:
                extra += cached * (row.audio_cached_input - row.cached_input)
        fresh = min(usage.audio_input - cached, rest)
        rest -= fresh
        extra += fresh * (row.audio_input - text)
    if row.image_input is not None:
        extra += min(usage.image_input, rest) * (row.image_input - text)
    return extra


def _output(row: Row, usage: Usage) -> int | None:
    if row.output is None:
        return None if usage.output else 0
    rest, sum_ = usage.output, 0
    for count, rate in (
        (usage.reasoning_output, row.reasoning_output),
        (usage.audio_output, row.audio_output),
        (usage.image_output, row.image_output),
    ):
        if count < 0:
            return None
        if count and rate is not None:
            rest -= count
            sum_ += count * rate
    return None if rest < 0 else sum_ + rest * row.output
