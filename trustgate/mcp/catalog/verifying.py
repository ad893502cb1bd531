"""Asking servers of the catalogue whether they are there: `initialize`, by nobody in particular."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final, Literal

from msgspec import Struct

from trustgate.config.mcp import McpTarget
from trustgate.config.records import Registry
from trustgate.mcp.catalog.entries import Entry
from trustgate.mcp.meeting import US
from trustgate.mcp.messages import encode, is_response
from trustgate.mcp.revisions import NEWEST_WITH_SESSIONS
from trustgate.mcp.servers import Away, Server, server_of
from trustgate.mcp.speaking import Speaker
from trustgate.providers.credentials import Credentials

TIME: Final = 15.0
"""Seconds that a server has."""
Status = Literal[
    "ok", "auth_required", "broken_forbidden", "broken_unreachable", "broken_protocol", "skipped_needs_config"
]
_HELLO: Final = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": NEWEST_WITH_SESSIONS, "capabilities": {}, "clientInfo": US},
}


class Finding(Struct, frozen=True, kw_only=True):
    """What came of asking one server."""

    entry: Entry
    status: Status
    detail: str = ""

    @property
    def broken(self) -> bool:
        """Whether nobody can use it as it is written."""
        return self.status.startswith("broken")


async def verified(entries: Sequence[Entry], speaker: Speaker, *, at_once: int = 8) -> AsyncIterator[Finding]:
    """Yield what comes of each, as it comes; so many are asked at once."""
    places = asyncio.Semaphore(at_once)

    async def one(entry: Entry) -> Finding:
        async with places:
            return await verify(entry, speaker)

    for finding in asyncio.as_completed([one(entry) for entry in entries]):
        yield await finding


async def verify(entry: Entry, speaker: Speaker) -> Finding:
    """Say whether a server answers as one does. Who wants a proof first has answered too."""
    if any(variable.required for variable in entry.url_variables):
        return Finding(entry=entry, status="skipped_needs_config")
    try:
        async with asyncio.timeout(TIME):
            return await _asked(entry, speaker)
    except Away as away:
        return Finding(entry=entry, status="broken_unreachable", detail=str(away))
    except TimeoutError:
        return Finding(entry=entry, status="broken_unreachable", detail=f"no answer within {TIME:g} s")


async def _asked(entry: Entry, speaker: Speaker) -> Finding:
    incoming = await speaker.say(_server(entry), "POST", encode(_HELLO), headers=(), within=TIME, whole=True)
    try:
        if incoming.status == 401:
            return Finding(entry=entry, status="auth_required")
        if incoming.status == 403:
            return Finding(entry=entry, status="broken_forbidden", detail="it answered with status 403")
        async for event in incoming.events():
            message = event.message
            if message is not None and is_response(message) and "protocolVersion" in (message.get("result") or {}):
                return Finding(entry=entry, status="ok")
    finally:
        await incoming.aclose()
    return Finding(entry=entry, status="broken_protocol", detail=f"it answered with status {incoming.status}")


def _server(entry: Entry) -> Server:
    target = McpTarget(url=entry.url, transport=entry.transport)
    registry = Registry(
        id=entry.code,
        gateway_id="",
        name=entry.display_name,
        type="MCP",
        mcp_target=target,
        created_at="",
        updated_at="",
    )
    return server_of(registry, Credentials())
