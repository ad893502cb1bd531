"""Gateways on the wire."""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from trustgate.config.records import Entitlements, Gateway, OtlpSettings, SessionConfig, Telemetry
from trustgate.planes.admin import masking
from trustgate.planes.admin.operation import Ask, Nothing, Operation, reading, writing
from trustgate.planes.admin.paging import PageQuery, to_query
from trustgate.planes.admin.services import gateways
from trustgate.planes.admin.services.gateways import CreateGateway, UpdateGateway
from trustgate.planes.admin.services.work import Tools, Work
from trustgate.planes.admin.wire import Id, Time


class Hosts(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The host names under which the gateway answers."""

    proxy: str = ""


class ExporterView(Struct, frozen=True, kw_only=True):
    """Where a gateway's events go besides; the values of headers are masked."""

    name: str
    type: Literal["otlp"]
    settings: OtlpSettings


class TelemetryView(Struct, frozen=True, kw_only=True):
    """The exporters of a gateway, beside those that all have."""

    exporters: list[ExporterView]


class GatewayView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A gateway as it is read back."""

    id: Id
    slug: str
    name: str
    status: Literal["active", "inactive"]
    version: str
    tenant_id: str = ""
    domain: str = ""
    hosts: Hosts
    metadata: dict[str, str] = {}
    session_config: SessionConfig
    entitlements: Entitlements | None = None
    telemetry: TelemetryView | None = None
    created_at: Time
    updated_at: Time


class GatewayList(Struct, frozen=True, kw_only=True):
    """One page of gateways."""

    items: list[GatewayView]
    page: int
    size: int
    total: int


class GatewayQuery(PageQuery, frozen=True, kw_only=True):
    """Which gateways."""

    slug: Annotated[str, Meta(description="A part of the slug.")] = ""


def view(gateway: Gateway, tools: Tools) -> GatewayView:
    """Return a gateway as it is read back."""
    own = f"{gateway.slug}.{tools.base_domain}" if tools.base_domain else ""
    return GatewayView(
        id=gateway.id,
        slug=gateway.slug,
        name=gateway.name,
        status=gateway.status,
        version=tools.version,
        tenant_id=gateway.tenant_id,
        domain=gateway.domain,
        hosts=Hosts(proxy=gateway.domain or own),
        metadata=gateway.metadata | ({"tenant_id": gateway.tenant_id} if gateway.tenant_id else {}),
        session_config=gateway.session_config,
        entitlements=gateway.entitlements,
        telemetry=_telemetry(gateway.telemetry),
        created_at=gateway.created_at,
        updated_at=gateway.updated_at,
    )


def _telemetry(telemetry: Telemetry | None) -> TelemetryView | None:
    if telemetry is None:
        return None
    return msgspec.convert(masking.masked(Telemetry, msgspec.to_builtins(telemetry)), TelemetryView)


async def _create(work: Work, ask: Ask[CreateGateway, Nothing]) -> GatewayView:
    return view(await gateways.create(work, ask.body), work.tools)


async def _list(work: Work, ask: Ask[Nothing, GatewayQuery]) -> GatewayList:
    query = to_query(ask.query, where={}, search_in=("slug",), search=ask.query.slug)
    found = await gateways.page(work, query)
    items = [view(gateway, work.tools) for gateway in found.items]
    return GatewayList(items=items, page=ask.query.page, size=ask.query.limit, total=found.total)


async def _get(work: Work, ask: Ask[Nothing, Nothing]) -> GatewayView:
    return view(await gateways.visible(work, ask.gateway), work.tools)


async def _update(work: Work, ask: Ask[UpdateGateway, Nothing]) -> GatewayView:
    return view(await gateways.update(work, ask.gateway, ask.body), work.tools)


async def _delete(work: Work, ask: Ask[Nothing, Nothing]) -> None:
    await gateways.delete(work, ask.gateway)


_ALL: Final = "/v1/gateways"
_ONE: Final = "/v1/gateways/{gateway_id}"
_TAG: Final = "Gateways"
_TAKEN: Final = ("already_exists", "conflict")

OPERATIONS: Final[tuple[Operation, ...]] = (
    writing(
        "POST", _ALL, _create, name="createGateway", summary="Create a gateway", tag=_TAG, status=201, refuses=_TAKEN
    ),
    reading("GET", _ALL, _list, name="listGateways", summary="List gateways", tag=_TAG),
    reading("GET", _ONE, _get, name="getGateway", summary="Read a gateway", tag=_TAG),
    writing("PUT", _ONE, _update, name="updateGateway", summary="Change a gateway", tag=_TAG, refuses=_TAKEN),
    writing("DELETE", _ONE, _delete, name="deleteGateway", summary="Delete a gateway and all it holds", tag=_TAG),
)
