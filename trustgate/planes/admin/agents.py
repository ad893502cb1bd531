"""Servers of the Model Context Protocol, asked by the admin plane: what they have, and whether they can be used."""

import time
from typing import Any, Final

from msgspec import Struct

from trustgate.config.records import Registry
from trustgate.contract.errors import Refused
from trustgate.forwarding.transport import Pool
from trustgate.mcp.looking import look
from trustgate.mcp.servers import Away, server_of
from trustgate.mcp.speaking import Speaker
from trustgate.planes.admin.connection import Connection
from trustgate.planes.admin.operation import Ask, Nothing, Operation, serving
from trustgate.planes.admin.plane import AdminServices
from trustgate.planes.admin.services import gateways, registries
from trustgate.providers.credentials import BadCredential, Credentials
from trustgate.state.memory_cache import MemoryCache


class ServerTools(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The tools of a server, as it says what they are; which revision of the protocol it speaks, and who it is."""

    tools: list[dict[str, Any]]
    protocol_version: str = ""
    server: dict[str, Any] = {}


async def seen(services: AdminServices, registry: Registry) -> ServerTools:
    """Return what a server says now. Raises Away and BadCredential."""
    server = server_of(registry, Credentials(services.tools.references))
    pool = Pool()
    speaker = Speaker(pool, services.tools.programs)
    try:
        up, tools = await look(server, speaker, MemoryCache())
    finally:
        await speaker.aclose()
        await pool.aclose()
    about = up.said.get("serverInfo")
    return ServerTools(tools=tools, protocol_version=up.revision, server=about if isinstance(about, dict) else {})


async def try_server(services: AdminServices, registry: Registry) -> Connection:
    """Say whether a server can be used."""
    started, message = time.monotonic(), ""
    try:
        await seen(services, registry)
    except (Away, BadCredential) as error:
        message = _why(error)
    took = round((time.monotonic() - started) * 1000)
    return Connection(
        ok=not message, stage="provider" if not message else "connectivity", provider="mcp", latency_ms=took,
        message=message,
    )  # fmt: skip


async def _tools(services: AdminServices, ask: Ask[Nothing, Nothing]) -> ServerTools:
    async with services.store.read() as unit:
        work = services.work(unit, ask.who)
        await gateways.visible(work, ask.gateway)
        registry = await registries.get(work, ask.gateway, ask.id)
    if registry.type != "MCP":
        return ServerTools(tools=[])  # which has models, and no tools
    try:
        return await seen(services, registry)
    except (Away, BadCredential) as error:
        raise Refused("bad_gateway", f"The tools cannot be read: {_why(error)}.", status=502) from None


def _why(error: Away | BadCredential) -> str:
    """Return why a server cannot be asked, for those who look after it."""
    return error.detail if isinstance(error, Away) else str(error)


OPERATIONS: Final[tuple[Operation, ...]] = (
    serving(
        "GET",
        "/v1/gateways/{gateway_id}/registries/{id}/tools",
        _tools,
        name="registryTools",
        summary="Read which tools an MCP server has now",
        tag="Registries",
        refuses=("bad_gateway",),
    ),
)
