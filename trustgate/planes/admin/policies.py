"""Policies on the wire: what is secret in their settings is masked, by the plugin's own settings type."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct, field

from trustgate.config.records import Mode, OnError, Policy
from trustgate.enforcement.plugins import ALIASES
from trustgate.planes.admin import masking
from trustgate.planes.admin.operation import Ask, Nothing, Operation, reading, writing
from trustgate.planes.admin.paging import Order, SearchQuery, to_query
from trustgate.planes.admin.services import policies
from trustgate.planes.admin.services.policies import CreatePolicy, UpdatePolicy
from trustgate.planes.admin.services.work import Tools, Work
from trustgate.planes.admin.wire import Id, Time

Words = Annotated[list[str], Meta(max_length=100)]


class PolicyView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A policy as it is read back. `stages` are those in which it runs."""

    id: Id
    gateway_id: Id
    consumer_ids: list[Id]
    name: str
    description: str = ""
    slug: str
    enabled: bool
    is_global: bool = field(name="global")
    priority: int
    parallel: bool
    settings: dict[str, Any]
    stages: list[str]
    mode: Mode
    on_error: OnError = ""
    timeout: str = ""
    created_at: Time
    updated_at: Time


class PolicyList(Struct, frozen=True, kw_only=True):
    """One page of policies."""

    items: list[PolicyView]
    page: int
    size: int
    total: int


class PolicyQuery(SearchQuery, frozen=True, kw_only=True):
    """Which policies, in which order. `search` looks into names and plugin slugs."""

    enabled: bool | None = None
    is_global: bool | None = field(name="global", default=None)
    mode: Literal["enforce", "throttle", "observe"] | None = None
    category: Annotated[Words, Meta(description="Groups of the policies catalog, such as `Traffic Control`.")] = field(
        default_factory=list
    )
    type: Annotated[Words, Meta(description="Plugin slugs.")] = field(default_factory=list)
    sort: Literal["name", "created_at", "updated_at", "priority"] | None = None
    order: Order | None = None


def view(policy: Policy, tools: Tools) -> PolicyView:
    """Return a policy as it is read back."""
    plugin = tools.plugins.get(policy.slug)
    known = masking.masked(plugin.settings_type, policy.settings) if plugin else masking.masked_whole(policy.settings)
    return PolicyView(
        id=policy.id,
        gateway_id=policy.gateway_id,
        consumer_ids=list(policy.consumer_ids),
        name=policy.name,
        description=policy.description,
        slug=policy.slug,
        enabled=policy.enabled,
        is_global=policy.is_global,
        priority=policy.priority,
        parallel=policy.parallel,
        settings=known,
        stages=list(policy.stages or (plugin.stages if plugin else ())),
        mode=policy.mode,
        on_error=policy.on_error,
        timeout=_duration(policy.timeout_ms),
        created_at=policy.created_at,
        updated_at=policy.updated_at,
    )


def _duration(milliseconds: int) -> str:
    if not milliseconds:
        return ""
    return f"{milliseconds // 1000}s" if milliseconds % 1000 == 0 else f"{milliseconds}ms"


async def _create(work: Work, ask: Ask[CreatePolicy, Nothing]) -> PolicyView:
    return view(await policies.create(work, ask.gateway, ask.body), work.tools)


async def _list(work: Work, ask: Ask[Nothing, PolicyQuery]) -> PolicyList:
    asked = ask.query
    query = to_query(
        asked,
        gateway_id=ask.gateway,
        where={
            "enabled": asked.enabled,
            "is_global": asked.is_global,
            "mode": asked.mode,
            "slug": _slugs(work.tools, asked.category, asked.type),
        },
        search_in=("name", "slug"),
        sort=asked.sort,
        order=asked.order,
    )
    found = await policies.page(work, query)
    items = [view(policy, work.tools) for policy in found.items]
    return PolicyList(items=items, page=asked.page, size=asked.limit, total=found.total)


def _slugs(tools: Tools, categories: Sequence[str], types: Sequence[str]) -> list[str] | None:
    """Return the slugs that both filters let through; None when there is no filter."""
    wanted = [ALIASES.get(slug, slug) for slug in types]
    if not categories:
        return wanted or None
    grouped = [plugin.slug for plugin in tools.plugins if plugin.settings_type.group in categories]
    return [slug for slug in grouped if not wanted or slug in wanted]


async def _get(work: Work, ask: Ask[Nothing, Nothing]) -> PolicyView:
    return view(await policies.get(work, ask.gateway, ask.id), work.tools)


async def _update(work: Work, ask: Ask[UpdatePolicy, Nothing]) -> PolicyView:
    return view(await policies.update(work, ask.gateway, ask.id, ask.body), work.tools)


async def _delete(work: Work, ask: Ask[Nothing, Nothing]) -> None:
    await policies.delete(work, ask.gateway, ask.id)


async def _set_global(work: Work, ask: Ask[Nothing, Nothing]) -> PolicyView:
    return view(await policies.set_global(work, ask.gateway, ask.id, is_global=True), work.tools)


async def _unset_global(work: Work, ask: Ask[Nothing, Nothing]) -> PolicyView:
    return view(await policies.set_global(work, ask.gateway, ask.id, is_global=False), work.tools)


async def _duplicate(work: Work, ask: Ask[Nothing, Nothing]) -> PolicyView:
    return view(await policies.duplicate(work, ask.gateway, ask.id), work.tools)


_ALL: Final = "/v1/gateways/{gateway_id}/policies"
_ONE: Final = _ALL + "/{id}"
_GLOBAL: Final = _ONE + "/global"
_TAG: Final = "Policies"
_TAKEN: Final = ("already_exists",)

OPERATIONS: Final[tuple[Operation, ...]] = (
    writing(
        "POST", _ALL, _create, name="createPolicy", summary="Configure a plugin", tag=_TAG, status=201, refuses=_TAKEN
    ),
    reading("GET", _ALL, _list, name="listPolicies", summary="List policies", tag=_TAG),
    reading("GET", _ONE, _get, name="getPolicy", summary="Read a policy", tag=_TAG),
    writing("PUT", _ONE, _update, name="updatePolicy", summary="Change a policy", tag=_TAG, refuses=_TAKEN),
    writing("DELETE", _ONE, _delete, name="deletePolicy", summary="Delete a policy and detach it", tag=_TAG),
    writing("POST", _GLOBAL, _set_global, name="setPolicyGlobal", summary="Put every consumer under it", tag=_TAG),
    writing(
        "DELETE",
        _GLOBAL,
        _unset_global,
        name="unsetPolicyGlobal",
        summary="Put only attached consumers under it",
        tag=_TAG,
    ),
    writing(
        "POST", _ONE + "/duplicate", _duplicate, name="duplicatePolicy", summary="Copy a policy", tag=_TAG, status=201
    ),
)
