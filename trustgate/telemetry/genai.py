"""What a request is measured as by the GenAI conventions: of models by operation, provider and model; of MCP by method.

The gateway is the client of the providers and servers that it asks, and a server of the Model Context Protocol itself.
The conventions are in development.
https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/, …/gen-ai/mcp/#metrics
"""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from trustgate.contract.event import Event, EventMcp
from trustgate.telemetry.otel import error_type, operation_name, provider_name

_SECONDS: Final = tuple(0.01 * 2**power for power in range(14))
_MCP_SECONDS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_TOKENS: Final = tuple(float(4**power) for power in range(14))


class Instrument(Struct, frozen=True, kw_only=True):
    """One histogram: its name, unit, bounds and attributes."""

    name: str
    unit: str
    text: str
    bounds: tuple[float, ...]
    attributes: tuple[str, ...]


_MODEL: Final = ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model")
_MCP: Final = ("mcp.method.name", "gen_ai.tool.name", "error.type")
TOKEN_USAGE: Final = Instrument(
    name="gen_ai.client.token.usage",
    unit="{token}",
    text="Tokens used by a request, by type.",
    bounds=_TOKENS,
    attributes=(*_MODEL, "gen_ai.token.type"),
)
DURATION: Final = Instrument(
    name="gen_ai.client.operation.duration",
    unit="s",
    text="From asking a provider to the last byte of its answer.",
    bounds=_SECONDS,
    attributes=(*_MODEL, "error.type"),
)
FIRST_CHUNK: Final = Instrument(
    name="gen_ai.client.operation.time_to_first_chunk",
    unit="s",
    text="From asking a provider to the beginning of its stream.",
    bounds=_SECONDS,
    attributes=_MODEL,
)
MCP_SERVER: Final = Instrument(
    name="mcp.server.operation.duration",
    unit="s",
    text="From an agent's request to the end of what it was answered.",
    bounds=_MCP_SECONDS,
    attributes=_MCP,
)
MCP_CLIENT: Final = Instrument(
    name="mcp.client.operation.duration",
    unit="s",
    text="From asking a server to the end of what it answered.",
    bounds=_MCP_SECONDS,
    attributes=_MCP,
)
INSTRUMENTS: Final = (TOKEN_USAGE, DURATION, FIRST_CHUNK, MCP_SERVER, MCP_CLIENT)

_MORE: Final = frozenset(
    (
        *("resources/subscribe", "resources/unsubscribe", "subscriptions/listen"),
        *("completion/complete", "logging/setLevel"),
    )
)
"""Methods that are of no operation; others are made up by callers."""
Measured = tuple[Instrument, tuple[str, ...], float]
"""An instrument, the values of its attributes (empty: none), and what was measured."""


def measured(event: Event) -> Iterator[Measured]:
    """Yield what a request is measured as: nothing, where no provider was asked.

    The model or tool of one that failed is not told of: callers make such names up.
    """
    if event.mcp is not None:
        yield from _of_mcp(event, event.mcp)
        return
    if not event.attempts:
        return
    last = event.attempts[-1]
    failure = "" if last.outcome == "success" else last.failure or str(last.status_code)
    asked = (
        operation_name(event.request.operation),
        provider_name(last.provider),
        "" if failure else event.request.model,
    )
    took = event.response.latency_ms if not failure else last.latency_ms
    yield DURATION, (*asked, failure), took / 1000
    if failure:
        return
    if event.response.streaming:
        yield FIRST_CHUNK, asked, last.latency_ms / 1000
    if event.usage is not None:
        yield TOKEN_USAGE, (*asked, "input"), event.usage.prompt_tokens
        yield TOKEN_USAGE, (*asked, "output"), event.usage.completion_tokens


def _of_mcp(event: Event, told: EventMcp) -> Iterator[Measured]:
    if not told.method:
        return  # somebody listened, or ended a session
    failure = error_type(told)
    known = told.method if told.operation or told.method in _MORE else "_OTHER"
    values = (known, "" if told.rpc_error_code else told.tool, failure)
    took = event.latency.total_ms
    yield MCP_SERVER, values, took / 1000
    if event.attempts:
        yield MCP_CLIENT, values, (took - event.latency.admission_ms - event.latency.enforcement_ms) / 1000
