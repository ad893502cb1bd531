"""The whole path of a request on one screen: the six steps, in order. The steps never import one another.

`handle` runs once per request and always returns something to send; `finish` runs once after the last byte, whatever
became of the request, and lets its event leave.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from time import perf_counter
from typing import Final

import msgspec

from trustgate.admission.operation import CHAT, Asked, ask
from trustgate.admission.plan import charge
from trustgate.admission.session import session_id
from trustgate.config.snapshot import Snapshot
from trustgate.contract.context import Body, Chunk, RequestContext
from trustgate.contract.errors import Refused
from trustgate.contract.event import PolicyFinding
from trustgate.contract.ports import StateUnavailable
from trustgate.contract.target import Target
from trustgate.contract.upstream import Header, Transport, Upstream, UpstreamFailure
from trustgate.contract.usage import Usage
from trustgate.contract.verdict import Answer, Deny, Rewrite
from trustgate.enforcement.run import Ruling, Runner
from trustgate.forwarding.exchange import Ask, Forwarded, Forwarder, refusal
from trustgate.forwarding.headers import lookup, returned
from trustgate.forwarding.models import by_id, list_models, render_models
from trustgate.forwarding.pool import AUTO
from trustgate.providers.dialects import LENSES, peek_request, with_model
from trustgate.ready import CallerReady, Parts, Ready
from trustgate.relay import buffered
from trustgate.relay.render import answered, denied, refuse
from trustgate.relay.reply import Whole
from trustgate.relay.streamed import Guarded, Passing, Replay, hold
from trustgate.relay.tap import Tap
from trustgate.settings import Limits
from trustgate.telemetry.record import Record
from trustgate.underway import Arrival, CallerLeft, Exchange, account, begin, dressed, keep_strongest

STEPS: Final = ("admission", "enforcement", "forwarding", "providers", "relay", "telemetry")
EVENT_STREAM: Final = b"text/event-stream"
JSON: Final = (b"content-type", b"application/json")
log = logging.getLogger("trustgate.lifecycle")

__all__ = ["STEPS", "Arrival", "CallerLeft", "Exchange", "Lifecycle"]


class Lifecycle:
    """Serves the newest snapshot. `emit` takes each closed record and must not block."""

    def __init__(
        self, parts: Parts, transport: Transport, *, limits: Limits, version: str, emit: Callable[[Record], object]
    ) -> None:
        self._parts = parts
        self._transport = transport
        self._forwarder = Forwarder(transport, version)
        self._runner = Runner(throttle_wait=limits.throttle_wait)
        self._limits = limits
        self._emit = emit
        self._ready = Ready(Snapshot(), parts)
        self._afterwards: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self.in_flight = 0

    def swap(self, snapshot: Snapshot) -> None:
        """Serve another snapshot from the next request on; requests under way keep theirs."""
        self._ready = Ready(snapshot, self._parts, self._ready)

    @property
    def revision(self) -> int:
        """The revision that is served."""
        return self._ready.snapshot.revision

    async def handle(self, arrival: Arrival) -> Exchange:
        """Once per request: the steps, in order. Always comes back with a reply, but for a caller who left."""
        self.in_flight += 1
        self._idle.clear()
        headers = dict(arrival.headers)
        exchange = begin(arrival, headers.get(b"traceparent", b""), self._ready)
        try:
            reply = await self._steps(exchange, arrival, headers)
        except Refused as refused:
            exchange.record.reason = refused.code
            reply = refuse(refused, exchange.dialect)
        except (asyncio.CancelledError, CallerLeft):
            self.finish(exchange, disconnected=arrival.gone)
            raise
        except Exception:  # a fault of ours: the caller gets a clean 500 and the event still leaves
            log.exception("request %s failed", exchange.trace.trace_id)
            exchange.record.reason = "internal_error"
            reply = refuse(_INTERNAL, exchange.dialect)
        exchange.reply = reply
        exchange.headers = dressed(exchange, reply)
        return exchange

    def finish(self, exchange: Exchange, *, disconnected: bool = False) -> None:
        """Once after the last byte: settle the account of the request and let its event leave."""
        record = exchange.record
        if record.closed or record.ended_at:
            return
        self.in_flight -= 1
        if not self.in_flight:
            self._idle.set()
        record.end()
        record.client_disconnected = disconnected
        account(exchange, disconnected=disconnected)
        if exchange.caller is not None and exchange.ctx is not None and exchange.caller.chains.post_response:
            task = asyncio.create_task(self._afterwards_of(exchange, exchange.caller, exchange.ctx))
            self._afterwards.add(task)
            task.add_done_callback(self._afterwards.discard)
        else:
            record.close_with(self._emit)

    async def idle(self) -> None:
        """Return once no request is under way."""
        await self._idle.wait()

    async def settled(self) -> None:
        """Return once every policy has heard of the requests that have ended."""
        while self._afterwards:
            await asyncio.gather(*self._afterwards, return_exceptions=True)

    async def _afterwards_of(self, exchange: Exchange, caller: CallerReady, ctx: RequestContext) -> None:
        usage = exchange.record.usage or Usage()
        try:
            await self._runner.post_response(caller.chains, ctx, usage, exchange.findings)
        finally:
            exchange.record.findings = tuple(exchange.findings)
            exchange.record.close_with(self._emit)

    async def _steps(self, exchange: Exchange, arrival: Arrival, headers: Mapping[bytes, bytes]) -> Whole | Passing:
        record = exchange.record
        _check_size(arrival.headers, self._limits.max_header_bytes)
        asked = ask(arrival.method, arrival.path)
        exchange.dialect = asked.operation.dialect
        caller = self._admit(exchange, asked, headers)
        ctx = await self._context(exchange, caller, asked, arrival, headers)
        record.admitted_at = perf_counter()

        ruling = await self._enforce(exchange, caller, ctx)
        record.enforced_at = perf_counter()
        if ruling.stop is not None:
            return _stopped(ruling.stop)
        if asked.operation is not CHAT:
            return await self._models(caller, asked)

        forwarded = await self._forward(exchange, caller, ruling.ctx, arrival)
        record.forwarded_at = perf_counter()
        return await self._carry(exchange, caller, ruling.ctx, forwarded)

    def _admit(self, exchange: Exchange, asked: Asked, headers: Mapping[bytes, bytes]) -> CallerReady:
        exchange.record.operation = asked.operation.name
        caller = exchange.ready.admit(headers, asked.consumer)
        exchange.caller = caller
        exchange.record.caller = caller.caller
        return caller

    async def _context(
        self, exchange: Exchange, caller: CallerReady, asked: Asked, arrival: Arrival, headers: Mapping[bytes, bytes]
    ) -> RequestContext:
        record = exchange.record
        body = Body(b"")
        if asked.operation.reads_body:
            _check_media(headers)
            body = read_body(await arrival.read(self._limits.max_body_bytes))
        record.request_bytes, record.stream = len(body.raw), body.stream
        record.requested_model = record.model = body.model
        record.session_id = session_id(headers, body, header=caller.session_header, param=caller.session_param)
        exchange.ctx = RequestContext(
            id=exchange.trace.trace_id,
            started=record.started,
            caller=caller.caller,
            operation=asked.operation,
            path=arrival.path,
            headers=headers,
            body=body,
            session_id=record.session_id,
            client_ip=arrival.client_ip,
        )
        return exchange.ctx

    async def _enforce(self, exchange: Exchange, caller: CallerReady, ctx: RequestContext) -> Ruling:
        gateway = caller.tenant.gateway
        if gateway.entitlements is not None:
            try:
                await charge(self._parts.services.limiter, gateway.id, gateway.entitlements)
            except StateUnavailable:
                log.warning("the plan of gateway %s cannot be counted: the request was let through", gateway.id)
                exchange.extra.append((b"x-ag-policy-degraded", b"plan"))
        ruling = await self._runner.pre_request(caller.chains, ctx, exchange.findings, read_body)
        exchange.ctx = ruling.ctx
        exchange.record.model = ruling.ctx.body.model
        exchange.extra += ruling.headers
        return ruling

    async def _models(self, caller: CallerReady, asked: Asked) -> Whole:
        models = await list_models(caller.pool, self._transport)
        if not asked.item:
            return Whole(status=200, headers=(JSON,), body=render_models(models))
        found = by_id(models, asked.item)
        if found is None:
            raise Refused("model_not_found", f'There is no model "{asked.item}" here.', status=404, retry=False)
        return Whole(status=200, headers=(JSON,), body=msgspec.json.encode(found))

    async def _forward(
        self, exchange: Exchange, caller: CallerReady, ctx: RequestContext, arrival: Arrival
    ) -> Forwarded:
        candidates = caller.pool.candidates(ctx.operation.name, ctx.body.model)
        exchange.forwarded_from = perf_counter()
        return await self._forwarder.forward(
            Ask(
                operation=ctx.operation.name,
                method="POST",
                body=partial(_body_for, exchange.record, ctx.body),
                headers=arrival.headers,
                agent=ctx.headers.get(b"user-agent"),
                traceparent=exchange.trace.traceparent(),
            ),
            candidates,
            exchange.attempts,
        )

    async def _carry(
        self, exchange: Exchange, caller: CallerReady, ctx: RequestContext, forwarded: Forwarded
    ) -> Whole | Passing:
        upstream, provider = forwarded.upstream, forwarded.target.provider
        heads = lookup(upstream.headers)
        live = heads.get(b"content-type", b"").lower().startswith(EVENT_STREAM) and 200 <= upstream.status < 300
        exchange.extra.append((b"x-selected-provider", provider.encode()))
        try:
            if live:
                return await self._carry_live(exchange, caller, ctx, upstream, provider)
            raw = await buffered.read_bounded(upstream, heads, self._limits.max_buffered_answer_bytes)
        except UpstreamFailure as failure:
            raise refusal(failure, provider) from failure
        finally:
            if not live:
                exchange.record.provider_seconds = perf_counter() - exchange.forwarded_from
                await upstream.aclose()
        return await self._carry_whole(exchange, caller, ctx, upstream, raw)

    async def _carry_whole(
        self, exchange: Exchange, caller: CallerReady, ctx: RequestContext, upstream: Upstream, raw: bytes
    ) -> Whole:
        status, lens, record = upstream.status, LENSES[exchange.dialect], exchange.record
        headers = returned(upstream.headers)
        said = buffered.judge(status, raw, lens, headers)
        if said is not None:
            record.usage, record.finish_reason = said.usage, said.finish_reason
            record.model = said.model or record.model
        if caller.chains.pre_response and status < 300:
            view = partial(buffered.view, status, lens)
            ruling = await self._runner.pre_response(caller.chains, ctx, view(raw), exchange.findings, view)
            exchange.extra += ruling.headers
            if ruling.stop is not None:
                return _stopped(ruling.stop)
            raw = raw if ruling.body is None else ruling.body
        if status >= 400:
            exchange.extra.append((b"x-ag-error-source", b"upstream"))
            record.reason = "provider_error"
        return Whole(status=status, headers=headers, body=raw)

    async def _carry_live(
        self, exchange: Exchange, caller: CallerReady, ctx: RequestContext, upstream: Upstream, provider: str
    ) -> Whole | Passing:
        record, chains, lens = exchange.record, caller.chains, LENSES[exchange.dialect]
        record.streaming = True
        exchange.extra += ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))
        if chains.buffers_stream:
            stopped, upstream = await self._hold(exchange, caller, ctx, upstream)
            if stopped is not None:
                return stopped
        headers = returned(upstream.headers)

        def explain(failure: UpstreamFailure) -> Refused:
            return refusal(failure, provider)

        if not chains.on_chunk:
            return Passing(upstream, headers, lens=lens, dialect=exchange.dialect, explain=explain)
        last_words: dict[str, PolicyFinding] = {}

        async def judge(chunk: Chunk) -> Rewrite | Deny | None:
            said: list[PolicyFinding] = []
            verdict = await self._runner.on_chunk(chains, ctx, chunk, said)
            keep_strongest(last_words, said, exchange.findings)
            return verdict

        return Guarded(
            upstream,
            headers,
            lens=lens,
            dialect=exchange.dialect,
            explain=explain,
            judge=judge,
            hold_back=max(link.hold_back for link in chains.on_chunk),
        )

    async def _hold(
        self, exchange: Exchange, caller: CallerReady, ctx: RequestContext, upstream: Upstream
    ) -> tuple[Whole | None, Upstream]:
        """Hold a whole stream for the policies that judge only whole answers; nothing has been sent yet."""
        limit = self._limits.max_buffered_answer_bytes
        try:
            parts = await hold(upstream, limit)
        finally:
            await upstream.aclose()
        if parts is None:
            raise buffered.too_large(limit)
        raw, lens = b"".join(parts), LENSES[exchange.dialect]
        _account_held(exchange, raw)
        view = partial(buffered.view_of_stream, upstream.status, lens)
        ruling = await self._runner.pre_response(caller.chains, ctx, view(raw), exchange.findings, view)
        exchange.extra += ruling.headers
        stopped = None if ruling.stop is None else _stopped(ruling.stop)
        return stopped, Replay(upstream, parts if ruling.body is None else [ruling.body])


_INTERNAL: Final = Refused(
    "internal_error", "The gateway failed at this request. Its trace id says which one.", status=500
)


def read_body(raw: bytes) -> Body:
    """Return a body with the two fields of it that steer the request. Raises Refused (400)."""
    peeked = peek_request(raw)
    return Body(raw, model=peeked.model, stream=peeked.stream)


def _account_held(exchange: Exchange, raw: bytes) -> None:
    """What a held stream used is used, whether or not the caller will see any of it."""
    tap = Tap(LENSES[exchange.dialect])
    tap.feed(raw)
    tap.read_end()
    record = exchange.record
    record.usage, record.finish_reason, record.model = tap.usage, tap.finish_reason, tap.model or record.model


def _body_for(record: Record, body: Body, target: Target) -> bytes:
    """The caller's very bytes; where they name no model, asking for the target's default one."""
    if body.model and body.model.lower() != AUTO:
        return body.raw
    record.model = target.default
    return with_model(body.raw, target.default)


def _check_size(headers: Sequence[Header], limit: int) -> None:
    size = sum(map(len, chain.from_iterable(headers)))
    if size > limit:
        raise Refused(
            "headers_too_large",
            f"The headers have {size} bytes; at most {limit} are accepted.",
            status=431,
            retry=False,
        )


def _check_media(headers: Mapping[bytes, bytes]) -> None:
    kind = headers.get(b"content-type", b"application/json").partition(b";")[0].strip().lower()
    if not kind.endswith(b"json"):
        raise Refused(
            "unsupported_media_type", "Send the body as content-type application/json.", status=415, retry=False
        )
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise Refused(
            "unsupported_content_encoding", "Send the body without a content-encoding.", status=415, retry=False
        )


def _stopped(stop: Answer | Deny) -> Whole:
    if isinstance(stop, Answer):
        return answered(stop)
    raise denied(stop)
