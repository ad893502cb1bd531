"""The exposition format, to the letter, and series that cannot grow without end."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trustgate.telemetry.metrics import Counter, Gauge, Histogram, Metric, Registry


def render(*metrics: Metric) -> str:
    registry = Registry()
    registry.add(*metrics)
    return registry.render()


def test_a_counter() -> None:
    counter = Counter("requests_total", "Requests.", ("gateway", "status"))
    counter.cell(("demo", "2xx")).value += 2
    counter.cell(("demo", "4xx")).value += 0.5
    counter.cell(("demo", "2xx")).value += 1
    assert render(counter) == (
        "# HELP requests_total Requests.\n"
        "# TYPE requests_total counter\n"
        'requests_total{gateway="demo",status="2xx"} 3\n'
        'requests_total{gateway="demo",status="4xx"} 0.5\n'
    )


def test_a_counter_without_labels_starts_at_zero() -> None:
    assert (
        render(Counter("left_total", "Left.")) == "# HELP left_total Left.\n# TYPE left_total counter\nleft_total 0\n"
    )


def test_a_histogram_is_cumulative_and_its_bounds_include_themselves() -> None:
    histogram = Histogram("seconds", "Time.", (1, 0.25), ("operation",))
    cell = histogram.cell(("chat",))
    for value in (0.25, 0.26, 1.0, 7.0):
        cell.observe(value)
    assert render(histogram) == (
        "# HELP seconds Time.\n"
        "# TYPE seconds histogram\n"
        'seconds_bucket{operation="chat",le="0.25"} 1\n'
        'seconds_bucket{operation="chat",le="1"} 3\n'
        'seconds_bucket{operation="chat",le="+Inf"} 4\n'
        'seconds_sum{operation="chat"} 8.51\n'
        'seconds_count{operation="chat"} 4\n'
    )


def test_a_histogram_without_labels() -> None:
    histogram = Histogram("lag", "Lag.", (0.5,))
    histogram.cell(()).observe(0.1)
    assert render(histogram).splitlines()[2:] == [
        'lag_bucket{le="0.5"} 1',
        'lag_bucket{le="+Inf"} 1',
        "lag_sum 0.1",
        "lag_count 1",
    ]


def test_gauges_are_read_when_rendered() -> None:
    values = [1.0]
    text = render(
        Gauge("one", "One.", lambda: values[-1]),
        Gauge("many", "Many.", lambda: {("a",): 1, ("b",): math.inf, ("c",): -math.inf, ("d",): math.nan}, ("sink",)),
        Gauge("cpu_total", "CPU.", lambda: 1.25, kind="counter"),
    )
    assert "# TYPE one gauge\none 1\n" in text
    assert 'many{sink="a"} 1\nmany{sink="b"} +Inf\nmany{sink="c"} -Inf\nmany{sink="d"} NaN\n' in text
    assert "# TYPE cpu_total counter\ncpu_total 1.25\n" in text


def test_large_counts_stay_whole() -> None:
    assert render(Gauge("n", "N.", lambda: 123_456_789_012.0)).endswith("n 123456789012\n")


def test_text_and_values_are_escaped() -> None:
    counter = Counter("odd_total", "One \\ two\nthree.", ("name",))
    counter.cell(('a"b\\c\nd',)).value += 1
    assert render(counter) == (
        '# HELP odd_total One \\\\ two\\nthree.\n# TYPE odd_total counter\nodd_total{name="a\\"b\\\\c\\nd"} 1\n'
    )


def test_too_many_series_share_one() -> None:
    counter = Counter("requests_total", "Requests.", ("gateway", "status"), limit=3)
    for number in range(10):
        counter.cell((f"gateway {number}", "2xx")).value += 1
    lines = render(counter).splitlines()[2:]
    assert len(lines) == 4
    assert lines[-1] == 'requests_total{gateway="_other",status="_other"} 7'
    counter.cell(("gateway 0", "2xx")).value += 1
    assert render(counter).splitlines()[2] == 'requests_total{gateway="gateway 0",status="2xx"} 2'


def test_the_wrong_number_of_values_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="gateway"):
        Counter("requests_total", "Requests.", ("gateway",)).cell(("a", "b"))


@given(st.text())
def test_every_label_value_stays_on_its_line(value: str) -> None:
    counter = Counter("odd_total", "Odd.", ("name",))
    counter.cell((value,)).value += 1
    sample = render(counter).split("\n")[2]
    escaped = sample.removeprefix('odd_total{name="').removesuffix('"} 1')
    back = escaped.replace("\\\\", "\0").replace("\\n", "\n").replace('\\"', '"').replace("\0", "\\")
    assert "\n" not in sample
    assert "\0" in value or back == value


@given(values=st.lists(st.floats(0, 1000)), bounds=st.sets(st.floats(0.001, 500), min_size=1, max_size=8))
def test_histograms_count_what_is_at_most_each_bound(values: list[float], bounds: set[float]) -> None:
    histogram = Histogram("h", "H.", tuple(bounds))
    for value in values:
        histogram.cell(()).observe(value)
    samples = dict(line.rsplit(" ", 1) for line in render(histogram).splitlines()[2:])
    counts = [int(samples[name]) for name in samples if "_bucket" in name]
    assert counts == [sum(value <= bound for value in values) for bound in (*sorted(bounds), math.inf)]
    assert int(samples["h_count"]) == len(values)
    assert float(samples["h_sum"]) == pytest.approx(sum(values))
