"""Requests that wait until a policy lets them pass, one behind the other: whoever came first is asked about first."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, Final

from msgspec import Struct

from trustgate.contract.verdict import Deny

SHORTEST_PAUSE: Final = 0.01
"""Seconds. A policy that says "at once" is not asked again in a circle."""
LONGEST_LINE: Final = 1000
"""Requests. Whoever comes behind so many is not kept: its turn would not come in time."""

Ask = Callable[[], Awaitable[Any]]
Line = deque["asyncio.Future[None]"]


class Passed(Struct, frozen=True):
    """What a policy said in the end, and whether the request was held back for it."""

    verdict: Any
    waited: bool


class Lines:
    """The lines of one process, by name. Nobody waits longer than `within` seconds, in a line and at its head."""

    def __init__(self, *, within: float) -> None:
        self._within = within
        self._lines: dict[tuple[str, str], Line] = {}

    async def through(self, name: tuple[str, str], ask: Ask) -> Passed:
        """Ask, and while the policy says when to come back, wait and ask again. Raises what `ask` raises."""
        until, verdict = perf_counter() + self._within, None
        if name not in self._lines:
            verdict = await ask()
            if not _may_wait(verdict, until):
                return Passed(verdict, waited=False)
        line = self._lines.setdefault(name, deque())
        if len(line) >= LONGEST_LINE:
            return Passed(verdict or await ask(), waited=False)
        turn = asyncio.get_running_loop().create_future()
        line.append(turn)
        try:
            if line[0] is not turn:
                verdict = None  # old by the time it is its turn
                await asyncio.wait((turn,), timeout=until - perf_counter())
            return Passed(await _at_the_head(verdict, ask, until), waited=True)
        finally:
            self._leave(name, line, turn)

    def _leave(self, name: tuple[str, str], line: Line, turn: "asyncio.Future[None]") -> None:
        line.remove(turn)
        if not line:
            del self._lines[name]
        elif not line[0].done():
            line[0].set_result(None)


async def _at_the_head(verdict: Any, ask: Ask, until: float) -> Any:
    if verdict is None:
        verdict = await ask()
    while _may_wait(verdict, until):
        await asyncio.sleep(_pause(verdict))
        verdict = await ask()
    return verdict


def _may_wait(verdict: Any, until: float) -> bool:
    refused = isinstance(verdict, Deny) and verdict.retry_after is not None
    return refused and perf_counter() + _pause(verdict) <= until


def _pause(refusal: Deny) -> float:
    return max(refusal.retry_after or 0.0, SHORTEST_PAUSE)
