"""What policies are told of a request that they did not see themselves, and what becomes of what they rewrite."""

from collections.abc import Mapping

from trustgate.contract.context import AnswerView, Body, Chosen, Origin, Outcome, RequestContext
from trustgate.contract.cost import Pricing
from trustgate.contract.target import Target
from trustgate.contract.verdict import Deny
from trustgate.enforcement.run import Ruling
from trustgate.providers.answers import answer_lens
from trustgate.providers.asked import read_body
from trustgate.providers.dialects import lens_of, with_model
from trustgate.relay.buffered import view, view_of_stream
from trustgate.relay.render import answered, denied
from trustgate.relay.reply import Whole
from trustgate.telemetry.record import price_of, usage_of
from trustgate.underway import Exchange


def reread(ctx: RequestContext, body: Body, raw: bytes | bytearray | None, model: str) -> Body:
    """Return a body after a policy gave it other bytes, another model, or both. Raises Refused where it has none."""
    operation, now = ctx.operation, body.raw if raw is None else raw
    if model and not operation.model_in_path:
        now = with_model(now, model)
    return read_body(now, operation, model or body.model, ctx.headers)


def chosen(target: Target, body: Body) -> Chosen:
    """Return a target as policies see it, with the model that it will be asked for."""
    return Chosen(
        registry_id=target.registry_id,
        registry=target.registry,
        provider=target.provider,
        model=body.model if body.names_model else target.default or body.model,
        prices=target.prices,
    )


def stopped_by(exchange: Exchange, ruling: Ruling) -> Whole:
    """Return the answer of a policy that gave one. Raises Refused for one that refuses."""
    told = rejected_by(exchange, ruling)
    if isinstance(told, Deny):
        raise denied(told)
    return told


def rejected_by(exchange: Exchange, ruling: Ruling) -> Whole | Deny:
    """Return the answer of a policy that gave one, or why it refuses."""
    stop = ruling.stop
    assert stop is not None, "whoever calls this has looked"
    if isinstance(stop, Deny):
        return stop
    exchange.answered_by = ruling.by
    return answered(stop)


def outcome_of(exchange: Exchange, pricing: Pricing) -> Outcome:
    """Return how a request ended, with what it cost, which its event then does not work out again."""
    record = exchange.record
    if record.cost is None:
        record.cost = price_of(record, pricing)
    return Outcome(
        status=record.status,
        usage=usage_of(record),
        cost=record.cost,
        target=None if exchange.target is None or exchange.ctx is None else chosen(exchange.target, exchange.ctx.body),
        refused=record.reason,
        answered_by=exchange.answered_by,
        complete=record.complete,
        client_left=record.client_disconnected,
    )


def answer_of(exchange: Exchange) -> AnswerView | None:
    """Return what the caller was sent: a good, complete answer of a provider, if it is still known as a whole."""
    reply, ctx = exchange.reply, exchange.ctx
    if ctx is None or reply is None or exchange.answered_by or not exchange.record.complete or reply.status >= 300:
        return None
    lens = lens_of(ctx.operation.name)
    if isinstance(reply, Whole):
        return view(reply.status, lens, reply.body, answer_lens(ctx.operation.name, streamed=False))
    sent = exchange.sent.whole if exchange.sent is not None else None
    parts = answer_lens(ctx.operation.name, streamed=True)
    return None if sent is None else view_of_stream(reply.status, lens, sent, parts)


def origin_of(headers: Mapping[bytes, bytes], *, preflight: bool) -> Origin | None:
    """Return the page that asks; of a preflight also what it asks for. https://fetch.spec.whatwg.org/#cors-preflight"""
    value, method = headers.get(b"origin"), headers.get(b"access-control-request-method", b"")
    if not value or (preflight and not method):
        return None
    if not preflight:
        return Origin(value=value.decode("latin-1"))
    names = headers.get(b"access-control-request-headers", b"").decode("latin-1").lower().split(",")
    wanted = tuple(name.strip() for name in names if name.strip())
    return Origin(value=value.decode("latin-1"), method=method.decode("latin-1"), headers=wanted)
