"""What the policies of one stage take of a limiter: taken together, in their order and in one step, where they can."""

import asyncio
from collections.abc import Coroutine, Generator, Sequence
from typing import Any

from trustgate.contract.ports import Allowance
from trustgate.contract.verdict import Count, Deny, Proceed
from trustgate.enforcement.chain import Link

_Told = tuple[tuple[Allowance, ...] | None, ...]


class Counting:
    """What a policy takes before it decides. To await it is to take it by itself, for as long as the policy may."""

    __slots__ = ("_count", "link")

    def __init__(self, link: Link, count: Count) -> None:
        self.link = link
        self._count = count

    def __await__(self) -> Generator[Any, Any, Proceed | Deny]:
        return self._alone().__await__()

    def told(self, allowances: tuple[Allowance, ...]) -> Proceed | Deny:
        """Return what the policy makes of what the limiter said."""
        return self._count.told(allowances)

    async def _alone(self) -> Proceed | Deny:
        async with asyncio.timeout(self.link.timeout):
            return self._count.told(await self.link.limiter.take_all(self._count.takes))

    @staticmethod
    def take(several: "Sequence[Counting]") -> Coroutine[Any, Any, _Told]:
        """Take for all, in their order: one that refuses ends it, unless it only observes. Raises StateUnavailable, and
        TimeoutError after as long as the least patient may take."""
        within, limiter = min([each.link.timeout for each in several]), several[0].link.limiter
        taking = limiter.take_each(
            [each._count.takes for each in several], [each.link.policy.mode != "observe" for each in several]
        )
        if within >= limiter.patience:  # which is most of the time, and a clock is a tenth of what counting costs
            return taking
        return _within(within, taking)


async def _within(seconds: float, taking: Coroutine[Any, Any, _Told]) -> _Told:
    async with asyncio.timeout(seconds):
        return await taking
