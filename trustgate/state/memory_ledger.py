"""Budgets kept in this process. Nothing here awaits, so that a reservation cannot be interrupted by another."""

from collections.abc import Callable, Sequence
from itertools import count
from time import monotonic_ns, time

from trustgate.contract.ports import Reservation, Standing, StateUnavailable, Want
from trustgate.state.leases import Leases
from trustgate.state.shelf import MAX_KEYS, Shelf
from trustgate.state.terms import GUESS, LATE, check_amount, check_amounts
from trustgate.state.windows import NANOSECONDS, Count, Period, Window, name_of


class Account:
    """One budget: what is settled, and the sum of what is reserved."""

    __slots__ = ("reserved", "settled")

    def __init__(self, settled: Count) -> None:
        self.settled = settled
        self.reserved = 0

    def over(self, now: int) -> bool:
        """Say whether nothing counts any more."""
        return not self.reserved and self.settled.over(now)


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
        self._holds: Leases[tuple[Want, ...]] = Leases()
        self._late: dict[str, int] = {}
        self._max_keys = max_keys
        self._ids = count(1)

    def __len__(self) -> int:
        return len(self._accounts.held) + len(self._holds.held) + len(self._late)

    async def reserve(self, wants: Sequence[Want], *, lease: float, beyond: bool = False) -> Reservation:
        """Reserve of every budget, or of none; `beyond` also where one is short."""
        now = self._clock()
        if now >= self._holds.soonest:
            self._lapse(now)
        asked = tuple(wants)
        accounts = self._open(asked, now)
        shortages = _shortages(asked, accounts)
        short = any(shortages)
        if short and not beyond:
            return Reservation(id="", allowed=False, wants=asked, standings=_stand_all(asked, accounts, shortages, now))
        if len(self._holds.held) >= self._max_keys:
            raise StateUnavailable(f"{self._max_keys} reservations are under way, which is as many as fit")
        name = str(next(self._ids))
        self._holds.put(name, now + int(lease * NANOSECONDS), asked)
        standings = []
        for want, account, shortage in zip(asked, accounts, shortages, strict=True):
            account.reserved += want.amount
            standings.append(_stand(want, account, shortage, now))
        return Reservation(id=name, allowed=not short, wants=asked, standings=tuple(standings))

    async def settle(self, reservation: Reservation, amounts: Sequence[int]) -> tuple[Standing, ...]:
        """Count what was really used, once; of what was never reserved nothing is counted."""
        wants = reservation.wants
        check_amounts(amounts, wants)
        now = self._clock()
        if now >= self._holds.soonest:
            self._lapse(now)
        accounts = self._open(wants, now)
        timely = self._holds.held.pop(reservation.id, None)
        if not timely and not self._late.pop(reservation.id, None):
            return _stand_all(wants, accounts, (0,) * len(wants), now)
        standings = []
        for want, account, amount in zip(wants, accounts, amounts, strict=True):
            if timely:
                account.reserved -= want.amount
            if not want.until or self._wall() < want.until:
                account.settled.take(now, amount)
            standings.append(_stand(want, account, 0, now))
        return tuple(standings)

    async def look(self, wants: Sequence[Want]) -> tuple[Standing, ...]:
        """Say how budgets stand, and which `reserve` would find short. Budgets nobody used are not kept for it."""
        now = self._clock()
        self._lapse(now)
        accounts = self._find_or_make(wants, now)
        return _stand_all(wants, accounts, _shortages(wants, accounts), now)

    def _find_or_make(self, wants: Sequence[Want], now: int) -> list[Account]:
        fresh: dict[tuple[str, float], Account] = {}
        accounts = []
        for want in wants:
            name = name_of(want.key, want.window, want.until)
            account = self._accounts.held.get(name) or fresh.setdefault(name, Account(self._make(want)))
            account.settled.forget(now)
            accounts.append(account)
        return accounts

    def _open(self, wants: Sequence[Want], now: int) -> list[Account]:
        held = self._accounts.held
        accounts = []
        for want in wants:
            if want.amount < 0:
                check_amount(want.amount)  # which raises; asked only then, because this is the hot path
            account = held.get((want.key, -want.until if want.until else want.window))
            if account is None:
                return self._open_new(wants, now)
            account.settled.forget(now)
            accounts.append(account)
        return accounts

    def _open_new(self, wants: Sequence[Want], now: int) -> list[Account]:
        held = self._accounts.held
        self._accounts.make_room(sum(name_of(want.key, want.window, want.until) not in held for want in wants), now)
        # all are found again, because sweeping may have thrown some away that had nothing in them
        accounts = [self._held_or_new(want) for want in wants]
        for account in accounts:
            account.settled.forget(now)
        return accounts

    def _held_or_new(self, want: Want) -> Account:
        name = name_of(want.key, want.window, want.until)
        return self._accounts.held.get(name) or self._accounts.put(name, Account(self._make(want)))

    def _make(self, want: Want) -> Count:
        return Period(want.until, self._wall) if want.until else Window(want.window)

    def _lapse(self, now: int) -> None:
        for name, wants in self._holds.lapse(now):
            self._late[name] = now + LATE * NANOSECONDS
            for want in wants:
                if account := self._accounts.held.get(name_of(want.key, want.window, want.until)):
                    account.reserved -= want.amount
        while self._late and (len(self._late) > self._max_keys or next(iter(self._late.values())) <= now):
            del self._late[next(iter(self._late))]


def _shortages(wants: Sequence[Want], accounts: Sequence[Account]) -> list[int]:
    """Return how much each budget lacks, beside those before it that are kept under the same key."""
    before: dict[int, int] = {}
    shortages = []
    for want, account in zip(wants, accounts, strict=True):
        spoken = before.get(id(account), account.settled.total + account.reserved)
        shortage = spoken + (want.amount if want.strict else 1) - want.limit
        if shortage > 0:
            shortages.append(shortage)
        else:
            shortages.append(0)
            before[id(account)] = spoken + want.amount
    return shortages


def _stand_all(
    wants: Sequence[Want], accounts: Sequence[Account], shortages: Sequence[int], now: int
) -> tuple[Standing, ...]:
    return tuple([_stand(*each, now) for each in zip(wants, accounts, shortages, strict=True)])


def _stand(want: Want, account: Account, shortage: int, now: int) -> Standing:
    settled, reserved = account.settled, account.reserved
    left = want.limit - settled.total - reserved
    return Standing(
        limit=want.limit,
        used=settled.total,
        reserved=reserved,
        remaining=left if left > 0 else 0,
        reset_after=settled.reset_after(now),
        short=shortage > 0,
        retry_after=_retry_after(want, account, shortage, now) if shortage else 0.0,
    )


def _retry_after(want: Want, account: Account, shortage: int, now: int) -> float:
    """Say when enough has come back; if that needs what is reserved now, it may be any moment."""
    never = want.strict and want.amount > want.limit
    if never or shortage <= account.settled.total:
        return account.settled.wait(now, shortage)
    return min(GUESS, account.settled.whole(now))
