"""Consumers on the wire, with what is attached to them."""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from trustgate.config.mcp import ToolkitEntry
from trustgate.config.records import Consumer, Fallback, LoadBalancing, ModelPolicy
from trustgate.contract.errors import Refused
from trustgate.planes.admin.operation import Ask, Nothing, Operation, reading, writing
from trustgate.planes.admin.paging import Order, SearchQuery, to_query
from trustgate.planes.admin.services import attachments, consumers
from trustgate.planes.admin.services.attachments import AttachRegistry
from trustgate.planes.admin.services.consumers import CreateConsumer, UpdateConsumer
from trustgate.planes.admin.services.fields import checked_id
from trustgate.planes.admin.services.work import Work
from trustgate.planes.admin.wire import Id, Time


class RegistryWeight(Struct, frozen=True, kw_only=True):
    """A registry's share of the traffic."""

    registry_id: Id
    weight: int


class ConsumerView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A consumer as it is read back. `registry_ids` are in the order in which they were attached."""

    id: Id
    gateway_id: Id
    name: str
    type: Literal["LLM", "MCP"]
    slug: str
    routing_mode: Literal["inline"]
    active: bool
    strict_translation: bool
    registry_ids: list[Id]
    registry_weights: list[RegistryWeight] = []
    role_ids: list[Id]
    auth_ids: list[Id]
    share: int = 1
    aliases: dict[str, str] = {}
    lb_config: LoadBalancing | None = None
    fallback: Fallback | None = None
    model_policies: tuple[ModelPolicy, ...] = ()
    toolkit: tuple[ToolkitEntry, ...] | None = None
    fail_mode: Literal["open", "closed"] = "open"
    tool_search: bool = False
    created_at: Time
    updated_at: Time


class ConsumerList(Struct, frozen=True, kw_only=True):
    """One page of consumers."""

    items: list[ConsumerView]
    page: int
    size: int
    total: int


class ConsumerQuery(SearchQuery, frozen=True, kw_only=True):
    """Which consumers, in which order. `search` looks into names and slugs."""

    type: Literal["LLM", "MCP", "A2A"] | None = None
    active: bool | None = None
    auth_id: Annotated[str, Meta(description="Those whose key this is.", extra_json_schema={"format": "uuid"})] = ""
    sort: Literal["name", "created_at", "updated_at", "type"] | None = None
    order: Order | None = None


def view(consumer: Consumer) -> ConsumerView:
    """Return a consumer as it is read back."""
    weights = [RegistryWeight(registry_id=it.registry_id, weight=it.weight) for it in consumer.registries]
    return ConsumerView(
        id=consumer.id,
        gateway_id=consumer.gateway_id,
        name=consumer.name,
        type=consumer.type,
        slug=consumer.slug,
        routing_mode=consumer.routing_mode,
        active=consumer.active,
        strict_translation=consumer.strict_translation,
        registry_ids=[it.registry_id for it in weights],
        registry_weights=sorted(weights, key=lambda it: it.registry_id),
        role_ids=[],
        auth_ids=list(consumer.auth_ids),
        share=consumer.share,
        aliases=consumer.aliases,
        lb_config=consumer.lb_config,
        fallback=consumer.fallback,
        model_policies=consumer.model_policies,
        toolkit=consumer.toolkit,
        fail_mode=consumer.fail_mode,
        tool_search=consumer.tool_search,
        created_at=consumer.created_at,
        updated_at=consumer.updated_at,
    )


async def _create(work: Work, ask: Ask[CreateConsumer, Nothing]) -> ConsumerView:
    return view(await consumers.create(work, ask.gateway, ask.body))


async def _list(work: Work, ask: Ask[Nothing, ConsumerQuery]) -> ConsumerList:
    asked = ask.query
    query = to_query(
        asked,
        gateway_id=ask.gateway,
        where={"type": asked.type, "active": asked.active, "auth_ids": _auth_id(asked.auth_id)},
        search_in=("name", "slug"),
        sort=asked.sort,
        order=asked.order,
    )
    found = await consumers.page(work, query)
    items = [view(consumer) for consumer in found.items]
    return ConsumerList(items=items, page=asked.page, size=asked.limit, total=found.total)


def _auth_id(given: str) -> str | None:
    try:
        return checked_id("auth_id", given) if given else None
    except Refused as refused:
        raise Refused("invalid_filter", f"invalid auth_id parameter: {refused.message}", status=422) from None


async def _get(work: Work, ask: Ask[Nothing, Nothing]) -> ConsumerView:
    return view(await consumers.get(work, ask.gateway, ask.id))


async def _update(work: Work, ask: Ask[UpdateConsumer, Nothing]) -> ConsumerView:
    return view(await consumers.update(work, ask.gateway, ask.id, ask.body))


async def _delete(work: Work, ask: Ask[Nothing, Nothing]) -> None:
    await consumers.delete(work, ask.gateway, ask.id)


async def _attach_registry(work: Work, ask: Ask[AttachRegistry, Nothing]) -> None:
    await attachments.attach_registry(work, ask.gateway, ask.id, ask.ids["registry_id"], ask.body)


async def _detach_registry(work: Work, ask: Ask[Nothing, Nothing]) -> None:
    await attachments.detach_registry(work, ask.gateway, ask.id, ask.ids["registry_id"])


async def _attach_auth(work: Work, ask: Ask[Nothing, Nothing]) -> None:
    await attachments.attach_auth(work, ask.gateway, ask.id, ask.ids["auth_id"])


async def _detach_auth(work: Work, ask: Ask[Nothing, Nothing]) -> None:
    await attachments.detach_auth(work, ask.gateway, ask.id, ask.ids["auth_id"])


async def _attach_policy(work: Work, ask: Ask[Nothing, Nothing]) -> None:
    await attachments.attach_policy(work, ask.gateway, ask.id, ask.ids["policy_id"])


async def _detach_policy(work: Work, ask: Ask[Nothing, Nothing]) -> None:
    await attachments.detach_policy(work, ask.gateway, ask.id, ask.ids["policy_id"])


_ALL: Final = "/v1/gateways/{gateway_id}/consumers"
_ONE: Final = _ALL + "/{id}"
_REGISTRY: Final = _ONE + "/registries/{registry_id}"
_AUTH: Final = _ONE + "/auths/{auth_id}"
_POLICY: Final = _ONE + "/policies/{policy_id}"
_TAG: Final = "Consumers"
_TAKEN: Final = ("already_exists",)

OPERATIONS: Final[tuple[Operation, ...]] = (
    writing(
        "POST", _ALL, _create, name="createConsumer", summary="Create a consumer", tag=_TAG, status=201, refuses=_TAKEN
    ),
    reading("GET", _ALL, _list, name="listConsumers", summary="List consumers", tag=_TAG),
    reading("GET", _ONE, _get, name="getConsumer", summary="Read a consumer", tag=_TAG),
    writing("PUT", _ONE, _update, name="updateConsumer", summary="Change a consumer", tag=_TAG, refuses=_TAKEN),
    writing("DELETE", _ONE, _delete, name="deleteConsumer", summary="Delete a consumer", tag=_TAG),
    writing(
        "POST",
        _REGISTRY,
        _attach_registry,
        name="attachRegistry",
        summary="Put a registry into the pool",
        tag=_TAG,
        body_optional=True,
    ),
    writing(
        "DELETE",
        _REGISTRY,
        _detach_registry,
        name="detachRegistry",
        summary="Take a registry out of the pool",
        tag=_TAG,
        refuses=("conflict",),
    ),
    writing("POST", _AUTH, _attach_auth, name="attachAuth", summary="Let a key speak for the consumer", tag=_TAG),
    writing("DELETE", _AUTH, _detach_auth, name="detachAuth", summary="Stop a key from speaking for it", tag=_TAG),
    writing(
        "POST",
        _POLICY,
        _attach_policy,
        name="attachPolicy",
        summary="Put the consumer under a policy",
        tag=_TAG,
        refuses=("validation_failed",),
    ),
    writing("DELETE", _POLICY, _detach_policy, name="detachPolicy", summary="Take it from under a policy", tag=_TAG),
)
