"""What requests were measured as, for a Collector: sums since the start, told anew every few seconds."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import inf
from typing import Any, Final

from trustgate.contract.event import Event
from trustgate.telemetry.genai import INSTRUMENTS, Instrument, measured
from trustgate.telemetry.metrics import OTHER, Buckets, Family

MOST_SERIES: Final = 200
EVERY: Final = 5.0
"""Seconds between two exports."""


class Spread(Buckets):
    """Buckets that know the least and the most, too."""

    __slots__ = ("least", "most")

    def __init__(self, bounds: Sequence[float]) -> None:
        super().__init__(bounds)
        self.least, self.most = inf, -inf

    def observe(self, value: float) -> None:
        """Count one observation."""
        super().observe(value)
        self.least, self.most = min(self.least, value), max(self.most, value)


class Measurements:
    """The histograms of those who send to one Collector. `export` has to be given what the SDK's exporter takes."""

    def __init__(self, resource: Any, scope: str, export: Callable[[Any], None]) -> None:
        self._resource = resource
        self._scope = scope
        self._export = export
        self._started = time.time_ns()
        self._counted: Sequence[Event] = ()
        self._told = 0.0
        self._kept = {each: Family(each.attributes, partial(Spread, each.bounds), MOST_SERIES) for each in INSTRUMENTS}
        self.waits = False

    def count(self, events: Sequence[Event]) -> None:
        """Count a batch: one that is offered again was counted before."""
        if events is self._counted:
            return
        self._counted = events
        for event in events:
            for instrument, values, value in measured(event):
                self._kept[instrument].cell(values).observe(value)
                self.waits = True

    def tell(self, *, now: bool = False) -> None:
        """Export what has changed, if it was long enough ago that it was done, or has to be done now."""
        if self.waits and (now or time.monotonic() - self._told >= EVERY):
            self._export(self._data())
            self._told, self.waits = time.monotonic(), False

    def _data(self) -> Any:
        from opentelemetry.sdk.metrics import export as sdk  # noqa: PLC0415 - heavy; only who exports pays for it
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope  # noqa: PLC0415

        at = time.time_ns()

        def point(instrument: Instrument, values: tuple[str, ...]) -> Any:
            buckets = self._kept[instrument].cells[values]
            return sdk.HistogramDataPoint(
                attributes=_said(instrument, values),
                start_time_unix_nano=self._started,
                time_unix_nano=at,
                count=sum(buckets.counts),
                sum=buckets.total,
                bucket_counts=list(buckets.counts),
                explicit_bounds=instrument.bounds,
                min=buckets.least,
                max=buckets.most,
            )

        metrics = [
            sdk.Metric(
                name=each.name,
                description=each.text,
                unit=each.unit,
                data=sdk.Histogram(
                    data_points=[point(each, values) for values in kept.cells],
                    aggregation_temporality=sdk.AggregationTemporality.CUMULATIVE,
                ),
            )
            for each, kept in self._kept.items()
            if kept.cells
        ]
        scoped = sdk.ScopeMetrics(scope=InstrumentationScope(self._scope), metrics=metrics, schema_url="")
        return sdk.MetricsData([sdk.ResourceMetrics(resource=self._resource, scope_metrics=[scoped], schema_url="")])


def _said(instrument: Instrument, values: tuple[str, ...]) -> Mapping[str, str]:
    if values[0] == OTHER:
        return {"otel.metric.overflow": "true"}
    return {name: value for name, value in zip(instrument.attributes, values, strict=True) if value}
