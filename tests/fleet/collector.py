"""A Collector that takes OTLP over HTTP and gRPC, keeps what it took, and hangs or refuses when it is told to."""

import gzip
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1.common_pb2 import AnyValue


def plain(value: AnyValue) -> Any:
    """Return what an attribute says."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(each) for each in value.array_value.values]
    return getattr(value, kind) if kind else None


def attributes(of: Any) -> dict[str, Any]:
    """Return the attributes of a record or a span."""
    return {each.key: plain(each.value) for each in of.attributes}


class Collector:
    """What came: `logs`, `spans` and, by name, the newest of each of the `metrics`; and the headers they came with."""

    def __init__(self, *, certificate: Path | None = None, key: Path | None = None) -> None:
        self._secure = certificate is not None
        self.logs: list[Any] = []
        self.spans: list[Any] = []
        self.metrics: dict[str, Any] = {}
        self.headers: list[dict[str, str]] = []
        self.flows = threading.Event()
        self.flows.set()
        self.refuses = 0
        handler = type("Handler", (_Handler,), {"collector": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self._grpc = grpc.server(ThreadPoolExecutor(4))
        add_logs: Any = logs_service_pb2_grpc.add_LogsServiceServicer_to_server  # untyped
        add_traces: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
        logs = logs_service_pb2.ExportLogsServiceResponse
        add_logs(_service(logs_service_pb2_grpc.LogsServiceServicer, self.take_logs, logs, self.headers), self._grpc)
        traces = trace_service_pb2.ExportTraceServiceResponse
        add_traces(
            _service(trace_service_pb2_grpc.TraceServiceServicer, self.take_spans, traces, self.headers), self._grpc
        )
        add_metrics: Any = metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server
        metrics = metrics_service_pb2.ExportMetricsServiceResponse
        add_metrics(
            _service(metrics_service_pb2_grpc.MetricsServiceServicer, self.take_metrics, metrics, self.headers),
            self._grpc,
        )
        self._grpc_port = self._grpc.add_insecure_port("127.0.0.1:0")

    @property
    def http(self) -> str:
        """Its address over HTTP."""
        return f"http{'s' * self._secure}://127.0.0.1:{self._http.server_port}"

    @property
    def grpc(self) -> str:
        """Its address over gRPC."""
        return f"http://127.0.0.1:{self._grpc_port}"

    def take_logs(self, request: Any) -> None:
        """Keep log records."""
        self.logs += [
            record for each in request.resource_logs for scope in each.scope_logs for record in scope.log_records
        ]

    def take_spans(self, request: Any) -> None:
        """Keep spans."""
        self.spans += [span for each in request.resource_spans for scope in each.scope_spans for span in scope.spans]

    def take_metrics(self, request: Any) -> None:
        """Keep metrics."""
        for each in request.resource_metrics:
            self.metrics |= {metric.name: metric for scope in each.scope_metrics for metric in scope.metrics}

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        self._grpc.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.flows.set()
        self._http.shutdown()
        self._http.server_close()
        self._grpc.stop(None)


class _Handler(BaseHTTPRequestHandler):
    collector: Collector
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.collector.flows.wait()
        self.collector.headers.append({name.lower(): value for name, value in self.headers.items()})
        if self.collector.refuses:
            self._answer(self.collector.refuses)
            return
        if self.path == "/v1/logs":
            self.collector.take_logs(logs_service_pb2.ExportLogsServiceRequest.FromString(body))
        elif self.path == "/v1/traces":
            self.collector.take_spans(trace_service_pb2.ExportTraceServiceRequest.FromString(body))
        elif self.path == "/v1/metrics":
            self.collector.take_metrics(metrics_service_pb2.ExportMetricsServiceRequest.FromString(body))
        self._answer(200)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _service(base: Any, take: Callable[[Any], None], answer: Any, headers: list[dict[str, str]]) -> Any:
    """Return a service of one call, `Export`, as the generated classes want it."""

    def export(_: Any, request: Any, context: Any) -> Any:
        headers.append(dict(context.invocation_metadata()))
        take(request)
        return answer()

    return type("Service", (base,), {"Export": export})()
