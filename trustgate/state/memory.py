"""Limits counted in this process. Nothing here awaits, so that a take cannot be interrupted by another."""

from collections.abc import Callable, Sequence
from time import monotonic_ns, time

from trustgate.contract.ports import Allowance, Take
from trustgate.state.leases import Room
from trustgate.state.shelf import MAX_KEYS, Shelf
from trustgate.state.terms import GUESS, check_cost
from trustgate.state.windows import NANOSECONDS, Count, Period, Window, name_of


class MemoryLimiter:
    """The limiter of a process that shares its counts with nobody.

    `clock` is for windows and leases, `wall` (Unix seconds) for periods of the calendar. One key with two windows
    counts as two keys. `max_keys` holds for counts and for rooms, each.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], int] = monotonic_ns,
        wall: Callable[[], float] = time,
        max_keys: int = MAX_KEYS,
    ) -> None:
        self.patience = 0.0
        self._clock = clock
        self._wall = wall
        self._counts: Shelf[tuple[str, float], Count] = Shelf(max_keys)
        self._rooms: Shelf[str, Room] = Shelf(max_keys)

    def __len__(self) -> int:
        return len(self._counts.held) + len(self._rooms.held)

    async def take(self, key: str, *, limit: int, window: float, cost: int = 1) -> Allowance:
        """Take, or say when to come back; a `cost` of 0 only looks. Never more than `limit` in any window."""
        return self._take_one(key, limit, window, cost, 0.0)

    async def take_all(self, takes: Sequence[Take]) -> tuple[Allowance, ...]:
        """Take of every one, or of none."""
        return self.take_now(takes)

    async def take_each(
        self, groups: Sequence[Sequence[Take]], halts: Sequence[bool]
    ) -> tuple[tuple[Allowance, ...] | None, ...]:
        """Take of one group after the other, up to one that has too little and halts."""
        told: list[tuple[Allowance, ...] | None] = []
        for takes, halt in zip(groups, halts, strict=True):
            allowances = self.take_now(takes)
            told.append(allowances)
            if halt and not all(each.allowed for each in allowances):
                break
        return (*told, *([None] * (len(groups) - len(told))))

    def take_now(self, takes: Sequence[Take]) -> tuple[Allowance, ...]:
        """Take of every one, or of none. There is never anybody to wait for."""
        if len(takes) == 1:
            take = takes[0]
            return (self._take_one(take.key, take.limit, take.window, take.cost, take.until),)
        now = self._clock()
        counts = self._open(takes, now)
        if not all(_fits(takes, counts)):
            return _foresee(takes, counts, now)
        return tuple([_take(count, take.limit, take.cost, now) for take, count in zip(takes, counts, strict=True)])

    async def look(self, takes: Sequence[Take]) -> tuple[Allowance, ...]:
        """Say what `take_all` would. Keys that nobody has taken of are not kept for it."""
        now = self._clock()
        fresh: dict[tuple[str, float], Count] = {}
        counts = []
        for take, count in zip(takes, self._find(takes, now), strict=True):
            name = name_of(take.key, take.window, take.until)
            counts.append(count or fresh.setdefault(name, self._make(take.window, take.until)))
        return _foresee(takes, counts, now)

    async def refund(self, key: str, *, window: float, cost: int = 1) -> None:
        """Give back; more than was taken is as much as was taken."""
        self._refund((key, window), cost)

    async def refund_all(self, takes: Sequence[Take]) -> None:
        """Give back of every one."""
        for take in takes:
            self._refund(name_of(take.key, take.window, take.until), take.cost)

    async def enter(self, key: str, ticket: str, *, limit: int, lease: float) -> Allowance:
        """Let one more in, or say that all places are taken. Whoever is inside already gets a new lease."""
        now = self._clock()
        room = self._rooms.held.get(key)
        if room is None:
            self._rooms.make_room(1, now)
            room = self._rooms.put(key, Room())
        room.tickets.lapse(now)
        inside = room.tickets.held
        if ticket not in inside and len(inside) >= limit:
            return Allowance(allowed=False, limit=limit, remaining=0, reset_after=lease, retry_after=min(GUESS, lease))
        room.tickets.put(ticket, now + round(lease * NANOSECONDS), None)
        return Allowance(allowed=True, limit=limit, remaining=max(0, limit - len(inside)), reset_after=lease)

    async def leave(self, key: str, ticket: str) -> None:
        """Make room, if its lease had not done so already."""
        if room := self._rooms.held.get(key):
            room.tickets.held.pop(ticket, None)

    def _take_one(self, key: str, limit: int, window: float, cost: int, until: float) -> Allowance:
        if cost < 0:
            check_cost(cost)  # which raises; asked only then, because this is the hot path
        now = self._clock()
        name = (key, -until if until else window)
        count = self._counts.held.get(name)
        if count is None:
            self._counts.make_room(1, now)
            count = self._counts.put(name, self._make(window, until))
        count.forget(now)
        return _take(count, limit, cost, now) if count.total + cost <= limit else _refuse(count, limit, cost, now)

    def _find(self, takes: Sequence[Take], now: int) -> list[Count | None]:
        held = self._counts.held
        found = [held.get((take.key, -take.until if take.until else take.window)) for take in takes]
        for count in found:
            if count is not None:
                count.forget(now)
        return found

    def _open(self, takes: Sequence[Take], now: int) -> list[Count]:
        for take in takes:
            check_cost(take.cost)
        counts = self._find(takes, now)
        if None not in counts:
            return counts  # type: ignore[return-value] # mypy does not know what `in` tells
        self._counts.make_room(counts.count(None), now)
        # found again, because sweeping may have thrown some away that had nothing in them
        return [self._held_or_new(take) for take in takes]

    def _held_or_new(self, take: Take) -> Count:
        name = name_of(take.key, take.window, take.until)
        return self._counts.held.get(name) or self._counts.put(name, self._make(take.window, take.until))

    def _make(self, window: float, until: float) -> Count:
        return Period(until, self._wall) if until else Window(window)

    def _refund(self, name: tuple[str, float], cost: int) -> None:
        if count := self._counts.held.get(name):
            count.forget(self._clock())
            count.refund(cost)


def _fits(takes: Sequence[Take], counts: Sequence[Count]) -> list[bool]:
    """Say of each whether it fits, beside those before it that are counted under the same key."""
    before: dict[int, int] = {}
    fits = []
    for take, count in zip(takes, counts, strict=True):
        total = before.get(id(count), count.total) + take.cost
        fits.append(total <= take.limit)
        if total <= take.limit:
            before[id(count)] = total
    return fits


def _foresee(takes: Sequence[Take], counts: Sequence[Count], now: int) -> tuple[Allowance, ...]:
    """Say what taking says: of those that all fit, how they stand afterwards; otherwise, how they stand."""
    fits = _fits(takes, counts)
    if not all(fits):
        return tuple(
            _stand(count, take.limit, 0, now) if fit else _refuse(count, take.limit, take.cost, now)
            for take, count, fit in zip(takes, counts, fits, strict=True)
        )
    taken: dict[int, int] = {}
    allowances = []
    for take, count in zip(takes, counts, strict=True):
        taken[id(count)] = taken.get(id(count), 0) + take.cost
        allowances.append(_stand(count, take.limit, taken[id(count)], now))
    return tuple(allowances)


def _take(count: Count, limit: int, cost: int, now: int) -> Allowance:
    count.take(now, cost)
    return Allowance(allowed=True, limit=limit, remaining=limit - count.total, reset_after=count.reset_after(now))


def _stand(count: Count, limit: int, more: int, now: int) -> Allowance:
    """Say how a count stands if `more` was taken of it."""
    return Allowance(
        allowed=True,
        limit=limit,
        remaining=limit - count.total - more,
        reset_after=count.reset_after(now) or (count.whole(now) if more else 0.0),
    )


def _refuse(count: Count, limit: int, cost: int, now: int) -> Allowance:
    return Allowance(
        allowed=False,
        limit=limit,
        remaining=max(0, limit - count.total),
        reset_after=count.reset_after(now),
        retry_after=count.wait(now, count.total + cost - limit),
    )
