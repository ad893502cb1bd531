"""The whole path of a request on one screen: the six steps, in order. The steps never import one another.

`handle` runs once per request and always returns something to send; `finish` runs once after the last byte, whatever
became of the request, and lets its event leave.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial
from time import perf_counter
from typing import Final

from trustgate.admission.form import check_media, check_size
from trustgate.admission.operation import Asked, ask
from trustgate.admission.plan import charge
from trustgate.admission.session import session_id
from trustgate.carrying import JSON, Carrier, stopped_by
from trustgate.config.snapshot import Snapshot
from trustgate.contract.context import Body, RequestContext
from trustgate.contract.errors import Refused
from trustgate.contract.ports import StateUnavailable
from trustgate.contract.sse import SSE
from trustgate.contract.upstream import Transport
from trustgate.contract.usage import Usage
from trustgate.enforcement.run import Ruling, Runner
from trustgate.forwarding.exchange import Ask, Forwarded, Forwarder
from trustgate.forwarding.models import by_id, list_models, render_models
from trustgate.providers.asked import read_body
from trustgate.providers.counting import estimated_count
from trustgate.providers.speech import Asking, speak
from trustgate.ready import CallerReady, Parts, Ready
from trustgate.relay.array import JsonArray
from trustgate.relay.render import refuse
from trustgate.relay.reply import Whole
from trustgate.relay.streamed import Passing
from trustgate.settings import Limits
from trustgate.telemetry.record import Record
from trustgate.underway import Arrival, CallerLeft, Exchange, account, begin, dressed

STEPS: Final = ("admission", "enforcement", "forwarding", "providers", "relay", "telemetry")
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
        self._carrier = Carrier(self._runner, most=limits.max_buffered_answer_bytes)
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
        check_size(arrival.headers, self._limits.max_header_bytes)
        asked = ask(arrival.method, arrival.path)
        exchange.dialect = asked.operation.dialect
        caller = self._admit(exchange, asked, headers)
        ctx = await self._context(exchange, caller, asked, arrival, headers)
        record.admitted_at = perf_counter()

        ruling = await self._enforce(exchange, caller, ctx)
        record.enforced_at = perf_counter()
        if ruling.stop is not None:
            return stopped_by(ruling.stop)
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
        return await self._carrier.carry(exchange, caller, ctx, forwarded)

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
            check_media(asked.operation, headers)
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
        candidates = caller.pool.asked(ctx.operation, ctx.body.model, asked.item)
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


_INTERNAL: Final = Refused(
    "internal_error", "The gateway failed at this request. Its trace id says which one.", status=500
)
