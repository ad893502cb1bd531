"""The provider's answer on its way back, whole or live: read, judged, said in the caller's dialect, accounted for."""

from collections.abc import Sequence
from functools import partial
from time import perf_counter
from typing import Final

from trustgate.contract.context import RequestContext
from trustgate.contract.errors import Refused
from trustgate.contract.event import PolicyFinding
from trustgate.contract.lens import Answered
from trustgate.contract.speech import Hearing, Spoken, Verbatim
from trustgate.contract.upstream import Header, Upstream, UpstreamFailure
from trustgate.contract.verdict import Answer, Deny
from trustgate.enforcement.chain import Chains
from trustgate.enforcement.run import Runner
from trustgate.forwarding.attempts import Forwarded, Proof
from trustgate.forwarding.failures import refusal
from trustgate.forwarding.headers import content_type, lookup, returned
from trustgate.policed import rejected_by
from trustgate.providers.answers import answer_lens
from trustgate.providers.estimate import estimate_usage
from trustgate.providers.speech import as_it_is
from trustgate.ready import CallerReady
from trustgate.relay import buffered
from trustgate.relay.decoded import decoded
from trustgate.relay.kind import IGNORED, has_events, ignored_stream, is_live
from trustgate.relay.proof import Hold, held
from trustgate.relay.render import denied, error_event, refuse
from trustgate.relay.reply import Whole
from trustgate.relay.streamed import Guarded, Judge, Kept, Passing, Untouched, hold
from trustgate.relay.tap import Tap
from trustgate.underway import Exchange, keep_strongest

JSON: Final = (b"content-type", b"application/json")


class Carrier:
    """Carries answers back. `most` is how many bytes of one are held at once."""

    def __init__(self, runner: Runner, *, most: int, hold: Hold) -> None:
        self._runner = runner
        self._most = most
        self._hold_back = hold

    async def prove(self, ctx: RequestContext, spoken: Spoken, upstream: Upstream) -> Proof:
        """Read a whole answer, or a stream up to its first event. Raises UpstreamFailure, Refused."""
        heads, hearing = lookup(upstream.headers), spoken.hearing
        encoded = b"content-encoding" in heads
        try:
            live = is_live(upstream.status, heads, hearing, stream=ctx.body.stream)
        except Refused as refused:
            return Proof(upstream=upstream, heads=heads, live=False, wrong=refused.code)
        if live:
            if encoded:
                return Proof(upstream=upstream, heads=heads, live=True)
            begun, wrong = await held(upstream, hearing.lens, self._hold_back)
            return Proof(upstream=begun, heads=heads, live=True, begun=begun.begun, wrong=wrong)
        raw = await buffered.read_bounded(upstream, heads, self._most)
        await upstream.aclose()
        kept = Kept(upstream.status, upstream.headers, [raw])
        if encoded:
            return Proof(upstream=kept, heads=heads, live=False)
        try:
            said = buffered.judge(upstream.status, raw, hearing.lens, upstream.headers)
        except Refused as refused:
            return Proof(upstream=kept, heads=heads, live=False, begun=raw, wrong=refused.code)
        return Proof(upstream=kept, heads=heads, live=False, begun=raw, said=said)

    async def carry(
        self, exchange: Exchange, caller: CallerReady, ctx: RequestContext, forwarded: Forwarded
    ) -> Whole | Passing | Deny:
        """Return what goes to the caller, or why a policy rejects it. Raises Refused for what cannot go there."""
        provider, hearing, record = forwarded.target.provider, forwarded.spoken.hearing, exchange.record
        live, upstream, proof = False, forwarded.upstream, forwarded.proof
        heads = lookup(upstream.headers) if proof is None else proof.heads
        exchange.extra.append((b"x-selected-provider", provider.encode()))
        if record.model != record.requested_model:
            exchange.extra.append((b"x-selected-model", record.model.encode("latin-1", "replace")))
        try:
            if encoding := heads.get(b"content-encoding"):
                upstream, proof = decoded(upstream, encoding), None
                heads = lookup(upstream.headers)
            if proof is not None and proof.wrong != IGNORED:
                live = proof.live
            else:
                live = is_live(upstream.status, heads, hearing, stream=ctx.body.stream)
            if live:
                return await self._carry_live(
                    exchange, caller, ctx, upstream, spoken=forwarded.spoken, provider=provider
                )
            raw = await buffered.read_bounded(upstream, heads, self._most)
        except UpstreamFailure as failure:
            raise refusal(failure, provider) from failure
        finally:
            if not live:
                record.provider_seconds = perf_counter() - exchange.forwarded_from
                await upstream.aclose()
        answer = Whole(status=upstream.status, headers=returned(upstream.headers), body=raw)
        known = proof.said if proof is not None else None
        return await self._carry_whole(exchange, caller, ctx, answer, forwarded.spoken, known=known)

    async def carry_kept(
        self, exchange: Exchange, caller: CallerReady, ctx: RequestContext, answer: Answer
    ) -> Whole | Passing:
        """Return what a policy answered for a provider, judged like a provider's answer. Raises Refused."""
        hearing = as_it_is(ctx.operation.name)
        spoken = Spoken(method="", target=b"", hearing=hearing)
        exchange.tell(answer.headers)
        if ctx.body.stream:
            headers = ((b"content-type", hearing.caller.framing.content_type),)
            kept = Kept(answer.status, headers, [answer.body])
            by = exchange.answered_by
            reply = await self._carry_live(exchange, caller, ctx, kept, spoken=spoken, provider=by)
        else:
            whole = Whole(status=answer.status, headers=(JSON,), body=answer.body)
            reply = await self._carry_whole(exchange, caller, ctx, whole, spoken)
        if isinstance(reply, Deny):
            raise denied(reply)
        return reply

    async def _carry_whole(
        self,
        exchange: Exchange,
        caller: CallerReady,
        ctx: RequestContext,
        answer: Whole,
        spoken: Spoken,
        *,
        known: Answered | None = None,
    ) -> Whole | Deny:
        """`known` is what the answer says of itself, where that was read already."""
        status, headers, raw = answer.status, answer.headers, answer.body
        hearing, record = spoken.hearing, exchange.record
        if status >= 400:
            return _failed(exchange, status, headers, raw, hearing)
        if (said := known) is None:
            said = hearing.lens.answer(raw) if hearing.unbounded else buffered.judge(status, raw, hearing.lens, headers)
        if said is not None:
            record.usage, record.finish_reason, record.service_tier = said.usage, said.finish_reason, said.service_tier
            record.model = said.model or record.model
            if said.usage is None and ctx.operation.family == "chat":
                record.usage = estimate_usage(ctx.body.json(), hearing.lens.text(raw))
        if ctx.body.stream and not hearing.unbounded:
            raise ignored_stream("a stream, and sent a whole answer")
        raw = hearing.whole(raw)
        if spoken.translated:
            headers = content_type(headers, JSON[1])
        if caller.chains.pre_response and status < 300:
            parts = answer_lens(ctx.operation.name, streamed=False)
            view = partial(buffered.view, status, hearing.caller, parts=parts)
            ruling = await self._runner.pre_response(caller.chains, ctx, view(raw), exchange.trail, view)
            exchange.tell(ruling.headers)
            if ruling.stop is not None:
                return rejected_by(exchange, ruling)
            raw = raw if ruling.body is None else ruling.body
        return Whole(status=status, headers=headers, body=raw)

    async def _carry_live(
        self,
        exchange: Exchange,
        caller: CallerReady,
        ctx: RequestContext,
        upstream: Upstream,
        *,
        spoken: Spoken,
        provider: str,
    ) -> Whole | Passing | Deny:
        record, chains, hearing = exchange.record, caller.chains, spoken.hearing
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
        elif spoken.translated:
            headers = content_type(headers, hearing.caller.framing.content_type)

        def explain(failure: UpstreamFailure) -> Refused:
            return refusal(failure, provider)

        trace_id = exchange.trace.trace_id
        if chains.on_chunk and has_events(headers, hearing):
            return Guarded(
                upstream,
                headers,
                hearing=hearing,
                dialect=exchange.dialect,
                explain=explain,
                judge=self._judge(exchange, chains, ctx),
                request_id=trace_id,
            )
        kind = Passing if has_events(headers, hearing) else Untouched
        return kind(upstream, headers, hearing=hearing, dialect=exchange.dialect, explain=explain, request_id=trace_id)

    def _judge(self, exchange: Exchange, chains: Chains, ctx: RequestContext) -> Judge:
        """Return what asks the policies about the text of one stream, and keeps the strongest that each has said."""
        said, last_words = exchange.trail.beside(), dict[str, PolicyFinding]()
        sieve = self._runner.sieve(chains, ctx, said)

        async def judge(choice: int, text: str, final: bool) -> tuple[str | None, int] | Deny:
            sifted = await sieve.feed(choice, text, final=final)
            keep_strongest(last_words, said.findings, exchange.trail.findings)
            said.findings.clear()
            return sifted if isinstance(sifted, Deny) else (sifted.text, sifted.held)

        return judge

    async def _hold(
        self,
        exchange: Exchange,
        caller: CallerReady,
        ctx: RequestContext,
        upstream: Upstream,
        hearing: Hearing,
    ) -> tuple[Whole | Deny | None, Upstream]:
        """Hold a whole stream for the policies that judge only whole answers; nothing has been sent yet."""
        limit, tap, lens = self._most, Tap(hearing.lens), hearing.caller

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
        parts_of = answer_lens(ctx.operation.name, streamed=True)
        view = partial(buffered.view_of_stream, upstream.status, lens, parts=parts_of)
        ruling = await self._runner.pre_response(caller.chains, ctx, view(b"".join(parts)), exchange.trail, view)
        exchange.tell(ruling.headers)
        stopped = None if ruling.stop is None else rejected_by(exchange, ruling)
        held = parts if ruling.body is None else [ruling.body]
        return stopped, Kept(upstream.status, upstream.headers, held)


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
