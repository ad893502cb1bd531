"""What policies still wait for once a request has ended, and what comes behind that: nobody is kept waiting for it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence


class Afterwards:
    """The requests that have ended and whose policies have not heard of it yet."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def then(self, waits: Sequence[Awaitable[None] | None], close: Callable[[], None]) -> None:
        """Close a request: at once, or behind what its policies wait for, one after the other."""
        left = [each for each in waits if each is not None]
        if not left:
            close()
            return
        task = asyncio.create_task(_behind(left, close))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settled(self) -> None:
        """Return once every policy has heard of the requests that have ended."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)


async def _behind(left: Sequence[Awaitable[None]], close: Callable[[], None]) -> None:
    try:
        for each in left:
            await each
    finally:
        close()
