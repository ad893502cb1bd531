"""Registries: one account at one provider each. What a provider cannot be told or does not take is refused here."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct, structs

from trustgate.config.records import ApiKeyAuth, ProviderAuth, Registry
from trustgate.contract.policy import Secret
from trustgate.planes.admin import masking
from trustgate.planes.admin.services.explain import explain, unknown_fields
from trustgate.planes.admin.services.fields import Name, checked_header, checked_name, checked_secret, checked_size
from trustgate.planes.admin.services.problems import found, invalid, save, saving
from trustgate.planes.admin.services.work import Tools, Work
from trustgate.providers.catalog import EchoOptions, Options, Provider
from trustgate.storage.store import Page, Query

_LATER_AUTH: Final = ("azure", "aws", "oauth2", "gcp_service_account")

ProviderOptions = Annotated[
    dict[str, Any], Meta(description="What the provider can be told; see `/v1/providers-catalog`. Others are refused.")
]


class ApiKeyForm(Struct, frozen=True, kw_only=True):
    """A provider key, or a header pair, or a query parameter pair that stands for one."""

    api_key: Secret | None = None
    header_name: str | None = None
    header_value: Secret | None = None
    param_name: str | None = None
    param_value: Secret | None = None
    param_location: str | None = None


class AuthForm(Struct, frozen=True, kw_only=True):
    """How the registry proves itself; `type` must be one that the provider takes."""

    type: Annotated[str, Meta(extra_json_schema={"examples": ["api_key"]})]
    api_key: ApiKeyForm | None = None


class UpdateRegistry(Struct, frozen=True, kw_only=True):
    """What changes; a field that is absent or null stays as it is. `provider_options` and `auth` are replaced, but a
    secret in them that is absent, empty or masked stays."""

    later: ClassVar[tuple[str, ...]] = ("health_checks", "mcp_target")

    name: Name | None = None
    type: str | None = None
    enabled: bool | None = None
    provider: str | None = None
    provider_options: ProviderOptions | None = None
    description: str | None = None
    auth: AuthForm | None = None


class CreateRegistry(Struct, frozen=True, kw_only=True):
    """A new registry. `auth` may be left out where the provider needs none."""

    later: ClassVar[tuple[str, ...]] = UpdateRegistry.later

    name: Name
    type: str | None = None
    enabled: bool | None = None
    provider: str
    provider_options: ProviderOptions | None = None
    description: str | None = None
    auth: AuthForm | None = None


async def get(work: Work, gateway_id: str, registry_id: str) -> Registry:
    """Return a registry of that gateway. Raises Refused."""
    return found(await work.unit.registries.get(registry_id, gateway_id=gateway_id))


async def page(work: Work, query: Query) -> Page[Registry]:
    """Return the registries that match."""
    return await work.unit.registries.page(query)


async def create(work: Work, gateway_id: str, form: CreateRegistry) -> Registry:
    """Make a registry. Raises Refused."""
    _check_type(form.type)
    provider = checked_provider(work.tools, form.provider)
    now = work.tools.now()
    registry = Registry(
        id=work.tools.record_id(),
        gateway_id=gateway_id,
        name=checked_name(form.name),
        enabled=form.enabled is not False,
        provider=provider.name,
        provider_options=checked_options(provider, form.provider_options or {}, {}),
        description=checked_size("description", form.description or "", 1000),
        auth=checked_auth(provider, form.auth, None),
        created_at=now,
        updated_at=now,
    )
    with saving("registry"):
        await work.unit.registries.insert(registry)
    return registry


async def update(work: Work, gateway_id: str, registry_id: str, form: UpdateRegistry) -> Registry:
    """Change what the form says and check the whole. Raises Refused."""
    before = await get(work, gateway_id, registry_id)
    _check_type(form.type)
    provider = checked_provider(work.tools, before.provider if form.provider is None else form.provider)
    after = structs.replace(
        before,
        provider=provider.name,
        provider_options=_new_options(provider, form, before),
        auth=_new_auth(provider, form, before),
        **_changes(form),
    )
    return await save(work, work.unit.registries, "registry", before=before, after=after)


async def delete(work: Work, gateway_id: str, registry_id: str) -> None:
    """Delete a registry, detach it everywhere, and forget which of its models consumers might ask for."""
    await get(work, gateway_id, registry_id)
    holders = Query(gateway_id=gateway_id, where={"registries": registry_id}, limit=1_000_000)
    for consumer in (await work.unit.consumers.page(holders)).items:
        rest = tuple(rule for rule in consumer.model_policies if rule.registry_id != registry_id)
        if rest != consumer.model_policies:
            await work.unit.consumers.replace(structs.replace(consumer, model_policies=rest))
    await work.unit.registries.delete(registry_id, gateway_id=gateway_id)


def checked_provider(tools: Tools, name: str) -> Provider:
    """Return the provider of that name. Raises Refused."""
    provider = tools.providers.get(name)
    if provider is None:
        raise invalid(f'unsupported provider "{name[:100]}": use one of {", ".join(sorted(tools.providers))}')
    return provider


def checked_options(provider: Provider, given: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with the stored secrets kept. Raises Refused naming what is unknown, missing or wrong."""
    merged: dict[str, Any] = _kept(provider.options_type, given, stored, "provider_options")
    unknown_fields(provider.options_type, merged, "provider_options")
    try:
        options = provider.options(merged)
    except ValueError as error:
        raise invalid(explain(error, "provider_options")) from None
    _check_options(options)
    return merged


def checked_auth(provider: Provider, form: AuthForm | None, stored: ProviderAuth | None) -> ProviderAuth:
    """Return how to prove oneself to that provider, with stored secrets kept. Raises Refused."""
    kind = form.type if form else "none"
    if kind in _LATER_AUTH:
        raise invalid(f"auth.type {kind} is not supported by this version: use {_either(provider)}")
    if kind not in provider.auth_types:
        missing = "auth is required" if form is None else f'auth.type "{kind[:100]}" is not taken'
        raise invalid(f"{missing} by provider {provider.name}: use auth.type {_either(provider)}")
    if form is None or kind == "none":
        return ProviderAuth(type="none")
    return ProviderAuth(type="api_key", api_key=_checked_key(form.api_key, stored.api_key if stored else None))


def _either(provider: Provider) -> str:
    return " or ".join(provider.auth_types)


def _check_type(given: str | None) -> None:
    if given and given.upper() == "MCP":
        raise invalid("type MCP is not served by this version: use LLM")
    if given and given.upper() != "LLM":
        raise invalid("type must be LLM")


def _changes(form: UpdateRegistry) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if form.name is not None:
        changes["name"] = checked_name(form.name)
    if form.enabled is not None:
        changes["enabled"] = form.enabled
    if form.description is not None:
        changes["description"] = checked_size("description", form.description, 1000)
    return changes


def _new_options(provider: Provider, form: UpdateRegistry, before: Registry) -> dict[str, Any]:
    """Options that stay are checked too: another provider may not take them."""
    if form.provider_options is None:
        return checked_options(provider, before.provider_options, {})
    return checked_options(provider, form.provider_options, before.provider_options)


def _new_auth(provider: Provider, form: UpdateRegistry, before: Registry) -> ProviderAuth:
    if form.auth is not None:
        return checked_auth(provider, form.auth, before.auth)
    if before.auth.type not in provider.auth_types:
        raise invalid(f"auth.type {before.auth.type} is not taken by provider {provider.name}: send auth as well")
    return before.auth


def _checked_key(form: ApiKeyForm | None, stored: ApiKeyAuth | None) -> ApiKeyAuth:
    given = {name: value for name, value in structs.asdict(form or ApiKeyForm()).items() if value is not None}
    same_mode = stored is not None and _mode(given) == _mode(structs.asdict(stored))
    old = msgspec.to_builtins(stored) if same_mode else {}
    merged = _kept(ApiKeyAuth, given, old, "auth.api_key")
    try:
        return _complete(msgspec.convert(merged, ApiKeyAuth))
    except msgspec.ValidationError as error:
        raise invalid(explain(error, "auth.api_key")) from None


def _mode(key: Mapping[str, Any]) -> str:
    """Say which of the three ways a key is given in; a stored secret is only kept within the same way."""
    return f"header {key['header_name']}" if key.get("header_name") else "param" if key.get("param_name") else "key"


def _complete(key: ApiKeyAuth) -> ApiKeyAuth:
    for field in ("api_key", "header_value", "param_value"):
        checked_secret(f"auth.api_key.{field}", getattr(key, field))
    if key.header_name:
        checked_header("auth.api_key.header_name", key.header_name)
    if bool(key.header_name) != bool(key.header_value) or bool(key.param_name) != bool(key.param_value):
        raise invalid("auth.api_key needs both halves of a header or parameter pair: a name and a value")
    if not (key.api_key or key.header_name or key.param_name):
        raise invalid("auth.api_key needs api_key, or header_name and header_value, or param_name and param_value")
    return key


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


def _kept(kind: type[Struct], new: Mapping[str, Any], old: Mapping[str, Any], path: str) -> Any:
    try:
        return masking.kept(kind, dict(new), dict(old), path=path)
    except masking.MaskedSecret as error:
        raise invalid(str(error)) from None
