"""What happens around a request: its policies before and after, its event, the headers that every answer has."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from time import perf_counter
from typing import Any, Final, Protocol

import msgspec
from msgspec.structs import replace

from trustgate.contract.context import AnswerView, Body, Operation, Outcome, RequestContext
from trustgate.contract.event import Attempt, EventMcp
from trustgate.contract.verdict import Answer, Deny
from trustgate.enforcement.afterwards import Afterwards
from trustgate.enforcement.run import Ruling, Runner
from trustgate.enforcement.trail import Trail
from trustgate.mcp.asking import Account, Asking, Reply, Way, whole
from trustgate.mcp.lens import CALL, RESULT
from trustgate.mcp.messages import DENIED, LIMITED, UNAVAILABLE, Json, Wrong, encode, params, result
from trustgate.mcp.relaying import Edit
from trustgate.mcp.revisions import STATELESS
from trustgate.telemetry.record import Record
from trustgate.telemetry.trace import Trace, start_trace
from trustgate.underway import LEFT

JUDGED: Final = frozenset(
    (
        *("tools/call", "prompts/get", "resources/read"),
        *("tools/list", "prompts/list", "resources/list", "resources/templates/list"),
    )
)
SEEN: Final = ("name", "arguments", "uri", "inputResponses")
"""The parameters that policies see: what a caller says, and what it answers when a server needs to know more."""
RESPONSE: Final = "response"
LISTENING: Final = "listen"
"""How policies see what is no request: the answer to a server's question, and a caller who only listens."""
INSTEAD: Final = "A policy answers in the place of what was said, which cannot be: it is part of a conversation."
ACCEPTED: Final = 202
MOST_NAMED: Final = 20
SILENT: Final = frozenset(("ping",))
"""Methods that leave no event."""
_OPERATIONS: Final[Mapping[str, str]] = {
    "initialize": "initialize",
    "server/discover": "initialize",
    "tools/call": "tool",
    "prompts/get": "prompt",
    "resources/read": "resource",
}
_CODES: Final[Mapping[int, int]] = {429: LIMITED, 503: UNAVAILABLE}
_STATUSES: Final[Mapping[int, int]] = {DENIED: 403, LIMITED: 429, UNAVAILABLE: 503, -32602: 404, -32002: 404}
"""What a JSON-RPC error would have been as an HTTP status: answers have 200."""
Ask = Callable[[Asking, Edit | None], Awaitable[Reply]]


class From(Protocol):
    """What is told of an arrival."""

    method: str
    path: str
    client_ip: str


class Police:
    """Has policies judge, and events written. `emit` takes each closed record; `revision` says which is served; `keep`
    takes what explains a request."""

    def __init__(
        self,
        *,
        throttle_wait: float,
        emit: Callable[[Record], object],
        revision: Callable[[], int],
        keep: Callable[[Asking], object] | None = None,
    ) -> None:
        self._runner = Runner(throttle_wait=throttle_wait)
        self._emit = emit
        self._revision = revision
        self._keep = keep
        self._afterwards = Afterwards()
        self.in_flight = 0

    def begin(self, headers: Mapping[bytes, bytes], arrival: From, *, beside: Asking | None = None) -> Asking:
        """Begin the account of a request, in the caller's trace or in one of its own; one of several that came together
        is in the trace of that which they are `beside`."""
        record = Record(
            started=perf_counter(),
            revision=self._revision(),
            method=arrival.method,
            path=arrival.path,
            ip=arrival.client_ip,
        )
        self.in_flight += 1
        trace = start_trace(headers.get(b"traceparent", b""))
        if beside is not None:
            shared = beside.account.trace
            trace = Trace(shared.trace_id, trace.span_id, shared.parent_span_id, shared.flags)
        account = Account(record=record, trace=trace, trail=Trail())
        _number(account)
        return Asking(headers, account)

    def read(self, asking: Asking) -> None:
        """Go on with the trace that a message says it is of, where no header does.

        https://opentelemetry.io/docs/specs/semconv/gen-ai/mcp/#context-propagation
        """
        meta = params(asking.message).get("_meta") if "method" in asking.message else None
        told = meta.get("traceparent") if isinstance(meta, dict) and b"traceparent" not in asking.headers else None
        if isinstance(told, str):
            asking.account.trace = start_trace(told.encode("utf-8", "replace"))
            _number(asking.account)

    async def settled(self) -> None:
        """Return once every policy has heard of the requests that have ended."""
        await self._afterwards.settled()

    async def judged(self, asking: Asking, ask: Ask) -> Reply:
        """Ask in the way that policies allow. Raises Wrong where one refuses."""
        chains, method = asking.house.chains, asking.message["method"]
        if method not in JUDGED or not (chains.pre_request or chains.pre_response or chains.post_response):
            return await ask(asking, None)
        account = asking.account
        ctx = account.ctx = _context(asking, method, params(asking.message))
        ruling = await self._runner.pre_request(chains, ctx, account.trail, _reread)
        account.record.enforced_at = perf_counter()
        account.ctx = ruling.ctx
        if ruling.stop is not None:
            return _stopped(asking, ruling)
        if ruling.ctx.body.raw is not ctx.body.raw:
            given = {**params(asking.message), **msgspec.json.decode(ruling.ctx.body.raw)}
            asking.become({**asking.message, "params": {**given, **_name(asking.message)}})
        reply = await ask(asking, self._edit(asking) if chains.pre_response else None)
        return replace(reply, headers=(*reply.headers, *ruling.headers)) if ruling.headers else reply

    async def answered(self, asking: Asking) -> None:
        """Have policies judge what a caller answers when a server asks it something. Raises Wrong where one refuses."""
        chains, account = asking.house.chains, asking.account
        if not chains.pre_request or "result" not in asking.message:
            return
        said = {"inputResponses": {"answer": asking.message["result"]}}
        ctx = account.ctx = _context(asking, RESPONSE, said)
        ruling = await self._runner.pre_request(chains, ctx, account.trail, _reread)
        if ruling.stop is not None:
            raise _denied(ruling.stop) if isinstance(ruling.stop, Deny) else Wrong(DENIED, INSTEAD)
        if ruling.ctx.body.raw is not ctx.body.raw:
            changed = msgspec.json.decode(ruling.ctx.body.raw)["inputResponses"]["answer"]
            asking.become({**asking.message, "result": changed})

    def listening(self, asking: Asking) -> Edit | None:
        """Return what policies make of what servers ask a caller who listens."""
        if not asking.house.chains.pre_response:
            return None
        asking.account.ctx = _context(asking, LISTENING, {})
        return self._edit(asking)

    def _edit(self, asking: Asking) -> Edit:
        account = asking.account

        async def edit(message: Json) -> Json:
            view = _view(encode(message["result"]))
            assert account.ctx is not None, "the request was judged before"
            ruling = await self._runner.pre_response(asking.house.chains, account.ctx, view, account.trail, _view)
            if isinstance(ruling.stop, Deny):
                raise _denied(ruling.stop)
            changed = ruling.stop.body if isinstance(ruling.stop, Answer) else ruling.body
            return message if changed is None else {**message, "result": msgspec.json.decode(changed)}

        return edit

    def end(self, asking: Asking, reply: Reply) -> Reply:
        """Return the reply with what every answer has. Its event leaves behind its last byte."""
        account = asking.account
        told = (
            (b"x-ag-trace-id", account.trace.trace_id.encode()),
            (b"x-ag-revision", str(account.record.revision).encode()),
        )
        events = reply.events
        if events is not None:
            account.record.streaming = True
            events = self._watched(asking, reply, events)
        else:
            account.record.response_bytes = len(reply.body)
            self._close(asking, reply)
        return replace(reply, headers=(*reply.headers, *told), events=events)

    def left(self, asking: Asking) -> None:
        """Close the account of a caller who left before there was anything to send."""
        record = asking.account.record
        record.complete, record.client_disconnected = False, True
        self._close(asking, Reply(status=LEFT))

    async def _watched(
        self, asking: Asking, reply: Reply, events: AsyncGenerator[bytes, None]
    ) -> AsyncGenerator[bytes, None]:
        record, complete = asking.account.record, False
        try:
            async with aclosing(events):
                async for raw in events:
                    record.response_bytes += len(raw)
                    yield raw
            complete = True
        finally:
            record.complete = complete
            record.client_disconnected = not complete
            self._close(asking, reply)

    def _close(self, asking: Asking, reply: Reply) -> None:
        self.in_flight -= 1
        record, method = asking.account.record, asking.message.get("method", "")
        if method in SILENT or asking.batch or record.ended_at:
            return
        record.end()
        if reply.status == ACCEPTED and asking.id is None and not asking.failure:  # nobody waited for an answer
            self._afterwards.then(self._settle(asking, reply.status), lambda: None)
            return
        record.status = _STATUSES.get(asking.failure, 502) if asking.failure and reply.status == 200 else reply.status
        record.operation = f"mcp.{operation_of(method) or 'other'}"
        record.request_bytes = len(asking.raw)
        record.session_id = asking.session.id[:8] if asking.session is not None else ""
        record.mcp = _about(asking)
        if asking.way is not None and asking.asked:
            record.attempts = (_attempt(asking, asking.way),)
        self._afterwards.then(self._settle(asking, record.status), partial(self._emitted, asking))

    def _settle(self, asking: Asking, status: int) -> Sequence[Awaitable[None] | None]:
        """Tell the policies how it ended; those that took something for what no server was asked give it back."""
        account = asking.account
        if account.ctx is None:
            return ()
        chains, trail = asking.house.chains, account.trail
        waits = []
        if chains.refund and trail.kept and not asking.asked:
            waits.append(self._runner.refund(chains, account.ctx, trail))
        if chains.post_response:
            outcome = Outcome(status=status, client_left=account.record.client_disconnected)
            waits.append(self._runner.post_response(chains, account.ctx, outcome, lambda: None, trail))
        return waits

    def _emitted(self, asking: Asking) -> None:
        asking.account.record.findings = tuple(asking.account.trail.findings)
        asking.account.record.close_with(self._emit)
        if self._keep is not None:
            self._keep(asking)


def _number(account: Account) -> None:
    record, trace = account.record, account.trace
    record.trace_id, record.span_id, record.parent_span_id = trace.trace_id, trace.span_id, trace.parent_span_id


def operation_of(method: str) -> str:
    """Return what kind of thing a method is, as events say it; empty for none of them."""
    return _OPERATIONS.get(method, "discovery" if method.endswith("/list") else "")


def _attempt(asking: Asking, way: Way) -> Attempt:
    """A server that gave no answer has no status."""
    answered = asking.answered_in > 0
    return Attempt(
        attempt=1,
        outcome="success" if answered and not asking.failure else "terminal",
        latency_ms=round(asking.answered_in * 1e3, 3),
        registry_id=way.server.registry_id,
        provider="mcp",
        status_code=200 if answered else 0,
    )


def _about(asking: Asking) -> EventMcp:
    message = asking.message
    method, given = message.get("method", ""), params(message)
    name: str = given["name"] if isinstance(given.get("name"), str) else ""
    server = asking.way.server if asking.way is not None else None
    return EventMcp(
        method=method,
        operation=operation_of(method),
        server_name=server.name if server else "",
        registry_id=server.registry_id if server else "",
        host=server.origin.host if server else "",
        transport=server.reach if server else "",
        tool=name if method == "tools/call" else "",
        prompt=name if method == "prompts/get" else "",
        resource_uri=given["uri"][:1000] if isinstance(given.get("uri"), str) else "",
        protocol_version=asking.session.revision if asking.session else (STATELESS if asking.stateless else ""),
        rpc_error_code=asking.failure,
        tokens_saved=asking.tokens_saved,
        changed_tools=asking.changed_tools[:MOST_NAMED],
        tool_error=asking.tool_error,
    )


def _context(asking: Asking, operation: str, said: Json) -> RequestContext:
    given = {name: value for name, value in said.items() if name in SEEN}
    return RequestContext(
        id=asking.account.trace.trace_id,
        started=perf_counter(),
        caller=asking.caller,
        operation=Operation(name=operation, dialect="mcp", method="POST", family="mcp"),
        path="/mcp",
        headers=asking.headers,
        body=Body(encode(given), lens=lambda: CALL),
        session_id=asking.session.id if asking.session is not None else "",
    )


def _reread(body: Body, raw: bytes | bytearray | None, model: str) -> Body:  # noqa: ARG001 - no model is asked
    return Body(body.raw if raw is None else raw, lens=lambda: CALL)


def _view(raw: bytes) -> AnswerView:
    text = "\n".join(piece.text for piece in RESULT.read(raw).pieces)
    return AnswerView(status=200, body=raw, text=text, lens=lambda: RESULT)


def _name(message: Json) -> Json:
    """What a policy may not change: which tool, prompt or resource it is."""
    return {name: value for name, value in params(message).items() if name in ("name", "uri", "_meta")}


def _stopped(asking: Asking, ruling: Ruling) -> Reply:
    if isinstance(ruling.stop, Deny):
        wrong = _denied(ruling.stop)
        raise Wrong(wrong.code, wrong.message, data=wrong.data, headers=(*wrong.headers, *ruling.headers))
    assert ruling.stop is not None, "whoever calls this has looked"
    found: Any = msgspec.json.decode(ruling.stop.body)
    return whole(result(asking.id, found), headers=ruling.headers)


def _denied(deny: Deny) -> Wrong:
    headers = list(deny.headers)
    data: Json = {"code": deny.code}
    if deny.retry_after is not None:
        data["retry_after_seconds"] = round(deny.retry_after, 3)
        headers.append((b"retry-after", str(max(1, round(deny.retry_after + 0.5))).encode()))
    return Wrong(_CODES.get(deny.status, DENIED), deny.message, data=data, headers=headers)
