"""The whole path of a request on one screen: the six steps, in order. The steps never import one another.

`handle` runs once per request and always returns something to send; `finish` runs once after the last byte, whatever
became of the request, and lets its event leave.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import Final

from trustgate.admission.form import check_media, check_size
from trustgate.admission.operation import Asked, ask
from trustgate.admission.plan import charge
from trustgate.admission.session import session_id
from trustgate.affinity import made
from trustgate.browsing import allow_browser, preflight
from trustgate.carrying import JSON, Carrier
from trustgate.choosing import Chooser, deadline, wanting
from trustgate.config.snapshot import Snapshot
from trustgate.config.watch import Fresh
from trustgate.contract.context import Body, Operation, RequestContext
from trustgate.contract.errors import Refused
from trustgate.contract.ports import StateUnavailable
from trustgate.contract.speech import Spoken
from trustgate.contract.sse import SSE
from trustgate.contract.target import Target
from trustgate.contract.upstream import Transport
from trustgate.contract.verdict import Answer, Deny
from trustgate.enforcement.afterwards import Afterwards
from trustgate.enforcement.chain import Chains
from trustgate.enforcement.run import Ruling, Runner
from trustgate.forwarding.attempts import BAD, Forwarded
from trustgate.forwarding.choice import Choice
from trustgate.forwarding.exchange import Ask, Forwarder, Forwards, instead
from trustgate.forwarding.models import by_id, list_models, render_models
from trustgate.parts import Parts
from trustgate.policed import answer_of, outcome_of, reread, stopped_by
from trustgate.providers.asked import read_body
from trustgate.providers.counting import estimated_count
from trustgate.providers.speech import Asking, speak
from trustgate.ready import CallerReady, Ready
from trustgate.relay.array import JsonArray
from trustgate.relay.proof import Hold
from trustgate.relay.render import denied, refuse
from trustgate.relay.reply import Whole
from trustgate.relay.streamed import Passing
from trustgate.settings import Limits
from trustgate.telemetry.record import Record, set_aside
from trustgate.underway import Arrival, CallerLeft, Exchange, Sent, account, begin, dressed

STEPS: Final = ("admission", "enforcement", "forwarding", "providers", "relay", "telemetry")
log = logging.getLogger("trustgate.lifecycle")

__all__ = ["STEPS", "Arrival", "CallerLeft", "Exchange", "Lifecycle"]


class Lifecycle:
    """Serves the newest snapshot. `emit` takes each closed record and must not block."""

    def __init__(
        self,
        parts: Parts,
        transport: Transport,
        *,
        limits: Limits,
        version: str,
        emit: Callable[[Record], object],
        keep: Callable[[Exchange], object] | None = None,
        forwarder: Forwards | None = None,
        choosing: type[Chooser] = Chooser,
    ) -> None:
        self._parts = parts
        self._transport = transport
        self._forwarder = forwarder or Forwarder(transport, version, parts.health, chance=parts.chance)
        self._runner = Runner(throttle_wait=limits.throttle_wait)
        hold = Hold(most_bytes=limits.stream_hold_bytes, most_seconds=limits.stream_hold)
        self._carrier = Carrier(self._runner, most=limits.max_buffered_answer_bytes, hold=hold)
        self._chooser = choosing(self._runner, parts.services.cache, queue_wait=limits.queue_wait)
        self._limits = limits
        self._emit = emit
        self._keep = keep
        self._ready = Ready(Snapshot(), parts)
        self._watched: Fresh | None = None
        self._afterwards = Afterwards()
        self._idle: asyncio.Event | None = None
        self.in_flight = 0

    def swap(self, snapshot: Snapshot) -> None:
        """Serve another snapshot from the next request on; requests under way keep theirs."""
        self._ready = Ready(snapshot, self._parts, self._ready)

    @property
    def revision(self) -> int:
        """The revision that is served."""
        return self._ready.snapshot.revision

    def refuse_unless(self, watched: Fresh, refuses: bool) -> None:
        """Refuse requests while nobody knows whether the configuration is the newest, where that is wanted."""
        self._watched = watched if refuses else None

    async def handle(self, arrival: Arrival) -> Exchange:
        """Once per request: the steps, in order. Always comes back with a reply, but for a caller who left."""
        self.in_flight += 1
        headers = dict(arrival.headers)
        exchange = begin(arrival, headers.get(b"traceparent", b""), self._ready)
        try:
            reply = await self._steps(exchange, arrival, headers)
        except Refused as refused:
            exchange.record.reason, exchange.refused = refused.code, refused
            exchange.tell_instead(refused.headers)
            reply = refuse(refused, exchange.dialect, exchange.trace.trace_id)
        except (asyncio.CancelledError, CallerLeft):
            self.finish(exchange, disconnected=arrival.gone)
            raise
        except Exception:  # a fault of ours: the caller gets a clean 500 and the event still leaves
            log.exception("request %s failed", exchange.trace.trace_id)
            exchange.record.reason = "internal_error"
            reply = refuse(_INTERNAL, exchange.dialect, exchange.trace.trace_id)
        if b"origin" in headers:
            allow_browser(self._runner, exchange, arrival, headers)
        if isinstance(reply, Passing) and exchange.caller is not None and exchange.caller.chains.wants_answer:
            exchange.sent = Sent(self._limits.max_buffered_answer_bytes)
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
        exchange.leave()
        account(exchange, disconnected=disconnected)
        caller = exchange.caller
        waits = () if caller is None or exchange.ctx is None else self._settle(exchange, caller.chains)
        self._afterwards.then(waits, partial(self._close, exchange))

    async def idle(self) -> None:
        """Return once no request is under way."""
        while self.in_flight:
            self._idle = asyncio.Event()
            await self._idle.wait()

    async def settled(self) -> None:
        """Return once every policy has heard of the requests that have ended."""
        await self._afterwards.settled()

    def _settle(self, exchange: Exchange, chains: Chains) -> Sequence[Awaitable[None] | None]:
        """Tell the policies how it ended. Returns what they wait for, where they wait for something."""
        if not chains.post_response and not (chains.refund and exchange.trail.kept):
            return ()
        ctx, trail = exchange.ctx, exchange.trail
        assert ctx is not None, "no policy has run without a context"
        waits = []
        if chains.refund and not (exchange.attempts or exchange.answered_by):
            waits.append(self._runner.refund(chains, ctx, trail))
        if chains.post_response:
            outcome = outcome_of(exchange, self._parts.services.pricing)
            answer = partial(answer_of, exchange)
            waits.append(self._runner.post_response(chains, ctx, outcome, answer, trail))
        return waits

    def _close(self, exchange: Exchange) -> None:
        exchange.record.findings = tuple(exchange.trail.findings)
        exchange.record.close_with(self._emit)
        if self._keep is not None:
            self._keep(exchange)

    async def _steps(self, exchange: Exchange, arrival: Arrival, headers: Mapping[bytes, bytes]) -> Whole | Passing:
        record = exchange.record
        if self._watched is not None and not self._watched.fresh:
            raise _STALE
        check_size(arrival.headers, self._limits.max_header_bytes)
        if arrival.method == "OPTIONS" and (allowed := preflight(self._runner, exchange, arrival, headers)):
            return allowed
        asked = ask(arrival.method, arrival.path)
        exchange.dialect = asked.operation.dialect
        exchange.record.operation, exchange.item = asked.operation.name, asked.item
        caller = self.admit(exchange, arrival, asked, headers)
        exchange.caller = caller
        record.caller = caller.caller
        ctx = await self._context(exchange, caller, asked, arrival, headers)
        record.admitted_at = perf_counter()

        ruling = await self._enforce(exchange, caller, ctx)
        record.enforced_at = perf_counter()
        if ruling.stop is not None:
            return await self._stopped(exchange, caller, ruling, arrival)
        return await self._serve(exchange, caller, ruling.ctx, asked, arrival)

    async def _stopped(
        self, exchange: Exchange, caller: CallerReady, ruling: Ruling, arrival: Arrival
    ) -> Whole | Passing:
        """Return the answer of a policy; one of a model that it kept goes the way of a provider's. Raises Refused."""
        reply = stopped_by(exchange, ruling)
        if not (isinstance(ruling.stop, Answer) and ruling.stop.judged):
            return reply
        _expect_array(exchange, ruling.ctx, arrival)
        exchange.forwarded_from = perf_counter()
        return await self._carrier.carry_kept(exchange, caller, ruling.ctx, ruling.stop)

    async def _serve(
        self, exchange: Exchange, caller: CallerReady, ctx: RequestContext, asked: Asked, arrival: Arrival
    ) -> Whole | Passing:
        operation = ctx.operation
        if operation.family == "models":
            return await self._models(caller, asked, ctx)
        if operation.family == "count" and not caller.pool.has(operation.name, ctx.body.model):
            exchange.extra.append((b"x-ag-estimated", b"true"))
            return Whole(status=200, headers=(JSON,), body=estimated_count(operation.name, ctx.body))
        _expect_array(exchange, ctx, arrival)
        ask, choice = await self._asking(exchange, caller, ctx, asked, arrival)
        forward = self._forwarder.find if operation.family == "stored" else self._forwarder.forward
        forwarded = await forward(ask, choice, exchange.attempts)
        while isinstance(reply := await self._carry(exchange, caller, ctx, forwarded), Deny):
            if (another := instead(ask, choice, len(exchange.attempts))) is None:
                raise denied(reply)
            set_aside(exchange.record, exchange.attempts, len(exchange.trail.findings), self._parts.services.pricing)
            forwarded = await self._forwarder.forward(another, choice, exchange.attempts)
        if len(caller.pool.targets) > 1 and (name := _made(operation, forwarded, reply)):
            await self._chooser.affinity.keep(ctx, forwarded.target.account, name)
        return reply

    def admit(
        self,
        exchange: Exchange,
        arrival: Arrival,  # noqa: ARG002 - for those whose callers are only supposed
        asked: Asked,
        headers: Mapping[bytes, bytes],
    ) -> CallerReady:
        """Return who is asking. Raises Refused."""
        return exchange.ready.admit(headers, asked.consumer)

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
        ctx = RequestContext(
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
        exchange.ctx = ctx
        return wanting(exchange, caller, ctx)

    async def _enforce(self, exchange: Exchange, caller: CallerReady, ctx: RequestContext) -> Ruling:
        gateway = caller.tenant.gateway
        if gateway.entitlements is not None:
            try:
                await charge(self._parts.services.limiter, gateway.id, gateway.entitlements)
            except StateUnavailable:
                log.warning("the plan of gateway %s cannot be counted: the request was let through", gateway.id)
                exchange.extra.append((b"x-ag-policy-degraded", b"plan"))

        if not caller.chains.pre_request:
            return Ruling(ctx=ctx)
        ruling = await self._runner.pre_request(caller.chains, ctx, exchange.trail, partial(reread, ctx))
        exchange.ctx = ruling.ctx
        exchange.record.model = ruling.ctx.body.model
        exchange.tell(ruling.headers)
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

    async def _carry(
        self, exchange: Exchange, caller: CallerReady, ctx: RequestContext, forwarded: Forwarded
    ) -> Whole | Passing | Deny:
        """Return a target's answer as it goes to the caller, or why a policy rejects it: then nothing is told of it."""
        record, told = exchange.record, list(exchange.extra)
        record.forwarded_at = perf_counter()
        exchange.target = forwarded.target  # which need not be the last that was spoken to
        record.model, record.prices = forwarded.spoken.model, forwarded.target.prices
        if losses := forwarded.spoken.losses:
            record.dropped_params = losses
            exchange.extra.append((b"x-ag-dropped-params", ", ".join(losses).encode("ascii", "replace")))
        reply = await self._carrier.carry(exchange, caller, ctx, forwarded)
        if isinstance(reply, Deny):
            exchange.extra, record.dropped_params = told, ()
        return reply

    async def _asking(
        self, exchange: Exchange, caller: CallerReady, ctx: RequestContext, asked: Asked, arrival: Arrival
    ) -> tuple[Ask, Choice]:
        choice = await self._chooser.choose(exchange, caller, ctx, asked.item)
        decide = partial(self._chooser.decide_again, exchange, caller) if caller.chains.pre_call else None
        if ctx.operation.family == "passthrough":
            exchange.dialect = choice.first.dialect

        def say(target: Target) -> Spoken:
            now = exchange.ctx
            assert now is not None, "what is forwarded was admitted"
            exchange.target = target
            return speak(
                Asking(
                    operation=now.operation,
                    method=arrival.method,
                    body=now.body,
                    item=asked.item,
                    rest=asked.rest,
                    query=arrival.query,
                    strict=caller.strict,
                ),
                target,
            )

        exchange.forwarded_from = perf_counter()
        ask = Ask(
            speak=say,
            headers=arrival.headers,
            agent=ctx.headers.get(b"user-agent"),
            traceparent=exchange.trace.traceparent(),
            decide=decide,
            prove=partial(self._carrier.prove, ctx) if ctx.operation.family in PROVED else None,
            patience=self._limits.provider_max_retries if ctx.operation.family in PROVED else 0,
            deadline=deadline(exchange.record.started, ctx, choice.rules.max_latency),
        )
        return ask, choice


def _expect_array(exchange: Exchange, ctx: RequestContext, arrival: Arrival) -> None:
    """Gemini's streams are an array of JSON for those who do not ask for events."""
    if ctx.operation.stream and ctx.operation.dialect == "gemini" and "alt=sse" not in arrival.query:
        exchange.array = JsonArray(SSE)


def _made(operation: Operation, forwarded: Forwarded, reply: Whole | Passing) -> str:
    """Return the id of what a provider made and keeps, empty where it made nothing like that."""
    if forwarded.proof is not None:
        return "" if forwarded.spoken.translated else made(operation, forwarded.proof.begun)
    return made(operation, reply.body) if isinstance(reply, Whole) and reply.status < BAD else ""


PROVED: Final = frozenset(("chat", "embeddings", "rerank", "count"))
"""Families of operations that can be done twice: what a first one came to is nobody's but the caller's."""
_INTERNAL: Final = Refused(
    "internal_error", "The gateway failed at this request. Its trace id says which one.", status=500
)
_STALE: Final = Refused(
    "configuration_stale",
    "The gateway has not been able to read its configuration for longer than it may serve an old one.",
    status=503,
    headers=((b"retry-after", b"1"),),
)
