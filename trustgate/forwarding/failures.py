"""What a failure means: to the fallback chain, and to the caller, who is told no more than is his to know."""

from typing import Final

from trustgate.contract.errors import Refused
from trustgate.contract.upstream import CannotAuthorise, FailureKind, UpstreamFailure

TOO_MANY: Final = 429
TIMEOUT: Final = 408


def trigger_of(status: int) -> str:
    """Return what a status triggers."""
    if status == TOO_MANY:
        return "http_429"
    if status == TIMEOUT:
        return "timeout"
    return "provider_error" if status < 500 else "http_5xx"


def unauthorised(provider: str, failure: CannotAuthorise) -> Refused:
    """Which key or role it was is the operator's to know."""
    return Refused(
        "provider_credential_error",
        f"The gateway could not get a credential for the provider ({provider}).",
        status=503 if failure.retryable else 502,
        retry=failure.retryable,
    )


_SAID: Final[dict[FailureKind, tuple[int, str, str]]] = {
    "connect_failed": (502, "provider_unreachable", "could not be reached"),
    "connect_timeout": (504, "provider_connect_timeout", "did not accept a connection in time"),
    "first_byte_timeout": (504, "provider_first_byte_timeout", "did not begin to answer in time"),
    "idle_timeout": (504, "provider_idle_timeout", "stopped in the middle of its answer"),
    "total_timeout": (504, "provider_total_timeout", "took longer for its answer than is allowed"),
    "connection_lost": (502, "provider_connection_lost", "broke off its answer"),
    "malformed_answer": (502, "provider_malformed_answer", "answered with something that is no answer"),
}


def refusal(failure: UpstreamFailure, provider: str) -> Refused:
    """Return what the caller is told. Where it was and why in detail is the operator's to know, from event and log."""
    status, code, words = _SAID[failure.kind]
    return Refused(code, f"The provider ({provider}) {words}.", status=status, source="upstream")
