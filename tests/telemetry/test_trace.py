"""Trace context: continued where it is well formed, started where it is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trustgate.telemetry.trace import start_trace

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_a_caller_s_trace_goes_on() -> None:
    trace = start_trace(f"00-{TRACE}-{SPAN}-00".encode())
    assert (trace.trace_id, trace.parent_span_id, trace.flags) == (TRACE, SPAN, "00")
    assert trace.span_id != SPAN
    assert trace.traceparent() == f"00-{TRACE}-{trace.span_id}-00".encode()


def test_a_later_version_may_say_more() -> None:
    assert start_trace(f"cc-{TRACE}-{SPAN}-01-what-the-future-brings".encode()).trace_id == TRACE


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n00",
    ],
)
def test_what_is_not_well_formed_starts_a_trace(header: str) -> None:
    trace = start_trace(header.encode())
    assert trace.trace_id != TRACE
    assert trace.parent_span_id == ""


@given(st.binary(max_size=80))
def test_every_trace_has_ids_that_can_be_passed_on(header: bytes) -> None:
    trace = start_trace(header)
    passed_on = start_trace(trace.traceparent())
    assert (passed_on.trace_id, passed_on.parent_span_id) == (trace.trace_id, trace.span_id)


def test_traces_differ() -> None:
    assert len({start_trace().trace_id for _ in range(1000)}) == 1000
