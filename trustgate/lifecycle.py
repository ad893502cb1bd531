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

from trustgate.admission.operation import Asked, ask
from trustgate.admission.plan import charge
from trustgate.admission.session import session_id
from trustgate.config.snapshot import Snapshot
from trustgate.contract.context import Body, Chunk, Operation, RequestContext
from trustgate.contract.errors import Refused
from trustgate.contract.event import PolicyFinding
from trustgate.contract.ports import StateUnavailable
from trustgate.contract.speech import Hearing, Spoken, Verbatim
from trustgate.contract.sse import SSE
from trustgate.contract.target import Target
from trustgate.contract.upstream import Header, Transport, Upstream, UpstreamFailure
from trustgate.contract.usage import Usage
from trustgate.contract.verdict import Answer, Deny, Rewrite
from trustgate.enforcement.run import Ruling, Runner
from trustgate.forwarding.exchange import Ask, Forwarded, Forwarder, refusal
from trustgate.forwarding.headers import content_type, lookup, returned
from trustgate.forwarding.models import by_id, list_models, render_models
from trustgate.forwarding.pool import not_allowed
from trustgate.providers.asked import read_body
from trustgate.providers.counting import estimated_count
from trustgate.providers.estimate import estimate_usage
from trustgate.providers.speech import Asking, speak
from trustgate.ready import CallerReady, Parts, Ready
from trustgate.relay import buffered
from trustgate.relay.array import JsonArray
from trustgate.relay.decoded import decoded
from trustgate.relay.render import answered, denied, error_event, refuse
from trustgate.relay.reply import Whole
from trustgate.relay.streamed import Guarded, Passing, Replay, Untouched, hold
from trustgate.relay.tap import Tap
from trustgate.settings import Limits
from trustgate.telemetry.record import Record
from trustgate.underway import Arrival, CallerLeft, Exchange, account, begin, dressed, keep_strongest

STEPS: Final = ("admission", "enforcement", "forwarding", "providers", "relay", "telemetry")
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
        self._idle: asyncio.Event | None = None
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
        headers = dict(arrival.headers)
        exchange = begin(arrival, headers.get(b"traceparent", b""), self._ready)
        try:
            reply = await self._steps(exchange, arrival, headers)
        except Refused as refused:
            exchange.record.reason = refused.code
            reply = refuse(refused, exchange.dialect, exchange.trace.trace_id)
        except (asyncio.CancelledError, CallerLeft):
            self.finish(exchange, disconnected=arrival.gone)
            raise
        except Exception:  # a fault of ours: the caller gets a clean 500 and the event still leaves
            log.exception("request %s failed", exchange.trace.trace_id)
            exchange.record.reason = "internal_error"
            reply = refuse(_INTERNAL, exchange.dialect, exchange.trace.trace_id)
        exchange.reply = reply
        exchange.headers = dressed(exchange, reply)
        return exchange

    def finish(self, exchange: Exchange, *, disconnected: bool = False) -> None:
        """Once after the last byte: settle the account of the request and let its event leave."""
        record = exchange.record
        if record.closed or record.ended_at:
            return
        self.in_flight -= 1
        if not self.in_flight and self._idle is not None:
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
        while self.in_flight:
            self._idle = asyncio.Event()
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
        return await self._serve(exchange, caller, ruling.ctx, asked, arrival)

    async def _serve(
        self, exchange: Exchange, caller: CallerReady, ctx: RequestContext, asked: Asked, arrival: Arrival
    ) -> Whole | Passing:
        operation = ctx.operation
        if operation.family == "models":
            return await self._models(caller, asked, ctx)
        if operation.family == "count" and not caller.pool.has(operation.name, ctx.body.model):
            exchange.extra.append((b"x-ag-estimated", b"true"))
            return Whole(status=200, headers=(JSON,), body=estimated_count(operation.name, ctx.body))
        if operation.stream and operation.dialect == "gemini" and "alt=sse" not in arrival.query:
            exchange.array = JsonArray(SSE)
        forwarded = await self._forward(exchange, caller, ctx, asked, arrival)
        exchange.record.forwarded_at = perf_counter()
        return await self._carry(exchange, caller, ctx, forwarded)

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
        if asked.operation.body != "none":
            _check_media(asked.operation, headers)
            raw = await arrival.read(self._limits.max_body_bytes)
            body = read_body(raw, asked.operation, asked.item, headers)
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

        def read(raw: bytes) -> Body:
            return read_body(raw, ctx.operation, ctx.body.model, ctx.headers)

        ruling = await self._runner.pre_request(caller.chains, ctx, exchange.findings, read)
        exchange.ctx = ruling.ctx
        exchange.record.model = ruling.ctx.body.model
        exchange.extra += ruling.headers
        return ruling

    async def _models(self, caller: CallerReady, asked: Asked, ctx: RequestContext) -> Whole:
        models = await list_models(caller.pool, self._transport)
        dialect = "anthropic" if b"anthropic-version" in ctx.headers else asked.operation.dialect
        if not asked.item:
            return Whole(status=200, headers=(JSON,), body=render_models(models, dialect))
        found = by_id(models, asked.item, dialect)
        if found is None:
            raise Refused("model_not_found", f'There is no model "{asked.item}" here.', status=404, retry=False)
        return Whole(status=200, headers=(JSON,), body=found)

    async def _forward(
        self, exchange: Exchange, caller: CallerReady, ctx: RequestContext, asked: Asked, arrival: Arrival
    ) -> Forwarded:
        candidates = _candidates(caller, ctx, asked)
        if ctx.operation.family == "passthrough":
            exchange.dialect = candidates[0].dialect
        asking = Asking(
            operation=ctx.operation,
            method=arrival.method,
            body=ctx.body,
            item=asked.item,
            rest=asked.rest,
            query=arrival.query,
            strict=caller.strict,
        )
        exchange.forwarded_from = perf_counter()
        forward = self._forwarder.find if ctx.operation.family == "stored" else self._forwarder.forward
        forwarded = await forward(
            Ask(
                speak=partial(speak, asking),
                headers=arrival.headers,
                agent=ctx.headers.get(b"user-agent"),
                traceparent=exchange.trace.traceparent(),
            ),
            candidates,
            exchange.attempts,
        )
        exchange.record.model, exchange.record.prices = forwarded.spoken.model, forwarded.target.prices
        if losses := forwarded.spoken.losses:
            exchange.record.dropped_params = losses
            exchange.extra.append((b"x-ag-dropped-params", ", ".join(losses).encode("ascii", "replace")))
        return forwarded

    async def _carry(
        self, exchange: Exchange, caller: CallerReady, ctx: RequestContext, forwarded: Forwarded
    ) -> Whole | Passing:
        provider, hearing, record = forwarded.target.provider, forwarded.spoken.hearing, exchange.record
        live, upstream = False, forwarded.upstream
        heads = lookup(upstream.headers)
        exchange.extra.append((b"x-selected-provider", provider.encode()))
        if record.model != record.requested_model:
            exchange.extra.append((b"x-selected-model", record.model.encode("latin-1", "replace")))
        try:
            if encoding := heads.get(b"content-encoding"):
                upstream = decoded(upstream, encoding)
                heads = lookup(upstream.headers)
            live = _is_live(upstream.status, heads, hearing, stream=ctx.body.stream)
            if live:
                return await self._carry_live(exchange, caller, ctx, upstream, forwarded)
            raw = await buffered.read_bounded(upstream, heads, self._limits.max_buffered_answer_bytes)
        except UpstreamFailure as failure:
            raise refusal(failure, provider) from failure
        finally:
            if not live:
                record.provider_seconds = perf_counter() - exchange.forwarded_from
                await upstream.aclose()
        answer = Whole(status=upstream.status, headers=returned(upstream.headers), body=raw)
        return await self._carry_whole(exchange, caller, ctx, answer, forwarded.spoken)

    async def _carry_whole(
        self, exchange: Exchange, caller: CallerReady, ctx: RequestContext, answer: Whole, spoken: Spoken
    ) -> Whole:
        status, headers, raw = answer.status, answer.headers, answer.body
        hearing, record = spoken.hearing, exchange.record
        if status >= 400:
            return _failed(exchange, status, headers, raw, hearing)
        said = hearing.lens.answer(raw) if hearing.unbounded else buffered.judge(status, raw, hearing.lens, headers)
        if said is not None:
            record.usage, record.finish_reason, record.service_tier = said.usage, said.finish_reason, said.service_tier
            record.model = said.model or record.model
            if said.usage is None and ctx.operation.family == "chat":
                record.usage = estimate_usage(ctx.body.json(), hearing.lens.text(raw))
        if ctx.body.stream and not hearing.unbounded:
            raise _ignored_stream("a stream, and sent a whole answer")
        raw = hearing.whole(raw)
        if spoken.translated:
            headers = content_type(headers, JSON[1])
        if caller.chains.pre_response and status < 300:
            view = partial(buffered.view, status, hearing.caller)
            ruling = await self._runner.pre_response(caller.chains, ctx, view(raw), exchange.findings, view)
            exchange.extra += ruling.headers
            if ruling.stop is not None:
                return _stopped(ruling.stop)
            raw = raw if ruling.body is None else ruling.body
        return Whole(status=status, headers=headers, body=raw)

    async def _carry_live(
        self,
        exchange: Exchange,
        caller: CallerReady,
        ctx: RequestContext,
        upstream: Upstream,
        forwarded: Forwarded,
    ) -> Whole | Passing:
        record, chains, hearing = exchange.record, caller.chains, forwarded.spoken.hearing
        record.streaming = True
        exchange.extra += ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))
        if chains.buffers_stream and not hearing.unbounded:
            stopped, upstream = await self._hold(exchange, caller, ctx, upstream, hearing)
            if stopped is not None:
                return stopped
            hearing = Verbatim(hearing.caller, mend=hearing.mend)
        headers = returned(upstream.headers)
        if exchange.array is not None:
            headers = content_type(headers, JSON[1])
        elif forwarded.spoken.translated:
            headers = content_type(headers, hearing.caller.framing.content_type)

        def explain(failure: UpstreamFailure) -> Refused:
            return refusal(failure, forwarded.target.provider)

        trace_id = exchange.trace.trace_id
        if not _has_events(headers, hearing):
            return Untouched(upstream, headers, hearing=hearing, dialect=exchange.dialect, explain=explain)
        if not chains.on_chunk:
            return Passing(
                upstream, headers, hearing=hearing, dialect=exchange.dialect, explain=explain, request_id=trace_id
            )
        last_words: dict[str, PolicyFinding] = {}

        async def judge(chunk: Chunk) -> Rewrite | Deny | None:
            said: list[PolicyFinding] = []
            verdict = await self._runner.on_chunk(chains, ctx, chunk, said)
            keep_strongest(last_words, said, exchange.findings)
            return verdict

        return Guarded(
            upstream,
            headers,
            hearing=hearing,
            dialect=exchange.dialect,
            explain=explain,
            judge=judge,
            hold_back=max(link.hold_back for link in chains.on_chunk),
            request_id=trace_id,
        )

    async def _hold(
        self,
        exchange: Exchange,
        caller: CallerReady,
        ctx: RequestContext,
        upstream: Upstream,
        hearing: Hearing,
    ) -> tuple[Whole | None, Upstream]:
        """Hold a whole stream for the policies that judge only whole answers; nothing has been sent yet."""
        limit, tap, lens = self._limits.max_buffered_answer_bytes, Tap(hearing.lens), hearing.caller

        def render(refused: Refused) -> bytes:
            return error_event(refused, exchange.dialect, lens.framing, exchange.trace.trace_id)

        translated = hearing.live(upstream, tap.feed, render)
        try:
            parts = await hold(translated or upstream, limit)
        finally:
            await upstream.aclose()
        if parts is None:
            raise buffered.too_large(limit)
        if translated is None:
            tap.feed(b"".join(parts))
        _account_held(exchange, tap)
        view = partial(buffered.view_of_stream, upstream.status, lens)
        ruling = await self._runner.pre_response(caller.chains, ctx, view(b"".join(parts)), exchange.findings, view)
        exchange.extra += ruling.headers
        stopped = None if ruling.stop is None else _stopped(ruling.stop)
        return stopped, Replay(upstream, parts if ruling.body is None else [ruling.body])


_INTERNAL: Final = Refused(
    "internal_error", "The gateway failed at this request. Its trace id says which one.", status=500
)


def _candidates(caller: CallerReady, ctx: RequestContext, asked: Asked) -> Sequence[Target]:
    match ctx.operation.family:
        case "passthrough":
            target = caller.pool.named(asked.item)
            if ctx.body.model and not target.may_serve(ctx.body.model):
                raise not_allowed(ctx.body.model)
            return (target,)
        case "stored":
            return caller.pool.holders(ctx.operation.name)
        case _:
            return caller.pool.candidates(ctx.operation.name, ctx.body.model)


def _is_live(status: int, heads: Mapping[bytes, bytes], hearing: Hearing, *, stream: bool) -> bool:
    """Whether an answer is a stream. Raises Refused where it is one and none was asked for."""
    if not 200 <= status < 300 or heads.get(b"content-type") == JSON[1]:
        return False
    kind = heads.get(b"content-type", b"").partition(b";")[0].strip().lower()
    events = kind == hearing.lens.framing.content_type.partition(b";")[0]
    if hearing.unbounded:
        return events or (bool(kind) and not kind.endswith(b"json"))
    if events and not stream:
        raise _ignored_stream("no stream, and streamed")
    return events


def _ignored_stream(what: str) -> Refused:
    return Refused(
        "provider_ignored_stream",
        f"The provider was asked for {what}: check that it can do what is asked of it.",
        status=502,
        source="upstream",
    )


def _has_events(headers: Sequence[Header], hearing: Hearing) -> bool:
    if not hearing.unbounded:
        return True
    kind = lookup(headers).get(b"content-type", b"")
    return kind.startswith(hearing.lens.framing.content_type.partition(b";")[0])


def _failed(exchange: Exchange, status: int, headers: Sequence[Header], raw: bytes, hearing: Hearing) -> Whole:
    """A provider's refusal: in its own words where the caller reads them, in the caller's dialect otherwise."""
    exchange.record.reason = "provider_error"
    fault = hearing.fault(status, raw, headers)
    if fault is not None:
        kept = [header for header in headers if not header[0].startswith(b"content-")]
        told = refuse(fault, exchange.dialect, exchange.trace.trace_id)
        return Whole(status=status, headers=[*told.headers, *kept], body=told.body)
    if not hearing.unbounded:
        buffered.judge(status, raw, hearing.lens, headers)
    exchange.extra.append((b"x-ag-error-source", b"upstream"))
    return Whole(status=status, headers=headers, body=raw)


def _account_held(exchange: Exchange, tap: Tap) -> None:
    """What a held stream used is used, whether or not the caller will see any of it."""
    tap.read_end()
    record = exchange.record
    record.usage, record.finish_reason, record.model = tap.usage, tap.finish_reason, tap.model or record.model


def _check_size(headers: Sequence[Header], limit: int) -> None:
    size = sum(map(len, chain.from_iterable(headers)))
    if size > limit:
        raise Refused(
            "headers_too_large",
            f"The headers have {size} bytes; at most {limit} are accepted.",
            status=431,
            retry=False,
        )


_MEDIA: Final = {"json": "application/json", "form": "multipart/form-data"}


def _check_media(operation: Operation, headers: Mapping[bytes, bytes]) -> None:
    if headers.get(b"content-type") == JSON[1] and operation.body == "json" and b"content-encoding" not in headers:
        return
    wanted = _MEDIA.get(operation.body)
    kind = headers.get(b"content-type", b"application/json").partition(b";")[0].strip().lower()
    if wanted is not None and not kind.endswith(wanted[-4:].encode()):
        raise Refused("unsupported_media_type", f"Send the body as content-type {wanted}.", status=415, retry=False)
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise Refused(
            "unsupported_content_encoding", "Send the body without a content-encoding.", status=415, retry=False
        )


def _stopped(stop: Answer | Deny) -> Whole:
    if isinstance(stop, Answer):
        return answered(stop)
    raise denied(stop)
