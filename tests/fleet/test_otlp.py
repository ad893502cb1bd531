"""Events as OTLP: to the Collector that all gateways have and to their own, and nothing waits for one that is dead."""

import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.certificates import self_signed
from tests.e2e.program import Program, free_ports, running, until
from tests.fleet.collector import Collector, attributes
from tests.fleet.kit import ASKED, Town

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


def ask(program: Program, town: Town, **headers: str) -> httpx.Response:
    url = program.url("proxy", "/app/v1/chat/completions")
    return httpx.post(url, json=ASKED, headers={**town.key.headers, **headers}, trust_env=False, timeout=20)


def exporter(settings: dict[str, Any], name: str = "otlp") -> dict[str, Any]:
    return {"telemetry": {"exporters": [{"name": name, "type": "otlp", "settings": settings}]}}


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_every_request_is_a_record_and_spans(collector: Collector, tmp_path: Path, protocol: str) -> None:
    endpoint = collector.grpc if protocol == "grpc" else collector.http
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_HEADERS": "x-token=s%20ecret",
    }
    with running("run", folder=tmp_path / "data", variables=variables) as program, program.admin() as admin:
        town = Town(admin)
        told = ask(program, town, traceparent=PARENT)
        assert told.status_code == 200
        (record,) = until(lambda: collector.logs)
        server, client = until(lambda: (len(collector.spans) == 2 and collector.spans) or None)
        said = attributes(record)
        assert record.event_name.startswith("trustgate.")
        assert (record.severity_text, said["http.response.status_code"]) == ("INFO", 200)
        assert said["trustgate.trace_id"] == "0af7651916cd43dd8448eb211c80319c" == record.trace_id.hex()
        assert said["trustgate.gateway_id"] == town.gateway.id
        assert said["gen_ai.request.model"] == "echo-1"
        assert said["gen_ai.usage.input_tokens"] > 0
        assert json.loads(said["trustgate.attempts"])[0]["outcome"] == "success"

        assert (server.kind, client.kind) == (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT)
        assert server.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
        assert server.parent_span_id.hex() == "b7ad6b7169203331"
        assert client.parent_span_id == server.span_id
        assert client.name == "chat echo-1"
        assert server.start_time_unix_nano <= client.start_time_unix_nano
        assert client.start_time_unix_nano <= client.end_time_unix_nano <= server.end_time_unix_nano
        assert attributes(client)["gen_ai.system"] == "echo", "names of v1.36 unless the latest are asked for"
        assert any(each.get("x-token") == "s ecret" for each in collector.headers)
        assert "s ecret" not in program.stderr + program.stdout

        assert ask(program, town, **{"x-ag-api-key": "ag_nobody-at-all"}).status_code == 401
        until(lambda: len(collector.logs) == 2 or None)
        refused = next(each for each in collector.logs if attributes(each)["http.response.status_code"] == 401)
        assert refused.severity_text == "WARN"


def test_the_latest_names_where_they_are_asked_for(collector: Collector, tmp_path: Path) -> None:
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.http,
        "OTEL_SEMCONV_STABILITY_OPT_IN": "gen_ai_latest_experimental",
    }
    with running("run", folder=tmp_path / "data", variables=variables) as program, program.admin() as admin:
        ask(program, Town(admin))
        spans = until(lambda: (len(collector.spans) == 2 and collector.spans) or None)
        said = attributes(spans[1])
        assert said["gen_ai.provider.name"] == "echo"
        assert "gen_ai.system" not in said
        assert "gen_ai.usage.cache_read.input_tokens" in said


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_what_requests_were_measured_as(collector: Collector, tmp_path: Path, protocol: str) -> None:
    endpoint = collector.grpc if protocol == "grpc" else collector.http
    with running("run", folder=tmp_path / "data") as program:
        with program.admin() as admin:
            town = Town(admin)
            settings = {"endpoint": endpoint, "protocol": protocol, "signal": "metrics"}
            admin.done("PUT", town.gateway.path(), exporter(settings))
            other = Town(admin)
        for asked in (town, town, other):
            assert ask(program, asked).status_code == 200
        assert ask(program, town, **{"x-ag-api-key": "ag_nobody-at-all"}).status_code == 401
        first = until(lambda: collector.metrics.get("gen_ai.client.operation.duration"))
        assert first.unit == "s"
        until(lambda: told_of(collector) == 2 or None, patience=20)
        url = program.url("proxy", "/app/v1/chat/completions")
        httpx.post(url, json={**ASKED, "stream": True}, headers=town.key.headers, trust_env=False)
        seen = program.metrics()
        labels = 'gen_ai_operation_name="chat",gen_ai_provider_name="echo",gen_ai_request_model="echo-1"'
        assert seen[f'gen_ai_client_operation_duration_seconds_count{{{labels},error_type=""}}'] == 4
        assert seen[f"gen_ai_client_operation_time_to_first_chunk_seconds_count{{{labels}}}"] == 1
        assert seen[f'gen_ai_client_token_usage_count{{{labels},gen_ai_token_type="input"}}'] == 4
    assert told_of(collector) == 3, "what was measured last is told at the end"
    points = collector.metrics["gen_ai.client.token.usage"].histogram.data_points
    kinds = {attributes(point)["gen_ai.token.type"]: point for point in points}
    assert kinds["input"].sum == sum(kinds["input"].bucket_counts) * kinds["input"].max > 0
    assert attributes(kinds["output"])["gen_ai.request.model"] == "echo-1"
    assert collector.logs == collector.spans == []


def told_of(collector: Collector) -> int:
    """Return how many operations a Collector knows of."""
    (point,) = collector.metrics["gen_ai.client.operation.duration"].histogram.data_points
    return int(point.count)


def test_a_gateway_has_its_own_and_others_do_not(collector: Collector, tmp_path: Path) -> None:
    with (
        Collector() as own,
        running("run", folder=tmp_path / "data", variables={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.http}) as program,
        program.admin() as admin,
    ):
        one, two = Town(admin), Town(admin)
        settings = {"endpoint": own.http, "headers": {"authorization": "Bearer a-long-secret"}, "signal": "logs"}
        shown = admin.done("PUT", one.gateway.path(), exporter(settings, "mine"))
        read = shown["telemetry"]["exporters"][0]["settings"]["headers"]["authorization"]
        assert "a-long-secret" not in json.dumps(shown)
        for town in (one, two):
            assert ask(program, town).status_code == 200
        until(lambda: (own.logs and len(collector.logs) == 2) or None)
        assert [attributes(each)["trustgate.gateway_id"] for each in own.logs] == [one.gateway.id]
        assert own.spans == [], "only what it asked for"
        assert own.headers[0]["authorization"] == "Bearer a-long-secret"

        # sent back as it was read: the secret stays; of the name of the one that all have: in its place
        admin.done("PUT", one.gateway.path(), exporter(settings | {"headers": {"authorization": read}}, "mine"))
        ask(program, one)
        until(lambda: len(own.logs) == 2 or None)
        assert own.headers[-1]["authorization"] == "Bearer a-long-secret"
        admin.done("PUT", one.gateway.path(), exporter({"endpoint": own.http}, "otlp"))
        ask(program, one)
        until(lambda: len(own.logs) == 3 or None)
        ask(program, two)
        until(lambda: len(collector.logs) == 4 or None)
        assert [attributes(each)["trustgate.gateway_id"] for each in collector.logs].count(one.gateway.id) == 2
        assert "a-long-secret" not in program.stdout + program.stderr


def test_nobody_waits_for_a_collector_that_hangs_and_what_is_lost_is_counted(
    collector: Collector, tmp_path: Path
) -> None:
    collector.flows.clear()
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.http, "METRICS_QUEUE_SIZE": "200"}
    with running("run", folder=tmp_path / "data", variables=variables) as program, program.admin() as admin:
        town = Town(admin)
        took = []
        url = program.url("proxy", "/app/v1/chat/completions")
        with httpx.Client(headers=town.key.headers, trust_env=False) as client:
            for _ in range(600):
                started = time.perf_counter()
                assert client.post(url, json=ASKED).status_code == 200
                took.append(time.perf_counter() - started)
        took.sort()
        assert took[len(took) * 99 // 100] < 0.1
        until(lambda: program.metrics()["trustgate_otlp_dropped_total"] or None)
        collector.flows.set()

        def accounted_for() -> bool:
            metrics = program.metrics()
            exported, dropped = metrics["trustgate_otlp_exported_total"], metrics["trustgate_otlp_dropped_total"]
            return exported + dropped == 600 and len({each.trace_id for each in collector.logs}) == exported

        until(accounted_for, patience=30)


def test_a_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    with (
        Collector(certificate=certificate, key=key) as collector,
        running("run", folder=tmp_path / "data") as program,
        program.admin() as admin,
    ):
        town = Town(admin)
        settings: dict[str, Any] = {"endpoint": collector.http, "protocol": "http/protobuf"}
        admin.done("PUT", town.gateway.path(), exporter(settings))
        ask(program, town)
        until(lambda: program.metrics()["trustgate_otlp_errors_total"] or None, patience=20)
        assert collector.logs == []
        assert "does not take log records" in program.stderr
        for tls in ({"ca_file": str(certificate)}, {"skip_verify": True}):
            admin.done("PUT", town.gateway.path(), exporter(settings | {"tls": tls}))
            asked = ask(program, town).headers["x-ag-trace-id"]
            until(partial(has, collector, asked), patience=20)


def has(collector: Collector, trace_id: str) -> bool:
    """Say whether a Collector has a request's record."""
    return trace_id in {each.trace_id.hex() for each in collector.logs}


def test_a_collector_that_is_not_there_costs_nothing(tmp_path: Path) -> None:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_ports(1)[0]}"}
    with running("run", folder=tmp_path / "data", variables=variables) as program, program.admin() as admin:
        assert ask(program, Town(admin)).status_code == 200
        until(lambda: program.metrics()["trustgate_otlp_errors_total"] or None, patience=20)
        assert program.readiness("proxy") == 200


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([{"name": "a"}], 'unknown exporter "a"'),
        ([{"name": "kafka"}], "KAFKA_BROKERS"),
        ([{"name": "otlp"}], "endpoint is required"),
        ([{"name": "otlp", "settings": {"endpoint": "collector:4318"}}], "endpoint must be an address"),
        ([{"name": "otlp", "settings": {"endpoint": "https://me:pw@c"}}], "endpoint must be an address"),
        ([{"name": "otlp", "settings": {"endpoint": "http://c/x", "protocol": "grpc"}}], "no path for grpc"),
        ([{"name": "otlp", "settings": {"endpoint": "https://c", "insecure": True}}], "insecure says"),
        ([{"name": "otlp", "settings": {"endpoint": "http://c", "signal": "events"}}], "signal"),
        ([{"name": "otlp", "settings": {"endpoint": "http://c", "timeout": "soon"}}], "timeout must be"),
        ([{"name": "otlp", "settings": {"endpoint": "http://c", "headers": {"a b": "c"}}}], "headers"),
        ([{"name": "otlp", "settings": {"endpoint": "http://c", "max_body_bytes": 1}}], "max_body_bytes"),
        ([{"name": "otlp", "settings": {"endpoint": "http://c", "zip": True}}], "unknown field zip"),
        ([{"name": "otlp", "settings": {"endpoint": "https://c", "tls": {"ca_file": "/no/such"}}}], "tls.ca_file"),
        ([{"name": "otlp", "settings": {"endpoint": "https://c", "tls": {"cert_file": "/x"}}}], "go together"),
        ([{"name": "otlp", "settings": {"endpoint": "https://c", "tls": {"verify": False}}}], "unknown field verify"),
        ([{"name": "otlp", "settings": {"endpoint": "https://c", "tls": {"skip_verify": True}}}], "always verifies"),
        ([{"name": "B!", "type": "otlp"}], "name must be"),
        ([{"name": "a", "type": "otlp", "settings": {"endpoint": "http://c"}}] * 2, "two of the same name"),
    ],
)
def test_what_is_wrong_is_named_at_write_time(admin_only: Program, given: list[Any], said: str) -> None:
    with admin_only.admin() as admin:
        gateway = admin.gateway()
        told = admin.call("PUT", gateway.path(), {"telemetry": {"exporters": given}})
        assert told.status_code == 422, told.text
        assert said in told.json()["message"]


@pytest.fixture(scope="module")
def admin_only(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with running("admin", folder=tmp_path_factory.mktemp("admin")) as program:
        yield program
