"""What there is to choose from: providers and plugins, with the forms that their types draw."""

import uuid
from functools import lru_cache
from itertools import groupby
from typing import Any, Final, Literal, get_args

import msgspec
from msgspec import Struct

from trustgate.contract.policy import Group
from trustgate.enforcement.plugins import Plugin
from trustgate.planes.admin.forms import Field, fields_of, label_of
from trustgate.planes.admin.operation import Ask, Nothing, Operation, serving
from trustgate.planes.admin.plane import AdminServices
from trustgate.planes.admin.services.registries import ApiKeyForm
from trustgate.planes.admin.wire import Id
from trustgate.providers.catalog import Provider

_GROUPS: Final = get_args(Group)
_AUTH_LABELS: Final = {"api_key": "API key", "none": "None"}


class AuthType(Struct, frozen=True, kw_only=True):
    """One way to prove oneself to a provider; `fields` are those of the block that is named like `type`."""

    type: str
    label: str
    fields: tuple[Field, ...]


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
        auth_types=[_auth_type(kind) for kind in provider.auth_types],
        provider_options_schema=fields_of(provider.options_type),
    )


def _auth_type(kind: str) -> AuthType:
    fields = fields_of(ApiKeyForm) if kind == "api_key" else ()
    return AuthType(type=kind, label=_AUTH_LABELS.get(kind, label_of(kind)), fields=fields)


def _plugin(plugin: Plugin) -> PluginItem:
    settings = plugin.settings_type
    return PluginItem(
        slug=plugin.slug,
        name=settings.title,
        description=" ".join((settings.__doc__ or "").split()),
        mandatory_stages=[],
        supported_stages=list(plugin.stages),
        supported_modes=list(settings.modes),
        supported_protocols=["LLM"],
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
