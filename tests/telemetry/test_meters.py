"""What is measured of requests and of the process."""

import asyncio
import os
import time

import msgspec
import pytest

from trustgate.telemetry.fanout import Fanout
from trustgate.telemetry.meters import Meters
from trustgate.telemetry.metrics import MAX_SERIES, Registry
from trustgate.telemetry.process import LoopLag, add_process
from trustgate.telemetry.record import Record, build_event

from .conftest import closed

pytestmark = pytest.mark.anyio


def samples(text: str) -> dict[str, float]:
    pairs = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def test_every_request_is_counted_by_what_the_caller_was_told(answered: Record) -> None:
    meters = Meters()
    meters.observe([build_event(answered), build_event(answered)])
    refused = Record(started=1.0, ended_at=1.0, operation="chat_completions", gateway_slug="demo", status=429)
    meters.observe([build_event(refused)])
    read = samples(meters.render())
    told = 'trustgate_requests_total{gateway="demo",operation="chat_completions",'
    assert read[told + 'status_class="2xx",stream="true"}'] == 2
    assert read[told + 'status_class="4xx",stream="false"}'] == 1


def test_durations_and_our_share_of_them(answered: Record) -> None:
    meters = Meters()
    meters.observe([build_event(answered)])
    read = samples(meters.render())
    labels = '{operation="chat_completions",stream="true"}'
    assert read["trustgate_request_duration_seconds_sum" + labels] == pytest.approx(0.043)
    assert read["trustgate_gateway_overhead_seconds_sum" + labels] == pytest.approx(0.003)
    assert read['trustgate_provider_first_byte_seconds_sum{provider="azure"}'] == pytest.approx(0.020)
    assert 'trustgate_provider_first_byte_seconds_sum{provider="openai"}' not in read


def test_attempts_policies_and_tokens(answered: Record) -> None:
    meters = Meters()
    meters.observe([build_event(answered)])
    read = samples(meters.render())
    assert read['trustgate_upstream_attempts_total{provider="openai",outcome="retryable"}'] == 1
    assert read['trustgate_upstream_attempts_total{provider="azure",outcome="success"}'] == 1
    decided = "trustgate_policy_decisions_total"
    assert read[decided + '{slug="rate_limiter",stage="pre_request",decision="allowed"}'] == 1
    assert read[decided + '{slug="guard",stage="post_response",decision="failed_open"}'] == 1
    assert read['trustgate_policy_degraded_total{slug="guard",on_error="allow"}'] == 1
    tokens = {
        direction: read[f'trustgate_tokens_total{{direction="{direction}"}}'] for direction in ("input", "output")
    }
    assert tokens == {"input": 12, "output": 34}
    assert read['trustgate_tokens_total{direction="cached_input"}'] == 5
    assert read['trustgate_tokens_total{direction="reasoning_output"}'] == 8


def test_broken_ends_are_counted(answered: Record) -> None:
    meters = Meters()
    broken = msgspec.structs.replace(answered, complete=False, client_disconnected=True)
    meters.observe([build_event(answered), build_event(broken)])
    read = samples(meters.render())
    assert read["trustgate_incomplete_answers_total"] == 1
    assert read["trustgate_client_disconnects_total"] == 1


def test_made_up_gateways_do_not_grow_the_process() -> None:
    meters = Meters()
    for number in range(MAX_SERIES + 100):
        record = Record(started=1.0, ended_at=1.0, gateway_slug=f"made-up-{number}", status=200)
        meters.observe([build_event(record)] * 2)
    read = samples(meters.render())
    counted = {name: value for name, value in read.items() if name.startswith("trustgate_requests_total")}
    assert len(counted) == MAX_SERIES + 1
    assert sum(counted.values()) == 2 * (MAX_SERIES + 100)
    assert len(meters._memo) <= MAX_SERIES


async def test_a_scrape_counts_what_is_still_waiting() -> None:
    meters = Meters()
    fanout = Fanout({}, 100, observers=[meters.observe])
    meters.settle_with(fanout.settle)
    fanout.start()
    fanout.emit(closed())
    assert sum(value for name, value in samples(meters.render()).items() if "requests_total" in name) == 1
    await fanout.aclose(1.0)


def test_figures_that_others_keep() -> None:
    meters = Meters()
    kept = {"in_flight": 0}
    meters.gauge("trustgate_requests_in_flight", "Requests under way.", lambda: kept["in_flight"])
    meters.counter("trustgate_config_reload_errors_total", "Failed reloads.", lambda: 3)
    kept["in_flight"] = 5
    text = meters.render()
    assert samples(text)["trustgate_requests_in_flight"] == 5
    assert "# TYPE trustgate_config_reload_errors_total counter\ntrustgate_config_reload_errors_total 3\n" in text


def test_the_process_is_described() -> None:
    registry = Registry()
    add_process(registry, version="1.2.3")
    read = samples(registry.render())
    assert any(name.startswith('trustgate_build_info{version="1.2.3",python="3.') for name in read)
    assert 10e6 < read["process_resident_memory_bytes"] < 10e9
    assert 0 < read["process_cpu_seconds_total"] <= time.process_time()
    assert time.time() - 3600 < read["process_start_time_seconds"] < time.time()


def test_open_files_are_counted() -> None:
    registry = Registry()
    add_process(registry, version="1")
    before = samples(registry.render())["process_open_fds"]
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(7)]
    after = samples(registry.render())["process_open_fds"]
    for descriptor in opened:
        os.close(descriptor)
    assert after - before == 7


async def test_a_late_loop_is_seen() -> None:
    registry = Registry()
    lag = LoopLag(registry, every=0.01)
    lag.start()
    await asyncio.sleep(0.005)
    time.sleep(0.1)  # noqa: ASYNC251 - to block the loop is the point
    await asyncio.sleep(0.02)
    lag.stop()
    read = samples(registry.render())
    assert read["trustgate_event_loop_lag_seconds_sum"] > 0.08
    count = read["trustgate_event_loop_lag_seconds_count"]
    await asyncio.sleep(0.03)
    assert samples(registry.render())["trustgate_event_loop_lag_seconds_count"] == count
