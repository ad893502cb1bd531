"""What is kept until it is given back, or until its time is up."""

from typing import Generic, TypeVar

V = TypeVar("V")
NEVER = 2**63


class Leases(Generic[V]):
    """Values by name, each with the nanosecond at which it lapses.

    `soonest` is no later than the first of these: until then nothing has to be searched. After a search it is exact, so
    that there is one search for each lease that may have lapsed, and none for those that are given back in time.
    """

    __slots__ = ("held", "soonest")

    def __init__(self) -> None:
        self.held: dict[str, tuple[int, V]] = {}
        self.soonest = NEVER

    def put(self, name: str, until: int, value: V) -> None:
        """Keep a value; a name that there is gets a new lease."""
        self.held[name] = (until, value)
        self.soonest = min(self.soonest, until)

    def lapse(self, now: int) -> list[tuple[str, V]]:
        """Take out and return what has lapsed."""
        if now < self.soonest:
            return []
        lapsed = [(name, value) for name, (until, value) in self.held.items() if until <= now]
        for name, _ in lapsed:
            del self.held[name]
        self.soonest = min((until for until, _ in self.held.values()), default=NEVER)
        return lapsed


class Room:
    """Who is inside, by ticket."""

    __slots__ = ("tickets",)

    def __init__(self) -> None:
        self.tickets: Leases[None] = Leases()

    def over(self, now: int) -> bool:
        """Say whether nobody is inside."""
        self.tickets.lapse(now)
        return not self.tickets.held
