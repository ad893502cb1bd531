"""Asking targets, one after the other, until one answers: the attempts, and what a failure means to the caller."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableSequence, Sequence
from random import random
from time import monotonic, perf_counter
from typing import Final, Protocol

from msgspec import Struct
from msgspec.structs import replace

from trustgate.contract.errors import Refused
from trustgate.contract.event import Attempt
from trustgate.contract.speech import Spoken
from trustgate.contract.target import Target
from trustgate.contract.upstream import (
    Call,
    CannotAuthorise,
    Clocks,
    Header,
    Transport,
    Upstream,
    UpstreamFailure,
)
from trustgate.forwarding.attempts import (
    BAD,
    CANCELLED,
    REFUSED,
    Failed,
    Forwarded,
    Outcome,
    Proof,
    attempt_answered,
    attempt_failed,
    broken,
    close,
    threshold,
)
from trustgate.forwarding.choice import Choice
from trustgate.forwarding.failures import trigger_of
from trustgate.forwarding.headers import Outgoing
from trustgate.forwarding.health import Health, fails, retry_after

REJECTION: Final = "plugin_rejection"
"""What is triggered by a policy that rejects an answer."""
NOT_FOUND: Final = 404
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 2.0
"""Seconds between two rounds, by decorrelated jitter.
https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/"""
LONGEST_WAIT: Final = 5.0
"""Seconds that a request waits here because a provider asks for it; for longer ones the caller is told."""


class Ask(Struct, frozen=True, kw_only=True):
    """What is to be forwarded. `speak` says it in a target's own language, and raises Refused where it cannot.

    `decide` is asked before each target but the first, about which it was asked already; it raises Refused. `prove`
    reads of an answer as much as shows whether it is one; without it nothing is asked twice that may have been done
    once. `patience` are the rounds
    through all targets after the first, `deadline` is when no other attempt begins (monotonic seconds, 0: never).
    """

    speak: Callable[[Target], Spoken]
    headers: Sequence[Header]
    agent: bytes | None
    traceparent: bytes
    decide: Callable[[Target], Awaitable[None]] | None = None
    prove: Callable[[Spoken, Upstream], Awaitable[Proof]] | None = None
    patience: int = 0
    deadline: float = 0.0


class Side(Struct):
    """One of the targets that are asked at the same time, with the attempts at it."""

    choice: Choice
    attempts: list[Attempt]


class Forwards(Protocol):
    """Sends what is asked to whoever can be reached."""

    async def forward(self, ask: Ask, choice: Choice, attempts: MutableSequence[Attempt]) -> Forwarded:
        """Return the first good answer. Raises Refused."""

    async def find(self, ask: Ask, choice: Choice, attempts: MutableSequence[Attempt]) -> Forwarded:
        """Return the answer of the first candidate that knows what is asked for. Raises Refused."""


class Forwarder:
    """Sends what is asked to the first candidate that answers; what it learns of them, `health` remembers."""

    def __init__(
        self,
        transport: Transport,
        version: str,
        health: Health | None = None,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random,
    ) -> None:
        self._transport = transport
        self._outgoing = Outgoing(version)
        self._health = health or Health()
        self._sleep = sleep
        self._chance = chance

    async def forward(self, ask: Ask, choice: Choice, attempts: MutableSequence[Attempt]) -> Forwarded:
        """Return the first good answer, else that of the last who was asked. Raises Refused when it gave none.

        A failure that says that this provider or key cannot serve now is not the caller's while there is somebody else
        to ask, and then while there is time to ask again. Each attempt is noted.
        """
        patience, pause = ask.patience, FIRST_PAUSE
        target = choice.target
        assert target is not None, "whoever chooses has begun"
        while True:
            if attempts and ask.decide is not None:
                await ask.decide(target)
            spoken = ask.speak(target)
            if not self._health.enter(target.account, choice.candidate.model):
                target = self._instead(choice)  # somebody is trying whether it is back
                continue
            outcome = await self._hedged(ask, choice, target, spoken, attempts)
            if isinstance(outcome, Forwarded):
                return outcome
            following = None
            if self._may_go_on(ask, choice, outcome, len(attempts)):
                following = choice.next(outcome.trigger)
                if following is None and patience and outcome.repeatable:
                    pause = min(LONGEST_PAUSE, FIRST_PAUSE + self._chance() * (3 * pause - FIRST_PAUSE))
                    following = await self._later(ask, choice, outcome, max(pause, outcome.wait))
                    patience -= 1
            if following is None:
                return self._give_up(outcome)
            await close(outcome)
            target = following

    async def find(self, ask: Ask, choice: Choice, attempts: MutableSequence[Attempt]) -> Forwarded:
        """Return the answer of the first candidate that knows what is asked for; the last one's, when nobody does."""
        found = await self.forward(ask, choice, attempts)
        while found.upstream.status == NOT_FOUND:
            target = choice.next("")
            if target is None:
                break
            await found.upstream.aclose()
            found = await self.forward(ask, choice, attempts)
        return found

    def _instead(self, choice: Choice) -> Target:
        target = choice.next("http_5xx")
        if target is None:
            raise choice.nobody()
        return target

    def _may_go_on(self, ask: Ask, choice: Choice, failed: Failed, attempts: int) -> bool:
        """Say whether anybody else may be asked: only where nothing can be done twice, and within the budget."""
        if ask.prove is None and not failed.unsent and not isinstance(failed.told, Forwarded):
            return False
        return _within_budget(ask, choice, attempts)

    async def _later(self, ask: Ask, choice: Choice, failed: Failed, pause: float) -> Target | None:
        """Wait and begin another round. Returns None where that would be too long; raises Refused where nobody can be
        asked any more."""
        if pause > LONGEST_WAIT or (ask.deadline and monotonic() + pause >= ask.deadline):
            return None
        choice.left()
        await close(failed)
        await self._sleep(pause)
        following = choice.again()
        if following is None:
            raise choice.nobody()
        return following

    def _give_up(self, failed: Failed) -> Forwarded:
        if isinstance(failed.told, Forwarded):
            return failed.told
        raise failed.told from failed.cause

    async def _hedged(
        self, ask: Ask, choice: Choice, target: Target, spoken: Spoken, attempts: MutableSequence[Attempt]
    ) -> Outcome:
        """Ask one target, and where that takes long another one at the same time: the first good answer counts.

        Only what can be done twice is asked twice, and not where policies decide about each target.
        """
        patience = None if ask.prove is None or ask.decide is not None else choice.patience
        if patience is None:
            return await self._attempt(ask, choice, target, spoken, attempts)
        sides: dict[asyncio.Task[Outcome], Side] = {}
        won: asyncio.Task[Outcome] | None = None
        self._start(ask, choice.twin(), spoken, sides)
        try:
            await asyncio.wait(sides, timeout=patience)
            if not any(task.done() for task in sides):
                self._start_second(ask, choice, sides)
            won = await _first_good(sides)
        finally:
            await _end_others(sides, won)
            ended = [attempt for task, side in sides.items() if task is not won for attempt in side.attempts]
            counting = sides[won].attempts if won is not None else []
            attempts += [
                replace(attempt, attempt=number)
                for number, attempt in enumerate([*ended, *counting], len(attempts) + 1)
            ]
        choice.become(sides[won].choice)
        return won.result()

    def _start_second(self, ask: Ask, choice: Choice, sides: dict["asyncio.Task[Outcome]", Side]) -> None:
        """Ask somebody else too, where there is anybody who can be told and asked."""
        other = choice.beside()
        if other is None or other.target is None:
            return
        try:
            spoken = ask.speak(other.target)
        except Refused:  # the first one was told in its own language
            other.left()
            return
        if self._health.enter(other.target.account, other.candidate.model):
            self._start(ask, other, spoken, sides)
        else:
            other.left()

    def _start(self, ask: Ask, choice: Choice, spoken: Spoken, sides: dict["asyncio.Task[Outcome]", Side]) -> None:
        assert choice.target is not None, "it is somebody's turn"
        side = Side(choice, [])
        sides[asyncio.create_task(self._attempt(ask, choice, choice.target, spoken, side.attempts))] = side

    async def _attempt(
        self, ask: Ask, choice: Choice, target: Target, spoken: Spoken, attempts: MutableSequence[Attempt]
    ) -> Outcome:
        """Ask one target."""
        started = perf_counter()
        account, model = target.account, choice.candidate.model
        try:
            answered = await self._answer(ask, target, spoken, started)
        except (asyncio.CancelledError, Refused) as ended:  # the caller left, or nobody carries such an answer
            choice.left()
            self._health.left(account, model)
            name = ended.code if isinstance(ended, Refused) else CANCELLED
            attempts.append(attempt_failed(target, name, started, len(attempts) + 1))
            raise
        except (CannotAuthorise, UpstreamFailure) as failure:
            choice.left()
            self._health.failed(account, model, threshold=target.threshold)
            name = failure.kind if isinstance(failure, UpstreamFailure) else "no_credential"
            attempts.append(attempt_failed(target, name, started, len(attempts) + 1))
            return broken(failure, target.provider)
        outcome = self._judged(answered, choice)
        wrong = answered.proof.wrong if answered.proof is not None else ""
        attempts.append(
            attempt_answered(target, answered.upstream.status, answered.latency, len(attempts) + 1, failure=wrong)
        )
        return outcome

    async def _answer(self, ask: Ask, target: Target, spoken: Spoken, started: float) -> Forwarded:
        """Return a target's answer, proved where that can be. Raises CannotAuthorise, UpstreamFailure, Refused."""
        upstream = await self._send(ask, target, spoken)
        latency = perf_counter() - started
        if ask.prove is None or upstream.status >= BAD:
            return Forwarded(target=target, spoken=spoken, upstream=upstream, latency=latency)
        proof: Proof | None = None
        try:
            proof = await ask.prove(spoken, upstream)
        finally:
            if proof is None:
                await upstream.aclose()
        return Forwarded(target=target, spoken=spoken, upstream=proof.upstream, latency=latency, proof=proof)

    def _judged(self, answered: Forwarded, choice: Choice) -> Outcome:
        """Say whether an answer is one for the caller, and remember what it says of who gave it."""
        target, status = answered.target, answered.upstream.status
        account, model = target.account, choice.candidate.model
        if answered.proof is not None and answered.proof.wrong:
            self._health.failed(account, model, threshold=target.threshold)
            return Failed(trigger="provider_error", told=answered, repeatable=False)  # it was paid for, perhaps
        if target.credential is not None and status in REFUSED:
            target.credential.rejected()
        if fails(status):
            wait = retry_after(answered.upstream.headers)
            self._health.failed(account, model, wait, threshold(target, status))
            return Failed(trigger=trigger_of(status), told=answered, repeatable=status not in REFUSED, wait=wait)
        self._health.succeeded(account, model)
        if status < BAD:
            choice.candidate.figures.took(answered.latency, monotonic())
        return answered

    async def _send(self, ask: Ask, target: Target, spoken: Spoken) -> Upstream:
        call = Call(
            method=spoken.method,
            origin=target.origin,
            target=spoken.target,
            headers=self._outgoing.headers(
                ask.headers, target, agent=ask.agent, traceparent=ask.traceparent, translated=spoken.translated
            ),
            body=spoken.body,
            clocks=target.clocks if not ask.deadline else _within(target.clocks, ask.deadline - monotonic()),
        )
        if target.credential is not None:
            call = await target.credential.authorise(call)
        return await self._transport.send(call)


def instead(ask: Ask, choice: Choice, attempts: int) -> Ask | None:
    """Return what to forward after a policy rejected the last answer, whose giver is not asked again; None where nobody
    else may be asked."""
    if REJECTION not in choice.rules.triggers or not _within_budget(ask, choice, attempts):
        return None
    return None if choice.next(REJECTION) is None else replace(ask, patience=0)


def _within_budget(ask: Ask, choice: Choice, attempts: int) -> bool:
    most = choice.rules.max_attempts
    return not (most and attempts >= most) and not (ask.deadline and monotonic() >= ask.deadline)


def _within(clocks: Clocks, left: float) -> Clocks:
    """The clocks of a call whose caller waits no longer than this (seconds) for a byte: the first one has to come in
    time. How long the whole may take is another matter, for a stream goes on for as long as something comes."""
    left = max(left, 0.001)
    return replace(clocks, connect=min(clocks.connect, left), first_byte=min(clocks.first_byte, left))


async def _first_good(sides: Mapping["asyncio.Task[Outcome]", Side]) -> "asyncio.Task[Outcome]":
    """Return the first who answered well, or who was the last to fail."""
    waiting = set(sides)
    while True:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        good = [task for task in done if isinstance(task.result(), Forwarded)]
        if good or not waiting:
            return good[0] if good else done.pop()


async def _end_others(sides: Mapping["asyncio.Task[Outcome]", Side], won: "asyncio.Task[Outcome] | None") -> None:
    """Stop whoever did not win, and let go what they have."""
    others = [task for task in sides if task is not won]
    for task in others:
        task.cancel()
    for task, outcome in zip(others, await asyncio.gather(*others, return_exceptions=True), strict=True):
        sides[task].choice.left()
        told = outcome.told if isinstance(outcome, Failed) else outcome
        if isinstance(told, Forwarded):
            await told.upstream.aclose()
