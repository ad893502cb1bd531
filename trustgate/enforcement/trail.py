"""What the policies of one request said, in order, and what they keep of it until its end."""

import logging
from collections.abc import Awaitable
from time import perf_counter
from typing import Any, Final

from msgspec.structs import replace

from trustgate.contract.event import PolicyFinding
from trustgate.contract.ports import NotEvaluated, ServiceUnavailable, StateUnavailable
from trustgate.contract.prompt import Unreadable
from trustgate.contract.verdict import Answer, Deny, Proceed
from trustgate.enforcement.chain import CannotDecide, Link

log = logging.getLogger("trustgate.enforcement")
_OUR_WORDS: Final = (CannotDecide, StateUnavailable, ServiceUnavailable, Unreadable)
"""Exceptions whose messages are written for operators, without content; what others say stays in their own log."""


class Trail:
    """One request's. `kept` is by policy; `pending` is what the policy that was asked last waits for.

    `silent` are the policies that decided on the spot and had nothing to say: they leave no finding.
    """

    __slots__ = ("findings", "kept", "pending", "silent")

    def __init__(self) -> None:
        self.findings: list[PolicyFinding] = []
        self.silent: list[Link] = []
        self.kept: dict[str, Any] = {}
        self.pending: Awaitable[Any] | None = None

    def beside(self) -> "Trail":
        """Return a trail of the same request for what is said many times over; what is kept is shared."""
        other = Trail()
        other.kept = self.kept
        return other


def note(link: Link, verdict: Any, started: float, trail: Trail, *, throttled: bool = False) -> None:
    """Note what a policy said."""
    trail.findings.append(_finding(link, verdict, started, throttled=throttled))


def failed(link: Link, error: BaseException, started: float, trail: Trail) -> Proceed | Deny:
    """Note that a policy could not decide, and return what its `on_error` makes of that."""
    noted = _finding(link, None, started)
    if isinstance(error, NotEvaluated):
        trail.findings.append(replace(noted, decision="not_evaluated"))
        return Proceed()
    opens = link.on_error == "allow" or link.policy.mode == "observe"
    decision = "failed_open" if opens else "failed_closed"
    trail.findings.append(replace(noted, decision=decision, error=True, flagged=True, error_type=type(error).__name__))
    log.warning(
        "policy %s (%s) of stage %s could not decide (%s: %s): the request was %s",
        link.policy.name,
        link.policy.slug,
        link.stage,
        type(error).__name__,
        error if isinstance(error, _OUR_WORDS) else "see its own log",
        "let through" if opens else "refused",
    )
    degraded = ((b"x-ag-policy-degraded", link.policy.slug.encode()),)
    if opens:
        return Proceed(headers=degraded)
    if isinstance(error, Unreadable) and link.stage in ("pre_request", "pre_call"):
        return Deny(
            code="unreadable_request",
            message=f'The policy "{link.policy.name}" has to read this request and cannot: {error}.',
            status=400,
            retry=False,
            headers=degraded,
        )
    return Deny(
        code="policy_unavailable",
        message=f'The policy "{link.policy.name}" could not decide, and refuses when it cannot. Try again later.',
        status=503,
        headers=degraded,
    )


def _decision(link: Link, verdict: Any, *, throttled: bool) -> str:
    kind = type(verdict)
    if _goes_on(verdict):
        return "throttle" if throttled else "allowed"
    if link.policy.mode == "observe":
        return "observe"
    if kind is Deny:
        return "block"
    return "answered" if kind is Answer else "rewritten"


def _goes_on(verdict: Any) -> bool:
    return verdict is None or (type(verdict) is Proceed and verdict.body is None and not verdict.model)


def _finding(link: Link, verdict: Any, started: float, *, throttled: bool = False) -> PolicyFinding:
    policy = link.policy
    if not throttled and _goes_on(verdict):
        # by far the most of them: nothing that differs from the default is said
        return PolicyFinding(
            name=policy.name,
            slug=policy.slug,
            policy_id=policy.id,
            stage=link.stage,
            mode=policy.mode,
            decision="allowed",
            latency_ms=int((perf_counter() - started) * 1e6) / 1e3,
            error=False,
            flagged=False,
            details=None if verdict is None else verdict.details,
        )
    refuses = type(verdict) is Deny
    return PolicyFinding(
        name=policy.name,
        slug=policy.slug,
        policy_id=policy.id,
        stage=link.stage,
        mode=policy.mode,
        decision=_decision(link, verdict, throttled=throttled),
        latency_ms=int((perf_counter() - started) * 1e6) / 1e3,
        error=False,
        flagged=refuses or throttled,
        status_code=verdict.status if refuses else 0,
        code=verdict.code if refuses else "",
        details=None if verdict is None else verdict.details,
    )
