"""Budgets kept in this process. Nothing here awaits, so that a reservation cannot be interrupted by another."""

from collections.abc import Callable, Sequence
from itertools import count
from time import monotonic_ns, time

from msgspec.structs import replace

from trustgate.contract.ports import Reservation, Standing, StateUnavailable, Want
from trustgate.state.leases import Leases
from trustgate.state.shelf import MAX_KEYS, Shelf
from trustgate.state.windows import NANOSECONDS, Count, Period, Window, name_of

GUESS = 1.0
"""After how many seconds to come back if that depends on what others have reserved: nobody knows what they will use."""
LATE = 3600 * NANOSECONDS
"""How long after its lease a reservation can still be settled."""


class Account:
    """One budget: what is settled, and the sum of what is reserved."""

    __slots__ = ("reserved", "settled")

    def __init__(self, settled: Count) -> None:
        self.settled = settled
        self.reserved = 0

    def over(self, now: int) -> bool:
        """Say whether nothing counts any more."""
        return not self.reserved and self.settled.over(now)


Hold = tuple[tuple[Want, ...], list[Account]]


class MemoryLedger:
    """The ledger of a process that shares its budgets with nobody.

    `clock` is for windows and leases, `wall` (Unix seconds) for periods of the calendar. `max_keys` holds for budgets
    and for reservations, each.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], int] = monotonic_ns,
        wall: Callable[[], float] = time,
        max_keys: int = MAX_KEYS,
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._accounts: Shelf[tuple[str, float], Account] = Shelf(max_keys)
        self._holds: Leases[Hold] = Leases()
        self._late: dict[str, int] = {}
        self._max_keys = max_keys
        self._ids = count(1)

    def __len__(self) -> int:
        return len(self._accounts.held) + len(self._holds.held) + len(self._late)

    async def reserve(self, wants: Sequence[Want], *, lease: float) -> Reservation:
        """Reserve of every budget, or of none."""
        now = self._clock()
        self._lapse(now)
        asked = tuple(wants)
        accounts = self._open(asked, now)
        shortages = _shortages(asked, accounts)
        if any(shortages):
            return Reservation(id="", allowed=False, wants=asked, standings=_stand_all(asked, accounts, shortages, now))
        if len(self._holds.held) >= self._max_keys:
            raise StateUnavailable(f"{self._max_keys} reservations are under way, which is as many as fit")
        for want, account in zip(asked, accounts, strict=True):
            account.reserved += want.amount
        name = str(next(self._ids))
        self._holds.put(name, now + round(lease * NANOSECONDS), (asked, accounts))
        return Reservation(id=name, allowed=True, wants=asked, standings=_stand_all(asked, accounts, shortages, now))

    async def settle(self, reservation: Reservation, amounts: Sequence[int]) -> tuple[Standing, ...]:
        """Count what was really used, once; of what was never reserved nothing is counted."""
        check_amounts(reservation, amounts)
        now = self._clock()
        self._lapse(now)
        wants = reservation.wants
        if hold := self._holds.held.pop(reservation.id, None):
            _free(hold[1])
        elif not self._late.pop(reservation.id, None):
            return _stand_all(wants, self._find_or_make(wants, now), (0,) * len(wants), now)
        accounts = self._open(wants, now)
        for want, account, amount in zip(wants, accounts, amounts, strict=True):
            if not want.until or self._wall() < want.until:
                account.settled.take(now, amount)
        return _stand_all(wants, accounts, (0,) * len(wants), now)

    async def look(self, wants: Sequence[Want]) -> tuple[Standing, ...]:
        """Say how budgets stand, and which `reserve` would find short. Budgets nobody used are not kept for it."""
        now = self._clock()
        self._lapse(now)
        accounts = self._find_or_make(wants, now)
        return _stand_all(wants, accounts, _shortages(wants, accounts), now)

    def _find_or_make(self, wants: Sequence[Want], now: int) -> list[Account]:
        found = zip(wants, self._find(wants, now), strict=True)
        return [account or Account(self._make(want)) for want, account in found]

    def _find(self, wants: Sequence[Want], now: int) -> list[Account | None]:
        held = self._accounts.held
        found = [held.get((want.key, -want.until if want.until else want.window)) for want in wants]
        for account in found:
            if account is not None:
                account.settled.forget(now)
        return found

    def _open(self, wants: Sequence[Want], now: int) -> list[Account]:
        for want in wants:
            if want.amount < 0:
                raise negative_amount(want.amount)
        found = self._find(wants, now)
        accounts = [account for account in found if account is not None]
        if len(accounts) == len(found):
            return accounts
        self._accounts.make_room(len(found) - len(accounts), now)
        # found again, because sweeping may have thrown some away that had nothing in them
        return [self._held_or_new(want) for want in wants]

    def _held_or_new(self, want: Want) -> Account:
        name = name_of(want.key, want.window, want.until)
        return self._accounts.held.get(name) or self._accounts.put(name, Account(self._make(want)))

    def _make(self, want: Want) -> Count:
        return Period(want.until, self._wall) if want.until else Window(want.window)

    def _lapse(self, now: int) -> None:
        if now < self._holds.soonest:
            return
        for name, hold in self._holds.lapse(now):
            _free(hold)
            self._late[name] = now + LATE
        while self._late and (len(self._late) > self._max_keys or next(iter(self._late.values())) <= now):
            del self._late[next(iter(self._late))]


def negative_amount(amount: int) -> ValueError:
    """Return the mistake of whoever reserves or settles less than nothing."""
    return ValueError(f"an amount of {amount} would give back what nobody used")


def check_amounts(reservation: Reservation, amounts: Sequence[int]) -> None:
    """Raise ValueError unless there is one amount for each want, none of them negative."""
    if len(amounts) != len(reservation.wants):
        raise ValueError(f"{len(reservation.wants)} budgets were reserved of, but {len(amounts)} amounts are settled")
    for amount in amounts:
        if amount < 0:
            raise negative_amount(amount)


def _free(hold: Hold) -> None:
    for want, account in zip(*hold, strict=True):
        account.reserved -= want.amount


def _shortages(wants: Sequence[Want], accounts: Sequence[Account]) -> list[int]:
    """Return how much each budget lacks, beside those before it of the same key."""
    before: dict[int, int] = {}
    shortages = []
    for want, account in zip(wants, accounts, strict=True):
        spoken = account.settled.total + account.reserved
        if len(wants) > 1:
            spoken = before.get(id(account), spoken)
        shortage = max(0, spoken + (want.amount if want.strict else 1) - want.limit)
        shortages.append(shortage)
        if not shortage:
            before[id(account)] = spoken + want.amount
    return shortages


def _stand_all(
    wants: Sequence[Want], accounts: Sequence[Account], shortages: Sequence[int], now: int
) -> tuple[Standing, ...]:
    return tuple([_stand(*each, now) for each in zip(wants, accounts, shortages, strict=True)])


def _stand(want: Want, account: Account, shortage: int, now: int) -> Standing:
    settled = account.settled
    used, reserved = settled.total, account.reserved
    standing = Standing(
        limit=want.limit,
        used=used,
        reserved=reserved,
        remaining=max(0, want.limit - used - reserved),
        reset_after=settled.reset_after(now),
    )
    return (
        replace(standing, short=True, retry_after=_retry_after(want, account, shortage, now)) if shortage else standing
    )


def _retry_after(want: Want, account: Account, shortage: int, now: int) -> float:
    """Say when enough has come back; if that needs what is reserved now, it may be any moment."""
    needed = want.amount if want.strict else 1
    if needed > want.limit or shortage <= account.settled.total:
        return account.settled.wait(now, shortage)
    return min(GUESS, account.settled.whole(now))
