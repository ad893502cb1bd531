"""Registries on the wire: what is secret in them is masked."""

from itertools import groupby
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from trustgate.config.mcp import McpTarget, OpenApi, Pinning, Reach
from trustgate.config.records import Grant, HealthChecks, ProviderAuth, Registry
from trustgate.contract.cost import PriceRule
from trustgate.contract.errors import Refused
from trustgate.planes.admin import masking
from trustgate.planes.admin.connection import Connection, TryConnection, try_connection
from trustgate.planes.admin.operation import Ask, Nothing, Operation, reading, serving, writing
from trustgate.planes.admin.paging import LARGEST, PageQuery, to_query
from trustgate.planes.admin.services import registries
from trustgate.planes.admin.services.registries import CreateRegistry, UpdateRegistry
from trustgate.planes.admin.services.work import Tools, Work
from trustgate.planes.admin.wire import Id, Time
from trustgate.providers.credentials import is_reference
from trustgate.storage.store import Query

SecretView = Annotated[
    str,
    Meta(
        pattern=r"^(\*\*\*.{0,4}|(env|file):.*)?$",
        description="A secret, masked, or the reference to one as it is; absent when there is none.",
    ),
]


class ApiKeyView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A provider key as it is read back."""

    api_key: SecretView = ""
    header_name: str = ""
    header_value: SecretView = ""
    param_name: str = ""
    param_value: SecretView = ""
    param_location: Literal["", "query"] = ""
    keys: dict[str, SecretView] = {}
    key_weights: dict[str, int] = {}


class AzureView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An Azure resource and who asks it, as they are read back."""

    endpoint: str
    version: str = ""
    api_key: SecretView = ""
    client_id: str = ""
    client_secret: SecretView = ""
    tenant_id: str = ""
    use_managed_identity: bool = False


class AwsView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Access keys or a role, as they are read back."""

    region: str
    access_key_id: SecretView = ""
    secret_access_key: SecretView = ""
    session_token: SecretView = ""
    use_role: bool = False
    role: str = ""


Reference = Annotated[
    str, Meta(pattern=r"^((env|file):.*)?$", description="The reference to a secret; the secret itself is never read.")
]


class OAuth2View(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A token endpoint and a grant, as they are read back."""

    token_url: str
    grant_type: Grant
    client_id: str = ""
    client_secret: SecretView = ""
    use_basic_auth: bool = False
    scopes: tuple[str, ...] = ()
    audience: str = ""
    refresh_token: SecretView = ""
    username: Reference = ""
    password: Reference = ""
    extra: dict[str, SecretView] = {}


class ProviderAuthView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the registry proves itself."""

    type: Literal["api_key", "none", "azure", "aws", "gcp_service_account", "oauth2"]
    api_key: ApiKeyView | None = None
    azure: AzureView | None = None
    aws: AwsView | None = None
    oauth: OAuth2View | None = None
    gcp_service_account: SecretView = ""


class HealthChecksView(Struct, frozen=True, kw_only=True):
    """How the registry's health is watched, as it is read back."""

    passive: bool = True
    active: bool = False
    path: str = ""
    headers: dict[str, SecretView] = {}
    threshold: int = 3
    healthy_threshold: int = 1
    interval: int = 10
    timeout: int = 5


class McpAuthView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the gateway proves itself to the server."""

    mode: Literal["none", "static", "passthrough", "client_credentials"] = "none"
    header: str = ""
    value: SecretView = ""
    expected_audience: str = ""
    client_id: str = ""
    client_secret: SecretView = ""
    token_url: str = ""
    token_endpoint_auth_method: Literal["basic", "post"] = "basic"  # noqa: S105 - how, and not what
    scopes: tuple[str, ...] = ()
    resource: str = ""


class ProgramView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A server that is a program, as it is read back."""

    command: tuple[str, ...]
    env: dict[str, SecretView] = {}


class McpTargetView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The server of a registry of type MCP, as it is read back."""

    url: str = ""
    code: str = ""
    transport: Reach = "streamable-http"
    program: ProgramView | None = None
    openapi: OpenApi | None = None
    pinning: Pinning = "observe"
    headers: dict[str, SecretView] = {}
    auth: McpAuthView = McpAuthView()
    prefix: str = ""
    timeout_ms: int = 300_000
    discovery_timeout_ms: int = 5_000
    max_result_bytes: int = 8 * 1024 * 1024


class RegistryView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A registry as it is read back."""

    id: Id
    gateway_id: Id
    name: str
    type: Literal["LLM", "MCP"]
    enabled: bool
    provider: str = ""
    provider_options: dict[str, Any] = {}
    description: str = ""
    auth: ProviderAuthView
    prices: tuple[PriceRule, ...] = ()
    health_checks: HealthChecksView | None = None
    max_concurrency: int = 0
    mcp_target: McpTargetView | None = None
    created_at: Time
    updated_at: Time


class RegistryList(Struct, frozen=True, kw_only=True):
    """One page of registries."""

    items: list[RegistryView]
    page: int
    size: int
    total: int


class RegistryGroup(Struct, frozen=True, kw_only=True):
    """The registries of one provider, by name."""

    provider: str
    type: Literal["LLM"] = "LLM"
    instance_count: int
    instances: list[RegistryView]


class GroupedRegistries(Struct, frozen=True, kw_only=True):
    """All registries of a gateway by provider."""

    view: Literal["grouped"] = "grouped"
    groups: list[RegistryGroup]
    total_groups: int
    total_instances: int


class RegistryQuery(PageQuery, frozen=True, kw_only=True):
    """Which registries."""

    name: Annotated[str, Meta(description="A part of the name, in any case.")] = ""
    view: Annotated[str, Meta(description="`grouped`, with type=LLM and nothing else: all of them by provider.")] = ""
    type: Annotated[str, Meta(description="`LLM`, with view=grouped.")] = ""


def view(registry: Registry, tools: Tools) -> RegistryView:
    """Return a registry as it is read back."""
    return RegistryView(
        id=registry.id,
        gateway_id=registry.gateway_id,
        name=registry.name,
        type=registry.type,
        enabled=registry.enabled,
        provider=registry.provider,
        provider_options=_options(registry, tools),
        description=registry.description,
        auth=_auth(registry.auth),
        prices=registry.prices,
        health_checks=_health(registry.health_checks),
        max_concurrency=registry.max_concurrency,
        mcp_target=_target(registry.mcp_target),
        created_at=registry.created_at,
        updated_at=registry.updated_at,
    )


def _auth(auth: ProviderAuth) -> ProviderAuthView:
    shown = masking.masked(ProviderAuth, msgspec.to_builtins(auth), plain=is_reference)
    for field in ("username", "password") if auth.oauth else ():
        if not is_reference(shown["oauth"].get(field, "")):
            shown["oauth"].pop(field, None)  # the published contract has these never come back, not even masked
    return msgspec.convert(shown, ProviderAuthView)


def _health(checks: HealthChecks | None) -> HealthChecksView | None:
    if checks is None:
        return None
    return msgspec.convert(masking.masked(HealthChecks, msgspec.to_builtins(checks)), HealthChecksView)


def _target(target: McpTarget | None) -> McpTargetView | None:
    if target is None:
        return None
    return msgspec.convert(masking.masked(McpTarget, msgspec.to_builtins(target)), McpTargetView)


def _options(registry: Registry, tools: Tools) -> dict[str, Any]:
    provider = tools.providers.get(registry.provider)
    options = registry.provider_options
    shown: dict[str, Any] = (
        masking.masked(provider.options_type, options) if provider else masking.masked_whole(options)
    )
    return shown


async def _create(work: Work, ask: Ask[CreateRegistry, Nothing]) -> RegistryView:
    return view(await registries.create(work, ask.gateway, ask.body), work.tools)


async def _list(work: Work, ask: Ask[Nothing, RegistryQuery]) -> RegistryList | GroupedRegistries:
    asked = ask.query
    if asked.view or asked.type:
        return await _grouped(work, ask)
    found = await registries.page(work, to_query(asked, gateway_id=ask.gateway, where={}, search=asked.name))
    items = [view(registry, work.tools) for registry in found.items]
    return RegistryList(items=items, page=asked.page, size=asked.limit, total=found.total)


async def _grouped(work: Work, ask: Ask[Nothing, RegistryQuery]) -> GroupedRegistries:
    if ask.query != RegistryQuery(view="grouped", type="LLM"):
        message = "invalid query parameters: view=grouped and type=LLM go together, and with no other parameter"
        raise Refused("invalid_query", message, status=400)
    found = await registries.page(work, Query(gateway_id=ask.gateway, limit=LARGEST))
    if found.total > LARGEST:
        message = f"grouped registry view supports at most {LARGEST} registries; gateway has {found.total}"
        raise Refused("result_too_large", f"{message}: result set too large, list them by page", status=422)
    served = [registry for registry in found.items if registry.type == "LLM"]
    ordered = sorted(served, key=lambda it: (it.provider, it.name.lower(), it.id))
    groups = [_group(name, list(each), work.tools) for name, each in groupby(ordered, key=lambda it: it.provider)]
    return GroupedRegistries(groups=groups, total_groups=len(groups), total_instances=len(ordered))


def _group(provider: str, members: list[Registry], tools: Tools) -> RegistryGroup:
    instances = [view(registry, tools) for registry in members]
    return RegistryGroup(provider=provider, instance_count=len(instances), instances=instances)


async def _get(work: Work, ask: Ask[Nothing, Nothing]) -> RegistryView:
    return view(await registries.get(work, ask.gateway, ask.id), work.tools)


async def _update(work: Work, ask: Ask[UpdateRegistry, Nothing]) -> RegistryView:
    return view(await registries.update(work, ask.gateway, ask.id, ask.body), work.tools)


async def _delete(work: Work, ask: Ask[Nothing, Nothing]) -> None:
    await registries.delete(work, ask.gateway, ask.id)


_ALL: Final = "/v1/gateways/{gateway_id}/registries"
_ONE: Final = _ALL + "/{id}"
_TRY: Final = _ALL + "/test-connection"
_TAG: Final = "Registries"
_TAKEN: Final = ("already_exists",)
_VIEW: Final = ("invalid_query", "result_too_large")

OPERATIONS: Final[tuple[Operation, ...]] = (
    writing(
        "POST",
        _ALL,
        _create,
        name="createRegistry",
        summary="Register a provider account",
        tag=_TAG,
        status=201,
        refuses=_TAKEN,
    ),
    reading("GET", _ALL, _list, name="listRegistries", summary="List registries", tag=_TAG, refuses=_VIEW),
    serving(
        "POST", _TRY, try_connection, name="testConnection", summary="Ask a provider whether it can be used", tag=_TAG
    ),
    reading("GET", _ONE, _get, name="getRegistry", summary="Read a registry", tag=_TAG),
    writing("PUT", _ONE, _update, name="updateRegistry", summary="Change a registry", tag=_TAG, refuses=_TAKEN),
    writing(
        "DELETE",
        _ONE,
        _delete,
        name="deleteRegistry",
        summary="Delete a registry and detach it",
        tag=_TAG,
        refuses=("has_dependents",),
    ),
)

__all__ = ["OPERATIONS", "Connection", "TryConnection", "view"]
