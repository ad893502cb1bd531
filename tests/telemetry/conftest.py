"""What telemetry is tested with: closed records, and sinks that keep, fail or hang."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from trustgate.contract.context import Caller
from trustgate.contract.event import Attempt, Event, PolicyFinding
from trustgate.contract.usage import Usage
from trustgate.telemetry.record import Record

MakeRecord = Callable[..., Record]

CALLER = Caller(
    gateway_id="gateway-1",
    gateway_slug="demo",
    tenant_id="tenant-1",
    consumer_id="consumer-1",
    consumer_slug="my-app",
    consumer_name="My app",
    auth_id="auth-1",
    auth_name="key",
)


@pytest.fixture
def answered() -> Record:
    """A request that was answered at the second attempt: 3 ms of ours, 40 of providers, and 0.5 after the answer."""
    start = 1000.0
    return Record(
        trace_id="0af7651916cd43dd8448eb211c80319c",
        span_id="b7ad6b7169203331",
        parent_span_id="00f067aa0ba902b7",
        started=start,
        admitted_at=start + 0.001,
        enforced_at=start + 0.002,
        forwarded_at=start + 0.033,
        ended_at=start + 0.043,
        ended_clock=1_700_000_000.5,
        revision=7,
        method="POST",
        path="/my-app/v1/chat/completions",
        operation="chat_completions",
        ip="192.0.2.7",
        session_id="session-1",
        caller=CALLER,
        requested_model="auto",
        model="gpt-5",
        stream=True,
        request_bytes=600,
        dropped_params=("logit_bias",),
        attempts=(
            Attempt(
                attempt=1,
                outcome="retryable",
                latency_ms=10.0,
                registry_id="registry-1",
                provider="openai",
                failure="connect_failed",
            ),
            Attempt(
                attempt=2,
                outcome="success",
                latency_ms=20.0,
                registry_id="registry-2",
                provider="azure",
                status_code=200,
            ),
        ),
        provider_seconds=0.040,
        findings=(
            PolicyFinding(
                name="limit",
                slug="rate_limiter",
                policy_id="policy-1",
                stage="pre_request",
                mode="enforce",
                decision="allowed",
                latency_ms=1.0,
                error=False,
                flagged=False,
            ),
            PolicyFinding(
                name="guard",
                slug="guard",
                policy_id="policy-2",
                stage="post_response",
                mode="observe",
                decision="failed_open",
                latency_ms=0.5,
                error=True,
                flagged=True,
                error_type="ConnectionError",
                details={"score": 0.9},
            ),
        ),
        status=200,
        finish_reason="stop",
        streaming=True,
        response_bytes=900,
        usage=Usage(input=12, output=34, cached_input=5, reasoning_output=8),
    )


def closed(number: int = 0) -> Record:
    """Return the closed record of some request; its trace id ends in its number."""
    record = Record(trace_id=f"{number:032x}", started=1.0, status=200, operation="chat_completions")
    record.close_with(lambda _: None)
    return record


class Kept:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.batches: list[int] = []
        self.is_closed = False

    async def deliver(self, events: Sequence[Event]) -> None:
        self.events.extend(events)
        self.batches.append(len(events))

    async def aclose(self) -> None:
        self.is_closed = True

    @property
    def numbers(self) -> list[int]:
        return [int(event.trace_id, 16) for event in self.events]


class Failing(Kept):
    """A sink that fails some times before it works."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.offered: list[list[str]] = []
        self._times = times

    async def deliver(self, events: Sequence[Event]) -> None:
        self.offered.append([event.trace_id for event in events])
        if len(self.offered) <= self._times:
            raise ConnectionError("nobody there")
        await super().deliver(events)


class Stuck(Kept):
    """A sink that takes nothing until it is freed."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()
        self.free = asyncio.Event()

    async def deliver(self, events: Sequence[Event]) -> None:
        self.asked.set()
        await self.free.wait()
        await super().deliver(events)
