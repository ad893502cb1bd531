"""What is done to one gateway: warm up, then fixed numbers of requests between two looks at its processor time."""

import time
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from statistics import mean, median
from typing import NamedTuple

from msgspec import Struct

from bench import wire
from bench.laboratory import Laboratory
from bench.launch import BEARER, CHAT, Running
from bench.processes import CannotRun, Child

CONNECTIONS = (1, 32, 200)
MAIN = 32
STREAMS = 200
SETTLE = 0.1
FIRST_STREAMS = 20
PATIENCE = 60.0


class Plan(Struct, frozen=True, kw_only=True):
    """How long each part of a row may take, in seconds, and how often it is repeated.

    The warm-up is long because node's compiler needs thousands of requests to settle, which halves its figure.
    """

    repeats: int = 3
    warm: float = 4.0
    main: float = 3.0
    side: float = 1.2
    streaming: float = 1.5


QUICK = Plan(warm=2.0, main=0.7, side=0.3, streaming=0.5)


class Latency(Struct, frozen=True, kw_only=True):
    """Milliseconds from sending a request to the last byte of its answer."""

    p50: float
    p99: float

    def over(self, direct: "Latency") -> "Latency":
        """Return what this path adds to the direct one."""
        return Latency(p50=self.p50 - direct.p50, p99=self.p99 - direct.p99)


class Figures(Struct, kw_only=True):
    """Everything measured on one row. CPU in µs, latencies in ms, memory in MB, start-up in seconds.

    `busy` is the share of a core that the gateway used at 32 connections, `others` how many cores strangers used.
    """

    cpu: float
    cpu_samples: list[float]
    rate: float
    busy: float
    others: float
    latency: dict[int, Latency]
    added: dict[int, Latency]
    stream_cpu: float | None
    stream_samples: list[float]
    stream_p50: float | None
    memory: float
    ready: float
    errors: dict[str, int]

    def chunk(self) -> float:
        """Return the CPU for each streamed chunk. Raises LookupError when no stream was carried."""
        if self.stream_cpu is None:
            raise LookupError("no stream was carried")
        return self.stream_cpu


class Sample(Struct, frozen=True, kw_only=True):
    """One run: how many requests were answered well, what they took, what they cost the gateway, and who disturbed."""

    good: int
    seconds: float
    p50: float
    p99: float
    cpu: float
    others: float

    @property
    def rate(self) -> float:
        """Return requests per second."""
        return self.good / self.seconds

    @property
    def cpu_each(self) -> float:
        """Return µs of the gateway's processor time for each request."""
        return self.cpu / self.good * 1e6


class Target(NamedTuple):
    """Where the load goes, and whose processor time it costs; nobody's when it goes straight to the upstream."""

    port: int
    path: str
    headers: Mapping[str, str]
    child: Child | None = None


class Meter:
    """Points the load generator at one target and weighs what happens."""

    def __init__(self, laboratory: Laboratory, target: Target, plan: Plan) -> None:
        self.laboratory = laboratory
        self.target = target
        self.plan = plan
        self.errors: Counter[str] = Counter()

    def open(self, connections: int, *, stream: bool = False) -> None:
        """Replace the open connections by so many new ones."""
        request = b64encode(_request(self.target, stream=stream)).decode()
        order = {"port": self.target.port, "connections": connections, "request": request, "stream": stream}
        self.laboratory.load.tell({"open": order})

    def run(self, requests: int) -> Sample:
        """Send so many requests. Raises CannotRun when not one of them was answered well."""
        cpu, foreign = self._cpu(), self.laboratory.foreign_cpu()
        said = self.laboratory.load.tell({"run": requests, "limit": PATIENCE})
        time.sleep(SETTLE)
        cpu = self._cpu() - cpu
        others = (self.laboratory.foreign_cpu() - foreign - cpu) / (said["seconds"] + SETTLE)
        self.errors.update(said.pop("errors"))
        if not said["good"]:
            raise CannotRun(f"not one good answer: {' / '.join(self.errors)[:200]}")
        return Sample(**said, cpu=cpu, others=max(0.0, others))

    def _cpu(self) -> float:
        return self.target.child.cpu() if self.target.child else 0.0

    def series(self, connections: int, seconds: float, *, warm: float) -> list[Sample]:
        """Warm up, settle on a number of requests that takes about so many seconds, and send it as often as planned."""
        self.open(connections)
        rate = self._warm_up(connections, warm)
        requests = _count(rate * seconds, connections)
        return [self.run(requests) for _ in range(self._repeats(requests / rate, 2 * seconds))]

    def _warm_up(self, connections: int, seconds: float) -> float:
        """Send requests for so long, in three steps or so, because the first are slow; return the rate of the last."""
        sample = self.run(max(20, connections))
        spent = sample.seconds
        while spent < seconds * 0.9:
            sample = self.run(_count(sample.rate * min(seconds / 3, seconds - spent), connections))
            spent += sample.seconds
        return sample.rate

    def _repeats(self, expected: float, bearable: float) -> int:
        """Repeat only what is short enough: one long run is as steady as three short ones."""
        return self.plan.repeats if expected < bearable else 1

    def streams(self) -> list[Sample]:
        """Read streams, 200 at once, in as many rounds as fit the plan."""
        self.open(FIRST_STREAMS, stream=True)
        first = self.run(FIRST_STREAMS)
        expected = max(first.seconds, first.cpu / FIRST_STREAMS * STREAMS)
        rounds = max(1, round(self.plan.streaming / expected))
        self.open(STREAMS, stream=True)
        return [self.run(STREAMS * rounds) for _ in range(self._repeats(expected, 2 * self.plan.streaming))]


def _count(requests: float, connections: int) -> int:
    return max(20, connections, int(requests))


def _request(target: Target, *, stream: bool) -> bytes:
    body = wire.request_body(stream=stream)
    headers = {
        "host": "bench.local",
        "content-type": "application/json",
        "content-length": str(len(body)),
        **target.headers,
    }
    lines = [f"POST {target.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def measure_direct(laboratory: Laboratory, plan: Plan) -> dict[int, Latency]:
    """Return the latencies of the mock upstream itself, which every row is compared with."""
    meter = Meter(laboratory, Target(laboratory.upstream_port, CHAT, BEARER), plan)
    latencies = {
        connections: _latency(meter.series(connections, plan.side, warm=plan.side)) for connections in CONNECTIONS
    }
    if meter.errors:
        raise CannotRun(f"the mock upstream fails: {dict(meter.errors)}")
    return latencies


def measure(laboratory: Laboratory, running: Running, direct: Mapping[int, Latency], plan: Plan) -> Figures:
    """Take every figure of one gateway, memory last."""
    meter = Meter(laboratory, Target(running.port, running.path, running.headers, running.child), plan)
    series = {MAIN: meter.series(MAIN, plan.main, warm=plan.warm)}
    series |= {n: meter.series(n, plan.side, warm=plan.side / 2) for n in CONNECTIONS if n != MAIN}
    main = series[MAIN]
    streams = _streams(meter)
    per_chunk = [sample.cpu_each / wire.CHUNKS for sample in streams]
    latency = {connections: _latency(series[connections]) for connections in CONNECTIONS}
    return Figures(
        cpu=median(sample.cpu_each for sample in main),
        cpu_samples=[sample.cpu_each for sample in main],
        rate=median(sample.rate for sample in main),
        busy=median(sample.cpu / sample.seconds for sample in main),
        others=mean(sample.others for sample in (*chain(*series.values()), *streams)),
        latency=latency,
        added={connections: latency[connections].over(direct[connections]) for connections in CONNECTIONS},
        stream_cpu=median(per_chunk) if streams else None,
        stream_samples=per_chunk,
        stream_p50=median(sample.p50 for sample in streams) if streams else None,
        memory=running.child.memory(),
        ready=running.ready_seconds,
        errors=dict(meter.errors),
    )


def _streams(meter: Meter) -> list[Sample]:
    """Measure the streams; a gateway that cannot carry them keeps its other figures."""
    try:
        return meter.streams()
    except CannotRun as reason:
        meter.errors[f"streams: {reason}"] += 1
        return []


def _latency(samples: Sequence[Sample]) -> Latency:
    return Latency(p50=median(sample.p50 for sample in samples), p99=median(sample.p99 for sample in samples))
