"""Closing a record, and the Server-Timing header."""

import re

import msgspec
import pytest

from trustgate.telemetry.record import Record, build_event


def test_a_record_is_handed_over_once() -> None:
    emitted: list[Record] = []
    record = Record(started=1.0)
    assert record.close_with(emitted.append)
    assert not record.close_with(emitted.append)
    assert emitted == [record]


def test_the_clock_stops_at_the_last_byte_and_not_at_the_hand_over() -> None:
    record = Record(started=1.0)
    record.end()
    ended = record.ended_at, record.ended_clock
    record.end()
    record.close_with(lambda _: None)
    assert (record.ended_at, record.ended_clock) == ended
    assert all(ended)


def timing(record: Record) -> dict[str, float]:
    entries = re.findall(r"(\w+);dur=([\d.]+)", record.server_timing().decode())
    return {name: float(duration) for name, duration in entries}


def test_server_timing_has_the_event_s_figures(answered: Record) -> None:
    assert answered.server_timing() == (
        b"admission;dur=1.000, enforcement;dur=1.000, forwarding;dur=31.000, relay;dur=10.000"
    )
    latency = build_event(answered).latency
    assert timing(answered) == {
        "admission": latency.admission_ms,
        "enforcement": latency.enforcement_ms,
        "forwarding": latency.forwarding_ms,
        "relay": latency.relay_ms,
    }


@pytest.mark.parametrize(
    ("marks", "steps"),
    [
        ({}, {"admission": 4.0}),
        ({"admitted_at": 10.001}, {"admission": 1.0, "enforcement": 3.0}),
        ({"admitted_at": 10.001, "enforced_at": 10.003}, {"admission": 1.0, "enforcement": 2.0, "forwarding": 1.0}),
        (
            {"forwarded_at": 10.003},
            {"admission": 3.0, "enforcement": 0.0, "forwarding": 0.0, "relay": 1.0},
        ),
    ],
)
def test_steps_not_reached_are_not_named(marks: dict[str, float], steps: dict[str, float]) -> None:
    record = msgspec.structs.replace(Record(started=10.0, ended_at=10.004), **marks)
    assert timing(record) == pytest.approx(steps)


def test_the_step_under_way_has_its_time_so_far() -> None:
    record = Record(started=0.0)
    first, second = timing(record)["admission"], timing(record)["admission"]
    assert 0 < first <= second
