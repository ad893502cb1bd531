"""What there is to choose from: providers and plugins, with the forms that their types draw."""

import uuid
from collections.abc import Mapping
from functools import lru_cache
from itertools import groupby
from typing import Any, Final, Literal, get_args

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from trustgate.config.records import AwsAuth, AzureAuth, OAuth2Auth
from trustgate.contract.policy import Group
from trustgate.enforcement.plugins import Plugin
from trustgate.planes.admin.forms import Field, fields_of
from trustgate.planes.admin.operation import Ask, Nothing, Operation, serving
from trustgate.planes.admin.plane import AdminServices
from trustgate.planes.admin.services.auth_forms import ApiKeyForm
from trustgate.planes.admin.wire import Id
from trustgate.providers.catalog import Provider

_GROUPS: Final = get_args(Group)


class AuthType(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One way to prove oneself to a provider; `fields` are those of the block named like `type` (oauth2: `oauth`).

    A type that can be used in several ways is there once for each: `variant` tells them apart.
    """

    type: str
    variant: str = ""
    label: str
    fields: tuple[Field, ...]


def _drawn(kind: str, record: type[Struct], label: str, *names: str, variant: str = "", fixed: str = "") -> AuthType:
    """Draw the named fields of a record: those marked with * have to be filled in, `fixed` is one that must be true."""
    fields = {field.key: field for field in fields_of(record)}
    if "grant_type" in fields:
        fields["grant_type"] = replace(fields["grant_type"], default=variant)
    chosen = [replace(fields[name.removesuffix("*")], required=name.endswith("*")) for name in names]
    switch = [replace(fields[fixed], required=True, default=True)] if fixed else []
    return AuthType(type=kind, variant=variant, label=label, fields=(*chosen, *switch))


_CLIENT: Final = ("client_id", "client_secret", "use_basic_auth", "scopes", "audience", "extra")
_GRANT: Final = ("token_url*", "grant_type*")
AUTH_TYPES: Final[Mapping[str, tuple[AuthType, ...]]] = {
    "none": (AuthType(type="none", label="None", fields=()),),
    "api_key": (AuthType(type="api_key", label="API key", fields=fields_of(ApiKeyForm)),),
    "azure": (
        _drawn("azure", AzureAuth, "API key", "endpoint*", "version", "api_key*", variant="api_key"),
        _drawn(
            *("azure", AzureAuth, "Service principal of Microsoft Entra"),
            *("endpoint*", "version", "tenant_id*", "client_id*", "client_secret*"),
            variant="service_principal",
        ),
        _drawn(
            *("azure", AzureAuth, "Managed identity of the gateway's host", "endpoint*", "version"),
            variant="managed_identity",
            fixed="use_managed_identity",
        ),
    ),
    "aws": (
        _drawn(
            *("aws", AwsAuth, "Access keys", "region*", "access_key_id*", "secret_access_key*", "session_token"),
            variant="access_keys",
        ),
        _drawn(
            *("aws", AwsAuth, "Role that the gateway's host assumes", "region*", "role*"),
            variant="role",
            fixed="use_role",
        ),
    ),
    "oauth2": (
        _drawn(
            *("oauth2", OAuth2Auth, "OAuth 2.0 client credentials", *_GRANT, "client_id*", "client_secret*"),
            *_CLIENT[2:],
            variant="client_credentials",
        ),
        _drawn(
            *("oauth2", OAuth2Auth, "OAuth 2.0 refresh token", *_GRANT, "refresh_token*", *_CLIENT),
            variant="refresh_token",
        ),
        _drawn(
            *("oauth2", OAuth2Auth, "OAuth 2.0 user and password", *_GRANT, "username*", "password*", *_CLIENT),
            variant="password",
        ),
    ),
    "gcp_service_account": (
        AuthType(
            type="gcp_service_account",
            label="Service account of Google Cloud",
            fields=(
                Field(
                    key="gcp_service_account",
                    label="Key file",
                    type="string",
                    description="The JSON of the key file. It stands beside `type`, in no block.",
                    required=True,
                    secret=True,
                ),
            ),
        ),
    ),
}


class ProviderItem(Struct, frozen=True, kw_only=True):
    """One provider."""

    id: Id
    code: str
    display_name: str
    wire_format: str
    source: Literal["seed"] = "seed"
    auth_types: list[AuthType]
    provider_options_schema: tuple[Field, ...]


class ProvidersCatalog(Struct, frozen=True, kw_only=True):
    """Every provider, by code."""

    items: list[ProviderItem]


class SettingsSchema(Struct, frozen=True, kw_only=True):
    """How a form for the settings is drawn."""

    fields: tuple[Field, ...]


class PluginItem(Struct, frozen=True, kw_only=True):
    """One plugin. `json_schema` validates its settings, `settings_schema` draws them."""

    slug: str
    name: str
    description: str
    mandatory_stages: list[str]
    supported_stages: list[str]
    supported_modes: list[str]
    supported_protocols: list[str]
    default_mode: str
    default_on_error: Literal["deny", "allow"]
    settings_schema: SettingsSchema
    json_schema: dict[str, Any]


class PluginGroup(Struct, frozen=True, kw_only=True):
    """The plugins of one kind, by slug."""

    type: str
    items: list[PluginItem]


class PoliciesCatalog(Struct, frozen=True, kw_only=True):
    """Every plugin, by kind."""

    groups: list[PluginGroup]


async def _providers(services: AdminServices, _: Ask[Nothing, Nothing]) -> ProvidersCatalog:
    providers = sorted(services.tools.providers.values(), key=lambda provider: provider.name)
    return ProvidersCatalog(items=[_provider(provider) for provider in providers])


async def _policies(services: AdminServices, _: Ask[Nothing, Nothing]) -> PoliciesCatalog:
    plugins = sorted(services.tools.plugins, key=lambda plugin: _GROUPS.index(plugin.settings_type.group))
    grouped = groupby(plugins, key=lambda plugin: plugin.settings_type.group)
    return PoliciesCatalog(
        groups=[PluginGroup(type=name, items=[_plugin(it) for it in each]) for name, each in grouped]
    )


def _provider(provider: Provider) -> ProviderItem:
    return ProviderItem(
        id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"trustgate:provider:{provider.name}")),
        code=provider.name,
        display_name=provider.display_name,
        wire_format=provider.dialect,
        auth_types=[drawn for kind in provider.auth_types for drawn in AUTH_TYPES[kind]],
        provider_options_schema=fields_of(provider.options_type),
    )


def _plugin(plugin: Plugin) -> PluginItem:
    settings = plugin.settings_type
    return PluginItem(
        slug=plugin.slug,
        name=settings.title,
        description=" ".join((settings.__doc__ or "").split()),
        mandatory_stages=list(plugin.mandatory),
        supported_stages=list(plugin.stages),
        supported_modes=list(settings.modes),
        supported_protocols=list(settings.protocols),
        default_mode="enforce",
        default_on_error=settings.on_error,
        settings_schema=SettingsSchema(fields=fields_of(settings)),
        json_schema=_json_schema(settings),
    )


@lru_cache(maxsize=256)
def _json_schema(kind: type[Struct]) -> dict[str, Any]:
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(kind)}


_TAG: Final = "Catalogs"

OPERATIONS: Final[tuple[Operation, ...]] = (
    serving("GET", "/v1/providers-catalog", _providers, name="providersCatalog", summary="List providers", tag=_TAG),
    serving("GET", "/v1/policies-catalog", _policies, name="policiesCatalog", summary="List plugins", tag=_TAG),
)
