"""Whose turn it is: each strategy against its definition, over ten thousand turns, and what one turn costs."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from math import gcd, sqrt
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.world import services
from trustgate import Candidate, Factory, Figures, Strategy, StrategyOptions, Tier, Turn
from trustgate.enforcement.plugins import load_plugins
from trustgate_plugins.strategies.asking import complexity

TURNS = 10_000
STRATEGIES = load_plugins().strategies
SERVICES = services()
weights = st.lists(st.integers(1, 100), min_size=1, max_size=6)


def candidates(*shares: float, **fields: Sequence[Any]) -> list[Candidate]:
    return [
        replace(
            Candidate(
                key=f"r{at}",
                registry_id=f"r{at}",
                registry=f"r{at}",
                model="m",
                weight=float(share),
                priority=0,
                capacity=0,
                description="",
                price=None,
                figures=Figures(),
            ),
            **{name: values[at] for name, values in fields.items()},
        )
        for at, share in enumerate(shares)
    ]


def made(name: str, among: Sequence[Candidate], chance: Callable[[], float] = lambda: 0.0, **options: Any) -> Strategy:
    factory: Factory = STRATEGIES[name]
    return factory(among, StrategyOptions(**options), SERVICES, chance)


def turn(chance: Callable[[], float] = lambda: 0.0, **fields: Any) -> Turn:
    return Turn(**{"ctx": None, "now": 100.0, "chance": chance} | fields)


class Request:
    """As much of a request as is hashed."""

    def __init__(self, who: str) -> None:
        self.client_ip = who
        self.session_id = ""


def of(who: str) -> Turn:
    return turn(ctx=Request(who))


def picked(strategy: Strategy, number: int, chance: Callable[[], float] = lambda: 0.0) -> Counter[int]:
    found = Counter(strategy.pick(turn(chance), None) for _ in range(number))
    assert None not in found
    return Counter({at: count for at, count in found.items() if at is not None})


def bound(number: int, share: float) -> float:
    """Return how far from its expectation a binomial count is once in some million times."""
    return 5 * sqrt(number * share * (1 - share))


# Turns.


@given(weights, st.integers(1, 3))
@settings(deadline=None, max_examples=120)
def test_over_a_round_everybody_has_exactly_their_share(shares: list[int], rounds: int) -> None:
    number = sum(shares) // gcd(*shares)
    chosen = picked(made("weighted-round-robin", candidates(*shares)), number * rounds)
    assert chosen == {at: share // gcd(*shares) * rounds for at, share in enumerate(shares)}


@given(weights, st.integers(0, 300), st.integers(0, 1000))
@settings(deadline=None, max_examples=120)
def test_at_any_time_nobody_is_far_ahead_or_behind(shares: list[int], number: int, seed: int) -> None:
    chosen = picked(made("weighted-round-robin", candidates(*shares), Random(seed).random), number)
    for at, share in enumerate(shares):
        assert abs(chosen[at] - number * share / sum(shares)) <= len(shares)


def test_ten_thousand_turns_by_weight() -> None:
    shares = (1, 2, 3, 94)
    chosen = picked(made("weighted-round-robin", candidates(*shares), Random(1).random), TURNS)
    assert all(abs(chosen[at] - TURNS * share / 100) <= 1 for at, share in enumerate(shares))


def test_ten_thousand_turns_that_heed_no_weight() -> None:
    chosen = picked(made("round-robin", candidates(1, 50, 100)), TURNS)
    assert max(chosen.values()) - min(chosen.values()) <= 1


def test_where_a_round_begins_is_left_to_chance() -> None:
    first = Counter(
        made("round-robin", candidates(1, 1, 1, 1), Random(n).random).pick(turn(), None) for n in range(400)
    )
    assert all(abs(first[at] - 100) < bound(400, 0.25) for at in range(4))


def test_who_was_away_is_owed_nothing() -> None:
    strategy = made("weighted-round-robin", candidates(1, 1, 1))
    away = [strategy.pick(turn(), lambda at: at != 1) for _ in range(300)]
    assert Counter(away) == {0: 150, 2: 150}
    back = Counter(strategy.pick(turn(), None) for _ in range(30))
    assert all(9 <= back[at] <= 11 for at in range(3)), back


def test_at_random() -> None:
    chance = Random(7).random
    chosen = picked(made("random", candidates(1, 1, 1, 1)), TURNS, chance)
    assert all(abs(chosen[at] - TURNS / 4) < bound(TURNS, 0.25) for at in range(4))


# Hashes.


def homes(strategy: Strategy, number: int = TURNS) -> list[int | None]:
    return [strategy.pick(of(f"10.0.{at // 250}.{at % 250}"), None) for at in range(number)]


@pytest.mark.parametrize("name", ["ip-hash", "consistent-hash"])
def test_one_caller_always_goes_to_one_target(name: str) -> None:
    strategy = made(name, candidates(1, 1, 1), hash_on="ip")
    assert homes(strategy, 500) == homes(strategy, 500)
    chosen = Counter(homes(strategy))
    assert all(abs(chosen[at] - TURNS / 3) < TURNS / 3 * 0.35 for at in range(3)), chosen


@pytest.mark.parametrize("number", [2, 5, 10])
def test_a_target_that_joins_moves_only_its_share(number: int) -> None:
    before = homes(made("consistent-hash", candidates(*[1] * number), hash_on="ip"))
    after = homes(made("consistent-hash", candidates(*[1] * (number + 1)), hash_on="ip"))
    moved = [new for old, new in zip(before, after, strict=True) if old != new]
    assert set(moved) == {number}, "nobody moves but to the one who joined"
    assert len(moved) / TURNS <= 1 / (number + 1) + 0.08


def test_a_ring_heeds_weights() -> None:
    chosen = Counter(homes(made("consistent-hash", candidates(1, 3), hash_on="ip")))
    assert 2.0 < chosen[1] / chosen[0] < 4.5


def test_nobody_has_much_more_under_way_than_its_share() -> None:
    among = candidates(1, 1, 1, 1)
    strategy = made("consistent-hash", among, hash_on="ip")
    for _ in range(400):  # one caller alone, which never ends a call
        at = strategy.pick(of("10.0.0.1"), None)
        assert at is not None
        among[at].figures.in_flight += 1
    assert max(each.figures.in_flight for each in among) <= 126


def test_whoever_cannot_be_asked_is_passed_by() -> None:
    strategy = made("consistent-hash", candidates(1, 1, 1), hash_on="ip")
    home = strategy.pick(of("10.0.0.1"), None)
    other = strategy.pick(of("10.0.0.1"), lambda at: at != home)
    assert other not in (home, None)
    assert strategy.pick(of("10.0.0.1"), lambda _: False) is None


@pytest.mark.parametrize("wrong", ["", "cookie", "header:", "header"])
def test_what_cannot_be_hashed(wrong: str) -> None:
    if wrong:
        with pytest.raises(ValueError, match="hash_on"):
            made("consistent-hash", candidates(1, 1), hash_on=wrong)
    else:
        made("consistent-hash", candidates(1, 1))


# The least of something.


def test_the_fewest_calls_under_way() -> None:
    among = candidates(1, 1, 2)
    strategy = made("least-connections", among)
    for _ in range(TURNS):
        at = strategy.pick(turn(), None)
        assert at is not None
        loads = [each.figures.in_flight / each.weight for each in among]
        assert loads[at] == min(loads)
        among[at].figures.in_flight += 1
    assert [each.figures.in_flight for each in among] == [TURNS // 4, TURNS // 4, TURNS // 2]


def test_the_quicker_of_two() -> None:
    among = candidates(1, 1, 1)
    for at, seconds in enumerate((0.1, 0.2, 5.0)):
        among[at].figures.took(seconds, 100.0)
    chance = Random(3).random
    chosen = picked(made("least-latency", among), TURNS, chance)
    assert chosen[2] == 0, "the slowest of three never wins against another"
    assert abs(chosen[0] - TURNS * 2 / 3) < bound(TURNS, 2 / 3), "the quickest wins whenever it is one of the two"


def test_calls_under_way_count_against_the_quick() -> None:
    among = candidates(1, 1)
    among[0].figures.took(0.1, 100.0)
    among[1].figures.took(0.3, 100.0)
    strategy = made("least-latency", among)
    assert strategy.pick(turn(), None) == 0
    among[0].figures.in_flight = 3
    assert strategy.pick(turn(), None) == 1


def test_a_peak_counts_at_once_and_fades() -> None:
    figures = Figures()
    figures.took(0.1, 100.0)
    figures.took(2.0, 100.1)
    assert figures.latency(100.1) == 2.0
    figures.took(0.1, 100.2)
    assert 1.9 < figures.latency(100.2) < 2.0, "one quick answer does not make it quick"
    assert figures.latency(160.0) < 0.01, "nobody is avoided for ever"


def test_what_is_usual_is_what_nineteen_of_twenty_keep_to() -> None:
    figures = Figures()
    for at in range(19):
        figures.took(1.0 + at, 100.0)
    assert figures.p95() is None, "too few to say"
    figures.took(20.0, 100.0)
    assert figures.p95() == 19.0
    for _ in range(128):
        figures.took(0.5, 100.0)
    assert figures.p95() == 0.5, "what was long ago is forgotten"


def test_the_cheapest_first_and_whoever_nobody_knows_last() -> None:
    strategy = made("least-cost", candidates(1, 1, 1, 1, price=[5, None, 2, 2]))
    assert picked(strategy, TURNS) == {2: TURNS / 2, 3: TURNS / 2}
    assert strategy.pick(turn(), lambda at: at < 2) == 0
    assert strategy.pick(turn(), lambda at: at == 1) == 1


def test_the_first_rank_has_all_until_it_is_full() -> None:
    among = candidates(1, 3, 1, priority=[0, 0, 7])
    strategy = made("priority", among)
    chosen = picked(strategy, TURNS)
    assert (chosen[0], chosen[1], chosen[2]) == (TURNS / 4, TURNS * 3 / 4, 0)
    assert strategy.pick(turn(), lambda at: at == 2) == 2, "what the first rank cannot, the next one does"


# What is asked.


def test_a_tier_is_the_highest_below_the_score() -> None:
    tiers = (Tier(min_score=0.0, registry_id="r0"), Tier(min_score=0.5, registry_id="r1"))
    strategy = made("smart-routing", candidates(1, 1, 1), tiers=tiers)
    picks = {score: strategy.pick(turn(prepared=score), None) for score in (0.0, 0.49, 0.5, 1.0)}
    assert picks == {0.0: 0, 0.49: 0, 0.5: 1, 1.0: 1}
    assert strategy.pick(turn(prepared=1.0), lambda at: at != 1) == 0, "the next simpler one stands in"
    assert strategy.pick(turn(prepared=None), lambda at: at == 2) == 2, "without a score it goes round"


def test_what_looks_difficult() -> None:
    easy = ["Hi!", "What is the capital of France?", "Translate 'dog' to German."]
    hard = [
        "Prove step by step that the algorithm terminates, and analyze its complexity.",
        "Refactor this:\n```python\ndef f(x):\n    return x * 2 + 1\n```\nand explain the trade-offs of the design.",
    ]
    assert max(map(complexity, easy)) < 0.2
    assert min(map(complexity, hard)) > 0.4
    assert complexity("x" * 1_000_000) <= 1.0


def test_the_closest_is_first() -> None:
    strategy = made("semantic", candidates(1, 1, 1))
    assert [strategy.pick(turn(prepared=(2, 0, 1)), usable) for usable in (None, lambda at: at != 2)] == [2, 0]
    assert strategy.pick(turn(prepared=None), None) is not None


# Costs.


@pytest.mark.parametrize("name", sorted(set(STRATEGIES) - {"semantic", "smart-routing"}))
def test_a_turn_among_a_thousand_is_quick(name: str) -> None:
    """The figure that is wanted is 20 µs; here it may be five times as much, because the machine of a test is busy."""
    chance = Random(5).random
    among = candidates(*[1] * 1000, price=[at % 7 for at in range(1000)], priority=[at % 3 for at in range(1000)])
    strategy, now = made(name, among, chance), turn(chance)
    best = min(_seconds(strategy, now) for _ in range(20))
    assert best < 100e-6, f"{best * 1e6:.1f} µs"


def _seconds(strategy: Strategy, now: Turn) -> float:
    started = time.perf_counter()
    for _ in range(50):
        strategy.pick(now, None)
    return (time.perf_counter() - started) / 50
