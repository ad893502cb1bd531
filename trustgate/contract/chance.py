"""Random hex digits for ids: from the operating system, fetched a few thousand at a time, which costs a tenth of asking
it for each id. Never for keys or anything else that must not be guessed from a memory dump.
"""

import os
from time import time_ns
from typing import Final

_BYTES: Final = 4096
_VARIANT: Final = {digit: "89ab"[at % 4] for at, digit in enumerate("0123456789abcdef")}


class Chance:
    """A stock of random hex digits."""

    __slots__ = ("_at", "_stock")

    def __init__(self) -> None:
        self._stock = ""
        self._at = 0

    def digits(self, number: int) -> str:
        """Return that many digits, none of them ever twice."""
        at = self._at
        if at + number > len(self._stock):
            self._stock = os.urandom(_BYTES).hex()
            at = 0
        self._at = at + number
        return self._stock[at : at + number]

    def forget(self) -> None:
        """Throw the stock away: a forked process must not hand out its parent's digits."""
        self._stock = ""
        self._at = 0


_chance = Chance()
os.register_at_fork(after_in_child=_chance.forget)
random_digits: Final = _chance.digits


def uuid7() -> str:
    """Return a UUID version 7 (RFC 9562): it sorts by time, and tells nothing but the time."""
    moment, chance = time_ns() // 1_000_000, random_digits(20)
    clock = f"{moment:012x}"
    return f"{clock[:8]}-{clock[8:]}-7{chance[:3]}-{_VARIANT[chance[3]]}{chance[4:7]}-{chance[7:19]}"
