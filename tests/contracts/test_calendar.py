"""Periods of the calendar: whenever and wherever one asks, there is exactly one, and they follow one another."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trustgate import Calendar, Period, time_zone
from trustgate.contract.calendar import span_of

PERIODS: tuple[Period, ...] = ("second", "minute", "hour", "day", "week", "month")
ZONES = (
    "UTC",
    "Europe/Madrid",
    "America/New_York",
    "Asia/Kolkata",
    "Pacific/Apia",
    "America/Sao_Paulo",
    "Asia/Kathmandu",
)
moments = st.floats(min_value=1_400_000_000, max_value=1_900_000_000)


@given(moment=moments, period=st.sampled_from(PERIODS), zone=st.sampled_from(ZONES))
def test_a_moment_lies_in_one_period_and_the_next_follows(moment: float, period: Period, zone: str) -> None:
    there = time_zone(zone)
    span = span_of(period, there, moment)
    assert span.start <= moment < span.end
    assert span_of(period, there, span.start) == span
    after = span_of(period, there, span.end)
    assert after.start == span.end
    assert Calendar(period, zone).at(moment) == span


@given(moment=moments, zone=st.sampled_from(ZONES))
def test_days_weeks_and_months_begin_at_midnight_where_there_is_one(moment: float, zone: str) -> None:
    there = time_zone(zone)
    day, week, month = (
        datetime.fromtimestamp(span_of(period, there, moment).start, there) for period in ("day", "week", "month")
    )
    midnights = [each.replace(hour=0, minute=0, second=0, microsecond=0) for each in (day, week, month)]
    for begins, midnight in zip((day, week, month), midnights, strict=True):
        assert begins - midnight in (timedelta(0), timedelta(hours=1))  # a clock may be set forward at midnight
    assert week.weekday() == 0
    assert month.day == 1


def test_a_day_is_as_long_as_it_is() -> None:
    madrid = ZoneInfo("Europe/Madrid")
    for day, hours in (("2026-03-28", 24), ("2026-03-29", 23), ("2026-10-25", 25)):
        noon = datetime.fromisoformat(f"{day}T12:00:00").replace(tzinfo=madrid).timestamp()
        span = span_of("day", madrid, noon)
        assert span.end - span.start == hours * 3600


def test_a_calendar_moves_on() -> None:
    calendar = Calendar("minute", "UTC")
    assert [calendar.at(moment).end for moment in (0.0, 59.9, 60.0, 61.0, 10.0)] == [60, 60, 120, 120, 60]


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../../etc/passwd", "/etc/localtime", "Europe", "\0"])
def test_what_is_no_time_zone_is_named(name: str) -> None:
    with pytest.raises(ValueError, match="time zone"):
        time_zone(name)
