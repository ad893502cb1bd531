"""Our figures are genai-prices' own, to the last digit: over recorded traffic, and over every model there is."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import msgspec
import pytest
from genai_prices import Usage as TheirUsage
from genai_prices.data import providers as their_providers
from genai_prices.data_snapshot import DataSnapshot
from genai_prices.types import PriceCalculation
from hypothesis import given, settings
from hypothesis import strategies as st

from trustgate.contract.cost import Cost, plain
from trustgate.contract.usage import Usage
from trustgate.providers.prices import PriceBook
from trustgate.providers.prices.names import SHIPPED, TIERS, names_of
from trustgate.providers.prices.shipped import offers

from .traffic import pairs, recorded_traffic

BOOK: Final = PriceBook()
THEIRS: Final = DataSnapshot(providers=their_providers, from_auto_update=False)
KEYS: Final = {
    "input_tokens": "input",
    "cache_read_tokens": "cached_input",
    "cache_write_tokens": "cache_write",
    "cache_write_1h_tokens": "cache_write_1h",
    "input_audio_tokens": "audio_input",
    "cache_audio_read_tokens": "audio_cached_input",
    "input_image_tokens": "image_input",
    "output_tokens": "output",
    "output_reasoning_tokens": "reasoning_output",
    "output_audio_tokens": "audio_output",
    "output_image_tokens": "image_output",
}
MOMENTS: Final = [
    datetime(2024, 6, 1, tzinfo=UTC),
    datetime(2025, 3, 1, 17, tzinfo=UTC),
    datetime(2026, 11, 21, 9, 30, tzinfo=UTC),
]


def theirs(provider: str, model: str, usage: Usage, at: datetime, tier: str = "") -> PriceCalculation | None:
    """Return what genai-prices says, under the first of the model's names that it knows."""
    values = {theirs: getattr(usage, ours) for theirs, ours in KEYS.items()}
    values["cache_image_read_tokens"] = 0  # what we never state it would otherwise refuse to guess
    context = dict.fromkeys(("service_tier", "processing", "speed"), tier) if tier else None
    for name in names_of(provider, model):
        try:
            return THEIRS.calc(TheirUsage(**values), name, SHIPPED[provider], None, at, context)
        except LookupError:
            continue
    return None


def assert_same(ours: Cost | None, calculated: PriceCalculation | None, usage: Usage, why: object) -> bool:
    """Compare to the last digit; say whether both had a price."""
    if calculated is None or not _is_priced(calculated.model_price.__dict__, usage):
        assert ours is None, why
        return False
    assert ours is not None, why
    assert Decimal(plain(ours.prompt)) == calculated.input_price, why
    assert Decimal(plain(ours.completion)) == calculated.output_price, why
    assert Decimal(plain(ours.total)) == calculated.total_price, why
    return True


def _is_priced(prices: Mapping[str, Any], usage: Usage) -> bool:
    """Where genai-prices lists no price it adds nothing; for us that is not a price of nothing."""
    has_input, has_output = prices.get("input_mtok") is not None, prices.get("output_mtok") is not None
    return (has_input or has_output) and (has_input or not usage.input) and (has_output or not usage.output)


def extracted(provider: str, answer: dict[str, Any]) -> Usage | None:
    """Return the usage of an answer as genai-prices reads it, so that our reading cannot hide a difference."""
    their = THEIRS.find_provider(None, SHIPPED[provider], None)
    for extractor in their.extractors or ():
        try:
            _, usage = extractor.extract(answer)
        except (ValueError, AttributeError):  # the latter where a modality is a number, as Vertex' SDK writes it
            continue
        stated = {KEYS[key]: int(value) for key, value in usage.__dict__.items() if key in KEYS}
        return msgspec.convert(stated, Usage) if stated else None
    return None


@recorded_traffic
@pytest.mark.parametrize("at", MOMENTS, ids=str)
def test_recorded_traffic_costs_the_same(at: datetime) -> None:
    priced = unpriced = 0
    for pair in pairs():
        usage = extracted(pair.provider, pair.answer) if pair.provider in SHIPPED else None
        if usage is None:
            continue
        tier = str(pair.answer.get("service_tier") or "")
        ours = BOOK.price(pair.provider, pair.model, usage, at=at.timestamp(), service_tier=tier)
        calculated = theirs(pair.provider, pair.model, usage, at, tier if tier in TIERS else "")
        if assert_same(ours, calculated, usage, (pair.file, pair.model, usage)):
            priced += 1
        else:
            unpriced += 1
    assert priced > 1000, (priced, unpriced)
    assert unpriced < priced / 10, (priced, unpriced)


count = st.one_of(st.just(0), st.integers(0, 500), st.integers(0, 400_000))


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Counts that do not contradict each other: each part is drawn, and the totals are their sums."""
    text, cached, cached_audio, minutes, hour, audio, image = (draw(count) for _ in range(7))
    said, thought, spoken, drawn = (draw(count) for _ in range(4))
    return Usage(
        input=text + cached + cached_audio + minutes + hour + audio + image,
        cached_input=cached + cached_audio,
        cache_write=minutes + hour,
        cache_write_1h=hour,
        audio_input=audio + cached_audio,
        audio_cached_input=cached_audio,
        image_input=image,
        output=said + thought + spoken + drawn,
        reasoning_output=thought,
        audio_output=spoken,
        image_output=drawn,
    )


models = st.sampled_from([(provider, offer.slug) for provider in SHIPPED for offer in offers(provider)])


@settings(max_examples=600, deadline=None)
@given(
    model=models,
    usage=usages(),
    at=st.datetimes(datetime(2023, 1, 1), datetime(2027, 12, 31)),
    tier=st.sampled_from(["", *sorted(TIERS)]),
)
def test_every_model_costs_the_same(model: tuple[str, str], usage: Usage, at: datetime, tier: str) -> None:
    moment = at.replace(tzinfo=UTC)
    ours = BOOK.price(*model, usage, at=moment.timestamp(), service_tier=tier)
    assert_same(ours, theirs(*model, usage, moment, tier), usage, (model, moment, tier))


def test_a_price_starts_on_its_day_and_the_hour_counts_where_it_does() -> None:
    """The models whose price changes: on both sides of each change we say what genai-prices says."""
    usage = Usage(input=1000, output=1000)
    changes = 0
    for provider in SHIPPED:
        for offer in offers(provider):
            if not isinstance(offer.listing.model.prices, list):
                continue
            for constraint in [each.constraint for each in offer.listing.model.prices]:
                day = getattr(constraint, "start_date", None)
                hour = getattr(constraint, "start_time", None)
                if day is not None:
                    edge = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
                elif hour is not None:
                    edge = datetime(2025, 3, 1, hour.hour, hour.minute, tzinfo=UTC).timestamp()
                else:
                    continue
                for at in (edge - 1, edge, edge + 1):
                    ours = BOOK.price(provider, offer.slug, usage, at=at)
                    moment = datetime.fromtimestamp(at, UTC)
                    assert_same(ours, theirs(provider, offer.slug, usage, moment), usage, (offer.slug, moment))
                changes += 1
    assert changes > 100


DAY: Final = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
HALF_HOURS: Final = [DAY + half * 1800 + offset for half in range(48) for offset in (-1, 0, 1)]


def test_prices_have_been_as_they_are_since_the_last_change() -> None:
    cheaper_at_night = 0
    for provider in SHIPPED:
        for listing in {id(offer.listing): offer.listing for offer in offers(provider)}.values():
            rates = [listing.rates(at) for at in HALF_HOURS]
            assert [listing.rates(listing.since(at)) for at in HALF_HOURS] == rates, listing.model.id
            assert all(listing.since(at) <= at for at in HALF_HOURS)
            cheaper_at_night += len(set(rates)) > 1
    assert cheaper_at_night, "there is something to be seen"


def test_nothing_is_dearer_than_the_dearest_at_any_hour() -> None:
    usage = Usage(input=1000, output=1000)
    for provider in SHIPPED:
        for offer in offers(provider):
            prices = {BOOK.price(provider, offer.slug, usage, at=at) for at in HALF_HOURS[::12]}
            for cost in prices - {None}:
                assert cost is not None
                dearest = BOOK.dearest(provider, usage, at=DAY)
                assert cost.total <= dearest.total, (provider, offer.slug)
