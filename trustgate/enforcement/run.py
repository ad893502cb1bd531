"""Running a chain: modes, order, side-by-side batches, timeouts, and what happens when a policy cannot decide.

A hook is stepped once on the spot: most decide without waiting, and then there is no task, no timer and no timeout to
pay for. One that waits is put under its clock; where a batch holds several that are known to wait, they wait together.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from time import perf_counter
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from trustgate.contract.context import AnswerView, Body, Chosen, Chunk, Origin, Outcome, RequestContext
from trustgate.contract.upstream import Header
from trustgate.contract.usage import Usage
from trustgate.contract.verdict import Answer, Deny, Rewrite
from trustgate.enforcement.chain import Batch, Chains, Link
from trustgate.enforcement.counting import Counting
from trustgate.enforcement.heard import GO_ON, Heard, noted
from trustgate.enforcement.lines import Lines, Passed
from trustgate.enforcement.sieve import Sieve
from trustgate.enforcement.stepping import WAITS, call, step, stepped
from trustgate.enforcement.trail import Trail, failed, note

log = logging.getLogger("trustgate.enforcement")


class Ruling(Struct, frozen=True, kw_only=True):
    """What a stage came to: how the request (or the answer's `body`) goes on, or the `stop` that ends it.

    `by` is the slug of the policy that stopped it.
    """

    ctx: RequestContext
    stop: Answer | Deny | None = None
    by: str = ""
    headers: Sequence[Header] = ()
    body: bytes | None = None


Reread = Callable[[Body, bytes | bytearray | None, str], Body]
"""A request's body after a rewrite (None: the same bytes) and with another model (empty: the same)."""


class Runner:
    """Runs chains. `throttle_wait` (seconds) bounds how long `throttle` holds a request back."""

    def __init__(self, *, throttle_wait: float) -> None:
        self._lines = Lines(within=throttle_wait)

    def pre_request(
        self, chains: Chains, ctx: RequestContext, trail: Trail, reread: Reread
    ) -> Coroutine[Any, Any, Ruling]:
        """Run the policies before a target is chosen. A rewrite, `reread`, is what the batches behind it see."""
        return self._before(chains.pre_request, ctx, None, trail, reread)

    def pre_call(
        self, chains: Chains, ctx: RequestContext, target: Chosen, trail: Trail, reread: Reread
    ) -> Coroutine[Any, Any, Ruling]:
        """Run the policies before a target is called. One that asks for another model ends the round: targets are then
        chosen anew, and every policy decides again."""
        return self._before(chains.pre_call, ctx, target, trail, reread)

    async def pre_response(
        self,
        chains: Chains,
        ctx: RequestContext,
        answer: AnswerView,
        trail: Trail,
        reread: Callable[[bytes], AnswerView],
    ) -> Ruling:
        """Run the policies on a whole answer. A rewrite, `reread`, is what the batches behind it see."""
        changed: bytes | None = None
        heard = Heard()
        for batch in chains.pre_response:
            links = tuple(link for link in batch if link.buffers_stream or not answer.streamed)
            left = self._batch(links, ctx, answer, trail, heard)
            if left is not None:
                await left
            if heard.stop is not None:
                return Ruling(ctx=ctx, stop=heard.stop, by=heard.by, headers=heard.told())
            if heard.body is not None:
                changed, heard.body = bytes(heard.body), None
                answer = reread(changed)
        return Ruling(ctx=ctx, headers=heard.told(), body=changed)

    def sieve(self, chains: Chains, ctx: RequestContext, trail: Trail) -> Sieve:
        """Return what passes the text of one stream through its policies."""

        async def ask(link: Link, chunk: Chunk) -> Any:
            return await self._decide(link, ctx, chunk, trail)

        return Sieve(chains.on_chunk, ask)

    def browser(self, links: Iterable[Link], origin: Origin) -> Sequence[Header] | None:
        """Return the headers with which a browser may ask, by the first policy that allows it; None when none does."""
        for link in links:
            try:
                called = link.call(None, origin, None)
                headers, rest = (called, None) if link.direct else stepped(called)
            except Exception:  # noqa: BLE001 - whatever a policy raises, nobody was allowed anything by it
                log.warning("policy %s (%s) failed for a browser", link.policy.name, link.policy.slug)
                continue
            assert rest is None, "the hook for browsers never waits: there is nobody to wait for yet"
            if headers is not None:
                return tuple(headers)
        return None

    def post_response(
        self,
        chains: Chains,
        ctx: RequestContext,
        outcome: Outcome,
        answer: Callable[[], AnswerView | None],
        trail: Trail,
    ) -> Awaitable[None] | None:
        """Tell the policies how it ended. Returns what is still to be awaited, for those that wait."""
        subject = (outcome, answer() if chains.wants_answer else None, outcome.usage or Usage())
        return self._afterwards(iter([(link, subject) for link in chains.post_response]), ctx, trail)

    def refund(self, chains: Chains, ctx: RequestContext, trail: Trail) -> Awaitable[None] | None:
        """Have the policies that let a request pass give back what they took. Returns what is still to be awaited."""
        owed = [(link, None) for link in chains.refund if link.policy.id in trail.kept]
        return self._afterwards(iter(owed), ctx, trail)

    def _afterwards(
        self, links: Iterator[tuple[Link, Any]], ctx: RequestContext, trail: Trail
    ) -> Awaitable[None] | None:
        for link, subject in links:
            if self._on_the_spot(link, ctx, subject, trail) is WAITS:
                first = self._decide(link, ctx, subject, trail, trail.pending)
                return self._rest_afterwards(first, links, ctx, trail)
        return None

    async def _rest_afterwards(
        self, first: Awaitable[Any], links: Iterator[tuple[Link, Any]], ctx: RequestContext, trail: Trail
    ) -> None:
        await first
        for link, subject in links:
            await self._decide(link, ctx, subject, trail)

    async def _before(
        self, batches: Iterable[Batch], ctx: RequestContext, subject: Chosen | None, trail: Trail, reread: Reread
    ) -> Ruling:
        heard = Heard()
        for batch in batches:
            if len(batch) == 1:  # most of them, and then there is nothing to go around in
                link = batch[0]
                verdict = self._on_the_spot(link, ctx, subject, trail)
                if verdict is GO_ON:
                    continue
                if verdict is WAITS:
                    verdict = await self._decide(link, ctx, subject, trail, trail.pending)
                heard.heed(verdict, link)
            else:
                left = self._batch(batch, ctx, subject, trail, heard)
                if left is not None:
                    await left
            if heard.stop is not None:
                return Ruling(ctx=ctx, stop=heard.stop, by=heard.by, headers=heard.told())
            if heard.body is not None or heard.model:
                ctx = replace(ctx, body=reread(ctx.body, heard.body, heard.model))
                if heard.model and subject is not None:
                    break
                heard.body, heard.model = None, ""
        return Ruling(ctx=ctx, headers=heard.told())

    def _batch(
        self, batch: Batch, ctx: RequestContext, subject: Any, trail: Trail, heard: Heard
    ) -> Awaitable[None] | None:
        """Run links side by side: the first refusal in policy order wins. Only the last of them may rewrite.

        Returns what is still to be awaited, where one waits for something: for the others there is no coroutine.
        """
        if len(batch) > 1 and _several_wait(batch):
            return self._together(batch, ctx, subject, trail, heard)
        return self._one_by_one(iter(batch), ctx, subject, trail, heard)

    def _one_by_one(
        self, links: Iterator[Link], ctx: RequestContext, subject: Any, trail: Trail, heard: Heard
    ) -> Awaitable[None] | None:
        for link in links:
            verdict = self._on_the_spot(link, ctx, subject, trail)
            if verdict is WAITS:
                asked = (ctx, subject, trail)
                if type(trail.pending) is Counting:
                    return self._counted(trail.pending, links, asked, heard)
                return self._from(link, links, asked, heard)
            if verdict is not GO_ON and heard.heed(verdict, link):
                break
        return None

    async def _counted(
        self, first: Counting, links: Iterator[Link], asked: tuple[RequestContext, Any, Trail], heard: Heard
    ) -> None:
        """Take for this one and those behind it that only count too, then ask the rest."""
        trail = asked[2]
        several = [first]
        behind: Link | None = None
        verdict: Any = None
        for link in links:
            verdict = self._on_the_spot(link, *asked)
            if verdict is not WAITS or type(trail.pending) is not Counting:
                behind = link
                break
            several.append(trail.pending)
        pending = trail.pending if verdict is WAITS else None
        if await self._heed_counts(several, trail, heard):
            if isinstance(pending, Coroutine):
                pending.close()
        elif behind is not None:
            if verdict is WAITS:
                await self._from(behind, links, asked, heard)
            elif not heard.heed(verdict, behind):
                left = self._one_by_one(links, *asked, heard)
                if left is not None:
                    await left

    async def _heed_counts(self, several: Sequence[Counting], trail: Trail, heard: Heard) -> bool:
        """Take for all and heed what they make of it. Returns whether one of them ends it."""
        started = perf_counter()
        allowances: Sequence[Any] = ()
        error: Exception | None = None
        try:
            allowances = await Counting.take(several)
        except Exception as raised:  # noqa: BLE001 - whatever a limiter raises, each policy's `on_error` decides
            error = raised
        for at, each in enumerate(several):
            link = each.link
            if error is not None:
                verdict: Any = failed(link, error, started, trail)
            else:
                try:
                    verdict = noted(link, each.told(allowances[at]), started, trail)
                except Exception as raised:  # noqa: BLE001 - as with what a hook raises
                    verdict = failed(link, raised, started, trail)
            if verdict is not GO_ON and heard.heed(verdict, link):
                return True
        return False

    async def _from(
        self, link: Link, links: Iterator[Link], asked: tuple[RequestContext, Any, Trail], heard: Heard
    ) -> None:
        """Await the link that waits, then ask those behind it."""
        verdict = await self._decide(link, *asked, asked[2].pending)
        if verdict is not GO_ON and heard.heed(verdict, link):
            return
        left = self._one_by_one(links, *asked, heard)
        if left is not None:
            await left

    async def _together(self, batch: Batch, ctx: RequestContext, subject: Any, trail: Trail, heard: Heard) -> None:
        """The same, where several are known to wait: they wait at the same time."""
        tasks = {
            id(link): asyncio.create_task(self._ask(link, ctx, subject, trail)) for link in batch if link.habit.waits
        }
        try:
            for link in batch:
                verdict = await self._decide(link, ctx, subject, trail, tasks.get(id(link)))
                if heard.heed(verdict, link):
                    return
        finally:
            await _end(tasks.values())

    def _on_the_spot(self, link: Link, ctx: RequestContext, subject: Any, trail: Trail) -> Any:
        """Ask one policy without a coroutine of our own, which is most of what asking one costs.

        Returns its verdict, or `WAITS` where it waits for something, which is then `trail.pending`.
        """
        if link.line is not None:
            trail.pending = self._in_line(link, ctx, subject, trail)
            return WAITS
        started = perf_counter()
        try:
            verdict = step(link, ctx, subject, trail)
        except Exception as error:  # noqa: BLE001 - whatever a policy raises, its `on_error` decides
            return failed(link, error, started, trail)
        if verdict is WAITS:
            return WAITS
        if verdict is None:  # by far the most of them: nothing to say, and no time that was taken
            trail.silent.append(link)
            return GO_ON
        return noted(link, verdict, started, trail)

    async def _decide(
        self, link: Link, ctx: RequestContext, subject: Any, trail: Trail, pending: Awaitable[Any] | None = None
    ) -> Any:
        """Ask one policy, apply its mode and its `on_error`, and note what it said."""
        started = perf_counter()
        throttled = False
        try:
            verdict = await (pending if pending is not None else self._ask(link, ctx, subject, trail))
            if type(verdict) is Passed:
                verdict, throttled = verdict.verdict, verdict.waited
        except Exception as error:  # noqa: BLE001 - whatever a policy raises, its `on_error` decides
            return failed(link, error, started, trail)
        except asyncio.CancelledError as error:
            if _cancelled():
                raise
            return failed(link, error, started, trail)
        if type(verdict) is Rewrite and isinstance(subject, Chunk) and verdict.text == subject.text:
            note(link, None, started, trail)  # it only remembers something
            return GO_ON if link.policy.mode == "observe" else verdict
        return noted(link, verdict, started, trail, throttled=throttled)

    def _ask(self, link: Link, ctx: RequestContext, subject: Any, trail: Trail) -> Coroutine[Any, Any, Any]:
        """Ask one policy, waiting in line where its mode has it so. A verdict, or what it `Passed` with."""
        if link.line is not None:
            return self._in_line(link, ctx, subject, trail)
        return call(link, ctx, subject, trail)

    async def _in_line(self, link: Link, ctx: RequestContext, subject: Any, trail: Trail) -> Passed:
        """Have a request wait its turn where its policy would refuse it."""
        assert link.line is not None, "whoever calls this has looked"

        async def ask() -> Any:
            return await call(link, ctx, subject, trail)

        return await self._lines.through((link.policy.id, link.line(ctx)), ask)


def _several_wait(batch: Batch) -> bool:
    waiting = 0
    for link in batch:
        waiting += link.habit.waits
    return waiting > 1


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
