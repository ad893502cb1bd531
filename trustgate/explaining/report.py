"""One request explained: the policies in order with what they said, the limits, and who could have served it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from trustgate.contract.context import Caller, Operation
from trustgate.contract.event import Attempt, PolicyFinding
from trustgate.contract.target import Considered
from trustgate.enforcement.chain import Chains, Link
from trustgate.forwarding.choice import Choice
from trustgate.forwarding.wanted import Wanted
from trustgate.ready import CallerReady
from trustgate.telemetry.record import Record
from trustgate.underway import Exchange

Outcome = Literal["forwarded", "answered", "refused", "failed"]
NOT_ASKED: Final = "not_asked"
"""The code with which a hypothetical request ends where a real one would reach its provider."""
NOT_REACHED: Final = "not_reached"


class ExplainedConsumer(Struct, frozen=True, kw_only=True):
    """The application that asked, and the credential by which."""

    id: str
    slug: str
    name: str
    auth_id: str


class ExplainedPolicy(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one policy said at one stage. `decision` is the event's; `not_reached` is a stage that the request did not
    come to, `not_evaluated` one that would have had to ask somebody."""

    id: str
    name: str
    slug: str
    stage: str
    mode: str
    decision: str
    code: str = ""
    error_type: str = ""
    latency_ms: float = 0.0
    details: Any = None


class ExplainedLimit(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a limit stood when it was asked; a budget also says what is used and reserved."""

    policy_id: str
    policy: str
    limit: float
    remaining: float
    unit: str = "requests"
    used: float | None = None
    reserved: float | None = None
    reset_after: float | None = None


class Explanation(Struct, frozen=True, kw_only=True):
    """One request, real or hypothetical.

    `outcome` says who ended it: `forwarded` to a provider (a hypothetical one would be), `answered` or `refused` by the
    gateway, or `failed`: no target gave an answer. `code` is the machine code of a refusal or failure.
    """

    hypothetical: bool
    trace_id: str
    revision: int
    gateway_id: str
    consumer: ExplainedConsumer
    operation: str
    requested_model: str
    model: str
    outcome: Outcome
    status: int
    code: str
    message: str
    policies: tuple[ExplainedPolicy, ...]
    limits: tuple[ExplainedLimit, ...]
    targets: tuple[Considered, ...]
    attempts: tuple[Attempt, ...]
    dropped_params: tuple[str, ...]


class Seen(Struct, frozen=True, kw_only=True):
    """What is remembered of one request: nothing that it said.

    `wanted` is what targets were asked for; the record has the model as the provider calls it.
    """

    record: Record
    caller: CallerReady
    operation: Operation
    wanted: Wanted
    choice: Choice | None
    item: str
    answered_by: str
    silent: Sequence[Link]


def seen(exchange: Exchange) -> Seen | None:
    """Return what is to be remembered; nothing of a request of nobody who is known, or that was never read."""
    caller, ctx = exchange.caller, exchange.ctx
    if caller is None or ctx is None:
        return None
    return Seen(
        record=exchange.record,
        caller=caller,
        operation=ctx.operation,
        wanted=exchange.wanted or Wanted(model=ctx.body.model),
        choice=exchange.choice,
        item=exchange.item,
        answered_by=exchange.answered_by,
        silent=exchange.trail.silent,
    )


def explanation(seen: Seen, *, message: str = "", hypothetical: bool = False) -> Explanation:
    """Return what is known of a request in words that hold no secret and nothing that anybody said."""
    record, caller = seen.record, seen.caller.caller
    would_forward = hypothetical and record.reason == NOT_ASKED
    return Explanation(
        hypothetical=hypothetical,
        trace_id="" if hypothetical else record.trace_id,
        revision=record.revision,
        gateway_id=caller.gateway_id,
        consumer=consumer_of(caller),
        operation=record.operation,
        requested_model=record.requested_model,
        model=record.model,
        outcome="forwarded" if would_forward else _outcome(seen),
        status=0 if would_forward else record.status,
        code="" if would_forward else record.reason,
        message="" if would_forward else message,
        policies=tuple(policies_of(record.findings, seen.silent, seen.caller.chains)),
        limits=tuple(limits_of(record.findings)),
        targets=tuple(seen.caller.pool.explain(seen.operation, seen.wanted, seen.item, seen.choice)),
        attempts=record.attempts,
        dropped_params=record.dropped_params,
    )


def consumer_of(caller: Caller) -> ExplainedConsumer:
    """Return who asked."""
    return ExplainedConsumer(
        id=caller.consumer_id, slug=caller.consumer_slug, name=caller.consumer_name, auth_id=caller.auth_id
    )


def _outcome(seen: Seen) -> Outcome:
    record = seen.record
    if any(finding.decision in ("block", "failed_closed") for finding in record.findings[record.overruled :]):
        return "refused"
    if seen.answered_by or (record.status < 400 and not record.attempts):
        return "answered"
    if record.attempts:
        return "forwarded" if record.attempts[-1].outcome == "success" and record.complete else "failed"
    return "refused"


def policies_of(findings: Sequence[PolicyFinding], silent: Sequence[Link], chains: Chains) -> Iterator[ExplainedPolicy]:
    """Yield all policies in their order with what they said; those that cannot be prepared come first."""
    said: dict[tuple[str, str], list[PolicyFinding]] = {}
    for finding in findings:
        said.setdefault((finding.policy_id, finding.stage), []).append(finding)
    quiet = {(link.policy.id, link.stage) for link in silent}
    for link in _links(chains):
        key = (link.policy.id, link.stage)
        if key in said:
            yield from map(_said, said.pop(key))
        else:
            yield _unsaid(link, "allowed" if key in quiet else NOT_REACHED)
    for rest in said.values():
        yield from map(_said, rest)


def _unsaid(link: Link, decision: str) -> ExplainedPolicy:
    policy = link.policy
    return ExplainedPolicy(
        id=policy.id, name=policy.name, slug=policy.slug, stage=link.stage, mode=policy.mode, decision=decision
    )


def _said(finding: PolicyFinding) -> ExplainedPolicy:
    return ExplainedPolicy(
        id=finding.policy_id,
        name=finding.name,
        slug=finding.slug,
        stage=finding.stage,
        mode=finding.mode,
        decision=finding.decision,
        code=finding.code,
        error_type=finding.error_type,
        latency_ms=finding.latency_ms,
        details=finding.details,
    )


def _links(chains: Chains) -> Iterator[Link]:
    for batches in (chains.pre_request, chains.pre_call, chains.pre_response):
        for batch in batches:
            yield from batch
    yield from chains.on_chunk
    yield from chains.post_response


def limits_of(findings: Sequence[PolicyFinding]) -> Iterator[ExplainedLimit]:
    """Yield how limits stood, as policies found them."""
    for finding in findings:
        details = msgspec.to_builtins(finding.details)
        told = details.get("limits", [details]) if isinstance(details, Mapping) else ()
        for each in told:
            if isinstance(each, Mapping) and isinstance(each.get("limit"), int | float):
                yield _limit(finding, each)


def _limit(finding: PolicyFinding, told: Mapping[str, Any]) -> ExplainedLimit:
    limit, used, reserved = told["limit"], told.get("used"), told.get("reserved")
    remaining = told.get("remaining", max(0, limit - (used or 0) - (reserved or 0)) if used is not None else 0)
    return ExplainedLimit(
        policy_id=finding.policy_id,
        policy=finding.name,
        limit=limit,
        remaining=remaining,
        unit=told.get("unit", "requests"),
        used=used,
        reserved=reserved,
        reset_after=told.get("reset_after", told.get("retry_after")),
    )
