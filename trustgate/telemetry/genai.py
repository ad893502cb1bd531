"""What a request is measured as by the GenAI conventions: operations of a client, by operation, provider and model.

The gateway is the client of the providers that it asks. The conventions are in development.
https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/
"""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from trustgate.contract.event import Event
from trustgate.telemetry.otel import operation_name, provider_name

_SECONDS: Final = tuple(0.01 * 2**power for power in range(14))
_TOKENS: Final = tuple(float(4**power) for power in range(14))


class Instrument(Struct, frozen=True, kw_only=True):
    """One histogram: its name, unit and bounds, and the attributes besides those that all have."""

    name: str
    unit: str
    text: str
    bounds: tuple[float, ...]
    more: str = ""


COMMON: Final = ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model")
TOKEN_USAGE: Final = Instrument(
    name="gen_ai.client.token.usage",
    unit="{token}",
    text="Tokens used by a request, by type.",
    bounds=_TOKENS,
    more="gen_ai.token.type",
)
DURATION: Final = Instrument(
    name="gen_ai.client.operation.duration",
    unit="s",
    text="From asking a provider to the last byte of its answer.",
    bounds=_SECONDS,
    more="error.type",
)
FIRST_CHUNK: Final = Instrument(
    name="gen_ai.client.operation.time_to_first_chunk",
    unit="s",
    text="From asking a provider to the beginning of its stream.",
    bounds=_SECONDS,
)
INSTRUMENTS: Final = (TOKEN_USAGE, DURATION, FIRST_CHUNK)

Measured = tuple[Instrument, tuple[str, ...], float]
"""An instrument, the values of the attributes that all have and of its own (empty: none), and what was measured."""


def measured(event: Event) -> Iterator[Measured]:
    """Yield what a request is measured as: nothing, where no provider was asked.

    The model of one that failed is not told of: callers make such names up.
    """
    if not event.attempts or event.mcp is not None:
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


def attribute_names(instrument: Instrument) -> tuple[str, ...]:
    """Return the names of the attributes whose values `measured` gives."""
    return (*COMMON, instrument.more) if instrument.more else COMMON
