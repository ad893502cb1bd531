"""Counters, gauges and histograms, and how Prometheus reads them (text exposition format 0.0.4).

Whoever counts asks a family for the cell of some label values once and then adds to plain attributes. A family holds at
most `limit` cells: label values that come after those share one cell, labelled `_other`, so that nobody can make a
process grow by making up label values.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isinf, isnan
from typing import Generic, Protocol, TypeVar

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OTHER = "_other"
MAX_SERIES = 1000

Labels = tuple[str, ...]
Reading = float | Mapping[Labels, float]


class Metric(Protocol):
    """One name in the exposition."""

    def lines(self) -> Iterator[str]:
        """Write `# HELP`, `# TYPE` and every sample."""


class Count:
    """One counter's value. It only ever grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0


class Buckets:
    """One histogram's observations; `counts` are per bucket, the last one for what is above every bound."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total: float = 0.0

    def observe(self, value: float) -> None:
        """Count one observation; a bound includes its own value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


Cell = TypeVar("Cell")


class Family(Generic[Cell]):
    """The cells of one metric by label values, at most `limit` and one for all others."""

    def __init__(self, labels: Labels, make: Callable[[], Cell], limit: int) -> None:
        self.labels = labels
        self.cells: dict[Labels, Cell] = {}
        self._make = make
        self._limit = limit
        if not labels:
            self.cell(())

    def cell(self, values: Labels) -> Cell:
        """Return the cell of these label values, or the shared one when there are too many."""
        found = self.cells.get(values)
        return self._add(values) if found is None else found

    def _add(self, values: Labels) -> Cell:
        if len(values) != len(self.labels):
            raise ValueError(f"{values} are not values for the labels {self.labels}")
        key = values if len(self.cells) < self._limit else (OTHER,) * len(values)
        return self.cells.setdefault(key, self._make())


class Counter(Family[Count]):
    """A number that grows; its name ends in `_total`."""

    def __init__(self, name: str, text: str, labels: Labels = (), *, limit: int = MAX_SERIES) -> None:
        super().__init__(labels, Count, limit)
        self._head = _head(name, text, "counter")
        self._name = name

    def lines(self) -> Iterator[str]:
        """Write the exposition of every cell."""
        yield self._head
        for values, count in self.cells.items():
            yield f"{self._name}{_braces(_pairs(self.labels, values))} {number(count.value)}"


class Histogram(Family[Buckets]):
    """Observations counted by fixed upper bounds."""

    def __init__(
        self, name: str, text: str, bounds: Sequence[float], labels: Labels = (), *, limit: int = MAX_SERIES
    ) -> None:
        ordered = tuple(sorted(bounds))
        super().__init__(labels, lambda: Buckets(ordered), limit)
        self._head = _head(name, text, "histogram")
        self._name = name

    def lines(self) -> Iterator[str]:
        """Write cumulative buckets, sum and count of every cell."""
        yield self._head
        for values, buckets in self.cells.items():
            yield from self._cell_lines(_pairs(self.labels, values), buckets)

    def _cell_lines(self, pairs: str, buckets: Buckets) -> Iterator[str]:
        below = 0
        lead = f"{pairs}," if pairs else ""
        for bound, count in zip((*buckets.bounds, float("inf")), buckets.counts, strict=True):
            below += count
            yield f'{self._name}_bucket{{{lead}le="{number(bound)}"}} {below}'
        yield f"{self._name}_sum{_braces(pairs)} {number(buckets.total)}"
        yield f"{self._name}_count{_braces(pairs)} {below}"


class Gauge:
    """A number read when it is asked for: one value, or a value by label values. `kind` may be `counter` as well."""

    def __init__(
        self, name: str, text: str, read: Callable[[], Reading], labels: Labels = (), *, kind: str = "gauge"
    ) -> None:
        self._head = _head(name, text, kind)
        self._name = name
        self._labels = labels
        self._read = read

    def lines(self) -> Iterator[str]:
        """Write what is read now."""
        reading = self._read()
        yield self._head
        for values, value in reading.items() if isinstance(reading, Mapping) else (((), reading),):
            yield f"{self._name}{_braces(_pairs(self._labels, values))} {number(value)}"


class Registry:
    """Every metric of one process, in the order in which they were added."""

    def __init__(self) -> None:
        self._metrics: list[Metric] = []

    def add(self, *metrics: Metric) -> None:
        """Expose these metrics too."""
        self._metrics.extend(metrics)

    def render(self) -> str:
        """Return the whole exposition."""
        return "".join(f"{line}\n" for metric in self._metrics for line in metric.lines())


def _head(name: str, text: str, kind: str) -> str:
    return f"# HELP {name} {text.replace(chr(92), chr(92) * 2).replace(chr(10), chr(92) + 'n')}\n# TYPE {name} {kind}"


def _pairs(labels: Labels, values: Labels) -> str:
    return ",".join(f'{label}="{_escape(value)}"' for label, value in zip(labels, values, strict=True))


def _braces(pairs: str) -> str:
    return f"{{{pairs}}}" if pairs else ""


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def number(value: float) -> str:
    if isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if isnan(value):
        return "NaN"
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
