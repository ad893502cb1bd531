"""What a server has, asked by the gateway for itself: with its own proof, and nobody's session."""

import asyncio
from time import perf_counter

from trustgate.contract.context import Caller
from trustgate.contract.ports import Cache
from trustgate.enforcement.trail import Trail
from trustgate.mcp.asking import Account, Asking
from trustgate.mcp.meeting import US, Meeting
from trustgate.mcp.messages import Json, Wrong
from trustgate.mcp.revisions import NEWEST_WITH_SESSIONS
from trustgate.mcp.servers import Away, Server
from trustgate.mcp.sessions import Sessions, Up
from trustgate.mcp.speaking import Speaker
from trustgate.telemetry.record import Record
from trustgate.telemetry.trace import start_trace


async def look(server: Server, speaker: Speaker, cache: Cache) -> tuple[Up, list[Json]]:
    """Return how a server presents itself, and the tools that it has. Raises Away: no answer, or none of use."""
    nobody = Account(record=Record(started=perf_counter()), trace=start_trace(), trail=Trail())
    asking = Asking({}, nobody)
    asking.caller = Caller(
        gateway_id="", gateway_slug="", tenant_id="", consumer_id="", consumer_slug="", consumer_name="",
        auth_id=server.registry_id, auth_name="",
    )  # fmt: skip
    meeting = Meeting(speaker, Sessions(cache))
    try:
        async with asyncio.timeout(server.discovery):
            up = await meeting.greet(asking, server, NEWEST_WITH_SESSIONS, {"capabilities": {}, "clientInfo": US})
            await meeting.keep(asking, server, up)
            has_tools = "tools" in (up.said.get("capabilities") or {})
            tools = await meeting.all_pages(asking, server, "tools/list", "tools") if has_tools else []
    except Wrong as wrong:
        raise Away(f"{server.name} refused (code {wrong.code})") from None
    except TimeoutError:
        raise Away(f"{server.name} did not answer within {server.discovery:g} s") from None
    return up, tools
