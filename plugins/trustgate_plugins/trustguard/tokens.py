"""Tokens for TrustGuard: kept while they last, fetched once however many ask."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from time import monotonic

EARLIER = 30.0
"""Seconds before its end after which a token is not used any more."""
SHORTEST = 60.0
"""Seconds for which a token is kept at least, whatever it says itself."""
MOST = 1000

Fetch = Callable[[], Awaitable[tuple[str, float]]]
"""Fetches a token: itself, and for how many seconds it lasts."""


class Tokens:
    """Tokens by whom they are for."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._known: OrderedDict[tuple[str, ...], tuple[str, float]] = OrderedDict()
        self._fetching: dict[tuple[str, ...], asyncio.Task[str]] = {}

    async def get(self, name: tuple[str, ...], fetch: Fetch) -> str:
        """Return a token, fetched where there is none. Raises what `fetch` does."""
        known = self._known.get(name)
        if known is not None and self._now() < known[1]:
            return known[0]
        task = self._fetching.get(name)
        if task is None or task.get_loop() is not asyncio.get_running_loop():
            task = self._fetching[name] = asyncio.create_task(self._fetch(name, fetch))
        return await asyncio.shield(task)  # whoever leaves does not take the token from those who wait for it too

    def drop(self, name: tuple[str, ...], token: str) -> None:
        """Hear that a token was not taken."""
        if self._known.get(name, ("", 0.0))[0] == token:
            del self._known[name]

    async def _fetch(self, name: tuple[str, ...], fetch: Fetch) -> str:
        try:
            token, lasts = await fetch()
        finally:
            del self._fetching[name]
        self._known[name] = (token, self._now() + max(lasts - EARLIER, SHORTEST - EARLIER))
        if len(self._known) > MOST:
            self._known.popitem(last=False)
        return token
