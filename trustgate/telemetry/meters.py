"""What this gateway measures: every request by its event, and the process by asking it.

Events are counted in the fan-out's batch, off the response path; a scrape first counts what is still waiting.
"""

from collections.abc import Callable, Sequence

from trustgate.contract.event import Event, PolicyFinding
from trustgate.telemetry.genai import INSTRUMENTS, Instrument, measured
from trustgate.telemetry.metrics import MAX_SERIES, Buckets, Count, Counter, Gauge, Histogram, Registry

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
OVERHEAD_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5)
FAILED = {"failed_open": "allow", "failed_closed": "deny"}

Counted = tuple[str, str, tuple[str, ...]]
"""The name of a metric, what it says, and its labels."""
Spread = tuple[str, str, tuple[float, ...], tuple[str, ...]]
"""The same of one that has bounds, before the labels."""
REQUESTS: Counted = (
    "trustgate_requests_total",
    "Requests answered, by what the caller was told.",
    ("gateway", "operation", "status_class", "stream"),
)
DURATION: Spread = (
    "trustgate_request_duration_seconds",
    "From the request's arrival to the last byte of its answer.",
    SECONDS,
    ("operation", "stream"),
)
OVERHEAD: Spread = (
    "trustgate_gateway_overhead_seconds",
    "What of a request's duration was not waiting for a provider; policies are included.",
    OVERHEAD_SECONDS,
    ("operation", "stream"),
)
FIRST_BYTE: Spread = (
    "trustgate_provider_first_byte_seconds",
    "From calling a provider to the head of its answer.",
    SECONDS,
    ("provider",),
)
TOKENS: Counted = ("trustgate_tokens_total", "Tokens used, by direction.", ("direction",))
DECISIONS: Counted = (
    "trustgate_policy_decisions_total",
    "What policies decided.",
    ("slug", "stage", "decision"),
)
DEGRADED: Counted = (
    "trustgate_policy_degraded_total",
    "Times that a policy could not decide, by what its on_error then did.",
    ("slug", "on_error"),
)
ATTEMPTS: Counted = ("trustgate_upstream_attempts_total", "Calls to providers, by outcome.", ("provider", "outcome"))
LEFT: Counted = ("trustgate_client_disconnects_total", "Callers that left before their answer's end.", ())
BROKEN: Counted = ("trustgate_incomplete_answers_total", "Answers that ended before their proper end.", ())

MOST_MODELS = 200
"""How many series each of GenAI's histograms has, which are by model: a series is fifteen lines."""
RequestKey = tuple[str, str, int, bool]
RequestCells = tuple[Count, Buckets, Buckets]


class Meters:
    """The request metrics. `observe` is the fan-out's observer; `render` is what `/metrics` answers."""

    def __init__(self, *, settle: Callable[[], None] = lambda: None) -> None:
        self.registry = Registry()
        self._settle = settle
        self._memo: dict[RequestKey, RequestCells] = {}
        self._requests = self._counter(REQUESTS)
        self._duration = self._histogram(DURATION)
        self._overhead = self._histogram(OVERHEAD)
        self._first_byte = self._histogram(FIRST_BYTE)
        tokens = self._counter(TOKENS)
        self._tokens_in, self._tokens_out, self._cached, self._reasoning = (
            tokens.cell((direction,)) for direction in ("input", "output", "cached_input", "reasoning_output")
        )
        self._decisions = self._counter(DECISIONS)
        self._degraded = self._counter(DEGRADED)
        self._attempts = self._counter(ATTEMPTS)
        self._gone = self._counter(LEFT).cell(())
        self._incomplete = self._counter(BROKEN).cell(())
        self._genai = {each.name: _histogram(each) for each in INSTRUMENTS}
        self.registry.add(*self._genai.values())

    def settle_with(self, settle: Callable[[], None]) -> None:
        """Before each scrape call this, which counts what is still waiting (the fan-out's `settle`)."""
        self._settle = settle

    def _counter(self, told: Counted) -> Counter:
        made = Counter(*told)
        self.registry.add(made)
        return made

    def _histogram(self, told: Spread) -> Histogram:
        made = Histogram(*told)
        self.registry.add(made)
        return made

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Expose a number that somebody else keeps."""
        self.registry.add(Gauge(name, text, read))

    def counter(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Expose a count that somebody else keeps."""
        self.registry.add(Gauge(name, text, read, kind="counter"))

    def render(self) -> str:
        """Return the exposition, counting first what has happened but was not counted yet."""
        self._settle()
        return self.registry.render()

    def observe(self, events: Sequence[Event]) -> None:
        """Count a batch of events."""
        for event in events:
            self._observe(event)

    def _observe(self, event: Event) -> None:
        latency = event.latency
        request = event.request
        key = (event.gateway_slug, request.operation, event.status.code // 100, request.stream)
        requests, duration, overhead = self._memo.get(key) or self._request_cells(key)
        requests.value += 1
        duration.observe(latency.total_ms * 1e-3)
        overhead.observe(max(0.0, latency.total_ms - latency.provider_ms) * 1e-3)
        for attempt in event.attempts:
            self._attempts.cell((attempt.provider, attempt.outcome)).value += 1
            if attempt.status_code:
                self._first_byte.cell((attempt.provider,)).observe(attempt.latency_ms * 1e-3)
        for finding in event.policy_chain:
            self._decisions.cell((finding.slug, finding.stage, finding.decision)).value += 1
            if finding.error:
                self._count_failure(finding)
        if usage := event.usage:
            self._tokens_in.value += usage.prompt_tokens
            self._tokens_out.value += usage.completion_tokens
            self._cached.value += usage.cached_input_tokens
            self._reasoning.value += usage.reasoning_output_tokens
        for instrument, values, value in measured(event):
            self._genai[instrument.name].cell(values).observe(value)
        if event.client_disconnected:
            self._gone.value += 1
        if not event.response.complete:
            self._incomplete.value += 1

    def _request_cells(self, key: RequestKey) -> RequestCells:
        gateway, operation, status_class, stream = key
        kind = (operation, "true" if stream else "false")
        cells = (
            self._requests.cell((gateway, operation, f"{status_class}xx", kind[1])),
            self._duration.cell(kind),
            self._overhead.cell(kind),
        )
        if len(self._memo) < MAX_SERIES:
            self._memo[key] = cells
        return cells

    def _count_failure(self, finding: PolicyFinding) -> None:
        on_error = FAILED.get(finding.decision, "")
        self._degraded.cell((finding.slug, on_error)).value += 1


def _histogram(instrument: Instrument) -> Histogram:
    """Return an instrument as Prometheus names it."""
    unit = "_seconds" if instrument.unit == "s" else ""
    labels = tuple(name.replace(".", "_") for name in instrument.attributes)
    name = instrument.name.replace(".", "_") + unit
    return Histogram(name, instrument.text, instrument.bounds, labels, limit=MOST_MODELS)
