"""Kafka that is away: requests go on, their events wait on disk, and the next process finds what a killed one left."""

import json
from pathlib import Path

import httpx

from .program import Program, free_ports, running, until

ASKED = {"model": "echo-1", "messages": [{"role": "user", "content": "Hello!"}]}


def nowhere() -> dict[str, str]:
    return {"KAFKA_BROKERS": f"127.0.0.1:{free_ports(1)[0]}", "APP_ENV": "dev"}


def kept(program: Program) -> list[str]:
    """Return the trace ids of the events on disk."""
    found = []
    for segment in sorted((program.folder / "spool").glob("*/*.events")):
        for line in segment.read_bytes().splitlines():
            gateway_id, trace_id, value = line.split(b"\t", 2)
            event = json.loads(value)
            assert (event["trace_id"], event["gateway_id"]) == (trace_id.decode(), gateway_id.decode())
            found.append(trace_id.decode())
    return found


def asking(program: Program, number: int) -> list[str]:
    with program.admin() as admin:
        gateway = admin.gateway()
        headers = gateway.key(gateway.consumer("app", gateway.registry("echo", "echo"))).headers
    url = program.url("proxy", "/app/v1/chat/completions")
    with httpx.Client(trust_env=False, headers=headers) as client:
        told = [client.post(url, json=ASKED) for _ in range(number)]
    assert {each.status_code for each in told} == {200}
    return [each.headers["x-ag-trace-id"] for each in told]


def test_events_wait_on_disk_in_order_and_readiness_says_so(folder: Path) -> None:
    with running("run", folder=folder, variables=nowhere()) as program:
        asked = asking(program, 20)
        until(lambda: kept(program) == asked or None)
        told = until(lambda: ("degraded" in (said := program.get("proxy", "/readyz")[1]) and said) or None)
        assert json.loads(told)["dependencies"]["kafka"].startswith("degraded: ")
        assert program.readiness("proxy") == 200
        metrics = program.metrics()
        assert metrics["trustgate_spool_bytes"] > 0
        assert metrics["trustgate_spool_dropped_total"] == 0
        assert metrics['trustgate_telemetry_dropped_total{sink="kafka"}'] == 0
    assert kept(program) == asked, "a process that ends in good order leaves them there"


def test_a_killed_process_leaves_its_events_to_the_next(folder: Path) -> None:
    program = Program("run", folder=folder, variables=nowhere()).start()
    asked = asking(program, 30)
    until(lambda: len(kept(program)) == 30 or None)
    program.kill()
    assert kept(program) == asked
    with running("run", folder=folder, secret=program.secret, variables=nowhere()) as after:
        assert after.metrics()["trustgate_spool_bytes"] > 0, "they are the next one's"
        more = asking(after, 2)
        until(lambda: len(kept(after)) == 32 or None)
    assert sorted(kept(after)) == sorted(asked + more)


def test_beyond_the_bound_events_are_counted_as_lost(folder: Path) -> None:
    with running("run", folder=folder, variables=nowhere() | {"TELEMETRY_SPOOL_BYTES": "4096"}) as program:
        asked = asking(program, 20)
        until(lambda: program.metrics()["trustgate_spool_dropped_total"] or None)
        left = kept(program)
        assert left == asked[: len(left)], "the oldest are kept"
        until(lambda: program.metrics()["trustgate_spool_dropped_total"] + len(kept(program)) == 20 or None)
        assert "the spool is full" in program.stderr


def test_no_place_for_events_is_said_at_the_start(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "spool").write_text("a file")
    program = Program("run", folder=folder, variables=nowhere()).start(ready=False)
    assert program.wait() == 2
    assert "TRUSTGATE_DATA_DIR has no place for the events" in program.stderr


def test_with_kafka_the_event_log_is_off_unless_it_is_asked_for(folder: Path) -> None:
    program = Program("run", folder=folder, variables=nowhere())
    del program.env["TELEMETRY_LOG"]
    program.start()
    try:
        asking(program, 1)
        until(lambda: kept(program) or None)
        assert '"schema_version"' not in program.stdout
    finally:
        program.stop()
