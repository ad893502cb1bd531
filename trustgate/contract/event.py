"""What is said of every request, once, after its last byte. Never bodies, never secrets, never key material.

Every struct leaves out what has its default: a field that must always be there has none.
Times are milliseconds, counted once and rounded to microseconds; the clock times are Unix milliseconds.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, Protocol

from msgspec import Struct

SCHEMA_VERSION = 4

AttemptOutcome = Literal["success", "retryable", "terminal"]


class EventConsumer(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Who asked: the consumer, and by which of its credentials (an id, never the key)."""

    id: str = ""
    name: str = ""
    slug: str = ""
    auth_id: str = ""


NO_CONSUMER = EventConsumer()
"""Who asked when nobody is known: the default itself, because defaults are left out by identity."""


class EventStatus(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """How it ended: `code` as the caller saw it, `outcome` of the last attempt, `reason` the code of a refusal."""

    code: int
    is_timeout: bool
    outcome: AttemptOutcome | Literal[""] = ""
    reason: str = ""


class EventRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What was asked, and of whom: provider, registry and model are those of the last attempt."""

    stream: bool
    bytes: int = 0
    method: str = ""
    path: str = ""
    operation: str = ""
    provider: str = ""
    registry_id: str = ""
    model: str = ""
    requested_model: str = ""


class EventResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What came back. `latency_ms` is the answering attempt to its last byte; `complete` false is a broken end."""

    status_code: int
    latency_ms: float
    streaming: bool
    complete: bool
    bytes: int = 0
    finish_reason: str = ""


class EventUsage(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Tokens; every other count is a part of the totals. `estimated`: counted here, not by the provider."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    audio_input_tokens: int = 0
    audio_cached_input_tokens: int = 0
    image_input_tokens: int = 0
    reasoning_output_tokens: int = 0
    audio_output_tokens: int = 0
    image_output_tokens: int = 0
    estimated: bool = False


class EventCost(Struct, frozen=True, kw_only=True, gc=False):
    """What it cost, exact: plain decimals as text, never scientific. `total_usd` has a fee per request in it.

    An event without a cost is one whose price is not known, or that used nothing; a cost of `0` is a known one.
    """

    prompt_usd: str
    completion_usd: str
    total_usd: str
    currency: Literal["USD"]


class EventLatency(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Where the time went: by whose it was, then by step; a step that was not reached has none."""

    total_ms: float
    provider_ms: float
    policies_ms: float
    gateway_ms: float
    admission_ms: float = 0
    enforcement_ms: float = 0
    forwarding_ms: float = 0
    relay_ms: float = 0
    queue_ms: float = 0


class Attempt(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One try at one target. `latency_ms` runs to its answer's head, or to its failure; `attempt` counts from 1.

    `usage` and `cost` are there where its answer was used up but is not the caller's, and are in the event's sums.
    """

    attempt: int
    outcome: AttemptOutcome
    latency_ms: float
    registry_id: str = ""
    provider: str = ""
    status_code: int = 0
    failure: str = ""
    usage: EventUsage | None = None
    cost: EventCost | None = None


class PolicyFinding(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What one policy said at one stage.

    `decision` is `allowed`, `block`, `observe`, `throttle`, `rewritten`, `answered`, …; a policy that could not
    decide is `failed_open` or `failed_closed`, with `error` set and `error_type` naming the exception: its text could
    quote a body. `code` is the machine code of a refusal, also of one that was only observed; `details` is an
    object of the policy's own.
    """

    name: str
    slug: str
    policy_id: str
    stage: str
    mode: str
    decision: str
    latency_ms: float
    error: bool
    flagged: bool
    error_type: str = ""
    status_code: int = 0
    code: str = ""
    details: Any = None


class EventMcp(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What was asked of MCP servers: the method, and of which server; names as the caller has them.

    `operation` is `initialize`, `discovery`, `tool`, `prompt` or `resource`; `rpc_error_code` is that of the answer;
    `tokens_saved` is about what a model is spared where it was shown a search instead of all tools; `changed_tools` are
    those that are not what was accepted, by their servers' names for them; `tool_error` is a tool that says it failed.
    """

    method: str
    operation: str = ""
    server_name: str = ""
    registry_id: str = ""
    host: str = ""
    transport: str = ""
    tool: str = ""
    prompt: str = ""
    resource_uri: str = ""
    protocol_version: str = ""
    rpc_error_code: int = 0
    tokens_saved: int = 0
    changed_tools: tuple[str, ...] = ()
    tool_error: bool = False


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One request. `trace_id` is W3C's (32 hex digits), `span_id` ours, `parent_span_id` the caller's."""

    schema_version: int
    kind: Literal["llm", "mcp"]
    trace_id: str
    timestamp: datetime
    occurred_on: int
    end_timestamp: int
    status: EventStatus
    is_flagged: bool
    request: EventRequest
    response: EventResponse
    latency: EventLatency
    span_id: str = ""
    parent_span_id: str = ""
    gateway_id: str = ""
    gateway_slug: str = ""
    tenant_id: str = ""
    revision: int = 0
    consumer: EventConsumer = NO_CONSUMER
    session_id: str = ""
    ip: str = ""
    usage: EventUsage | None = None
    cost: EventCost | None = None
    attempts: tuple[Attempt, ...] = ()
    policy_chain: tuple[PolicyFinding, ...] = ()
    dropped_params: tuple[str, ...] = ()
    client_disconnected: bool = False
    mcp: EventMcp | None = None


class Sink(Protocol):
    """Where events go. `deliver` raises when it could not: the batch is offered again, whole and in order."""

    async def deliver(self, events: Sequence[Event]) -> None:
        """Take one batch. At most one call runs at a time."""

    async def aclose(self) -> None:
        """Deliver what is left and let go of everything."""
