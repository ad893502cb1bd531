"""What a server has, asked by the gateway for itself: with its own proof, and nobody's session."""

import asyncio
from typing import Final

from trustgate.contract.context import Caller
from trustgate.contract.ports import Cache
from trustgate.contract.upstream import Transport
from trustgate.mcp.asking import Asking
from trustgate.mcp.meeting import US, Meeting
from trustgate.mcp.messages import Json, Wrong
from trustgate.mcp.revisions import NEWEST_WITH_SESSIONS
from trustgate.mcp.servers import Away, Server, Speaker
from trustgate.mcp.sessions import Sessions, Up

MOST_PAGES: Final = 100


async def look(server: Server, transport: Transport, cache: Cache) -> tuple[Up, list[Json]]:
    """Return how a server presents itself, and the tools that it has. Raises Away: no answer, or none of use."""
    asking = Asking({})
    asking.caller = Caller(
        gateway_id="", gateway_slug="", tenant_id="", consumer_id="", consumer_slug="", consumer_name="",
        auth_id=server.registry_id, auth_name="",
    )  # fmt: skip
    meeting = Meeting(Speaker(transport), Sessions(cache))
    try:
        async with asyncio.timeout(server.discovery):
            up = await meeting.greet(asking, server, NEWEST_WITH_SESSIONS, {"capabilities": {}, "clientInfo": US})
            await meeting.keep(asking, server, up)
            tools: list[Json] = []
            cursor = None
            for _ in range(MOST_PAGES):
                given: Json = {} if cursor is None else {"cursor": cursor}
                if "tools" not in (up.said.get("capabilities") or {}):
                    break
                page = await meeting.call(asking, server, "tools/list", given, within=server.discovery)
                tools += [tool for tool in page.get("tools") or () if isinstance(tool, dict)]
                cursor = page.get("nextCursor")
                if not cursor:
                    break
    except Wrong as wrong:
        raise Away(f"{server.name} refused (code {wrong.code})") from None
    except TimeoutError:
        raise Away(f"{server.name} did not answer within {server.discovery:g} s") from None
    return up, tools
