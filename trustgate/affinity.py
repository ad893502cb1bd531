"""Where things live that a provider keeps: who goes on from an answer, or names a file, has to ask who has it.

https://platform.openai.com/docs/api-reference/responses (`store`, `previous_response_id`),
https://platform.openai.com/docs/api-reference/files, https://docs.anthropic.com/en/docs/build-with-claude/files
"""

import logging
import re
from typing import Final

from trustgate.contract.context import Operation, RequestContext
from trustgate.contract.ports import Cache, StateUnavailable

KEPT: Final = 30 * 24 * 3600.0
"""Seconds for which OpenAI keeps an answer, and we where a file is."""
BEGINNING: Final = 4096
"""Bytes of an answer, or of its stream, in which its id is found."""
_ID: Final = re.compile(rb'"id"\s*:\s*"(resp_[A-Za-z0-9_-]{1,200})"')
_FILE_ID: Final = re.compile(rb'"id"\s*:\s*"(file[-_][A-Za-z0-9_-]{1,200})"')
_NAMED_FILE: Final = re.compile(rb'"(file[-_][A-Za-z0-9_-]{1,200})"(?!\s*:)')
_FILE: Final = b'"file'
_PREVIOUS: Final = b"previous_response_id"
MOST: Final = 4 * 1024 * 1024
"""Bytes of a request in which the id of a file is looked for."""
log = logging.getLogger("trustgate.affinity")


class Affinity:
    """Remembers by its id which account has an answer or a file, for all processes that share a cache."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    async def home(self, ctx: RequestContext, named: str) -> str:
        """Return the account that has what is named; empty where nobody knows."""
        try:
            found = await self._cache.get(_key(ctx, named))
        except StateUnavailable as error:
            log.warning("where %s lives is not known: %s", named[:255], error)
            return ""
        return found.decode() if found else ""

    async def keep(self, ctx: RequestContext, account: str, name: str) -> None:
        """Remember which account has something."""
        try:
            await self._cache.set(_key(ctx, name), account.encode(), ttl=KEPT)
        except StateUnavailable as error:
            log.warning("where %s lives cannot be remembered: %s", name[:255], error)


def made(operation: Operation, begun: bytes) -> str:
    """Return the id of what a provider made and keeps: an answer that begins so, or a file that was sent past us."""
    if operation.name == "responses":
        found = _ID.search(begun, 0, BEGINNING)
    elif operation.family == "passthrough":
        found = _FILE_ID.search(begun, 0, BEGINNING)
    else:
        return ""
    return found[1].decode() if found else ""


def named(ctx: RequestContext, item: str) -> str:
    """Return the id of what a request goes on from, or asks for, and a provider keeps; empty where it names none."""
    if ctx.operation.family == "stored":
        return item
    raw = ctx.body.raw
    if ctx.operation.family != "chat":
        return ""
    if ctx.operation.name == "responses" and raw.find(_PREVIOUS) >= 0:
        body = ctx.body.json()
        previous = body.get("previous_response_id") if isinstance(body, dict) else None
        if isinstance(previous, str):
            return previous
    if len(raw) > MOST or raw.find(_FILE) < 0:
        return ""
    found = _NAMED_FILE.search(raw)
    return found[1].decode() if found else ""


def _key(ctx: RequestContext, id_: str) -> str:
    return f"{ctx.caller.gateway_id}:lives:{id_[:255]}"
