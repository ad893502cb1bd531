"""One request under way: what is learnt of it, what its answer is dressed in, what is said of it at its end."""

import re
from collections.abc import Sequence
from math import ceil
from time import perf_counter
from typing import Final, Protocol

from msgspec.structs import replace

from trustgate.contract.context import Dialect, RequestContext
from trustgate.contract.errors import Refused
from trustgate.contract.event import Attempt, PolicyFinding
from trustgate.contract.target import Target
from trustgate.contract.upstream import Header
from trustgate.contract.usage import Usage
from trustgate.enforcement.told import add_headers
from trustgate.enforcement.trail import Trail
from trustgate.forwarding.choice import Choice
from trustgate.forwarding.wanted import Wanted
from trustgate.providers.estimate import estimate_tokens, estimate_usage
from trustgate.ready import CallerReady, Ready
from trustgate.relay.array import JsonArray
from trustgate.relay.reply import Whole
from trustgate.relay.streamed import Passing
from trustgate.telemetry.record import Record
from trustgate.telemetry.trace import Trace, start_trace


class Arrival(Protocol):
    """A request at the door, its body not yet read. Header names are lower case. `gone` once its caller has left."""

    method: str
    path: str
    query: str
    headers: Sequence[Header]
    client_ip: str
    gone: bool

    async def read(self, limit: int) -> bytes | bytearray:
        """Read the body. Raises Refused (413) when it is larger than `limit` bytes, CallerLeft."""


LEFT: Final = 499
"""The status of a request whose caller left before it was answered; nobody sees it but the operator."""
CUT: Final = 503
"""The status of a request that the end of the process cut off."""
_KEY: Final = re.compile(r"ag_[A-Za-z0-9_-]{8,}")


class CallerLeft(Exception):
    """The caller left before its request was complete: there is nobody to answer."""


class Sent:
    """What a caller of a stream was sent, for policies that look at it afterwards: all of it, or nothing."""

    __slots__ = ("_limit", "_parts", "_size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._parts: list[bytes] = []

    def add(self, data: bytes) -> None:
        """Keep what was sent; beyond the limit nothing is kept."""
        self._size += len(data)
        if self._size <= self._limit:
            self._parts.append(data)
        else:
            self._parts.clear()

    @property
    def whole(self) -> bytes | None:
        """All that was sent, or None when it was too much to keep."""
        return b"".join(self._parts) if self._size <= self._limit else None


class Exchange:
    """One request under way: what has been learnt of it. The plane sends its `reply` under its `headers`."""

    __slots__ = (
        "about_target",
        "answered_by",
        "array",
        "attempts",
        "caller",
        "choice",
        "ctx",
        "dialect",
        "extra",
        "forwarded_from",
        "headers",
        "item",
        "ready",
        "record",
        "refused",
        "reply",
        "sent",
        "target",
        "trace",
        "trail",
        "wanted",
    )  # fmt: skip

    def __init__(self, ready: Ready, record: Record, trace: Trace) -> None:
        self.ready = ready
        self.record = record
        self.trace = trace
        self.dialect: Dialect = "openai"
        self.caller: CallerReady | None = None
        self.ctx: RequestContext | None = None
        self.trail = Trail()
        self.answered_by = ""
        self.item = ""
        self.choice: Choice | None = None
        self.wanted: Wanted | None = None
        self.refused: Refused | None = None
        self.target: Target | None = None
        self.sent: Sent | None = None
        self.attempts: list[Attempt] = []
        self.extra: list[Header] = []
        self.about_target: Sequence[Header] = ()
        self.forwarded_from = 0.0
        self.array: JsonArray | None = None
        self.reply: Whole | Passing | None = None
        self.headers: list[Header] = []

    def leave(self) -> None:
        """The target that was chosen is not asked any more, and nobody else will be."""
        if self.choice is not None:
            self.choice.ended()

    def tell(self, headers: Sequence[Header]) -> None:
        """Tell the caller this too; what it is told already it is not told twice."""
        self.extra += [each for each in headers if each not in self.extra] if self.extra else headers

    def tell_of_target(self, headers: Sequence[Header]) -> None:
        """Tell the caller what policies say of the target that is asked now, in the place of what they said of the one
        before."""
        if not headers and not self.about_target:
            return
        if self.about_target:
            names = {name for name, _ in headers}
            self.extra = [each for each in self.extra if each[0] not in names or each not in self.about_target]
        add_headers(self.extra, headers)
        self.about_target = headers

    def tell_instead(self, headers: Sequence[Header]) -> None:
        """Have a refusal say how things stand: it knows later than what was to be told before."""
        names = {name for name, _ in headers}
        self.extra = [each for each in self.extra if each[0] not in names]


def begin(arrival: Arrival, traceparent: bytes, ready: Ready) -> Exchange:
    """Begin the account of a request, in the caller's trace or in one of its own."""
    trace = start_trace(traceparent)
    record = Record(
        started=perf_counter(),
        trace_id=trace.trace_id,
        span_id=trace.span_id,
        parent_span_id=trace.parent_span_id,
        revision=ready.snapshot.revision,
        method=arrival.method,
        path=_without_keys(arrival.path),
        ip=arrival.client_ip,
    )
    return Exchange(ready, record, trace)


def _without_keys(path: str) -> str:
    """Callers paste keys into addresses; what is written down of a request must not hold one."""
    return _KEY.sub("ag_***", path) if "ag_" in path else path


def dressed(exchange: Exchange, reply: Whole | Passing) -> list[Header]:
    """The reply's headers and those that every answer of this plane has."""
    record, trace_id = exchange.record, exchange.trace.trace_id.encode()
    record.status = reply.status
    headers = [*reply.headers, *exchange.extra]
    for name, _ in reply.headers:
        if name == b"x-request-id":
            break
    else:
        headers.append((b"x-request-id", trace_id))
    headers.append((b"x-ag-trace-id", trace_id))
    headers.append((b"x-ag-revision", exchange.ready.revision))
    if exchange.dialect == "anthropic":
        headers.append((b"request-id", trace_id))
    if record.session_id:
        headers.append((b"x-session-id", record.session_id.encode("latin-1", "replace")))
    headers.append((b"server-timing", record.server_timing()))
    return headers


def account(exchange: Exchange, *, disconnected: bool) -> None:
    """What is known only at the end."""
    record = exchange.record
    record.attempts = tuple(exchange.attempts)
    reply = exchange.reply
    if isinstance(reply, Passing):
        _account_stream(record, reply, exchange.forwarded_from)
        if exchange.ctx is not None and exchange.ctx.operation.family == "chat":
            record.usage = _at_least(record.usage, reply, exchange.ctx)
    elif reply is not None:
        record.response_bytes = len(reply.body)
    else:
        record.status, record.reason = (LEFT, "client_left") if disconnected else (CUT, "shutting_down")
    if exchange.answered_by and not exchange.attempts:
        record.usage = None  # nobody was asked: nothing is billed
    whole = reply is not None and (not isinstance(reply, Passing) or reply.complete)
    record.complete = whole and not disconnected


def _account_stream(record: Record, live: Passing, since: float) -> None:
    tap = live.tap
    if not live.complete and live.refused is None:
        tap.read_end()
    record.provider_seconds = record.ended_at - since
    record.response_bytes = tap.bytes
    record.usage, record.finish_reason = record.usage or tap.usage, tap.finish_reason or record.finish_reason
    record.model = tap.model or record.model
    record.service_tier = tap.service_tier
    if live.refused is not None:
        record.reason = live.refused.code
    elif tap.error:
        record.reason = "provider_error"


def _at_least(usage: Usage | None, live: Passing, ctx: RequestContext) -> Usage:
    """What a stream used, also one that broke off before it said so: then what passed is counted, and marked so."""
    if usage is not None and (live.complete or live.tap.finish_reason or usage.estimated):
        return usage
    text, times = live.tap.said()
    output = ceil(estimate_tokens(text) * times)
    if usage is None or not usage.input:
        return replace(estimate_usage(ctx.body.json(), ""), output=output)
    return replace(usage, output=max(usage.output, output), estimated=True)


_STRENGTH: Final = {"allowed": 0, "rewritten": 1, "observe": 2, "failed_open": 3, "failed_closed": 4, "block": 5}


def keep_strongest(
    last_words: dict[str, PolicyFinding], said: Sequence[PolicyFinding], findings: list[PolicyFinding]
) -> None:
    """Of all that a policy said of a stream's pieces keep the strongest: a stream leaves one finding a policy."""
    for finding in said:
        known = last_words.get(finding.policy_id)
        if known is None:
            findings.append(finding)
        elif _strength(finding) > _strength(known):
            findings[findings.index(known)] = finding
        else:
            continue
        last_words[finding.policy_id] = finding


def _strength(finding: PolicyFinding) -> int:
    return _STRENGTH.get(finding.decision, 0)
