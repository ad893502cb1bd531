"""What MCP servers say of their tools: what was accepted, what it became, and accepting that."""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from trustgate.planes.admin.operation import Ask, Nothing, Operation, serving
from trustgate.planes.admin.paging import PageQuery
from trustgate.planes.admin.plane import AdminServices
from trustgate.planes.admin.services import gateways, registries
from trustgate.planes.admin.services.problems import conflict, invalid
from trustgate.planes.admin.wire import Time, time_of
from trustgate.storage.definitions import Definition

MOST: Final = 1000
"""Tools that are accepted at once."""


class ToolDefinition(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One tool. `definition` is what was accepted, `seen_definition` what the server says now, where that is another
    thing; one of more than 64 KiB is not kept, and has its digest only."""

    name: str
    status: Literal["accepted", "changed"]
    digest: Annotated[str, Meta(description="SHA-256 of the accepted definition, in hex.")]
    definition: dict[str, Any] = {}
    seen_digest: Annotated[str, Meta(description="That of the one that was seen last, where it is another.")] = ""
    seen_definition: dict[str, Any] = {}
    first_seen_at: Time
    changed_at: Time | None = None
    accepted_at: Annotated[Time | None, Meta(description="When an administrator did; the first one is by itself.")] = (
        None
    )


class ToolDefinitions(Struct, frozen=True, kw_only=True):
    """One page of a server's tools by name."""

    items: list[ToolDefinition]
    page: int
    size: int
    total: int


class DefinitionQuery(PageQuery, frozen=True, kw_only=True):
    """Which tools."""

    status: Annotated[Literal["", "changed"], Meta(description="`changed`: those that wait to be accepted.")] = ""


class AcceptTools(Struct, frozen=True, kw_only=True):
    """Which tools are accepted as they were seen last: by name, with the `seen_digest` that was looked at."""

    definitions: dict[str, str]


class Accepted(Struct, frozen=True, kw_only=True):
    """How many tools were accepted."""

    accepted: int


async def _list(services: AdminServices, ask: Ask[Nothing, DefinitionQuery]) -> ToolDefinitions:
    await _check_registry(services, ask)
    size = ask.query.limit
    found = await services.definitions.page(
        ask.gateway,
        ask.id,
        changed=ask.query.status == "changed",
        offset=(ask.query.page - 1) * size,
        limit=size,
    )
    return ToolDefinitions(
        items=[_view(each) for each in found.items], page=ask.query.page, size=size, total=found.total
    )


async def _accept(services: AdminServices, ask: Ask[AcceptTools, Nothing]) -> Accepted:
    await _check_registry(services, ask)
    given = ask.body.definitions
    if len(given) > MOST:
        raise invalid(f"definitions has {len(given)} tools: accept at most {MOST} at once")
    if strange := await services.definitions.accept(ask.gateway, ask.id, given):
        raise conflict(f"the tool {strange[:200]!r} was not seen with this digest last: read tool-definitions again")
    return Accepted(accepted=len(given))


async def _check_registry(services: AdminServices, ask: Ask[Any, Any]) -> None:
    """Raise Refused unless the registry is one of the caller's."""
    async with services.store.read() as unit:
        work = services.work(unit, ask.who)
        await gateways.visible(work, ask.gateway)
        await registries.get(work, ask.gateway, ask.id)


def _view(known: Definition) -> ToolDefinition:
    changed = known.seen_digest != known.accepted_digest
    return ToolDefinition(
        name=known.name,
        status="changed" if changed else "accepted",
        digest=known.accepted_digest,
        definition=_read(known.accepted),
        seen_digest=known.seen_digest if changed else "",
        seen_definition=_read(known.seen) if changed else {},
        first_seen_at=time_of(known.first_seen_at),
        changed_at=time_of(known.changed_at) if known.changed_at else None,
        accepted_at=time_of(known.accepted_at) if known.accepted_at else None,
    )


def _read(text: str) -> dict[str, Any]:
    return msgspec.json.decode(text, type=dict[str, Any]) if text else {}


_ALL: Final = "/v1/gateways/{gateway_id}/registries/{id}/tool-definitions"

OPERATIONS: Final[tuple[Operation, ...]] = (
    serving(
        "GET",
        _ALL,
        _list,
        name="listToolDefinitions",
        summary="List what an MCP server was seen to say of its tools, and what of it changed",
        tag="Registries",
    ),
    serving(
        "POST",
        _ALL + "/accept",
        _accept,
        name="acceptToolDefinitions",
        summary="Accept tools as they were seen last",
        tag="Registries",
        refuses=("conflict",),
    ),
)
