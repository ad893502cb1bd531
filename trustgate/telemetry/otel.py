"""An event as OpenTelemetry says it: one log record, or one span of the request and one of each attempt.

Names are those of the semantic conventions: HTTP's for the request, GenAI's for attempts, our own below `trustgate.`.
GenAI's are in development and came in two generations; which of them is said, `Names` decides.
https://opentelemetry.io/docs/specs/semconv/http/http-spans/, https://opentelemetry.io/docs/specs/semconv/gen-ai/
"""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, Literal

import msgspec

from trustgate.contract.event import Attempt, Event, EventMcp

Names = Literal["1.36", "latest"]
"""`latest` is what OTEL_SEMCONV_STABILITY_OPT_IN=gen_ai_latest_experimental asks for."""
SERVICE: Final = "trustgate"
_MILLISECOND: Final = 1_000_000
_PROVIDERS: Final[Mapping[str, str]] = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "google": "gcp.gemini",
    "gemini": "gcp.gemini",
    "vertex": "gcp.vertex_ai",
    "mistral": "mistral_ai",
    "xai": "x_ai",
}
_OPERATIONS: Final[Mapping[str, str]] = {
    "chat_completions": "chat",
    "responses": "chat",
    "messages": "chat",
    "generate_content": "generate_content",
    "completions": "text_completion",
    "embeddings": "embeddings",
}


def log_attributes(event: Event) -> dict[str, Any]:
    """Return the attributes of the log record of a request."""
    usage, cost, latency = event.usage, event.cost, event.latency
    said: dict[str, Any] = {
        "http.request.method": event.request.method,
        "http.response.status_code": event.status.code,
        "url.path": event.request.path,
        "gen_ai.provider.name": provider_name(event.request.provider),
        "gen_ai.request.model": event.request.model,
        "gen_ai.request.stream": event.request.stream or event.response.streaming,
        "gen_ai.response.finish_reasons": [event.response.finish_reason] if event.response.finish_reason else None,
        "trustgate.schema_version": event.schema_version,
        "trustgate.kind": event.kind,
        "trustgate.trace_id": event.trace_id,
        "trustgate.gateway_id": event.gateway_id,
        "trustgate.tenant_id": event.tenant_id,
        "trustgate.consumer.id": event.consumer.id,
        "trustgate.consumer.name": event.consumer.name,
        "trustgate.session_id": event.session_id,
        "trustgate.ip": event.ip,
        "trustgate.requested_model": event.request.requested_model,
        "trustgate.status.outcome": event.status.outcome,
        "trustgate.status.reason": event.status.reason,
        "trustgate.status.is_timeout": event.status.is_timeout,
        "trustgate.is_flagged": event.is_flagged,
        "trustgate.latency.total_ms": latency.total_ms,
        "trustgate.latency.provider_ms": latency.provider_ms,
        "trustgate.latency.policies_ms": latency.policies_ms,
        "trustgate.latency.gateway_ms": latency.gateway_ms,
        "trustgate.attempts.count": len(event.attempts),
    }
    if usage is not None:
        said["gen_ai.usage.input_tokens"] = usage.prompt_tokens
        said["gen_ai.usage.output_tokens"] = usage.completion_tokens
        said["trustgate.usage.total_tokens"] = usage.total_tokens
        said["trustgate.usage.cached_input_tokens"] = usage.cached_input_tokens
        said["trustgate.usage.reasoning_output_tokens"] = usage.reasoning_output_tokens
    if cost is not None:
        said |= _cost(event)
    if event.mcp is not None:
        said |= _mcp(event.mcp)
    if event.policy_chain:
        said["trustgate.policy_chain"] = _json(event.policy_chain)
    if event.attempts:
        said["trustgate.attempts"] = _json(event.attempts)
    return {name: value for name, value in said.items() if value not in ("", None)}


def request_attributes(event: Event) -> dict[str, Any]:
    """Return the attributes of the span of a request."""
    said: dict[str, Any] = {
        "http.request.method": event.request.method,
        "http.response.status_code": event.status.code,
        "url.path": event.request.path,
        "client.address": event.ip,
        "trustgate.gateway.id": event.gateway_id,
        "trustgate.gateway.slug": event.gateway_slug,
        "trustgate.tenant.id": event.tenant_id,
        "trustgate.consumer.id": event.consumer.id,
        "trustgate.consumer.slug": event.consumer.slug,
        "trustgate.operation": event.request.operation,
        "trustgate.revision": event.revision,
        "trustgate.is_flagged": event.is_flagged,
        "trustgate.complete": event.response.complete,
        "gen_ai.conversation.id": event.session_id,
        "error.type": event.status.reason or (str(event.status.code) if event.status.code >= 500 else ""),
    }
    if event.cost is not None:
        said |= _cost(event)
    if event.mcp is not None:
        said |= _mcp(event.mcp)
    return {name: value for name, value in said.items() if value not in ("", None)}


def attempt_attributes(event: Event, attempt: Attempt, names: Names, *, last: bool) -> dict[str, Any]:
    """Return the attributes of the span of one attempt; what was used is said of the one that answered."""
    latest = names == "latest"
    if event.mcp is not None:
        return _mcp(event.mcp) | {"trustgate.registry.id": attempt.registry_id, "trustgate.outcome": attempt.outcome}
    provider = provider_name(attempt.provider)
    said: dict[str, Any] = {
        "gen_ai.operation.name": operation_name(event.request.operation),
        "gen_ai.provider.name" if latest else "gen_ai.system": provider,
        "gen_ai.request.model": event.request.model,
        "http.response.status_code": attempt.status_code or None,
        "trustgate.registry.id": attempt.registry_id,
        "trustgate.attempt": attempt.attempt,
        "trustgate.outcome": attempt.outcome,
        "error.type": attempt.failure or (str(attempt.status_code) if attempt.status_code >= 400 else ""),
    }
    if latest:
        said["gen_ai.request.stream"] = event.request.stream
    if last and event.response.finish_reason:
        said["gen_ai.response.finish_reasons"] = [event.response.finish_reason]
    usage = event.usage if last and attempt.outcome == "success" else attempt.usage
    if usage is not None:
        said["gen_ai.usage.input_tokens"] = usage.prompt_tokens
        said["gen_ai.usage.output_tokens"] = usage.completion_tokens
        if latest:
            said["gen_ai.usage.cache_read.input_tokens"] = usage.cached_input_tokens
            said["gen_ai.usage.cache_creation.input_tokens"] = usage.cache_write_tokens
            said["gen_ai.usage.reasoning.output_tokens"] = usage.reasoning_output_tokens
    return {name: value for name, value in said.items() if value not in ("", None)}


def attempt_name(event: Event) -> str:
    """Return the name of the span of an attempt."""
    if event.mcp is not None:
        return f"{event.mcp.method} {event.mcp.tool or event.mcp.prompt}".strip()
    operation = operation_name(event.request.operation)
    return f"{operation} {event.request.model}".strip()


def attempt_times(event: Event) -> Iterator[tuple[Attempt, int, int]]:
    """Yield each attempt with the times of its span (Unix nanoseconds).

    Of those before the last the event says how long they took; the last one goes on to the end of its answer.
    """
    start = started(event) + round((event.latency.admission_ms + event.latency.enforcement_ms) * _MILLISECOND)
    end = ended(event)
    for attempt in event.attempts:
        over = min(end, start + round(attempt.latency_ms * _MILLISECOND))
        last = attempt is event.attempts[-1]
        yield attempt, min(start, end), max(over, end) if last else over
        start = over


def started(event: Event) -> int:
    """Return when the request came (Unix nanoseconds)."""
    return round(event.timestamp.timestamp() * 1e6) * 1000


def ended(event: Event) -> int:
    """Return when its last byte left (Unix nanoseconds)."""
    return started(event) + round(event.latency.total_ms * _MILLISECOND)


def attempt_span_id(event: Event, attempt: Attempt) -> int:
    """Return the id of an attempt's span, always the same for the same attempt."""
    text = f"{event.trace_id}:{event.span_id}:{attempt.attempt}".encode()
    return int.from_bytes(sha256(text).digest()[:8]) or 1


def _cost(event: Event) -> Mapping[str, Any]:
    assert event.cost is not None, "whoever asks has looked"
    return {
        "trustgate.cost.total_usd": event.cost.total_usd,
        "trustgate.cost.prompt_usd": event.cost.prompt_usd,
        "trustgate.cost.completion_usd": event.cost.completion_usd,
        "trustgate.cost.currency": event.cost.currency,
    }


def provider_name(ours: str) -> str:
    """Return how the conventions call a provider."""
    return _PROVIDERS.get(ours, ours)


def operation_name(ours: str) -> str:
    """Return how the conventions call an operation."""
    return _OPERATIONS.get(ours, ours)


def _json(value: Sequence[Any]) -> str:
    return msgspec.json.encode(value, enc_hook=str).decode()


def error_type(told: EventMcp) -> str:
    """Return what went wrong, as the conventions say it: a code of JSON-RPC, or that the tool says so itself."""
    return str(told.rpc_error_code) if told.rpc_error_code else "tool_error" if told.tool_error else ""


def _mcp(told: EventMcp) -> dict[str, Any]:
    """Return what was asked of MCP servers. https://opentelemetry.io/docs/specs/semconv/gen-ai/mcp/"""
    said: dict[str, Any] = {
        "mcp.method.name": told.method,
        "mcp.protocol.version": told.protocol_version,
        "mcp.resource.uri": told.resource_uri,
        "gen_ai.tool.name": told.tool,
        "gen_ai.prompt.name": told.prompt,
        "gen_ai.operation.name": "execute_tool" if told.tool else "",
        "server.address": told.host,
        "rpc.response.status_code": str(told.rpc_error_code) if told.rpc_error_code else "",
        "error.type": error_type(told),
        "network.transport": "pipe" if told.transport == "stdio" else "tcp" if told.transport else "",
        "trustgate.mcp.server": told.server_name,
    }
    return {name: value for name, value in said.items() if value}
