"""The world as plugins may reach it. Each port has at least two implementations and one contract test."""

from typing import Protocol

from msgspec import Struct


class Allowance(Struct, frozen=True, kw_only=True):
    """What a limiter said: whether it was taken, how much is left, and in how many seconds more can be taken."""

    allowed: bool
    limit: int
    remaining: int
    reset_after: float
    retry_after: float = 0.0


class Limiter(Protocol):
    """Counts over sliding windows. Taking is atomic: two callers never both get the last one."""

    async def take(self, key: str, *, limit: int, window: float, cost: int = 1) -> Allowance:
        """Take `cost` out of `limit` per `window` seconds, or take nothing and say when to come back.

        In no interval of `window` seconds is more than `limit` taken. What was taken returns at the latest
        `window` * 65/64 seconds later: time is counted in 64 slots a window. Raises StateUnavailable.
        """

    async def refund(self, key: str, *, window: float, cost: int = 1) -> None:
        """Give back what was taken for something that did not happen. Raises StateUnavailable."""


class StateUnavailable(Exception):
    """The store behind a port cannot be reached; the policy's `on_error` decides what that means."""


class Services(Struct, frozen=True, kw_only=True):
    """The only way a plugin reaches the world."""

    limiter: Limiter
