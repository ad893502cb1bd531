"""What an attempt at a target comes to: an answer, or a failure, what that triggers, and how either is noted."""

from collections.abc import Mapping
from time import perf_counter
from typing import Final

from msgspec import Struct

from trustgate.contract.errors import Refused
from trustgate.contract.event import Attempt
from trustgate.contract.lens import Answered
from trustgate.contract.speech import Spoken
from trustgate.contract.target import Target
from trustgate.contract.upstream import CannotAuthorise, Upstream, UpstreamFailure
from trustgate.forwarding.failures import TOO_MANY, refusal, unauthorised
from trustgate.forwarding.health import fails

BAD: Final = 400
CANCELLED: Final = "cancelled"
REFUSED: Final = frozenset((401, 403))
"""What providers answer to a token or a role that has expired."""
UNSENT: Final = frozenset(("connect_failed", "connect_timeout"))
"""Failures before anything reached the provider: another target can be asked without any risk of asking twice."""
ONCE: Final = frozenset(("first_byte_timeout", "idle_timeout", "total_timeout", "malformed_answer"))
"""Failures that took all the time there was, or that were perhaps paid for: the same target is not asked again."""


class Proof(Struct, frozen=True, kw_only=True):
    """An answer of which as much was read as shows whether it is one, with all of that still in it.

    `begun` is what was read: all of a whole answer, and of one that is `live` the beginning; `said` is what a whole one
    says of itself. `wrong` is the code of what is wrong with it, if anything is.
    """

    upstream: Upstream
    heads: Mapping[bytes, bytes]
    live: bool
    begun: bytes = b""
    said: Answered | None = None
    wrong: str = ""


class Forwarded(Struct, frozen=True, kw_only=True):
    """A target's answer, its head read, to what was said to it."""

    target: Target
    spoken: Spoken
    upstream: Upstream
    latency: float
    proof: Proof | None = None


class Failed(Struct, frozen=True, kw_only=True):
    """An attempt that came to nothing: what it triggers, and what the caller is told if it was the last.

    `repeatable` says whether asking again may help; `wait` is how long the provider asked to be left alone (seconds).
    """

    trigger: str
    told: Forwarded | Refused
    cause: Exception | None = None
    repeatable: bool = True
    unsent: bool = False
    wait: float = 0.0


Outcome = Forwarded | Failed


def broken(failure: CannotAuthorise | UpstreamFailure, provider: str) -> Failed:
    """Say what an attempt without an answer came to."""
    if isinstance(failure, CannotAuthorise):
        told = unauthorised(provider, failure)
        return Failed(trigger="provider_error", told=told, cause=failure, repeatable=failure.retryable, unsent=True)
    return Failed(
        trigger="timeout" if failure.kind.endswith("_timeout") else "http_5xx",
        told=refusal(failure, provider),
        cause=failure,
        repeatable=failure.kind not in ONCE,
        unsent=failure.kind in UNSENT,
    )


async def close(failed: Failed) -> None:
    if isinstance(failed.told, Forwarded):
        await failed.told.upstream.aclose()


def threshold(target: Target, status: int) -> int:
    """After how many failures a target is left alone: one of several keys that is refused, or has no quota, at once."""
    own = target.key and (status in REFUSED or status == TOO_MANY)
    return min(1, target.threshold) if own else target.threshold


def attempt_failed(target: Target, failure: str, started: float, number: int) -> Attempt:
    return Attempt(
        attempt=number,
        outcome="terminal" if failure == CANCELLED else "retryable",
        latency_ms=round((perf_counter() - started) * 1000, 3),
        registry_id=target.registry_id,
        provider=target.provider,
        failure=failure,
    )


def attempt_answered(target: Target, status: int, latency: float, number: int, *, failure: str = "") -> Attempt:
    good = status < 400 and not failure
    return Attempt(
        attempt=number,
        outcome="success" if good else "retryable" if failure or fails(status) else "terminal",
        latency_ms=round(latency * 1000, 3),
        registry_id=target.registry_id,
        provider=target.provider,
        status_code=status,
        failure=failure,
    )
