"""Where answers live that a provider keeps: who goes on from one, or asks for it, has to ask the provider that has it.

https://platform.openai.com/docs/api-reference/responses (`store`, `previous_response_id`)
"""

import logging
import re
from typing import Final

from trustgate.contract.context import RequestContext
from trustgate.contract.ports import Cache, StateUnavailable

KEPT: Final = 30 * 24 * 3600.0
"""Seconds for which OpenAI keeps an answer."""
BEGINNING: Final = 4096
"""Bytes of an answer, or of its stream, in which its id is found."""
_ID: Final = re.compile(rb'"id"\s*:\s*"(resp_[A-Za-z0-9_-]{1,200})"')
_PREVIOUS: Final = b"previous_response_id"
log = logging.getLogger("trustgate.affinity")


class Affinity:
    """Remembers by the id of an answer which account has it, for all processes that share a cache."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    async def home(self, ctx: RequestContext, item: str) -> str:
        """Return the account that has what a request goes on from, or asks for; empty where nobody knows."""
        named = item if ctx.operation.family == "stored" else self._previous(ctx)
        if not named:
            return ""
        try:
            found = await self._cache.get(_key(ctx, named))
        except StateUnavailable as error:
            log.warning("where an answer lives is not known: %s", error)
            return ""
        return found.decode() if found else ""

    async def keep(self, ctx: RequestContext, account: str, begun: bytes) -> None:
        """Remember where an answer lives that began so."""
        found = _ID.search(begun, 0, BEGINNING)
        if ctx.operation.name != "responses" or found is None:
            return
        try:
            await self._cache.set(_key(ctx, found[1].decode()), account.encode(), ttl=KEPT)
        except StateUnavailable as error:
            log.warning("where an answer lives cannot be remembered: %s", error)

    def _previous(self, ctx: RequestContext) -> str:
        if ctx.operation.name != "responses" or ctx.body.raw.find(_PREVIOUS) < 0:
            return ""
        body = ctx.body.json()
        named = body.get("previous_response_id") if isinstance(body, dict) else None
        return named if isinstance(named, str) else ""


def _key(ctx: RequestContext, id_: str) -> str:
    return f"{ctx.caller.gateway_id}:lives:{id_[:255]}"
