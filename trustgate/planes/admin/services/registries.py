"""Registries: one account at one provider each. What a provider cannot be told or does not take is refused here."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct, structs

from trustgate.config.mcp import McpTarget
from trustgate.config.records import HealthChecks, ProviderAuth, Registry
from trustgate.contract.errors import Refused
from trustgate.planes.admin.services.auth_forms import ApiKeyForm, AuthForm, checked_auth, kept
from trustgate.planes.admin.services.balancing import forgetting
from trustgate.planes.admin.services.explain import explain, unknown_fields
from trustgate.planes.admin.services.fields import Name, checked_header, checked_name, checked_secret, checked_size
from trustgate.planes.admin.services.mcp import checked_target
from trustgate.planes.admin.services.prices import PriceRules, checked_prices
from trustgate.planes.admin.services.problems import found, invalid, save, saving
from trustgate.planes.admin.services.work import Tools, Work
from trustgate.providers.catalog import EchoOptions, Options, Provider
from trustgate.settings import References
from trustgate.storage.store import Page, Query

__all__ = ["ApiKeyForm", "AuthForm", "CreateRegistry", "UpdateRegistry", "create", "delete", "get", "page", "update"]

ProviderOptions = Annotated[
    dict[str, Any], Meta(description="What the provider can be told; see `/v1/providers-catalog`. Others are refused.")
]


Concurrency = Annotated[
    int,
    Meta(ge=0, le=1_000_000, description="Calls that a process may have under way here at a time; 0 is any number."),
]
_OF_LLM: Final = ("provider", "provider_options", "auth", "prices", "health_checks", "max_concurrency")
_PATH: Final = re.compile(r"/[\x21-\x7e]{0,1000}")


class UpdateRegistry(Struct, frozen=True, kw_only=True):
    """What changes; a field that is absent or null stays as it is. `provider_options` and `auth` are replaced, but a
    secret in them that is absent, empty or masked stays."""

    exact: ClassVar[Mapping[str, type[Struct]]] = {"health_checks": HealthChecks, "mcp_target": McpTarget}

    name: Name | None = None
    type: str | None = None
    enabled: bool | None = None
    provider: str | None = None
    provider_options: ProviderOptions | None = None
    description: str | None = None
    auth: AuthForm | None = None
    prices: PriceRules | None = None
    health_checks: HealthChecks | None = None
    max_concurrency: Concurrency | None = None
    mcp_target: McpTarget | None = None


class CreateRegistry(Struct, frozen=True, kw_only=True):
    """A new registry: of a `provider`, whose `auth` may be left out where it needs none; or of type MCP, with a
    `mcp_target`."""

    exact: ClassVar[Mapping[str, type[Struct]]] = UpdateRegistry.exact

    name: Name
    type: str | None = None
    enabled: bool | None = None
    provider: str | None = None
    provider_options: ProviderOptions | None = None
    description: str | None = None
    auth: AuthForm | None = None
    prices: PriceRules | None = None
    health_checks: HealthChecks | None = None
    max_concurrency: Concurrency | None = None
    mcp_target: McpTarget | None = None


async def get(work: Work, gateway_id: str, registry_id: str) -> Registry:
    """Return a registry of that gateway. Raises Refused."""
    return found(await work.unit.registries.get(registry_id, gateway_id=gateway_id))


async def page(work: Work, query: Query) -> Page[Registry]:
    """Return the registries that match."""
    return await work.unit.registries.page(query)


async def create(work: Work, gateway_id: str, form: CreateRegistry) -> Registry:
    """Make a registry. Raises Refused."""
    now = work.tools.now()
    if _is_mcp(form.type):
        _check_nothing_of_llm(form)
        registry = Registry(
            id=work.tools.record_id(),
            gateway_id=gateway_id,
            type="MCP",
            name=checked_name(form.name),
            enabled=form.enabled is not False,
            description=checked_size("description", form.description or "", 1000),
            mcp_target=checked_target(form.mcp_target, None, work.tools.programs),
            created_at=now,
            updated_at=now,
        )
    else:
        registry = _of_provider(work, gateway_id, form, now)
    with saving("registry"):
        await work.unit.registries.insert(registry)
    return registry


def _of_provider(work: Work, gateway_id: str, form: CreateRegistry, now: str) -> Registry:
    if form.mcp_target is not None:
        raise invalid("mcp_target is for type MCP: say so, or leave it out")
    if not form.provider:
        raise invalid("provider is required: see /v1/providers-catalog, or use type MCP with a mcp_target")
    provider = checked_provider(work.tools, form.provider)
    return Registry(
        id=work.tools.record_id(),
        gateway_id=gateway_id,
        name=checked_name(form.name),
        enabled=form.enabled is not False,
        provider=provider.name,
        provider_options=checked_options(provider, form.provider_options or {}, {}),
        description=checked_size("description", form.description or "", 1000),
        auth=checked_auth(provider, form.auth, None, work.tools.references),
        prices=checked_prices(form.prices or ()),
        health_checks=_checked_health(form.health_checks, None),
        max_concurrency=form.max_concurrency or 0,
        created_at=now,
        updated_at=now,
    )


async def update(work: Work, gateway_id: str, registry_id: str, form: UpdateRegistry) -> Registry:
    """Change what the form says and check the whole. Raises Refused."""
    before = await get(work, gateway_id, registry_id)
    if form.type and _is_mcp(form.type) != (before.type == "MCP"):
        raise invalid(f"type cannot be changed, it is {before.type}: make a new registry")
    if before.type == "MCP":
        _check_nothing_of_llm(form)
        target = checked_target(form.mcp_target, before.mcp_target, work.tools.programs)
        after = structs.replace(before, mcp_target=target, **_changes(form, before))
        return await save(work, work.unit.registries, "registry", before=before, after=after)
    if form.mcp_target is not None:
        raise invalid("mcp_target is for type MCP, and this registry is of type LLM")
    provider = checked_provider(work.tools, before.provider if form.provider is None else form.provider)
    after = structs.replace(
        before,
        provider=provider.name,
        provider_options=_new_options(provider, form, before),
        auth=_new_auth(provider, form, before, work.tools.references),
        **_changes(form, before),
    )
    return await save(work, work.unit.registries, "registry", before=before, after=after)


async def delete(work: Work, gateway_id: str, registry_id: str) -> None:
    """Delete a registry, detach it everywhere, and forget what consumers say of it. Raises Refused: 409 while an active
    one has it in its fallback chain."""
    await get(work, gateway_id, registry_id)
    holders = Query(gateway_id=gateway_id, where={"registries": registry_id}, limit=1_000_000)
    found_in = (await work.unit.consumers.page(holders)).items
    for consumer in found_in:
        if consumer.active and consumer.fallback is not None and registry_id in consumer.fallback.chain:
            raise Refused(
                "has_dependents",
                f"registry: resource has dependents: it is in the fallback chain of the consumer {consumer.name}, "
                "take it out of that first",
                status=409,
            )
    for consumer in found_in:
        rest = forgetting(consumer, registry_id)
        if rest != consumer:
            await work.unit.consumers.replace(rest)
    await work.unit.registries.delete(registry_id, gateway_id=gateway_id)


def checked_provider(tools: Tools, name: str) -> Provider:
    """Return the provider of that name. Raises Refused."""
    provider = tools.providers.get(name)
    if provider is None:
        raise invalid(f'unsupported provider "{name[:100]}": use one of {", ".join(sorted(tools.providers))}')
    return provider


def checked_options(provider: Provider, given: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with the stored secrets kept. Raises Refused naming what is unknown, missing or wrong."""
    merged: dict[str, Any] = kept(provider.options_type, given, stored, "provider_options")
    unknown_fields(provider.options_type, merged, "provider_options")
    try:
        options = provider.options(merged)
    except ValueError as error:
        raise invalid(explain(error, "provider_options")) from None
    _check_options(options)
    return merged


def _is_mcp(given: str | None) -> bool:
    kind = (given or "LLM").upper()
    if kind not in ("LLM", "MCP"):
        raise invalid("type must be LLM or MCP")
    return kind == "MCP"


def _check_nothing_of_llm(form: UpdateRegistry | CreateRegistry) -> None:
    for name in _OF_LLM:
        if getattr(form, name):
            raise invalid(f"{name} is not used by type MCP, whose server is its mcp_target: leave it out")


def _changes(form: UpdateRegistry, before: Registry) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if form.name is not None:
        changes["name"] = checked_name(form.name)
    if form.enabled is not None:
        changes["enabled"] = form.enabled
    if form.description is not None:
        changes["description"] = checked_size("description", form.description, 1000)
    if form.prices is not None:
        changes["prices"] = checked_prices(form.prices)
    if form.health_checks is not None:
        changes["health_checks"] = _checked_health(form.health_checks, before.health_checks)
    if form.max_concurrency is not None:
        changes["max_concurrency"] = form.max_concurrency
    return changes


def _checked_health(form: HealthChecks | None, stored: HealthChecks | None) -> HealthChecks | None:
    if form is None:
        return None
    new = structs.asdict(form)
    old = structs.asdict(stored) if stored is not None and stored.path == form.path else {}
    checks = msgspec.convert(kept(HealthChecks, new, old, "health_checks"), HealthChecks)
    if checks.path and not _PATH.fullmatch(checks.path):
        raise invalid("health_checks.path must begin with / and hold no blanks")
    for name, value in checks.headers.items():
        checked_header("health_checks.headers", name)
        checked_secret(f"health_checks.headers.{name}", value)
    return checks


def _new_options(provider: Provider, form: UpdateRegistry, before: Registry) -> dict[str, Any]:
    """Options that stay are checked too: another provider may not take them."""
    if form.provider_options is None:
        return checked_options(provider, before.provider_options, {})
    return checked_options(provider, form.provider_options, before.provider_options)


def _new_auth(provider: Provider, form: UpdateRegistry, before: Registry, references: References) -> ProviderAuth:
    if form.auth is not None:
        return checked_auth(provider, form.auth, before.auth, references)
    if before.auth.type not in provider.auth_types:
        raise invalid(f"auth.type {before.auth.type} is not taken by provider {provider.name}: send auth as well")
    return before.auth


def _check_options(options: Options | EchoOptions) -> None:
    if isinstance(options, EchoOptions):
        return
    for name, value in options.headers.items():
        checked_header("provider_options.headers", name)
        checked_secret(f"provider_options.headers.{name}", value)
    if options.base_url:
        _check_url(options.base_url)


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        bad = not parts.hostname or parts.port == 0 or bool(parts.fragment)
    except ValueError:
        bad = True
    if bad or not url.isascii():
        raise invalid("provider_options.base_url is not an address: write it as https://host[:port][/path]")
    if "@" in parts.netloc:
        raise invalid("provider_options.base_url must hold no credentials: they would be read back. Put them into auth")
