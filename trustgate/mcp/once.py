"""What many want at the same time is done once for all of them."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from time import monotonic
from typing import Any, Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
REMEMBERED: Final = 10_000


class Once(Generic[K, T]):
    """Does things by key. Behind one that went well it is not done again for `apart` seconds."""

    def __init__(self, *, apart: float = 0.0) -> None:
        self._apart = apart
        self._doing: dict[K, asyncio.Task[T]] = {}
        self._done: dict[K, float] = {}

    async def do(self, key: K, work: Callable[[], Coroutine[Any, Any, T]]) -> T | None:
        """Return what comes of it, also to those who come while it is done; None where it was done just now.

        Who leaves does not end it for the others. Raises what `work` does.
        """
        doing = self._doing.get(key)
        if doing is None:
            if monotonic() - self._done.get(key, -self._apart) < self._apart:
                return None
            doing = self._doing[key] = asyncio.create_task(work())
            doing.add_done_callback(lambda done: self._has_done(key, done))
        return await asyncio.shield(doing)

    def forget(self) -> None:
        """Do everything anew from here on."""
        self._done.clear()

    def _has_done(self, key: K, done: asyncio.Task[T]) -> None:
        del self._doing[key]
        if not done.cancelled() and done.exception() is None and self._apart:
            if len(self._done) >= REMEMBERED:
                self._done.clear()
            self._done[key] = monotonic()
