"""Sessions of callers, and what they stand for at servers. They live where all processes find them, and expire."""

from collections.abc import Callable
from secrets import token_hex
from time import time
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from trustgate.contract.context import Caller
from trustgate.contract.ports import Cache
from trustgate.mcp.messages import Json

LIFE: Final = 3600.0
"""Seconds after its last use for which a session is kept, or a little less."""
RENEWED_AFTER: Final = 60.0


class Up(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a server was told and said when it was met: its session (empty: it has none), the revision it speaks, and
    its answer to `initialize`."""

    session: str = ""
    revision: str
    said: Json = {}


class Session(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A caller's session. It is of one consumer and one credential, and of use to nobody else.

    `hello` is what the caller said of itself; `ups` are the servers that it has met, by registry; `kept` is when it was
    last written (Unix seconds).
    """

    id: str
    consumer_id: str
    auth_id: str
    revision: str
    hello: Json
    ups: dict[str, Up] = {}
    kept: float = 0.0

    def of(self, caller: Caller) -> bool:
        """Say whether it is this caller's."""
        return self.consumer_id == caller.consumer_id and self.auth_id == caller.auth_id


class Sessions:
    """Keeps them in the cache that all processes share."""

    def __init__(self, cache: Cache, *, clock: Callable[[], float] = time) -> None:
        self._cache = cache
        self._clock = clock

    async def begin(self, caller: Caller, revision: str, hello: Json, ups: dict[str, Up]) -> Session:
        """Make a session. Raises StateUnavailable."""
        session = Session(
            id=token_hex(16),
            consumer_id=caller.consumer_id,
            auth_id=caller.auth_id,
            revision=revision,
            hello=hello,
            ups=ups,
        )
        await self._keep(caller, session)
        return session

    async def find(self, caller: Caller, session_id: str) -> Session | None:
        """Return the session of that id, if it is this caller's, and keep it for longer. Raises StateUnavailable."""
        if not session_id.isascii() or not session_id.isalnum() or len(session_id) > 64:
            return None
        raw = await self._cache.get(_key(caller.gateway_id, session_id))
        if raw is None:
            return None
        session = msgspec.json.decode(raw, type=Session)
        if not session.of(caller):
            return None
        if self._clock() - session.kept > RENEWED_AFTER:  # and not with each request: that would be a trip more
            await self._keep(caller, session)
        return session

    async def _keep(self, caller: Caller, session: Session) -> None:
        kept = replace(session, kept=self._clock())
        await self._cache.set(_key(caller.gateway_id, session.id), msgspec.json.encode(kept), ttl=LIFE)

    async def end(self, caller: Caller, session: Session) -> None:
        """Forget a session. Raises StateUnavailable."""
        await self._cache.delete(_key(caller.gateway_id, session.id))

    async def up(self, caller: Caller, owner: str, registry_id: str) -> Up | None:
        """Return how a server was met later, for a session or (by the credential's id) for callers without one."""
        raw = await self._cache.get(_up_key(caller, owner, registry_id))
        return None if raw is None else msgspec.json.decode(raw, type=Up)

    async def meet(self, caller: Caller, owner: str, registry_id: str, up: Up) -> None:
        """Remember how a server was met. Raises StateUnavailable."""
        await self._cache.set(_up_key(caller, owner, registry_id), msgspec.json.encode(up), ttl=LIFE)

    async def part(self, caller: Caller, owner: str, registry_id: str) -> None:
        """Forget how a server was met. Raises StateUnavailable."""
        await self._cache.delete(_up_key(caller, owner, registry_id))


def _key(gateway_id: str, session_id: str) -> str:
    return f"{gateway_id}:mcp_session:{session_id}"


def _up_key(caller: Caller, owner: str, registry_id: str) -> str:
    return f"{caller.gateway_id}:mcp_up:{caller.consumer_id}:{owner}:{registry_id}"
