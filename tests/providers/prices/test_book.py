"""The price book: which price counts, what has none, and what money never does."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec import structs

from trustgate.contract.cost import Cost, PriceRule, PriceTier, plain
from trustgate.contract.usage import Usage
from trustgate.providers.catalog import PROVIDERS
from trustgate.providers.prices import PriceBook, book, overrides
from trustgate.providers.prices.names import SHIPPED, names_of
from trustgate.providers.prices.rates import Rates, Row, cost_of
from trustgate.providers.prices.shipped import offers

NOW = 1_795_000_000.0  # 2026-11-18
DAY = 86_400
BOOK = PriceBook()
ONE = Usage(input=1_000_000)
UNKNOWN = "no-such-model-anywhere"


def dollars(cost: Cost | None) -> Decimal | None:
    return None if cost is None else Decimal(plain(cost.total))


def price(
    provider: str, model: str, usage: Usage = ONE, *rules: PriceRule, at: float = NOW, **more: Any
) -> Cost | None:
    return BOOK.price(provider, model, usage, at=at, overrides=rules, **more)


def rule(model: str, input_: str = "1", output: str = "2", **more: object) -> PriceRule:
    return structs.replace(PriceRule(model=model, input=input_, output=output), **more)


def test_our_providers_are_priced_or_known_not_to_be() -> None:
    assert set(PROVIDERS) == set(SHIPPED) | {"openai_compatible", "ollama", "vllm", "echo"}
    assert {name for name in SHIPPED if not offers(name)} == set()


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-4o-mini-2024-07-18"),
        ("azure", "gpt-4o-mini"),
        ("anthropic", "claude-sonnet-4-5-20250929"),
        ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("bedrock", "apac.amazon.nova-pro-v1:0"),
        (
            "bedrock",
            "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.anthropic.claude-3-5-sonnet-20240620-v1:0",
        ),
        ("google", "models/gemini-2.5-flash"),
        ("vertex", "publishers/google/models/gemini-2.5-pro"),
        ("vertex", "claude-sonnet-4@20250514"),
        ("mistral", "mistral-large-latest"),
        ("groq", "llama-3.3-70b-versatile"),
        ("deepseek", "deepseek-chat"),
        ("xai", "grok-4"),
        ("cerebras", "gpt-oss-120b"),
        ("cohere", "command-r-plus-08-2024"),
        ("openrouter", "anthropic/claude-sonnet-4.5"),
        ("together", "meta-llama/Llama-3.3-70B-Instruct-Turbo"),
        ("fireworks", "accounts/fireworks/models/deepseek-v3p2"),
        ("perplexity", "sonar"),
    ],
)
def test_models_are_found_by_the_names_that_they_go_by(provider: str, model: str) -> None:
    cost = price(provider, model)
    assert cost is not None
    assert cost.prompt > 0


@pytest.mark.parametrize(
    ("provider", "model", "names"),
    [
        ("openai", "gpt-4o-2024-08-06", ("gpt-4o-2024-08-06", "gpt-4o")),
        ("openai", "ft:gpt-4o", ("ft:gpt-4o",)),
        ("anthropic", "claude-x-20250929", ("claude-x-20250929", "claude-x")),
        ("bedrock", "us-gov.amazon.x", ("us-gov.amazon.x", "amazon.x")),
        ("bedrock", "arn:aws:b/eu.a.x-2024-01-02", ("arn:aws:b/eu.a.x-2024-01-02", "eu.a.x-2024-01-02", "eu.a.x")),
        ("openai", "us.anything", ("us.anything",)),
        ("openrouter", "google/gemini", ("google/gemini",)),
        ("vertex", "google/gemini@20250101", ("google/gemini@20250101", "gemini@20250101", "gemini")),
        ("openai", "", ()),
        ("openai", "x" * 257, ()),
    ],
)
def test_names_are_tried_from_the_surest_on(provider: str, model: str, names: tuple[str, ...]) -> None:
    found = names_of(provider, model)
    assert found[: len(names)] == names
    assert bool(found) is bool(names)


def test_a_compatible_server_has_openai_prices_only_under_openai_s_very_names() -> None:
    assert price("openai_compatible", "gpt-4o-mini") == price("openai", "gpt-4o-mini")
    assert price("openai_compatible", "GPT-4o-mini-2024-07-18") == price("openai", "gpt-4o-mini")
    assert price("openai_compatible", "gpt-4o-mini-of-our-own") is None
    assert price("openai_compatible", "llama-3.3-70b-versatile") is None
    assert dollars(price("openai_compatible", "our-own", ONE, rule("our-*", "3"))) == 3


@pytest.mark.parametrize("provider", ["vllm", "ollama", "echo", "nobody", ""])
def test_servers_of_one_s_own_have_prices_only_of_their_own(provider: str) -> None:
    assert price(provider, "gpt-4o-mini") is None
    assert dollars(price(provider, "gpt-4o-mini", ONE, rule("gpt-4o-mini", "0.05"))) == Decimal("0.05")
    assert dollars(price(provider, "gpt-4o-mini", ONE, rule("gpt-4o-mini", "0", "0"))) == 0


@pytest.mark.parametrize("provider", sorted(SHIPPED))
@pytest.mark.parametrize("model", [UNKNOWN, "", "x" * 10_000, "\0", "../../etc/passwd", "(a+)+$", "🤖"])
def test_what_is_not_known_costs_nothing_known(provider: str, model: str) -> None:
    assert price(provider, model) is None
    assert price(provider, model, Usage()) is None


def test_the_name_in_the_request_helps_where_the_answer_s_is_not_known() -> None:
    assert price("azure", UNKNOWN, asked="gpt-4o-mini") == price("azure", "gpt-4o-mini")
    assert price("openai", "gpt-4o", asked="gpt-4o-mini") == price("openai", "gpt-4o")
    assert dollars(price("azure", "gpt-4o", ONE, rule("my-deployment", "7"), asked="my-deployment")) == 7


@pytest.mark.parametrize(
    "usage",
    [
        Usage(input=-1),
        Usage(output=-1),
        Usage(input=5, cached_input=-1),
        Usage(input=5, cached_input=6),
        Usage(input=5, cached_input=3, cache_write=3),
        Usage(input=5, cache_write=1, cache_write_1h=2),
        Usage(input=5, cache_write=-1),
        Usage(output=5, reasoning_output=-1),
        Usage(input=10**9 + 1),
        Usage(output=10**30),
    ],
    ids=str,
)
def test_counts_that_cannot_be_have_no_price(usage: Usage) -> None:
    assert price("anthropic", "claude-sonnet-4-5", usage) is None
    assert price("anthropic", "claude-sonnet-4-5", usage, rule("*", cached_input="1", reasoning_output="9")) is None


def test_a_direction_without_a_price_is_not_free() -> None:
    assert price("openai", "text-embedding-3-small", Usage(input=10)) is not None
    assert price("openai", "text-embedding-3-small", Usage(input=10, output=1)) is None
    assert price("openai", "moderation", Usage(input=10)) is None
    speech = Rates(base=Row(output=1))
    assert cost_of(speech, Usage(input=1, output=1)) is None
    assert cost_of(speech, Usage(output=1)) == Cost(prompt=0, completion=1, total=1)


def test_a_fee_for_the_request_is_in_the_total_alone() -> None:
    cost = price("perplexity", "sonar", Usage(input=1_000_000, output=1_000_000))
    assert cost is not None
    assert (plain(cost.prompt), plain(cost.completion), plain(cost.total)) == ("1", "1", "2.012")


def test_one_cached_token_is_not_rounded_away() -> None:
    cheap = rule("m", "0.05", "0", cached_input="0.03")
    cost = price("vllm", "m", Usage(input=1, cached_input=1), cheap)
    assert cost is not None
    assert plain(cost.total) == "0.00000003"


def test_every_part_is_charged_at_its_own_price() -> None:
    own = rule(
        "m",
        "1",
        "10",
        cached_input="0.1",
        cache_write="1.25",
        cache_write_1h="2",
        audio_input="20",
        reasoning_output="30",
        audio_output="40",
    )
    usage = Usage(
        input=1_111_111,
        cached_input=10_000,
        cache_write=1_100,
        cache_write_1h=1_000,
        audio_input=100_000,
        output=111,
        reasoning_output=1,
        audio_output=10,
    )
    cost = price("vllm", "m", usage, own)
    assert cost is not None
    prompt = 1_000_011 * Decimal(1) + 10_000 * Decimal("0.1") + 100 * Decimal("1.25") + 1_000 * 2 + 100_000 * 20
    completion = 100 * 10 + 1 * 30 + 10 * 40
    assert Decimal(plain(cost.prompt)) == prompt / 1_000_000
    assert Decimal(plain(cost.completion)) == Decimal(completion) / 1_000_000
    assert cost.total == cost.prompt + cost.completion


def test_parts_without_a_price_of_their_own_cost_what_the_rest_does() -> None:
    usage = Usage(input=500, cached_input=100, cache_write=50, audio_input=70, output=20, reasoning_output=30)
    plainly = Usage(input=500, output=20)
    assert price("vllm", "m", usage, rule("m")) == price("vllm", "m", plainly, rule("m"))
    hour = rule("m", "1", "1", cache_write_1h="2")
    assert dollars(price("vllm", "m", Usage(input=3, cache_write=2, cache_write_1h=1), hour)) == Decimal("0.000004")


def test_a_long_context_costs_more_from_the_first_token_beyond() -> None:
    tier = PriceTier(above=200_000, input="2", output="3")
    own = rule("m", "1", "2", cached_input="0.5", tiers=(tier,))
    assert dollars(price("vllm", "m", Usage(input=200_000), own)) == Decimal("0.2")
    assert dollars(price("vllm", "m", Usage(input=200_001), own)) == Decimal("0.400002")
    assert dollars(price("vllm", "m", Usage(input=300_000, cached_input=300_000), own)) == Decimal("0.15")
    assert dollars(price("vllm", "m", Usage(input=200_001, output=1_000_000), own)) == Decimal("3.400002")


def test_the_best_rule_wins_whatever_the_order() -> None:
    rules = (rule("*", "1"), rule("gpt-*", "2"), rule("gpt-4*", "3"), rule("GPT-4o", "4"), rule("*-mini", "5"))
    expected = {
        "claude": 1,
        "gpt-3": 2,
        "gpt-4.1": 3,
        "gpt-4o": 4,
        "gpt-4o-2024-08-06": 4,
        "o-mini": 5,
        "gpt-5-mini": 5,
    }
    for ordered in (rules, rules[::-1]):
        assert {name: dollars(price("vllm", name, ONE, *ordered)) for name in expected} == expected


@pytest.mark.parametrize(
    ("pattern", "fits", "does_not"),
    [
        ("*", ["", "a", "a/b"], []),
        ("ab*ba", ["abba", "abxba"], ["aba", "ab", "ba", "xabba", "abbax"]),
        ("a*b*c", ["abc", "axbxc", "abbcc"], ["acb", "ac", "abcx"]),
        ("a.c", ["a.c"], ["abc"]),
        ("a**b", ["ab", "axb"], ["a"]),
    ],
)
def test_a_star_is_any_run_and_nothing_else_is_special(pattern: str, fits: list[str], does_not: list[str]) -> None:
    parts = pattern.split("*")
    assert [name for name in fits + does_not if overrides.matches(parts, name)] == fits


def test_a_registry_s_price_stands_instead_of_the_shipped_one() -> None:
    assert dollars(price("openai", "gpt-4o-mini", ONE, rule("gpt-4o-mini", "123"))) == 123
    assert price("openai", "gpt-4o-mini", ONE, rule("gpt-4o", "123")) == price("openai", "gpt-4o-mini")


def test_a_price_counts_from_its_day_on() -> None:
    rules = (
        rule("m", "1", effective_from="2026-01-01"),
        rule("m", "2", effective_from="2026-11-18"),
        rule("m*", "9"),
    )
    first = 1_767_225_600.0  # 2026-01-01
    second = 1_794_960_000.0  # 2026-11-18
    told = [dollars(price("vllm", "m", ONE, *rules, at=at)) for at in (first - 1, first, second - 0.001, second)]
    assert told == [9, 1, 1, 2]


@pytest.mark.parametrize("at", [-1.0, 0.0, 1e18, float("nan"), float("inf")])
def test_no_time_is_too_odd(at: float) -> None:
    price("deepseek", "deepseek-chat", at=at)
    assert price("deepseek", "deepseek-chat") is not None


def test_a_tier_of_service_has_its_price() -> None:
    standard, flex = price("openai", "gpt-5"), price("openai", "gpt-5", service_tier="flex")
    assert standard is not None
    assert flex is not None
    assert flex.total * 2 == standard.total
    assert price("openai", "gpt-5", service_tier="on_demand") == standard
    assert price("azure", "gpt-5", service_tier="flex") == price("azure", "gpt-5"), "who resells has its own terms"


def test_what_is_remembered_does_not_grow_without_end() -> None:
    mine = PriceBook()
    rules = (rule("x-*"),)
    for number in range(book.MOST + 10):
        mine.price("vllm", f"x-{number}", ONE, at=NOW)
        mine.price("vllm", f"x-{number}", ONE, at=NOW, overrides=rules)
    assert len(mine._listings) <= book.MOST
    assert len(mine._overrides[id(rules)][1]._known) <= overrides.MOST
    for number in range(book.MOST + 10):
        mine.price("vllm", "m", ONE, at=NOW, overrides=(rule("m", str(number)),))
    assert len(mine._overrides) <= book.MOST


def test_other_rules_at_the_same_address_are_not_taken_for_these() -> None:
    mine = PriceBook()
    for number in range(1000):
        cost = mine.price("vllm", "m", ONE, at=NOW, overrides=(rule("m", str(number)),))
        assert dollars(cost) == number


def test_it_may_be_asked_from_many_threads_at_once() -> None:
    mine = PriceBook()
    names = [offer.slug for offer in offers("openai")]
    with ThreadPoolExecutor(8) as threads:
        told = list(threads.map(lambda name: mine.price("openai", name, ONE, at=NOW), names * 20))
    assert told == [price("openai", name) for name in names] * 20


def test_nobody_pays_for_the_price_list_who_prices_nothing() -> None:
    script = (
        "import sys; from trustgate.providers.prices import PriceBook; import trustgate.planes.admin.models;"
        "book = PriceBook(); assert 'genai_prices' not in sys.modules and 'pydantic' not in sys.modules;"
        "book.load(); assert 'genai_prices' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


tokens = st.integers(0, 2_000_000)
decimals = st.decimals("0", "1000", places=6).map(lambda it: format(it, "f"))
known = st.sampled_from([(provider, offer.slug) for provider in SHIPPED for offer in offers(provider)])


@st.composite
def rules(draw: st.DrawFn) -> PriceRule:
    """Prices of any kind; a longer context is not cheaper."""
    names = ("cached_input", "cache_write", "cache_write_1h", "audio_input", "reasoning_output", "audio_output")
    more = {name: draw(st.none() | decimals) for name in names}
    return structs.replace(PriceRule(model="m", input=draw(decimals), output=draw(decimals)), **more)


@st.composite
def parts(draw: st.DrawFn) -> Usage:
    """Counts made of parts, so that they fit."""
    text, cached, minutes, hour, audio = (draw(tokens) for _ in range(5))
    said, thought, spoken = (draw(tokens) for _ in range(3))
    return Usage(
        input=text + cached + minutes + hour + audio,
        cached_input=cached,
        cache_write=minutes + hour,
        cache_write_1h=hour,
        audio_input=audio,
        output=said + thought + spoken,
        reasoning_output=thought,
        audio_output=spoken,
    )


@given(own=rules(), first=parts(), second=parts())
def test_cost_adds_up_exactly_and_never_falls(own: PriceRule, first: Usage, second: Usage) -> None:
    one, other, both = (price("vllm", "m", usage, own) for usage in (first, second, first + second))
    assert one is not None
    assert other is not None
    assert both == one + other
    assert min(one.prompt, one.completion, one.total) >= 0
    assert both.prompt >= one.prompt
    assert both.completion >= one.completion


@settings(deadline=None)
@given(model=known, first=parts(), second=parts())
def test_more_tokens_never_cost_less(model: tuple[str, str], first: Usage, second: Usage) -> None:
    """With the shipped prices, where a longer context costs more and some requests cost a fee."""
    one, both = price(*model, first), price(*model, first + second)
    assume(one is not None and both is not None)
    assert one is not None
    assert both is not None
    assert 0 <= one.prompt <= both.prompt
    assert 0 <= one.completion <= both.completion
    assert one.prompt + one.completion <= one.total <= both.total


@settings(deadline=None)
@given(
    provider=st.sampled_from([*PROVIDERS, "nobody"]) | st.text(),
    model=st.text() | known.map(lambda each: each[1]),
    counts=st.lists(st.integers(-(10**12), 10**12), min_size=11, max_size=11),
    tier=st.text(),
    asked=st.text(),
)
def test_whatever_is_asked_it_never_raises(provider: str, model: str, counts: list[int], tier: str, asked: str) -> None:
    usage = msgspec.convert(dict(zip(Usage.__struct_fields__, counts, strict=False)), Usage)
    cost = BOOK.price(provider, model, usage, at=NOW, service_tier=tier, asked=asked)
    assert cost is None or min(cost.prompt, cost.completion, cost.total) >= 0
