"""The whole path of a request on one screen: the six steps, in order. The steps never import one another.

`handle` runs once per request and always returns something to send; `finish` runs once after the last byte, whatever
became of the request, and lets its event leave.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from time import monotonic, perf_counter
from typing import Final

from msgspec.structs import replace

from trustgate.admission.form import check_media, check_size
from trustgate.admission.operation import Asked, ask
from trustgate.admission.plan import charge
from trustgate.admission.session import session_id
from trustgate.affinity import Affinity
from trustgate.browsing import allow_browser, preflight
from trustgate.carrying import JSON, Carrier
from trustgate.config.snapshot import Snapshot
from trustgate.contract.context import Body, RequestContext
from trustgate.contract.errors import Refused
from trustgate.contract.ports import StateUnavailable
from trustgate.contract.speech import Spoken
from trustgate.contract.sse import SSE
from trustgate.contract.target import Target
from trustgate.contract.upstream import Transport
from trustgate.contract.verdict import Answer
from trustgate.enforcement.chain import Chains
from trustgate.enforcement.run import Ruling, Runner
from trustgate.forwarding.choice import Choice
from trustgate.forwarding.exchange import Ask, Forwarded, Forwarder, Forwards
from trustgate.forwarding.gates import Flow
from trustgate.forwarding.models import by_id, list_models, render_models
from trustgate.parts import Parts
from trustgate.policed import answer_of, chosen, outcome_of, reread, stopped_by
from trustgate.providers.asked import read_body
from trustgate.providers.counting import estimated_count
from trustgate.providers.speech import Asking, speak
from trustgate.ready import CallerReady, Ready
from trustgate.relay.array import JsonArray
from trustgate.relay.proof import Hold
from trustgate.relay.render import refuse
from trustgate.relay.reply import Whole
from trustgate.relay.streamed import Passing
from trustgate.settings import Limits
from trustgate.telemetry.record import Record
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
    ) -> None:
        self._parts = parts
        self._transport = transport
        self._forwarder = forwarder or Forwarder(transport, version, parts.health, chance=parts.chance)
        self._runner = Runner(throttle_wait=limits.throttle_wait)
        hold = Hold(most_bytes=limits.stream_hold_bytes, most_seconds=limits.stream_hold)
        self._carrier = Carrier(self._runner, most=limits.max_buffered_answer_bytes, hold=hold)
        self._affinity = Affinity(parts.services.cache)
        self._limits = limits
        self._emit = emit
        self._keep = keep
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
        left = (
            None if exchange.caller is None or exchange.ctx is None else self._settle(exchange, exchange.caller.chains)
        )
        if left is None:
            self._close(exchange)
            return
        task = asyncio.create_task(self._close_after(left, exchange))
        self._afterwards.add(task)
        task.add_done_callback(self._afterwards.discard)

    async def idle(self) -> None:
        """Return once no request is under way."""
        while self.in_flight:
            self._idle = asyncio.Event()
            await self._idle.wait()

    async def settled(self) -> None:
        """Return once every policy has heard of the requests that have ended."""
        while self._afterwards:
            await asyncio.gather(*self._afterwards, return_exceptions=True)

    def _settle(self, exchange: Exchange, chains: Chains) -> Awaitable[None] | None:
        """Tell the policies how it ended. Returns what they wait for, where they wait for something."""
        if not chains.post_response and not (chains.refund and exchange.trail.kept):
            return None
        ctx, trail = exchange.ctx, exchange.trail
        assert ctx is not None, "no policy has run without a context"
        waits = []
        if chains.refund and not (exchange.attempts or exchange.answered_by):
            waits.append(self._runner.refund(chains, ctx, trail))
        if chains.post_response:
            outcome = outcome_of(exchange, self._parts.services.pricing)
            answer = partial(answer_of, exchange)
            waits.append(self._runner.post_response(chains, ctx, outcome, answer, trail))
        exchange.record.findings = tuple(trail.findings)
        left = [each for each in waits if each is not None]
        return _one_by_one(left) if left else None

    async def _close_after(self, left: Awaitable[None], exchange: Exchange) -> None:
        try:
            await left
        finally:
            exchange.record.findings = tuple(exchange.trail.findings)
            self._close(exchange)

    def _close(self, exchange: Exchange) -> None:
        exchange.record.close_with(self._emit)
        if self._keep is not None:
            self._keep(exchange)

    async def _steps(self, exchange: Exchange, arrival: Arrival, headers: Mapping[bytes, bytes]) -> Whole | Passing:
        record = exchange.record
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
        forwarded = await self._forward(exchange, caller, ctx, asked, arrival)
        exchange.record.forwarded_at = perf_counter()
        reply = await self._carrier.carry(exchange, caller, ctx, forwarded)
        if operation.family == "passthrough" and isinstance(reply, Whole) and reply.status < 300:
            await self._affinity.keep(ctx, forwarded.target.account, reply.body)
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
        if asked.operation.family not in UNNAMED:
            exchange.wanted = caller.pool.wanted(body.model)
            if exchange.wanted.model != body.model:
                exchange.ctx = replace(ctx, body=reread(ctx, body, None, exchange.wanted.model))
                record.model = exchange.wanted.model
        return exchange.ctx

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

    async def _forward(
        self, exchange: Exchange, caller: CallerReady, ctx: RequestContext, asked: Asked, arrival: Arrival
    ) -> Forwarded:
        decide = None
        if caller.chains.pre_call:
            choice = await self._choose(exchange, caller, ctx, asked)
            decide = partial(self._decide_again, exchange, caller)
        else:
            choice = await self._choice(exchange, caller, ctx, asked)
        if ctx.operation.family == "passthrough":
            exchange.dialect = choice.first.dialect

        def say(target: Target) -> Spoken:
            now = exchange.ctx
            assert now is not None, "what is forwarded was admitted"
            exchange.chosen = chosen(target, now.body)
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
        forward = self._forwarder.find if ctx.operation.family == "stored" else self._forwarder.forward
        forwarded = await forward(
            Ask(
                speak=say,
                headers=arrival.headers,
                agent=ctx.headers.get(b"user-agent"),
                traceparent=exchange.trace.traceparent(),
                decide=decide,
                prove=partial(self._carrier.prove, exchange, ctx) if ctx.operation.family in PROVED else None,
                patience=self._limits.provider_max_retries if ctx.operation.family in PROVED else 0,
                deadline=_deadline(exchange.record.started, ctx, choice.rules.max_latency),
            ),
            choice,
            exchange.attempts,
        )
        if choice.rules.hedge is not None and exchange.ctx is not None:  # another one may have been spoken to since
            exchange.chosen = chosen(forwarded.target, exchange.ctx.body)
        exchange.record.model, exchange.record.prices = forwarded.spoken.model, forwarded.target.prices
        if choice.several and exchange.begun and not forwarded.spoken.translated:
            await self._affinity.keep(ctx, forwarded.target.account, exchange.begun)
        if losses := forwarded.spoken.losses:
            exchange.record.dropped_params = losses
            exchange.extra.append((b"x-ag-dropped-params", ", ".join(losses).encode("ascii", "replace")))
        return forwarded

    async def _choice(self, exchange: Exchange, caller: CallerReady, ctx: RequestContext, asked: Asked) -> Choice:
        """Return whose turn it is. Raises Refused."""
        wanted = exchange.wanted
        if wanted is None or wanted.model != ctx.body.model:  # a policy wants another model
            wanted = exchange.wanted = caller.pool.wanted(ctx.body.model)
        exchange.leave()
        choice = exchange.choice = caller.pool.choose(ctx.operation, wanted, asked.item)
        if choice.several and (ctx.operation.name in LIVING or ctx.operation.family == "chat"):
            home = await self._affinity.home(ctx, asked.item)
            if home:
                choice.only(home)
        if choice.prepares:
            await choice.prepare(ctx)
        if choice.begin(ctx) is None:
            await self.wait(exchange, caller, ctx, choice)
        return choice

    async def wait(self, exchange: Exchange, caller: CallerReady, ctx: RequestContext, choice: Choice) -> None:
        """Wait for a target that is full, fairly among consumers. Raises Refused where that would take too long."""
        deadline = _deadline(exchange.record.started, ctx, choice.rules.max_latency)
        within = min(self._limits.queue_wait, deadline - monotonic()) if deadline else self._limits.queue_wait
        expected = await choice.wait(Flow(caller.caller.consumer_id, caller.share), within)
        exchange.record.queue_seconds += choice.queued
        exchange.tell_instead(QUEUED)
        exchange.extra.append((QUEUE_MS, b"%d" % round(exchange.record.queue_seconds * 1000)))
        if expected:
            raise choice.saturated(expected)

    async def _choose(self, exchange: Exchange, caller: CallerReady, ctx: RequestContext, asked: Asked) -> Choice:
        """Return the choice, its first approved by the policies; one that they want otherwise is asked for under the
        other model, and its policies decide anew."""
        for _ in range(MAX_REROUTES):
            choice = await self._choice(exchange, caller, ctx, asked)
            ruling = await self._ask_policies(exchange, caller, ctx, choice.first)
            if ruling.ctx.body.model == ctx.body.model:
                return choice
            ctx = ruling.ctx
        raise Refused(
            "policy_conflict",
            "The policies of this gateway send this request from one model to the next without an end.",
            status=503,
            retry=False,
        )

    async def _decide_again(self, exchange: Exchange, caller: CallerReady, target: Target) -> None:
        """Have the policies decide about the next target. Raises Refused."""
        ctx = exchange.ctx
        assert ctx is not None, "what is forwarded was admitted"
        ruling = await self._ask_policies(exchange, caller, ctx, target)
        if ruling.ctx.body.model != ctx.body.model:
            raise Refused("model_not_allowed", "The next provider may not serve this model.", status=503, retry=True)

    async def _ask_policies(
        self, exchange: Exchange, caller: CallerReady, ctx: RequestContext, target: Target
    ) -> Ruling:
        subject = chosen(target, ctx.body)
        ruling = await self._runner.pre_call(caller.chains, ctx, subject, exchange.trail, partial(reread, ctx))
        exchange.tell_of_target(ruling.headers)
        if ruling.stop is not None:
            stopped_by(exchange, ruling)
        exchange.ctx = ruling.ctx
        exchange.record.model = ruling.ctx.body.model
        return ruling


def _expect_array(exchange: Exchange, ctx: RequestContext, arrival: Arrival) -> None:
    """Gemini's streams are an array of JSON for those who do not ask for events."""
    if ctx.operation.stream and ctx.operation.dialect == "gemini" and "alt=sse" not in arrival.query:
        exchange.array = JsonArray(SSE)


async def _one_by_one(left: Sequence[Awaitable[None]]) -> None:
    for each in left:
        await each


def _deadline(started: float, ctx: RequestContext, most: float) -> float:
    """Return when no other attempt begins: by the time that the caller says it waits, and by the consumer's budget."""
    waits = [float(said) for name in WAITS if (said := ctx.headers.get(name, b"")).replace(b".", b"", 1).isdigit()]
    left = min([*(each for each in waits if each > 0), *((most,) if most else ())], default=0.0)
    return monotonic() - (perf_counter() - started) + left if left else 0.0


LIVING: Final = frozenset(("response", "response_input_items", "response_cancel", "response_delete"))
"""Operations that ask for an answer that a provider keeps."""
PROVED: Final = frozenset(("chat", "embeddings", "rerank", "count"))
"""Families of operations that can be done twice: what a first one came to is nobody's but the caller's."""
UNNAMED: Final = frozenset(("models", "stored", "passthrough"))
"""Families in which the body names no model of the gateway's."""
WAITS: Final = (b"x-stainless-read-timeout", b"x-stainless-timeout")
"""In which headers SDKs say how long they wait, in seconds."""
QUEUE_MS: Final = b"x-ag-queue-ms"
QUEUED: Final = ((QUEUE_MS, b""),)
MAX_REROUTES: Final = 8
"""How often policies may send one request to another model before that is taken for a circle."""
_INTERNAL: Final = Refused(
    "internal_error", "The gateway failed at this request. Its trace id says which one.", status=500
)
