"""Asking targets, one after the other, until one answers: the attempts, and what a failure means to the caller."""

import asyncio
from collections.abc import Awaitable, Callable, MutableSequence, Sequence
from time import perf_counter
from typing import Final, Protocol

from msgspec import Struct

from trustgate.contract.errors import Refused
from trustgate.contract.event import Attempt
from trustgate.contract.speech import Spoken
from trustgate.contract.target import Target
from trustgate.contract.upstream import (
    Call,
    CannotAuthorise,
    FailureKind,
    Header,
    Transport,
    Upstream,
    UpstreamFailure,
)
from trustgate.forwarding.headers import Outgoing
from trustgate.forwarding.health import Health, fails, retry_after

NOT_FOUND: Final = 404
REFUSED: Final = frozenset((401, 403))
"""What providers answer to a token or a role that has expired."""
UNSENT: Final = frozenset(("connect_failed", "connect_timeout"))
"""Failures before anything reached the provider: another target can be asked without any risk of asking twice."""


class Ask(Struct, frozen=True, kw_only=True):
    """What is to be forwarded. `speak` says it in a target's own language, and raises Refused where it cannot.

    `decide` is asked before each target but the first, about which it was asked already; it raises Refused.
    """

    speak: Callable[[Target], Spoken]
    headers: Sequence[Header]
    agent: bytes | None
    traceparent: bytes
    decide: Callable[[Target], Awaitable[None]] | None = None


class Forwarded(Struct, frozen=True, kw_only=True):
    """A target's answer, its head read, to what was said to it."""

    target: Target
    spoken: Spoken
    upstream: Upstream
    latency: float


class Forwards(Protocol):
    """Sends what is asked to whoever can be reached."""

    async def forward(self, ask: Ask, candidates: Sequence[Target], attempts: MutableSequence[Attempt]) -> Forwarded:
        """Return the first answer. Raises Refused."""

    async def find(self, ask: Ask, candidates: Sequence[Target], attempts: MutableSequence[Attempt]) -> Forwarded:
        """Return the answer of the first candidate that knows what is asked for. Raises Refused."""


class Forwarder:
    """Sends what is asked to the first candidate that answers; what it learns of them, `health` remembers."""

    def __init__(self, transport: Transport, version: str, health: Health | None = None) -> None:
        self._transport = transport
        self._outgoing = Outgoing(version)
        self._health = health or Health()

    async def forward(self, ask: Ask, candidates: Sequence[Target], attempts: MutableSequence[Attempt]) -> Forwarded:
        """Return the first good answer, else that of the last candidate. Raises Refused when it gave none.

        An answer that says that this provider or key cannot serve now (429, 5xx, a key that is not taken) is not the
        caller's while there is somebody else to ask. Each attempt is noted.
        """
        last = len(candidates) - 1
        for at, target in enumerate(candidates):
            if at and ask.decide is not None:
                await ask.decide(target)
            spoken = ask.speak(target)
            if not self._health.enter(target.registry_id, spoken.model) and at < last:
                continue  # somebody is trying whether it is back
            answered = await self._attempt(ask, target, spoken, attempts, is_last=at == last)
            if answered is not None:
                return answered
        raise AssertionError("a pool never offers an empty list of candidates")

    async def _attempt(
        self, ask: Ask, target: Target, spoken: Spoken, attempts: MutableSequence[Attempt], *, is_last: bool
    ) -> Forwarded | None:
        """Ask one target. Returns None where the next one is to be asked; raises Refused where nobody is left."""
        started = perf_counter()
        registry_id, model = target.registry_id, spoken.model
        try:
            upstream = await self._send(ask, target, spoken)
        except asyncio.CancelledError:
            self._health.left(registry_id, model)
            attempts.append(_failed(target, "cancelled", started, len(attempts) + 1))
            raise
        except CannotAuthorise as failure:
            self._health.failed(registry_id, model)
            attempts.append(_failed(target, "no_credential", started, len(attempts) + 1))
            if is_last:
                raise _unauthorised(target.provider, failure) from failure
            return None
        except UpstreamFailure as failure:
            self._health.failed(registry_id, model)
            attempts.append(_failed(target, failure.kind, started, len(attempts) + 1))
            if is_last or failure.kind not in UNSENT:
                raise refusal(failure, target.provider) from failure
            return None
        latency = perf_counter() - started
        if target.credential is not None and upstream.status in REFUSED:
            target.credential.rejected()
        attempts.append(_answered(target, upstream.status, latency, len(attempts) + 1))
        if fails(upstream.status):
            self._health.failed(registry_id, model, retry_after(upstream.headers))
            if not is_last:
                await upstream.aclose()
                return None
        else:
            self._health.succeeded(registry_id, model)
        return Forwarded(target=target, spoken=spoken, upstream=upstream, latency=latency)

    async def find(self, ask: Ask, candidates: Sequence[Target], attempts: MutableSequence[Attempt]) -> Forwarded:
        """Return the answer of the first candidate that knows what is asked for; the last one's, when nobody does."""
        for target in candidates[:-1]:
            found = await self.forward(ask, (target,), attempts)
            if found.upstream.status != NOT_FOUND:
                return found
            await found.upstream.aclose()
        return await self.forward(ask, candidates[-1:], attempts)

    async def _send(self, ask: Ask, target: Target, spoken: Spoken) -> Upstream:
        call = Call(
            method=spoken.method,
            origin=target.origin,
            target=spoken.target,
            headers=self._outgoing.headers(
                ask.headers, target, agent=ask.agent, traceparent=ask.traceparent, translated=spoken.translated
            ),
            body=spoken.body,
            clocks=target.clocks,
        )
        if target.credential is not None:
            call = await target.credential.authorise(call)
        return await self._transport.send(call)


def _unauthorised(provider: str, failure: CannotAuthorise) -> Refused:
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
    "malformed_answer": (502, "provider_malformed_answer", "answered with something that is not HTTP"),
}


def refusal(failure: UpstreamFailure, provider: str) -> Refused:
    """Return what the caller is told. Where it was and why in detail is the operator's to know, from event and log."""
    status, code, words = _SAID[failure.kind]
    return Refused(code, f"The provider ({provider}) {words}.", status=status, source="upstream")


def _failed(target: Target, failure: str, started: float, number: int) -> Attempt:
    return Attempt(
        attempt=number,
        outcome="retryable" if failure in UNSENT else "terminal",
        latency_ms=round((perf_counter() - started) * 1000, 3),
        registry_id=target.registry_id,
        provider=target.provider,
        failure=failure,
    )


def _answered(target: Target, status: int, latency: float, number: int) -> Attempt:
    return Attempt(
        attempt=number,
        outcome="success" if status < 400 else "retryable" if status in {408, 429} or status >= 500 else "terminal",
        latency_ms=round(latency * 1000, 3),
        registry_id=target.registry_id,
        provider=target.provider,
        status_code=status,
    )
