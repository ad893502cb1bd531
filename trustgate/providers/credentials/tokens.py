"""What expires and is fetched anew: once for however many ask, before it runs out, and not at all costs.

Rule 1: one fetch is under way at a time, and nobody who stops waiting for it stops it for the others.
Rule 2: what is about to run out is renewed behind the back of those who may still use it.
Rule 3: after a failure nothing is asked for a second, and a fresh value is not thrown away on anybody's word: a key
    without permission would otherwise cost one token request per call.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterable
from time import monotonic
from typing import Final, Generic, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from trustgate.contract.upstream import Call, CannotAuthorise, Header

T = TypeVar("T")
Clock = Callable[[], float]

PATIENCE: Final = 20.0
"""Seconds that one fetch may take in all, whatever its library does."""
PAUSE: Final = 1.0
YOUNG: Final = 5.0
UNSAID: Final = 300.0
"""Seconds that a token is used whose lifetime nobody told."""
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,65536}")
_CODES: Final = frozenset(
    (
        *("invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type"),
        *("invalid_scope", "access_denied", "server_error", "temporarily_unavailable"),
    )
)
"""https://www.rfc-editor.org/rfc/rfc6749#section-5.2: only these are quoted, since an answer may hold anything."""


class Fetched(Struct, Generic[T], frozen=True):
    """A value and for how many seconds from now it holds."""

    value: T
    lifetime: float


class Kept(Generic[T]):
    """One value that expires. `fetch` gets a new one and raises CannotAuthorise."""

    def __init__(self, fetch: Callable[[], Awaitable[Fetched[T]]], *, what: str, now: Clock = monotonic) -> None:
        self._fetch = fetch
        self._what = what
        self._now = now
        self._value: T | None = None
        self._since = self._renew = self._until = 0.0
        self._flight: asyncio.Task[T] | None = None
        self._failure: CannotAuthorise | None = None
        self._pause = 0.0

    async def get(self) -> T:
        """Return the value. Raises CannotAuthorise when there is none and none can be had."""
        now = self._now()
        usable = self._value if now < self._until else None
        if usable is not None and now < self._renew:
            return usable
        if self._failure is not None and now < self._pause:
            if usable is not None:
                return usable
            raise CannotAuthorise(str(self._failure), retryable=self._failure.retryable)
        flight = self._under_way()
        return usable if usable is not None else await asyncio.shield(flight)

    def drop(self) -> None:
        """Forget a value that was refused, unless it is so fresh that another would be no better."""
        if self._now() - self._since >= YOUNG:
            self._value = None
            self._until = 0.0

    def _under_way(self) -> asyncio.Task[T]:
        loop = asyncio.get_running_loop()
        if self._flight is None or self._flight.done() or self._flight.get_loop() is not loop:
            self._flight = loop.create_task(self._renewed())
            self._flight.add_done_callback(_looked_at)
        return self._flight

    async def _renewed(self) -> T:
        try:
            async with asyncio.timeout(PATIENCE):
                fetched = await self._fetch()
        except TimeoutError:
            raise self._failed(CannotAuthorise(f"{self._what} took too long", retryable=True)) from None
        except CannotAuthorise as failure:
            raise self._failed(failure) from None
        now = self._now()
        self._value, self._failure, self._since = fetched.value, None, now
        self._until = now + fetched.lifetime - min(10.0, fetched.lifetime / 10)
        self._renew = now + fetched.lifetime - min(300.0, fetched.lifetime / 4)
        return fetched.value

    def _failed(self, failure: CannotAuthorise) -> CannotAuthorise:
        self._failure, self._pause = failure, self._now() + PAUSE
        return failure


def _looked_at(flight: asyncio.Task[T]) -> None:
    """A failure that nobody waits for any more is no news to the loop."""
    if not flight.cancelled():
        flight.exception()


class Bearer:
    """A credential that is a token in the header `authorization`. https://www.rfc-editor.org/rfc/rfc6750"""

    def __init__(self, token: Kept[bytes]) -> None:
        self._token = token

    def __repr__(self) -> str:
        """Say nothing: it is a secret."""
        return "Bearer()"

    async def authorise(self, call: Call) -> Call:
        """Return the call with the token. Raises CannotAuthorise."""
        return with_headers(call, ((b"authorization", b"Bearer " + await self._token.get()),))

    def rejected(self) -> None:
        """Hear that the provider refused the token: the next call has a new one."""
        self._token.drop()


def with_headers(call: Call, headers: Iterable[Header]) -> Call:
    """Return the call with these headers instead of those of the same (lower-case) names."""
    new = tuple(headers)
    names = {name for name, _ in new}
    return replace(call, headers=[*(pair for pair in call.headers if pair[0].lower() not in names), *new])


def checked_token(token: object, what: str) -> bytes:
    """Return a token that can travel in a header. Raises CannotAuthorise."""
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise CannotAuthorise(f"{what} answered without a token that could be used")
    return token.encode()


def code_of(answer: object) -> str:
    """Return ` (code)` for the error code of a token endpoint's answer, if it is one that the standard names."""
    code = answer.get("error") if isinstance(answer, dict) else None
    return f" ({code})" if isinstance(code, str) and code in _CODES else ""


def hush(*names: str) -> None:
    """Keep libraries from logging what they send and get: some write down whole tokens, and what answers said."""
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
