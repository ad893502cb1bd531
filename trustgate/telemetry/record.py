"""What the steps leave behind: the one mutable thing of a request, turned into an event after its last byte.

Leaving something is an attribute set. The event is built off the response path, by the fan-out, from the closed record;
so a record holds ids and numbers and never a body, which would live on in the queue.
"""

from collections.abc import Callable, MutableSequence
from datetime import UTC, datetime
from time import perf_counter, time

from msgspec import Struct
from msgspec.structs import replace

from trustgate.contract.context import Caller
from trustgate.contract.cost import Cost, PriceRule, Pricing, plain
from trustgate.contract.event import (
    NO_CONSUMER,
    SCHEMA_VERSION,
    Attempt,
    Event,
    EventConsumer,
    EventCost,
    EventLatency,
    EventMcp,
    EventRequest,
    EventResponse,
    EventStatus,
    EventUsage,
    PolicyFinding,
)
from trustgate.contract.usage import Usage

TIMEOUTS = frozenset((408, 504))
AFTER_THE_ANSWER = "post_response"
REJECTED = "plugin_rejection"
"""The failure of an attempt whose answer a policy rejected."""


class Spent(Struct, frozen=True, kw_only=True, gc=False):
    """What answers used that the caller did not get. `cost` is None where the price of one of them is not known."""

    usage: Usage
    cost: Cost | None


class Record(Struct, kw_only=True, gc=False):
    """One request under way. Times are `perf_counter` seconds; a mark of 0 is a step that was not reached.

    A step that ends sets its mark: `admitted_at`, `enforced_at`, `forwarded_at`; relay ends with the record. What no
    mark divides counts for the later step, as far as the request came.
    `provider_seconds` is all waiting for providers, to the last byte; 0 means that the attempts say it all.
    `cost` is left by whoever had to know it at once; else it is worked out of `usage`, the model's name and what the
    answering registry and service tier make of its price when the event is built. `usage` is that of the answer which
    the caller got; `spent` is what earlier ones used, which count too, and `overruled` how many of the findings are
    about those: a refusal among them was not the caller's.
    """

    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str = ""
    started: float
    admitted_at: float = 0.0
    enforced_at: float = 0.0
    forwarded_at: float = 0.0
    ended_at: float = 0.0
    ended_clock: float = 0.0
    closed: bool = False

    revision: int = 0
    method: str = ""
    path: str = ""
    operation: str = ""
    ip: str = ""
    session_id: str = ""
    gateway_id: str = ""
    gateway_slug: str = ""
    caller: Caller | None = None

    requested_model: str = ""
    model: str = ""
    stream: bool = False
    request_bytes: int = 0
    dropped_params: tuple[str, ...] = ()

    attempts: tuple[Attempt, ...] = ()
    provider_seconds: float = 0.0
    queue_seconds: float = 0.0
    findings: tuple[PolicyFinding, ...] = ()

    status: int = 0
    reason: str = ""
    finish_reason: str = ""
    streaming: bool = False
    response_bytes: int = 0
    complete: bool = True
    client_disconnected: bool = False
    usage: Usage | None = None
    service_tier: str = ""
    prices: tuple[PriceRule, ...] = ()
    cost: Cost | None = None
    spent: Spent | None = None
    overruled: int = 0
    mcp: EventMcp | None = None

    def end(self) -> None:
        """Stop the clock: the last byte has left. Only the first call counts."""
        if not self.ended_at:
            self.ended_at = perf_counter()
            self.ended_clock = time()

    def close_with(self, emit: "Callable[[Record], object]") -> bool:
        """Hand the finished record over, once; a second call does nothing and returns False."""
        if self.closed:
            return False
        self.closed = True
        self.end()
        emit(self)
        return True

    def server_timing(self) -> bytes:
        """Return the `Server-Timing` header: the event's figures, and for the step under way its time so far."""
        now = self.ended_at or perf_counter()
        if self.forwarded_at:
            enforced = self.enforced_at or self.forwarded_at
            admitted = self.admitted_at or enforced
            return b"admission;dur=%.3f, enforcement;dur=%.3f, forwarding;dur=%.3f, relay;dur=%.3f" % (
                (admitted - self.started) * 1e3,
                (enforced - admitted) * 1e3,
                (self.forwarded_at - enforced) * 1e3,
                (now - self.forwarded_at) * 1e3,
            )
        return self._partial_timing(now)

    def _partial_timing(self, now: float) -> bytes:
        marks = [self.started, *(mark for mark in (self.admitted_at, self.enforced_at) if mark), now]
        names = (b"admission", b"enforcement", b"forwarding")
        spans = zip(names, marks, marks[1:], strict=False)
        return b", ".join(b"%b;dur=%.3f" % (name, (end - start) * 1e3) for name, start, end in spans)


def set_aside(record: Record, attempts: MutableSequence[Attempt], findings: int, pricing: Pricing) -> None:
    """The last answer will not be the caller's: what it used counts, and the next one's is counted beside it.

    `findings` is how many there are by now.
    """
    record.overruled = findings
    usage, cost = record.usage, None
    if usage is not None:
        cost = _price(record, usage, attempts[-1].provider, pricing, at=time())
        spent = record.spent
        record.spent = Spent(
            usage=usage if spent is None else spent.usage + usage,
            cost=cost if spent is None else None if spent.cost is None or cost is None else spent.cost + cost,
        )
    attempts[-1] = replace(
        attempts[-1],
        outcome="retryable",
        failure=REJECTED,
        usage=None if usage is None else _usage(usage),
        cost=None if cost is None else _cost(cost),
    )
    record.usage, record.finish_reason, record.service_tier, record.streaming = None, "", "", False


def usage_of(record: Record) -> Usage | None:
    """Return what the request used: the caller's answer, and those that it did not get."""
    if record.spent is None:
        return record.usage
    return record.spent.usage if record.usage is None else record.spent.usage + record.usage


def price_of(record: Record, pricing: Pricing) -> Cost | None:
    """Return what a record's request cost; None where it used nothing or a price is not known. Never raises."""
    spent = record.spent
    if record.usage is None or not record.attempts:
        return None if spent is None else spent.cost
    at = record.ended_clock - (record.ended_at - record.started)
    cost = _price(record, record.usage, record.attempts[-1].provider, pricing, at=at)
    if spent is None:
        return cost
    return None if cost is None or spent.cost is None else spent.cost + cost


def _price(record: Record, usage: Usage, provider: str, pricing: Pricing, *, at: float) -> Cost | None:
    return pricing.price(
        provider,
        record.model,
        usage,
        at=at,
        service_tier=record.service_tier,
        overrides=record.prices,
        asked=record.requested_model,
    )


def build_event(record: Record, pricing: Pricing | None = None) -> Event:
    """Return the event of a closed record, with its cost where the record has one or it can be worked out."""
    latency = _latency(record)
    caller, attempts, findings = record.caller, record.attempts, record.findings
    last = attempts[-1] if attempts else None
    cost = record.cost if record.cost is not None or pricing is None else price_of(record, pricing)
    started_clock = record.ended_clock - (record.ended_at - record.started)
    return Event(
        schema_version=SCHEMA_VERSION,
        kind="llm" if record.mcp is None else "mcp",
        trace_id=record.trace_id,
        span_id=record.span_id,
        parent_span_id=record.parent_span_id,
        timestamp=datetime.fromtimestamp(started_clock, UTC),
        occurred_on=int(started_clock * 1e3),
        end_timestamp=int(record.ended_clock * 1e3),
        gateway_id=caller.gateway_id if caller else record.gateway_id,
        gateway_slug=caller.gateway_slug if caller else record.gateway_slug,
        tenant_id=caller.tenant_id if caller else "",
        revision=record.revision,
        consumer=_consumer(caller) if caller else NO_CONSUMER,
        session_id=record.session_id,
        ip=record.ip,
        status=EventStatus(
            code=record.status,
            is_timeout=record.status in TIMEOUTS,
            outcome=last.outcome if last else "",
            reason=record.reason,
        ),
        is_flagged=True in [finding.flagged for finding in findings],
        request=_request(record, last),
        response=_response(record, latency.provider_ms),
        usage=_usage(usage) if (usage := usage_of(record)) else None,
        cost=_cost(cost) if cost is not None else None,
        latency=latency,
        attempts=attempts,
        policy_chain=findings,
        dropped_params=record.dropped_params,
        client_disconnected=record.client_disconnected,
        mcp=record.mcp,
    )


def _consumer(caller: Caller) -> EventConsumer:
    return EventConsumer(
        id=caller.consumer_id, name=caller.consumer_name, slug=caller.consumer_slug, auth_id=caller.auth_id
    )


def _request(record: Record, last: Attempt | None) -> EventRequest:
    return EventRequest(
        stream=record.stream,
        bytes=record.request_bytes,
        method=record.method,
        path=record.path,
        operation=record.operation,
        provider=last.provider if last else "",
        registry_id=last.registry_id if last else "",
        model=record.model,
        requested_model=record.requested_model,
    )


def _response(record: Record, provider_ms: float) -> EventResponse:
    attempts = record.attempts
    earlier = sum(attempt.latency_ms for attempt in attempts[:-1]) if len(attempts) > 1 else 0.0
    return EventResponse(
        status_code=record.status,
        latency_ms=_whole(provider_ms - earlier),
        streaming=record.streaming,
        complete=record.complete,
        bytes=record.response_bytes,
        finish_reason=record.finish_reason,
    )


def _usage(usage: Usage) -> EventUsage:
    return EventUsage(
        prompt_tokens=usage.input,
        completion_tokens=usage.output,
        total_tokens=usage.input + usage.output,
        cached_input_tokens=usage.cached_input,
        cache_write_tokens=usage.cache_write,
        cache_write_1h_tokens=usage.cache_write_1h,
        audio_input_tokens=usage.audio_input,
        audio_cached_input_tokens=usage.audio_cached_input,
        image_input_tokens=usage.image_input,
        reasoning_output_tokens=usage.reasoning_output,
        audio_output_tokens=usage.audio_output,
        image_output_tokens=usage.image_output,
        estimated=usage.estimated,
    )


def _cost(cost: Cost) -> EventCost:
    return EventCost(
        prompt_usd=plain(cost.prompt),
        completion_usd=plain(cost.completion),
        total_usd=plain(cost.total),
        currency="USD",
    )


def _latency(record: Record) -> EventLatency:
    started, ended = record.started, record.ended_at
    forwarded = record.forwarded_at or ended
    enforced = record.enforced_at or forwarded
    admitted = record.admitted_at or enforced
    provider = record.provider_seconds * 1e3 or sum([attempt.latency_ms for attempt in record.attempts])
    policies = afterwards = 0.0
    for finding in record.findings:
        policies += finding.latency_ms
        if finding.stage == AFTER_THE_ANSWER:
            afterwards += finding.latency_ms
    total, queued = (ended - started) * 1e3, record.queue_seconds * 1e3
    # written out, because eight calls to round would be a fifth of an event's cost; a zero becomes the default
    return EventLatency(
        total_ms=_whole(total),
        provider_ms=_whole(provider),
        policies_ms=_whole(policies),
        gateway_ms=_whole(total - provider - queued - (policies - afterwards)),
        admission_ms=int((admitted - started) * 1e6 + 0.5) / 1e3 or 0,
        enforcement_ms=int((enforced - admitted) * 1e6 + 0.5) / 1e3 or 0,
        forwarding_ms=int((forwarded - enforced) * 1e6 + 0.5) / 1e3 or 0,
        relay_ms=int((ended - forwarded) * 1e6 + 0.5) / 1e3 or 0,
        queue_ms=_whole(queued) or 0,
    )


def _whole(milliseconds: float) -> float:
    """Round to microseconds, and nothing below zero."""
    return int(milliseconds * 1e3 + 0.5) / 1e3 if milliseconds > 0 else 0.0
