"""Periods of the calendar, for limits that begin anew when a day or a month does, wherever the people are."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct

Period = Literal["second", "minute", "hour", "day", "week", "month"]
TimeZone = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        description="Where the periods of the calendar begin, by its name: `Europe/Madrid`. Weeks begin on Monday.",
    ),
]
_EVEN: Final[dict[str, int]] = {"second": 1, "minute": 60}
"""Periods that begin at the same moment everywhere, with their seconds."""


class Span(Struct, frozen=True):
    """One period: from `start` to before `end`, both in Unix seconds."""

    start: float
    end: float


@lru_cache(maxsize=256)
def time_zone(name: str) -> ZoneInfo:
    """Return a time zone. Raises ValueError for a name that there is not."""
    try:
        return ZoneInfo(name)
    except (OSError, LookupError, ValueError):
        raise ValueError(f"`{name}` is not a time zone: use a name such as Europe/Madrid or UTC") from None


class Calendar:
    """The periods of one kind in one place. Which of them it is now is worked out once for each."""

    __slots__ = ("_now", "_zone", "period")

    def __init__(self, period: Period, zone: str) -> None:
        self.period: Period = period
        self._zone = time_zone(zone)
        self._now = Span(0.0, 0.0)

    def at(self, moment: float) -> Span:
        """Return the period in which a moment (Unix seconds) lies."""
        span = self._now
        if not span.start <= moment < span.end:
            span = self._now = span_of(self.period, self._zone, moment)
        return span


def span_of(period: Period, zone: ZoneInfo, moment: float) -> Span:
    """Return the period in which a moment lies. A day is as long as it is where it is: 23 hours, 24 or 25."""
    if seconds := _EVEN.get(period):
        start = moment // seconds * seconds
        return Span(start, start + seconds)
    local = datetime.fromtimestamp(moment, zone)
    if period == "hour":
        into = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        start = (local.astimezone(UTC) - into).timestamp()
        return Span(start, start + 3600)
    first = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if period == "week":
        first -= timedelta(days=local.weekday())
    elif period == "month":
        first = first.replace(day=1)
    days = {"day": 1, "week": 7, "month": 32}[period]
    after = first + timedelta(days=days)
    if period == "month":
        after = after.replace(day=1)
    return Span(first.timestamp(), after.timestamp())
