"""Server-sent events: where one ends, what its data is, and how it says something else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustgate.contract.sse import data_of, last_end, split, with_data

ENDS = tuple(
    first + second
    for first in (b"\n", b"\r\n", b"\r")
    for second in (b"\n", b"\r\n", b"\r")
    if first + second != b"\r\n"
)
"""An empty line, in every way to write it."""
anything = st.lists(st.sampled_from((b"data", b":", b" ", b"x", b"\n", b"\r", b"\r\n", b"\n\n")), max_size=30).map(
    b"".join
)


def parsed(raw: bytes) -> list[bytes]:
    """Return the data of each event, read as the WHATWG standard does it: line by line."""
    found: list[bytes] = []
    lines: list[bytes] = []
    for line in raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")[:-1]:
        if not line:
            found.append(b"\n".join(lines))
            lines = []
        elif line.startswith(b"data:"):
            lines.append(line[5:].removeprefix(b" "))
    return [event for event in found if event]


@given(anything)
@settings(deadline=None, max_examples=400)
def test_split_loses_nothing_and_cuts_at_ends_only(raw: bytes) -> None:
    events = split(raw)
    assert b"".join(events) == raw
    assert all(event.endswith(ENDS) for event in events[:-1])
    assert all(events)


@given(anything)
@settings(deadline=None, max_examples=400)
def test_the_last_end_is_where_the_rest_begins(raw: bytes) -> None:
    at = last_end(raw)
    assert at == 0 or raw[:at].endswith(ENDS)
    assert split(raw[at:]) in ([], [raw[at:]])
    assert not raw[at:].endswith(ENDS)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    end = draw(st.sampled_from((b"\n", b"\r\n", b"\r")))
    lines = st.sampled_from(
        (b"data: one", b"data:two", b"data:", b"data:  three", b"event: message", b": ping", b"id: 7")
    )
    return b"".join(
        b"".join(line + end for line in draw(st.lists(lines, min_size=1, max_size=4))) + end
        for _ in range(draw(st.integers(0, 5)))
    )


@given(streams())
@settings(deadline=None, max_examples=300)
def test_events_are_read_as_the_standard_reads_them(raw: bytes) -> None:
    assert [data_of(event) for event in split(raw) if data_of(event)] == parsed(raw)


@pytest.mark.parametrize(
    "raw",
    [b"data: a\n\r\ndata: b\n\n", b"data: a\r\n\ndata: b\n\n", b"data: a\r\n\rdata: b\r\r", b"data: a\n\rdata: b\n\n"],
)
def test_lines_may_end_in_different_ways(raw: bytes) -> None:
    assert [data_of(event) for event in split(raw) if data_of(event)] == parsed(raw) == [b"a", b"b"]


@pytest.mark.parametrize(
    ("raw", "at"),
    [
        (b"", 0),
        (b"data: a", 0),
        (b"data: a\n", 0),
        (b"data: a\n\n", 9),
        (b"data: a\n\ndata: b", 9),
        (b"data: a\r\n\r\ndata", 11),
        (b"data: a\r\n\r", 10),
        (b"data: a\r\rdata", 9),
        (b"data: a\n\ndata: b\r\n\r\ndata: c", 20),
        (b"\n\n", 2),
    ],
)
def test_last_end(raw: bytes, at: int) -> None:
    assert last_end(raw) == at


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"data: a\n\n", b"a"),
        (b"data:a\n\n", b"a"),
        (b"data:  a\n\n", b" a"),
        (b"data: a\ndata: b\n\n", b"a\nb"),
        (b"data: a\r\ndata: b\r\n\r\n", b"a\nb"),
        (b"data: a\rdata: b\r\r", b"a\nb"),
        (b"event: ping\ndata: a\nid: 1\n\n", b"a"),
        (b": comment\n\n", b""),
        (b"event: ping\n\n", b""),
        (b"data: [DONE]", b"[DONE]"),
        (b"database: a\n\n", b""),
        (b" data: a\n\n", b""),
        (b"", b""),
    ],
)
def test_data_of(event: bytes, data: bytes) -> None:
    assert data_of(event) == data


@pytest.mark.parametrize(
    ("event", "other"),
    [
        (b"data: a\n\n", b"data: b\n\n"),
        (b"data: a\r\n\r\n", b"data: b\n\n"),
        (b"data: a\ndata: more\n\n", b"data: b\n\n"),
        (b"event: ping\nid: 7\ndata: a\n\n", b"event: ping\nid: 7\ndata: b\n\n"),
        (b": comment\ndata: a\n\n", b": comment\ndata: b\n\n"),
    ],
)
def test_with_data_keeps_the_other_fields(event: bytes, other: bytes) -> None:
    assert with_data(event, b"b") == other
    assert data_of(other) == b"b"
