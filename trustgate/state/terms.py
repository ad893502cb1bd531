"""What every store agrees on: how long is late, what is a guess, and what is a mistake of the caller."""

from collections.abc import Sequence

from trustgate.contract.ports import Want

GUESS = 1.0
"""After how many seconds to come back if that depends on others: nobody knows when they are done."""
LATE = 3600
"""How many seconds after its lease a reservation can still be settled."""


def check_cost(cost: int) -> None:
    """Raise ValueError for a cost below zero."""
    if cost < 0:
        raise ValueError(f"a cost of {cost} would give back what nobody took: refund it")


def check_amount(amount: int) -> None:
    """Raise ValueError for an amount below zero."""
    if amount < 0:
        raise ValueError(f"an amount of {amount} would give back what nobody used")


def check_amounts(amounts: Sequence[int], wants: Sequence[Want]) -> None:
    """Raise ValueError unless there is one amount for each want, none of them below zero."""
    if len(amounts) != len(wants):
        raise ValueError(f"there are {len(wants)} budgets, but {len(amounts)} amounts")
    for amount in amounts:
        check_amount(amount)


def check_ttl(ttl: float) -> None:
    """Raise ValueError for a value that would be kept for no time."""
    if ttl <= 0:
        raise ValueError(f"a ttl of {ttl} seconds keeps nothing: delete it")
