"""Amounts, written and added; usages, added and merged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trustgate.contract.cost import DECIMALS, Cost, plain
from trustgate.contract.usage import Usage

amounts = st.integers(-(10**40), 10**40)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0"),
        (1, "0." + "0" * 23 + "1"),
        (3 * 10**16, "0.00000003"),
        (10**24, "1"),
        (1_500_000 * 10**24, "1500000"),
        (-25 * 10**22, "-0.25"),
    ],
)
def test_amounts_are_written_plainly(amount: int, text: str) -> None:
    assert plain(amount) == text


@given(amount=amounts)
def test_what_is_written_is_exactly_the_amount(amount: int) -> None:
    text = plain(amount)
    whole, _, fraction = text.lstrip("-").partition(".")
    assert int(whole + fraction.ljust(DECIMALS, "0")) == abs(amount)
    assert not set(text) - set("-.0123456789")
    assert not fraction.endswith("0")


def test_costs_add_up() -> None:
    one, other = Cost(prompt=1, completion=2, total=4), Cost(prompt=10, completion=20, total=30)
    assert one + other == Cost(prompt=11, completion=22, total=34)


counts = st.integers(0, 10**9)
usages = st.builds(Usage, **dict.fromkeys(Usage.__struct_fields__[:-1], counts), estimated=st.booleans())


@given(one=usages, other=usages)
def test_adding_adds_every_count(one: Usage, other: Usage) -> None:
    both = one + other
    for name in Usage.__struct_fields__[:-1]:
        assert getattr(both, name) == getattr(one, name) + getattr(other, name)
    assert both.estimated is (one.estimated or other.estimated)
    assert both.total == one.total + other.total


@given(earlier=usages, later=usages)
def test_merging_takes_the_later_count_that_says_something(earlier: Usage, later: Usage) -> None:
    merged = earlier.merged(later)
    for name in Usage.__struct_fields__[:-1]:
        assert getattr(merged, name) == (getattr(later, name) or getattr(earlier, name))
    assert merged.merged(later) == merged
    assert Usage().merged(earlier) == earlier == earlier.merged(Usage())


def test_a_stream_that_says_its_input_first_and_its_output_last() -> None:
    start = Usage(input=25, cached_input=20, output=1)
    assert start.merged(Usage(output=7)).merged(Usage(output=15)) == Usage(input=25, cached_input=20, output=15)
