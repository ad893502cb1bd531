"""Running a chain: modes, order, side-by-side batches, timeouts, and what happens when a policy cannot decide.

A hook is stepped once on the spot: most decide without waiting, and then there is no task, no timer and no timeout to
pay for. One that waits is put under its clock; where a batch holds several that are known to wait, they wait together.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Mapping, MutableSequence, Sequence
from time import perf_counter
from typing import Any, Final, assert_never, cast

from msgspec import Struct
from msgspec.structs import replace

from trustgate.contract.context import AnswerView, Body, Chunk, RequestContext, Stage
from trustgate.contract.event import PolicyFinding
from trustgate.contract.upstream import Header
from trustgate.contract.usage import Usage
from trustgate.contract.verdict import Answer, Deny, Proceed, Rewrite
from trustgate.enforcement.chain import Batch, CannotDecide, Chains, Link

log = logging.getLogger("trustgate.enforcement")


class Ruling(Struct, frozen=True, kw_only=True):
    """What a stage came to: how the request (or the answer's `body`) goes on, or the `stop` that ends it."""

    ctx: RequestContext
    stop: Answer | Deny | None = None
    headers: Sequence[Header] = ()
    body: bytes | None = None


Findings = MutableSequence[PolicyFinding]
_GO_ON: Final = Proceed()
_KINDS: Final[Mapping[Stage, frozenset[object]]] = {
    "pre_request": frozenset((Proceed, Answer, Deny)),
    "pre_response": frozenset((Proceed, Answer, Deny)),
    "on_chunk": frozenset((Rewrite, Deny)),
    "post_response": frozenset((Proceed, Answer, Deny, Rewrite)),
}
"""What a stage understands. After the last byte nothing is left to decide, and nothing is heeded."""
SHORTEST_PAUSE: Final = 0.01
"""Seconds. A policy that says "at once" is not asked again in a circle."""


class Runner:
    """Runs chains. `throttle_wait` (seconds) bounds how long `throttle` holds a request back."""

    def __init__(self, *, throttle_wait: float) -> None:
        self._throttle_wait = throttle_wait

    async def pre_request(
        self, chains: Chains, ctx: RequestContext, findings: Findings, reread: Callable[[bytes], Body]
    ) -> Ruling:
        """Run the policies before a target is chosen. A rewrite, `reread`, is what the batches behind it see."""
        headers: list[Header] = []
        for batch in chains.pre_request:
            stop, body = await self._batch(batch, ctx, None, findings, headers)
            if stop is not None:
                return Ruling(ctx=ctx, stop=stop, headers=headers)
            if body is not None:
                ctx = replace(ctx, body=reread(body))
        return Ruling(ctx=ctx, headers=headers)

    async def pre_response(
        self,
        chains: Chains,
        ctx: RequestContext,
        answer: AnswerView,
        findings: Findings,
        reread: Callable[[bytes], AnswerView],
    ) -> Ruling:
        """Run the policies on a whole answer. A rewrite, `reread`, is what the batches behind it see."""
        headers: list[Header] = []
        changed: bytes | None = None
        for batch in chains.pre_response:
            links = tuple(link for link in batch if link.buffers_stream or not answer.streamed)
            stop, body = await self._batch(links, ctx, answer, findings, headers)
            if stop is not None:
                return Ruling(ctx=ctx, stop=stop, headers=headers)
            if body is not None:
                changed, answer = body, reread(body)
        return Ruling(ctx=ctx, headers=headers, body=changed)

    async def on_chunk(
        self, chains: Chains, ctx: RequestContext, chunk: Chunk, findings: Findings
    ) -> Rewrite | Deny | None:
        """Run the streaming policies over the unreleased text, each on what the one before it left."""
        text = chunk.text
        for link in chains.on_chunk:
            verdict = await self._decide(link, ctx, replace(chunk, text=text), findings)
            if isinstance(verdict, Deny):
                return verdict
            if isinstance(verdict, Rewrite):
                text = verdict.text
        return None if text == chunk.text else Rewrite(text=text)

    async def post_response(self, chains: Chains, ctx: RequestContext, usage: Usage, findings: Findings) -> None:
        """Tell the policies what was used. Nothing that they do changes the answer."""
        for link in chains.post_response:
            await self._decide(link, ctx, usage, findings)

    async def _batch(
        self, batch: Batch, ctx: RequestContext, subject: Any, findings: Findings, headers: list[Header]
    ) -> tuple[Answer | Deny | None, bytes | None]:
        """Run links side by side: the first refusal in policy order wins, and so does the first rewrite."""
        if len(batch) > 1 and _several_wait(batch):
            return await self._together(batch, ctx, subject, findings, headers)
        body: bytes | None = None
        for link in batch:
            verdict = await self._decide(link, ctx, subject, findings)
            if verdict is _GO_ON:
                continue
            if type(verdict) is Proceed and verdict.body is None:
                headers += verdict.headers
                continue
            stop, rewritten = _heed(verdict, headers)
            if stop is not None:
                return stop, None
            if rewritten is not None:
                body = _first(body, rewritten, findings)
        return None, body

    async def _together(
        self, batch: Batch, ctx: RequestContext, subject: Any, findings: Findings, headers: list[Header]
    ) -> tuple[Answer | Deny | None, bytes | None]:
        """The same, where several are known to wait: they wait at the same time."""
        tasks = {id(link): asyncio.create_task(_call(link, ctx, subject)) for link in batch if link.habit.waits}
        body: bytes | None = None
        try:
            for link in batch:
                verdict = await self._decide(link, ctx, subject, findings, tasks.get(id(link)))
                stop, rewritten = _heed(verdict, headers)
                if stop is not None:
                    return stop, None
                if rewritten is not None:
                    body = _first(body, rewritten, findings)
        finally:
            await _end(tasks.values())
        return None, body

    async def _decide(
        self, link: Link, ctx: RequestContext, subject: Any, findings: Findings, task: asyncio.Task[Any] | None = None
    ) -> Proceed | Answer | Deny | Rewrite:
        """Ask one policy, apply its mode and its `on_error`, and note what it said."""
        started = perf_counter()
        try:
            verdict, rest = (None, task) if task is not None else _step(link, ctx, subject)
            if rest is not None:
                verdict = await rest
            throttled = False
            kind = type(verdict)
            if isinstance(verdict, Deny) and link.policy.mode == "throttle":
                verdict, throttled = await self._throttle(link, ctx, subject, verdict), True
                kind = type(verdict)
            if verdict is not None and kind not in _KINDS[link.stage]:
                raise CannotDecide(f"it returned {kind.__name__}, which is no verdict of this stage")
        except Exception as error:  # noqa: BLE001 - whatever a policy raises, its `on_error` decides
            return _failed(link, error, started, findings)
        except asyncio.CancelledError as error:
            if _cancelled():
                raise
            return _failed(link, error, started, findings)
        findings.append(_finding(link, verdict, started, throttled=throttled))
        if verdict is None or link.policy.mode == "observe":
            return _GO_ON
        return cast(Proceed | Answer | Deny | Rewrite, verdict)

    async def _throttle(self, link: Link, ctx: RequestContext, subject: Any, refusal: Deny) -> Any:
        """Hold the request back until the policy lets it pass, or refuse it where that would take too long."""
        until = perf_counter() + self._throttle_wait
        verdict: Any = refusal
        while isinstance(verdict, Deny) and verdict.retry_after is not None:
            pause = max(verdict.retry_after, SHORTEST_PAUSE)
            if perf_counter() + pause > until:
                return verdict
            await asyncio.sleep(pause)
            verdict = await _call(link, ctx, subject)
        return verdict


class _Started:
    """A coroutine that has been stepped once and is waiting for `first`; awaiting it goes on from there."""

    __slots__ = ("_coroutine", "_first")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], first: Any) -> None:
        self._coroutine = coroutine
        self._first = first

    def __await__(self) -> Generator[Any, Any, Any]:
        waiting_for = self._first
        while True:
            try:
                sent = yield waiting_for
            except BaseException as error:  # noqa: BLE001 - what is thrown into us is the coroutine's to handle
                waiting_for, done = _advance(self._coroutine.throw, error)
            else:
                waiting_for, done = _advance(self._coroutine.send, sent)
            if done:
                return waiting_for


def _advance(step: Any, value: Any) -> tuple[Any, bool]:
    try:
        return step(value), False
    except StopIteration as done:
        return done.value, True


def _several_wait(batch: Batch) -> bool:
    waiting = 0
    for link in batch:
        waiting += link.habit.waits
    return waiting > 1


def _step(link: Link, ctx: RequestContext, subject: Any) -> tuple[Any, Awaitable[Any] | None]:
    """Step a hook once: what it decided on the spot, or what has to be awaited for it."""
    coroutine = link.call(ctx, subject)
    try:
        waiting_for = coroutine.send(None)
    except StopIteration as done:
        link.habit.waits = False
        return done.value, None
    link.habit.waits = True
    return None, _wait(link, coroutine, waiting_for)


async def _call(link: Link, ctx: RequestContext, subject: Any) -> Any:
    verdict, rest = _step(link, ctx, subject)
    return verdict if rest is None else await rest


async def _wait(link: Link, coroutine: Coroutine[Any, Any, Any], waiting_for: Any) -> Any:
    async with asyncio.timeout(link.timeout):
        return await _Started(coroutine, waiting_for)


def _heed(
    verdict: Proceed | Answer | Deny | Rewrite, headers: list[Header]
) -> tuple[Answer | Deny | None, bytes | None]:
    match verdict:
        case Proceed():
            headers += verdict.headers
            return None, None if verdict.body is None else bytes(verdict.body)
        case Answer() | Deny():
            return verdict, None
        case Rewrite():
            return None, None
    assert_never(verdict)


async def _end(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    """End what nobody waits for any more. What they raise is fetched: the loop would report it, with its words."""
    left = list(tasks)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


def _cancelled() -> bool:
    """Whether it is this request that was cancelled, and not something that a hook waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _first(body: bytes | None, other: bytes, findings: Findings) -> bytes:
    """Of two rewrites side by side the first wins; the other is noted as discarded."""
    if body is None:
        return other
    findings[-1] = replace(findings[-1], decision="discarded")
    return body


def _decision(link: Link, verdict: Any, *, throttled: bool) -> str:
    kind = type(verdict)
    if verdict is None or (kind is Proceed and verdict.body is None):
        return "throttle" if throttled else "allowed"
    if link.policy.mode == "observe":
        return "observe"
    if kind is Deny:
        return "block"
    return "answered" if kind is Answer else "rewritten"


def _finding(link: Link, verdict: Any, started: float, *, throttled: bool = False) -> PolicyFinding:
    policy = link.policy
    kind = type(verdict)
    if not throttled and (verdict is None or (kind is Proceed and verdict.body is None)):
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
    refuses = kind is Deny
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
        details=None if verdict is None else verdict.details,
    )


def _failed(link: Link, error: BaseException, started: float, findings: Findings) -> Proceed | Deny:
    opens = link.on_error == "allow" or link.policy.mode == "observe"
    decision = "failed_open" if opens else "failed_closed"
    noted = _finding(link, None, started)
    findings.append(replace(noted, decision=decision, error=True, flagged=True, error_type=type(error).__name__))
    log.warning(
        "policy %s (%s) of stage %s could not decide (%s: %s): the request was %s",
        link.policy.name,
        link.policy.slug,
        link.stage,
        type(error).__name__,
        error if isinstance(error, CannotDecide) else "see its own log",
        "let through" if opens else "refused",
    )
    degraded = ((b"x-ag-policy-degraded", link.policy.slug.encode()),)
    if opens:
        return Proceed(headers=degraded)
    return Deny(
        code="policy_unavailable",
        message=f'The policy "{link.policy.name}" could not decide, and refuses when it cannot. Try again later.',
        status=503,
        headers=degraded,
    )
