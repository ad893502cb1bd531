"""Whose turn it is: exactly their share over any round, and never all of it in a row."""

from collections import Counter
from collections.abc import Sequence
from math import gcd

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustgate.contract.target import Target
from trustgate.contract.upstream import Origin
from trustgate.forwarding.strategies import Rotation

weights = st.lists(st.integers(1, 100), min_size=1, max_size=6)


def targets(*shares: int) -> list[Target]:
    origin = Origin(scheme="https", host="api.example.com", port=443)
    return [
        Target(
            registry_id=f"r{at}",
            provider="openai",
            dialect="openai",
            origin=origin,
            ways={},
            headers=(),
            weight=share,
        )
        for at, share in enumerate(shares)
    ]


def turns(rotation: Rotation, candidates: Sequence[Target], number: int) -> list[str]:
    return [rotation.order(candidates)[0].registry_id for _ in range(number)]


@given(weights, st.integers(1, 3))
@settings(deadline=None, max_examples=120)
def test_over_a_round_everybody_has_exactly_their_share(shares: list[int], rounds: int) -> None:
    number = sum(shares) // gcd(*shares)
    chosen = Counter(turns(Rotation(), targets(*shares), number * rounds))
    assert chosen == {f"r{at}": share // gcd(*shares) * rounds for at, share in enumerate(shares)}


@given(weights, st.integers(0, 300))
@settings(deadline=None, max_examples=120)
def test_at_any_time_nobody_is_ahead_or_behind_by_more_than_the_number_of_the_others(
    shares: list[int], number: int
) -> None:
    chosen = Counter(turns(Rotation(), targets(*shares), number))
    for at, share in enumerate(shares):
        assert abs(chosen[f"r{at}"] - number * share / sum(shares)) <= max(1, len(shares) - 1)


@pytest.mark.parametrize(
    ("shares", "order"),
    [
        ((1,), "0 0 0"),
        ((1, 1), "0 1 0 1"),
        ((1, 1, 1), "0 1 2 0 1 2"),
        ((5, 1, 1), "0 0 1 0 2 0 0"),
        ((1, 3), "1 0 1 1 1 0"),
        ((50, 50), "0 1 0 1"),
    ],
)
def test_turns_are_spread(shares: tuple[int, ...], order: str) -> None:
    expected = [f"r{at}" for at in order.split()]
    assert turns(Rotation(), targets(*shares), len(expected)) == expected


@given(weights)
@settings(deadline=None, max_examples=60)
def test_everybody_else_comes_behind_in_their_order(shares: list[int]) -> None:
    candidates, rotation = targets(*shares), Rotation()
    for _ in range(10):
        first, *rest = rotation.order(candidates)
        assert rest == [target for target in candidates if target is not first]


@given(st.lists(st.sets(st.integers(0, 3), min_size=1), min_size=1, max_size=200))
@settings(deadline=None, max_examples=60)
def test_candidates_that_change_from_turn_to_turn_starve_nobody(asked: list[set[int]]) -> None:
    candidates, rotation = targets(1, 2, 3, 4), Rotation()
    for chosen in asked:
        some = [candidates[at] for at in sorted(chosen)]
        assert {target.registry_id for target in rotation.order(some)} == {target.registry_id for target in some}
    number = 10 * len(asked) + 40
    assert set(turns(rotation, candidates, number)) == {"r0", "r1", "r2", "r3"}


def test_an_empty_choice_stays_empty() -> None:
    assert Rotation().order([]) == []
