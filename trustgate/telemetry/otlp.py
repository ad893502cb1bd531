"""Events to an OpenTelemetry Collector: OTLP over HTTP or gRPC, from a thread of its own that nobody waits for."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Literal

from msgspec import Struct

from trustgate.contract.event import Event
from trustgate.telemetry.otel import (
    SERVICE,
    Names,
    attempt_attributes,
    attempt_name,
    attempt_span_id,
    attempt_times,
    ended,
    log_attributes,
    request_attributes,
    started,
)
from trustgate.telemetry.otlp_metrics import EVERY, Measurements

Signal = Literal["logs", "traces", "metrics", "all"]
Exported = Literal["logs", "traces", "metrics"]
Protocol = Literal["grpc", "http/protobuf"]
SAMPLED: Final = 1
LAST_WORDS: Final = 2.0
"""Seconds that a Collector has at the end to hear what is measured."""
log = logging.getLogger("trustgate.otlp")


class OtlpPlace(Struct, frozen=True, kw_only=True):
    """Where events go as OTLP. `endpoint` is the Collector's base address; `timeout` is in seconds.

    `max_bytes` is how long one attribute may be.
    """

    endpoint: str
    protocol: Protocol = "http/protobuf"
    signal: Signal = "logs"
    headers: tuple[tuple[str, str], ...] = ()
    insecure: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    skip_verify: bool = False
    timeout: float = 10.0
    compression: Literal["gzip", "none"] = "gzip"
    max_bytes: int = 4096
    names: Names = "1.36"
    version: str = ""

    def __repr__(self) -> str:
        """Say where; headers are secret."""
        return f"OtlpPlace(endpoint={self.endpoint!r}, protocol={self.protocol!r}, signal={self.signal!r})"


class NotExported(Exception):
    """The Collector did not take a batch; the message says as much as its client does."""


class OtlpSink:
    """A sink. The SDK's own exporters speak the protocol; they block, so that they have a thread."""

    def __init__(self, place: OtlpPlace) -> None:
        self._place = place
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="otlp")
        self._exports: Sequence[Callable[[Sequence[Event]], None]] = ()
        self._shutdowns: list[Callable[[], None]] = []
        self._measurements: Measurements | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def deliver(self, events: Sequence[Event]) -> None:
        """Export a batch. Raises NotExported."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._export, events)
        if self._timer is None and self._measurements is not None and self._measurements.waits:
            self._timer = loop.call_later(EVERY, self._tell_later, loop)

    async def aclose(self) -> None:
        """Tell what is measured, as far as there is time, and let go without waiting for whoever does not answer."""
        if self._timer is not None:
            self._timer.cancel()
        if self._measurements is not None and self._measurements.waits:
            telling = asyncio.get_running_loop().run_in_executor(self._thread, self._tell, self._measurements)
            await asyncio.wait((telling,), timeout=LAST_WORDS)
        for shutdown in self._shutdowns:
            shutdown()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _tell_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._measurements is not None:
            loop.run_in_executor(self._thread, self._tell, self._measurements)

    def _tell(self, measurements: Measurements) -> None:
        try:
            measurements.tell(now=True)
        except NotExported as error:  # what it says next time has this in it
            log.warning("%s", error)

    def _export(self, events: Sequence[Event]) -> None:
        if not self._exports:
            self._exports = self._made()
        for export in self._exports:
            export(events)

    def _made(self) -> Sequence[Callable[[Sequence[Event]], None]]:
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - heavy; only who exports pays for it

        resource = Resource({"service.name": SERVICE, "service.version": self._place.version})
        signal = self._place.signal
        found = []
        if signal in ("logs", "all"):
            found.append(self._logs(resource))
        if signal in ("traces", "all"):
            found.append(self._traces(resource))
        if signal in ("metrics", "all"):
            found.append(self._metrics(resource))
        return found

    def _logs(self, resource: Any) -> Callable[[Sequence[Event]], None]:
        from opentelemetry._logs import LogRecord, SeverityNumber  # noqa: PLC0415
        from opentelemetry.sdk._logs import LogRecordLimits, ReadableLogRecord  # noqa: PLC0415
        from opentelemetry.sdk._logs.export import LogRecordExportResult  # noqa: PLC0415

        exporter = self._exporter("logs")
        limits = LogRecordLimits(max_attribute_length=self._place.max_bytes)

        def record(event: Event) -> ReadableLogRecord:
            code = event.status.code
            fine, ours = code < 400, code >= 500
            severity = SeverityNumber.INFO if fine else SeverityNumber.ERROR if ours else SeverityNumber.WARN
            said = LogRecord(
                timestamp=started(event),
                observed_timestamp=ended(event),
                trace_id=int(event.trace_id, 16),
                span_id=int(event.span_id, 16),
                trace_flags=_flags(),
                severity_number=severity,
                severity_text=severity.name,
                attributes=self._cut(log_attributes(event)),
            )
            said.event_name = f"trustgate.{event.schema_version}.metadata"
            return ReadableLogRecord(said, resource, limits=limits)

        def export(events: Sequence[Event]) -> None:
            if exporter.export([record(event) for event in events]) is not LogRecordExportResult.SUCCESS:
                raise NotExported(f"{self._place.endpoint} does not take log records")

        return export

    def _traces(self, resource: Any) -> Callable[[Sequence[Event]], None]:
        from opentelemetry.sdk.trace import ReadableSpan  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import SpanExportResult  # noqa: PLC0415
        from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode  # noqa: PLC0415

        exporter = self._exporter("traces")

        def context(event: Event, span_id: int) -> SpanContext:
            return SpanContext(int(event.trace_id, 16), span_id, is_remote=False, trace_flags=_flags())

        def spans(event: Event) -> list[ReadableSpan]:
            own = context(event, int(event.span_id, 16))
            above = context(event, int(event.parent_span_id, 16)) if event.parent_span_id else None
            found = [
                ReadableSpan(
                    name=f"{event.request.method} {event.request.operation}".strip(),
                    context=own,
                    parent=above,
                    resource=resource,
                    attributes=self._cut(request_attributes(event)),
                    kind=SpanKind.SERVER,
                    status=Status(StatusCode.ERROR if event.status.code >= 500 else StatusCode.UNSET),
                    start_time=started(event),
                    end_time=ended(event),
                )
            ]
            for attempt, start, end in attempt_times(event):
                last = attempt is event.attempts[-1]
                found.append(
                    ReadableSpan(
                        name=attempt_name(event),
                        context=context(event, attempt_span_id(event, attempt)),
                        parent=own,
                        resource=resource,
                        attributes=self._cut(attempt_attributes(event, attempt, self._place.names, last=last)),
                        kind=SpanKind.CLIENT,
                        status=Status(StatusCode.UNSET if attempt.outcome == "success" else StatusCode.ERROR),
                        start_time=start,
                        end_time=end,
                    )
                )
            return found

        def export(events: Sequence[Event]) -> None:
            batch = [span for event in events for span in spans(event)]
            if exporter.export(batch) is not SpanExportResult.SUCCESS:
                raise NotExported(f"{self._place.endpoint} does not take spans")

        return export

    def _metrics(self, resource: Any) -> Callable[[Sequence[Event]], None]:
        from opentelemetry.sdk.metrics.export import MetricExportResult  # noqa: PLC0415

        exporter = self._exporter("metrics")

        def tell(data: Any) -> None:
            if exporter.export(data) is not MetricExportResult.SUCCESS:
                raise NotExported(f"{self._place.endpoint} does not take metrics")

        measurements = self._measurements = Measurements(resource, SERVICE, tell)

        def export(events: Sequence[Event]) -> None:
            measurements.count(events)
            try:
                measurements.tell()
            except NotExported as error:
                if self._place.signal == "metrics":
                    raise
                log.warning("%s", error)  # and a batch of records and spans that it has taken is not sent again for it

        return export

    def _cut(self, attributes: dict[str, Any]) -> dict[str, Any]:
        most = self._place.max_bytes
        return {
            name: value[:most] if isinstance(value, str) and len(value) > most else value
            for name, value in attributes.items()
        }

    def _exporter(self, signal: Exported) -> Any:
        speak = _over_grpc if self._place.protocol == "grpc" else _over_http
        exporter = speak(self._place, signal)
        self._shutdowns.append(exporter.shutdown)
        return exporter


def _flags() -> Any:
    from opentelemetry.trace import TraceFlags  # noqa: PLC0415

    return TraceFlags(SAMPLED)


def _over_http(place: OtlpPlace, signal: Exported) -> Any:
    import requests  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http import Compression  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    session = requests.Session()
    session.trust_env = False
    options: dict[str, Any] = {
        "endpoint": f"{place.endpoint.rstrip('/')}/v1/{signal}",
        "headers": dict(place.headers),
        "timeout": place.timeout,
        "compression": Compression.Gzip if place.compression == "gzip" else Compression.NoCompression,
        "session": session,
        "certificate_file": place.ca_file or None,
        "client_certificate_file": place.cert_file or None,
        "client_key_file": place.key_file or None,
    }
    make = {"logs": OTLPLogExporter, "traces": OTLPSpanExporter, "metrics": OTLPMetricExporter}[signal]
    exporter: Any = make(**options)
    if place.skip_verify:
        session.verify = False  # what an exporter has said of it by now counts no more
    return exporter


def _over_grpc(place: OtlpPlace, signal: Exported) -> Any:
    from grpc import Compression, ssl_channel_credentials  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    insecure = place.insecure or place.endpoint.startswith("http://")
    options: dict[str, Any] = {
        "endpoint": place.endpoint,
        "insecure": insecure,
        "headers": tuple((name.lower(), value) for name, value in place.headers),
        "timeout": place.timeout,
        "compression": Compression.Gzip if place.compression == "gzip" else Compression.NoCompression,
    }
    if not insecure and (place.ca_file or place.cert_file):
        options["credentials"] = ssl_channel_credentials(
            _bytes(place.ca_file), _bytes(place.key_file), _bytes(place.cert_file)
        )
    make = {"logs": OTLPLogExporter, "traces": OTLPSpanExporter, "metrics": OTLPMetricExporter}[signal]
    return make(**options)


def _bytes(path: str) -> bytes | None:
    return Path(path).read_bytes() if path else None
