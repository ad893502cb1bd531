"""Gateways: one tenant's entrance each. A tenant sees its own and cannot change what it bought."""

import base64
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final

from msgspec import Meta, Struct, structs

from trustgate.config.records import Entitlements, Gateway, SessionConfig, Telemetry, Tier
from trustgate.planes.admin.services.fields import (
    Count,
    Name,
    checked_header,
    checked_name,
    checked_size,
    checked_slug,
    slug_from,
)
from trustgate.planes.admin.services.problems import conflict, found, invalid, not_found, save, saving
from trustgate.planes.admin.services.telemetry import TelemetryForm, checked_telemetry
from trustgate.planes.admin.services.work import Work
from trustgate.storage.store import Page, Query

_TIERS: Final[tuple[Tier, ...]] = ("free", "standard", "enterprise")
_LABEL: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN: Final = re.compile(rf"(?=.{{4,253}}\Z)({_LABEL}\.)+(?![0-9]+\Z){_LABEL}")
_STAMPED: Final = ("tenant_id", "team_id")

Metadata = Annotated[dict[str, str], Meta(max_length=100, description="Up to 100 texts of your own.")]


class SessionForm(Struct, frozen=True, kw_only=True):
    """Where a caller's session id is read from."""

    enabled: bool | None = None
    header_name: str | None = None
    body_param_name: str | None = None


class EntitlementsForm(Struct, frozen=True, kw_only=True):
    """What a tenant bought. Only platform tokens may set it."""

    tier: str = ""
    burst_per_min: Annotated[int, Meta(gt=0, le=2**53)]
    quota_per_month: Count
    max_instances: Count


class CreateGateway(Struct, frozen=True, kw_only=True):
    """A new gateway. Without a slug it gets one from its name."""

    later: ClassVar[tuple[str, ...]] = ("client_tls",)
    exact: ClassVar[Mapping[str, type[Struct]]] = {"telemetry": TelemetryForm}

    name: Name | None = None
    slug: str | None = None
    domain: str | None = None
    tenant_id: str | None = None
    metadata: Metadata | None = None
    session_config: SessionForm | None = None
    entitlements: EntitlementsForm | None = None
    telemetry: TelemetryForm | None = None


class UpdateGateway(CreateGateway, frozen=True, kw_only=True):
    """What changes; a field that is absent or null stays as it is. An empty domain removes it."""

    status: str | None = None


async def visible(work: Work, gateway_id: str) -> Gateway:
    """Return the gateway if whoever asks may see it. Raises Refused: 404, whichever of the two is the reason."""
    gateway = found(await work.unit.gateways.get(gateway_id))
    if work.who.tenant_id and gateway.tenant_id != work.who.tenant_id:
        raise not_found()
    return gateway


async def page(work: Work, query: Query) -> Page[Gateway]:
    """Return the gateways that whoever asks may see."""
    if work.who.tenant_id:
        query = structs.replace(query, where={**query.where, "tenant_id": work.who.tenant_id})
    return await work.unit.gateways.page(query)


async def create(work: Work, form: CreateGateway) -> Gateway:
    """Make a gateway. Raises Refused."""
    tenant_id = _tenant(work, form.tenant_id)
    entitlements = await _entitlements(work, form.entitlements) or await _inherited(work, tenant_id)
    await _check_room(work, tenant_id, entitlements, adding=1)
    slug = checked_slug(form.slug) if form.slug and form.slug.strip() else await _free_slug(work, form.name or "")
    now = work.tools.now()
    gateway = Gateway(
        id=work.tools.gateway_id(),
        slug=slug,
        name=checked_name(form.name) if form.name is not None else slug,
        domain=_domain(work, form.domain or ""),
        tenant_id=tenant_id,
        metadata=_metadata(form.metadata or {}),
        session_config=_session(form.session_config or SessionForm()),
        entitlements=entitlements,
        telemetry=_telemetry(work, form.telemetry, None),
        created_at=now,
        updated_at=now,
    )
    with saving("gateway"):
        await work.unit.gateways.insert(gateway)
    return gateway


async def update(work: Work, gateway_id: str, form: UpdateGateway) -> Gateway:
    """Change what the form says. Raises Refused."""
    before = await visible(work, gateway_id)
    if form.tenant_id is not None and form.tenant_id != before.tenant_id:
        raise invalid("tenant_id cannot be changed: make a new gateway for the other tenant")
    after = structs.replace(
        before, telemetry=_telemetry(work, form.telemetry, before.telemetry), **_changes(work, form)
    )
    if form.entitlements is not None:
        after = structs.replace(after, entitlements=await _entitlements(work, form.entitlements))
        await _check_room(work, after.tenant_id, after.entitlements, adding=0)
    return await save(work, work.unit.gateways, "gateway", before=before, after=after)


async def delete(work: Work, gateway_id: str) -> None:
    """Delete the gateway with everything below it. Raises Refused."""
    await visible(work, gateway_id)
    await work.unit.gateways.delete(gateway_id)


def _changes(work: Work, form: UpdateGateway) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if form.name is not None:
        changes["name"] = checked_name(form.name)
    if form.slug is not None:
        changes["slug"] = checked_slug(form.slug)
    if form.status is not None:
        changes["status"] = _status(form.status)
    if form.domain is not None:
        changes["domain"] = _domain(work, form.domain)
    if form.metadata is not None:
        changes["metadata"] = _metadata(form.metadata)
    if form.session_config is not None:
        changes["session_config"] = _session(form.session_config)
    return changes


def _telemetry(work: Work, form: TelemetryForm | None, stored: Telemetry | None) -> Telemetry | None:
    """What nobody says anything of stays; what is emptied is none, so that nothing is sealed where nothing is."""
    if form is None:
        return stored
    checked = checked_telemetry(form, stored or Telemetry(), default=work.tools.collects)
    return checked if checked.exporters else None


def _status(status: str) -> str:
    if status not in ("", "active", "inactive"):
        raise invalid("status must be active or inactive")
    return status or "active"


def _tenant(work: Work, wanted: str | None) -> str:
    own = work.who.tenant_id
    if own and wanted and wanted != own:
        raise invalid("tenant_id must be the one of your token: leave it out")
    return own or checked_size("tenant_id", wanted or "", 255)


def _domain(work: Work, domain: str) -> str:
    wanted = domain.strip().lower()
    if wanted and not _DOMAIN.fullmatch(wanted):
        raise invalid("domain must be a bare host name such as llm.example.com, with no scheme, port, path or wildcard")
    base = work.tools.base_domain
    if wanted and base and (wanted == base or wanted.endswith("." + base)):  # else one tenant could take another's host
        raise invalid(f"domain must not lie below {base}: every gateway has {{slug}}.{base} already")
    return wanted


def _metadata(given: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in given.items() if key not in _STAMPED}


def _session(form: SessionForm) -> SessionConfig:
    default = SessionConfig()
    name = form.header_name or default.header_name
    return SessionConfig(
        enabled=default.enabled if form.enabled is None else form.enabled,
        header_name=checked_header("session_config.header_name", name),
        body_param_name=checked_size("session_config.body_param_name", form.body_param_name or "", 255),
    )


async def _entitlements(work: Work, form: EntitlementsForm | None) -> Entitlements | None:
    if form is None:
        return None
    if work.who.tenant_id:
        raise invalid("entitlements may only be set by platform admins: leave them out")
    tier = form.tier.strip().lower() or "free"
    if tier not in _TIERS:
        raise invalid(f"entitlements.tier must be one of {', '.join(_TIERS)}")
    return Entitlements(
        tier=tier,
        burst_per_min=form.burst_per_min,
        quota_per_month=form.quota_per_month,
        max_instances=form.max_instances,
    )


async def _inherited(work: Work, tenant_id: str) -> Entitlements | None:
    """A tenant's next gateway is bound by what it bought already: else a second gateway would be an unlimited one."""
    if not tenant_id:
        return None
    siblings = await work.unit.gateways.page(Query(where={"tenant_id": tenant_id}, limit=1000))
    bought = [sibling.entitlements for sibling in siblings.items if sibling.entitlements]
    return max(bought, key=lambda it: (_TIERS.index(it.tier), it.max_instances), default=None)


async def _check_room(work: Work, tenant_id: str, bought: Entitlements | None, *, adding: int) -> None:
    if not (tenant_id and bought and bought.max_instances):
        return
    if await work.unit.gateways.count(tenant_id=tenant_id) + adding > bought.max_instances:
        raise conflict(f"gateway: instance limit reached: this tenant may have {bought.max_instances} gateways")


async def _free_slug(work: Work, name: str) -> str:
    base = slug_from(name)
    for candidate in [base, *(f"{base}-{n}" for n in range(2, 10))] if base else []:
        if await work.unit.gateways.find(slug=candidate) is None:
            return candidate
    return f"gw-{random_label(work, 12)}"


def random_label(work: Work, length: int) -> str:
    """Return a random text of a-z and 2-7."""
    return base64.b32encode(work.tools.random_bytes(length)).decode().lower()[:length]
