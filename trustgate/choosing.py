"""Who is asked: what a request wants, whose turn it is, what the policies that depend on the target say, and the wait
for one that is full."""

from functools import partial
from time import monotonic, perf_counter
from typing import Final

from msgspec.structs import replace

from trustgate.affinity import Affinity, named
from trustgate.contract.context import RequestContext
from trustgate.contract.errors import Refused
from trustgate.contract.ports import Cache
from trustgate.contract.target import Target
from trustgate.enforcement.run import Ruling, Runner
from trustgate.forwarding.choice import Choice
from trustgate.forwarding.gates import Flow
from trustgate.policed import chosen, reread, stopped_by
from trustgate.ready import CallerReady
from trustgate.underway import Exchange

UNNAMED: Final = frozenset(("models", "stored", "passthrough"))
"""Families in which the body names no model of the gateway's."""
WAITS: Final = (b"x-stainless-read-timeout", b"x-stainless-timeout")
"""In which headers SDKs say how long they wait, in seconds."""
QUEUE_MS: Final = b"x-ag-queue-ms"
QUEUED: Final = ((QUEUE_MS, b""),)
MAX_REROUTES: Final = 8
"""How often policies may send one request to another model before that is taken for a circle."""


class Chooser:
    """Chooses targets. `queue_wait` is how many seconds a request waits for one that is full."""

    def __init__(self, runner: Runner, cache: Cache, *, queue_wait: float) -> None:
        self._runner = runner
        self._queue_wait = queue_wait
        self.affinity = Affinity(cache)

    async def choose(self, exchange: Exchange, caller: CallerReady, ctx: RequestContext, item: str) -> Choice:
        """Return the choice, its first approved by the policies; one that they want otherwise is asked for under the
        other model, and its policies decide anew. Raises Refused."""
        for _ in range(MAX_REROUTES):
            ctx = wanting(exchange, caller, ctx)
            choice = await self._turn(exchange, caller, ctx, item)
            if not caller.chains.pre_call:
                return choice
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

    async def decide_again(self, exchange: Exchange, caller: CallerReady, target: Target) -> None:
        """Have the policies decide about the next target. Raises Refused."""
        ctx = exchange.ctx
        assert ctx is not None, "what is forwarded was admitted"
        ruling = await self._ask_policies(exchange, caller, ctx, target)
        if ruling.ctx.body.model != ctx.body.model:
            raise Refused("model_not_allowed", "The next provider may not serve this model.", status=503, retry=True)

    async def wait(self, exchange: Exchange, caller: CallerReady, ctx: RequestContext, choice: Choice) -> None:
        """Wait for a target that is full, fairly among consumers. Raises Refused where that would take too long."""
        until = deadline(exchange.record.started, ctx, choice.rules.max_latency)
        within = min(self._queue_wait, until - monotonic()) if until else self._queue_wait
        expected = await choice.wait(Flow(caller.caller.consumer_id, caller.share), within)
        exchange.record.queue_seconds += choice.queued
        exchange.tell_instead(QUEUED)
        exchange.extra.append((QUEUE_MS, b"%d" % round(exchange.record.queue_seconds * 1000)))
        if expected:
            raise choice.saturated(expected)

    async def _turn(self, exchange: Exchange, caller: CallerReady, ctx: RequestContext, item: str) -> Choice:
        wanted = exchange.wanted or caller.pool.wanted(ctx.body.model)
        exchange.leave()
        choice = exchange.choice = caller.pool.choose(ctx.operation, wanted, item)
        if choice.several and (living := named(ctx, item)):
            home = await self.affinity.home(ctx, living)
            if home:
                choice.only(home)
        if choice.prepares:
            await choice.prepare(ctx)
        if choice.begin(ctx) is None:
            await self.wait(exchange, caller, ctx, choice)
        return choice

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


def wanting(exchange: Exchange, caller: CallerReady, ctx: RequestContext) -> RequestContext:
    """Return a request whose body has what its model's name asks for. Raises Refused for what asks for nothing."""
    model = ctx.body.model
    if ctx.operation.family in UNNAMED or (exchange.wanted is not None and exchange.wanted.model == model):
        return ctx
    wanted = exchange.wanted = caller.pool.wanted(model)
    if wanted.model != model:
        ctx = exchange.ctx = replace(ctx, body=reread(ctx, ctx.body, None, wanted.model))
        exchange.record.model = wanted.model
    return ctx


def deadline(started: float, ctx: RequestContext, most: float) -> float:
    """Return when no other attempt begins (monotonic seconds, 0: never): by the time that the caller says it waits, and
    by the consumer's budget."""
    if not most and WAITS[0] not in ctx.headers and WAITS[1] not in ctx.headers:
        return 0.0
    waits = [float(said) for name in WAITS if (said := ctx.headers.get(name, b"")).replace(b".", b"", 1).isdigit()]
    left = min([*(each for each in waits if each > 0), *((most,) if most else ())], default=0.0)
    return monotonic() - (perf_counter() - started) + left if left else 0.0
