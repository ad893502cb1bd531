"""What operators see: one event a request, and metrics that Prometheus reads, on their own paths only."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from .place import Place, open_place
from .program import PLANES, Json, Program, running, until
from .upstream import Script, Upstream, answer, completion, story, stream
from .wire import ask, chat

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)?\}})? (-?[0-9.e+-]+|\+Inf|-Inf|NaN)")
COMMENT = re.compile(rf"# (HELP|TYPE) ({NAME}) (.+)")
KINDS = {"counter", "gauge", "histogram", "summary", "untyped"}
PROBES = ("/healthz", "/health", "/readyz", "/metrics", "/__/version")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, server: Upstream) -> Iterator[Place]:
    """A program of our own, so that its counts are ours."""
    with running("run", folder=tmp_path_factory.mktemp("telemetry")) as program, program.admin() as admin:
        yield open_place(program, admin, server.url)


def parse(text: str) -> dict[str, str]:
    """Read Prometheus' text as strictly as it is written down; return the kind of each metric by name."""
    kinds: dict[str, str] = {}
    seen: set[str] = set()
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("#"):
            comment = COMMENT.fullmatch(line)
            assert comment, line
            if comment[1] == "TYPE":
                assert comment[2] not in kinds, line
                assert comment[3] in KINDS, line
                kinds[comment[2]] = comment[3]
            continue
        sample = SAMPLE.fullmatch(line)
        assert sample, line
        family = re.sub(r"_(bucket|sum|count)$", "", sample[1]) if sample[1] not in kinds else sample[1]
        assert family in kinds, line
        assert line.rpartition(" ")[0] not in seen, line
        seen.add(line.rpartition(" ")[0])
    return kinds


@pytest.mark.parametrize("plane", PLANES)
def test_metrics_are_prometheus_text_on_every_plane(place: Place, upstream: Upstream, plane: str) -> None:
    chat(place.port, place.headers)
    said = httpx.get(place.program.url(plane, "/metrics"), trust_env=False)
    assert said.status_code == 200
    assert said.headers["content-type"].startswith("text/plain; version=0.0.4")
    kinds = parse(said.text)
    assert kinds["process_resident_memory_bytes"] == "gauge"
    assert kinds["trustgate_build_info"] == "gauge"
    assert kinds["trustgate_requests_total"] == "counter"
    assert kinds["trustgate_request_duration_seconds"] == "histogram"
    for name, kind in kinds.items():
        assert kind != "counter" or name.endswith("_total"), name


def test_a_histogram_adds_up(place: Place) -> None:
    metrics = place.program.metrics()
    labels = 'operation="chat_completions",stream="false"'
    name = "trustgate_request_duration_seconds"
    buckets = [value for key, value in metrics.items() if key.startswith(f"{name}_bucket{{{labels}")]
    assert buckets == sorted(buckets)
    assert metrics[f'{name}_bucket{{{labels},le="+Inf"}}'] == metrics[f"{name}_count{{{labels}}}"]


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("path", PROBES)
def test_every_plane_has_its_probes(place: Place, plane: str, path: str) -> None:
    said = httpx.get(place.program.url(plane, path), trust_env=False)
    assert said.status_code == 200
    if path != "/metrics":
        assert said.json()
    wrong = httpx.post(place.program.url(plane, path), trust_env=False)
    assert (wrong.status_code, wrong.json()["error"]) == (405, "method_not_allowed")


@pytest.mark.parametrize("path", PROBES)
def test_a_tenants_path_has_none(place: Place, path: str) -> None:
    for prefix in ("/my-app", f"/{place.gateway.slug}/my-app", "/v1"):
        said = ask(place.port, "GET", prefix + path, place.headers)
        assert (said.status, said.error()["code"]) == (404, "unknown_route")
        assert b"trustgate_" not in said.body


def test_a_probe_leaves_no_event(own: Place) -> None:
    before = len(settled(own.program))
    for path in PROBES:
        httpx.get(own.program.url("proxy", path), trust_env=False)
    assert len(settled(own.program)) == before


def settled(program: Program) -> list[Json]:
    """Return all events, once those that wait have been written."""
    total = sum(value for name, value in program.metrics().items() if name.startswith("trustgate_requests_total"))
    return until(lambda: events if len(events := program.events()) >= total else None, what="events") if total else []


def test_each_request_leaves_one_event(own: Place, upstream: Upstream) -> None:
    """Answered, refused and failed ones alike; counted as they are told of."""
    before = len(settled(own.program))
    scripts: dict[str, Script] = {
        "fine": completion(),
        "live": stream(story(["a"])),
        "cut": stream(story(["a"])[:-2]),
        "failed": answer(500, b"{}"),
        "empty": answer(200, b"{}"),
    }

    def asked(script: str, **more: object) -> str:
        upstream.play(scripts[script])
        return chat(own.port, own.headers, more).trace_id

    traces: list[tuple[str, int, str]] = []
    for _ in range(5):
        traces += [
            (asked("fine"), 200, ""),
            (asked("live", stream=True), 200, ""),
            (asked("cut", stream=True), 200, "provider_incomplete_stream"),
            (asked("failed"), 500, "provider_error"),
            (asked("empty"), 502, "provider_malformed_answer"),
            (ask(own.port, "GET", "/my-app/v1/models", own.headers).trace_id, 200, ""),
            (chat(own.port, {}).trace_id, 401, "missing_api_key"),
            (chat(own.port, own.headers, b"{").trace_id, 400, "invalid_json"),
            (ask(own.port, "GET", "/nonsense").trace_id, 404, "unknown_route"),
            (ask(own.port, "GET", "/v1/chat/completions").trace_id, 405, "method_not_allowed"),
        ]
    for trace, code, reason in traces:
        status = own.program.event(trace)["status"]
        assert (status["code"], status.get("reason", "")) == (code, reason)
    events = settled(own.program)[before:]
    assert sorted(event["trace_id"] for event in events) == sorted(trace for trace, _, _ in traces)
    assert own.program.metrics()['trustgate_telemetry_dropped_total{sink="log"}'] == 0


def test_an_event_is_written_soon_by_itself(own: Place, upstream: Upstream) -> None:
    """Nobody has to scrape for it."""
    said = chat(own.port, own.headers)
    until(lambda: any(event["trace_id"] == said.trace_id for event in own.program.events()), patience=2)


def test_the_fields_of_an_event(own: Place, upstream: Upstream) -> None:
    said = chat(own.port, own.headers, x_session_id="session-7")
    event = own.program.event(said.trace_id)
    assert (event["schema_version"], event["kind"]) == (4, "llm")
    assert (event["gateway_id"], event["gateway_slug"]) == (own.gateway.id, own.gateway.slug)
    assert event["consumer"] == {
        "id": own.consumers["my-app"],
        "name": "my-app",
        "slug": "my-app",
        "auth_id": own.key.id,
    }
    assert event["session_id"] == said.headers["x-session-id"] == "session-7"
    assert event["revision"] == int(said.headers["x-ag-revision"])
    assert event["ip"] == "127.0.0.1"
    assert event["status"] == {"code": 200, "is_timeout": False, "outcome": "success"}
    request, response = event["request"], event["response"]
    assert (request["method"], request["path"]) == ("POST", "/my-app/v1/chat/completions")
    assert (request["provider"], request["registry_id"]) == ("openai", own.registry)
    assert (request["requested_model"], request["model"]) == ("gpt-4o-mini", "gpt-4o-mini-2024-07-18")
    assert (response["bytes"], response["complete"], response["finish_reason"]) == (len(said.body), True, "stop")
    assert event["usage"] == {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
    assert [attempt["outcome"] for attempt in event["attempts"]] == ["success"]
    latency = event["latency"]
    steps = sum(latency[f"{step}_ms"] for step in ("admission", "enforcement", "forwarding", "relay"))
    assert steps == pytest.approx(latency["total_ms"], abs=0.01)
    assert 0 < latency["provider_ms"] <= latency["total_ms"]
    assert "Hello!" not in json.dumps(event)


def test_server_timing_says_what_the_event_says(own: Place, upstream: Upstream) -> None:
    said = chat(own.port, own.headers)
    told = dict(re.findall(r"(\w+);dur=([0-9.]+)", said.headers["server-timing"]))
    latency = own.program.event(said.trace_id)["latency"]
    for step in ("admission", "enforcement", "forwarding"):
        assert float(told[step]) == pytest.approx(latency[f"{step}_ms"], abs=0.005)


def test_what_policies_decide_is_told(own: Place, upstream: Upstream) -> None:
    consumer = own.gateway.consumer("watched", own.registry)
    own.gateway.attach(consumer, "auths", own.key.id)
    own.gateway.policy("request_size_limiter", consumer, allowed_payload_size=80, size_unit="bytes")
    path = "/watched/v1/chat/completions"
    small = own.program.event(chat(own.port, own.headers, path=path).trace_id)
    large = chat(own.port, own.headers, {"user": "x" * 100}, path=path)
    assert (large.status, large.error()["code"]) == (413, "request_too_large")
    assert "policy_chain" not in small, "who has nothing to say leaves no finding"
    [finding] = own.program.event(large.trace_id)["policy_chain"]
    assert (finding["slug"], finding["stage"], finding["decision"]) == ("request_size_limiter", "pre_request", "block")
    name = 'trustgate_policy_decisions_total{slug="request_size_limiter",stage="pre_request",decision="%s"}'
    metrics = own.program.metrics()
    assert (metrics.get(name % "allowed"), metrics[name % "block"]) == (None, 1)


def test_events_go_to_standard_output_unless_told_otherwise(folder: Path, upstream: Upstream) -> None:
    """Nothing else is written there: each line is an event. The program's own log is on standard error."""
    with running("run", folder=folder, variables={"TELEMETRY_LOG": ""}) as program, program.admin() as admin:
        place = open_place(program, admin, upstream.url)
        traces = [chat(place.port, place.headers).trace_id for _ in range(3)]
    lines = [json.loads(line) for line in program.stdout.splitlines()]
    assert [line["trace_id"] for line in lines] == traces
    assert all("level" in json.loads(line) for line in program.stderr.splitlines())


@pytest.mark.parametrize("variables", [{"TELEMETRY_ENABLED": "no"}, {"TELEMETRY_LOG": "none"}], ids=["off", "no log"])
def test_events_can_be_switched_off(folder: Path, upstream: Upstream, variables: dict[str, str]) -> None:
    with running("run", folder=folder, variables=variables) as program, program.admin() as admin:
        place = open_place(program, admin, upstream.url)
        assert chat(place.port, place.headers).status == 200
        counted = [value for name, value in program.metrics().items() if name.startswith("trustgate_requests_total")]
        assert sum(counted) == 1
    assert program.stdout == ""
    assert not program.event_file.exists() or program.events() == []
