"""Consumers: one application each, with the registries that it may use and the models that it may ask them for."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal

from msgspec import Meta, Struct, structs

from trustgate.admission.operation import RESERVED
from trustgate.config.mcp import ToolkitEntry
from trustgate.config.records import Binding, Consumer, Fallback, LoadBalancing, ModelPolicy, Registry
from trustgate.planes.admin.services.balancing import check_routing
from trustgate.planes.admin.services.fields import (
    Name,
    Weight,
    checked_id,
    checked_name,
    checked_slug,
    slug_from,
    unique,
)
from trustgate.planes.admin.services.gateways import random_label
from trustgate.planes.admin.services.mcp import checked_toolkit
from trustgate.planes.admin.services.problems import found, invalid, not_served, save, saving
from trustgate.planes.admin.services.work import Work
from trustgate.storage.store import Page, Query

_LATER: Final = ("headers", "roles")
_OF_LLM: Final = ("strict_translation", "share", "aliases", "lb_config", "fallback", "model_policies")

_EXACT: Final[Mapping[str, Any]] = {
    "lb_config": LoadBalancing,
    "fallback": Fallback,
    "toolkit": list[ToolkitEntry],
}

Models = Annotated[list[str], Meta(max_length=10_000, description="The models that may be asked for; absent is any.")]


class ModelRules(Struct, frozen=True, kw_only=True):
    """The models of one registry."""

    allowed: Models | None = None
    default: str | None = None


class ModelPolicyForm(ModelRules, frozen=True, kw_only=True):
    """The models of the registry named."""

    registry_id: str


class BindingForm(Struct, frozen=True, kw_only=True):
    """A registry to attach. `model_policies` may be given here or at the top level, not both."""

    id: str
    weight: Weight | None = None
    model_policies: ModelRules | None = None


Share = Annotated[
    int,
    Meta(ge=1, le=100, description="How much of a registry that is full goes to this consumer, 1 to 100."),
]
Aliases = Annotated[
    dict[str, str],
    Meta(description="Names that stand for a model, for `pool:<alias>` or for `@provider/model`."),
]
Bindings = Annotated[list[BindingForm], Meta(max_length=1000)]
Rules = Annotated[list[ModelPolicyForm], Meta(max_length=1000)]
Toolkit = Annotated[
    list[ToolkitEntry],
    Meta(max_length=10_000, description="What a consumer of type MCP may use; `[]` is nothing, absent is everything."),
]
ToolSearch = Annotated[
    bool,
    Meta(description="For type MCP: show `search_tools` and `call_tool` in the place of all tools."),
]
FailMode = Annotated[
    Literal["", "open", "closed"],
    Meta(description="Whether a list is short where a server is away, or refused."),
]


class UpdateConsumer(Struct, frozen=True, kw_only=True):
    """What changes; a field that is absent or null stays as it is, any other is replaced."""

    later: ClassVar[tuple[str, ...]] = _LATER
    exact: ClassVar[Mapping[str, Any]] = _EXACT

    name: Name | None = None
    slug: str | None = None
    type: str | None = None
    routing_mode: str | None = None
    active: bool | None = None
    strict_translation: bool | None = None
    share: Share | None = None
    aliases: Aliases | None = None
    lb_config: LoadBalancing | None = None
    fallback: Fallback | None = None
    registries: Bindings | None = None
    model_policies: Rules | None = None
    toolkit: Toolkit | None = None
    fail_mode: FailMode | None = None
    tool_search: ToolSearch | None = None


class CreateConsumer(Struct, frozen=True, kw_only=True):
    """A new consumer. Without a slug it gets one from its name."""

    later: ClassVar[tuple[str, ...]] = _LATER
    exact: ClassVar[Mapping[str, Any]] = _EXACT

    name: Name
    slug: str | None = None
    type: str | None = None
    routing_mode: str | None = None
    active: bool | None = None
    strict_translation: bool | None = None
    share: Share | None = None
    aliases: Aliases | None = None
    lb_config: LoadBalancing | None = None
    fallback: Fallback | None = None
    registries: Bindings | None = None
    model_policies: Rules | None = None
    toolkit: Toolkit | None = None
    fail_mode: FailMode | None = None
    tool_search: ToolSearch | None = None


async def get(work: Work, gateway_id: str, consumer_id: str) -> Consumer:
    """Return a consumer of that gateway. Raises Refused."""
    return found(await work.unit.consumers.get(consumer_id, gateway_id=gateway_id))


async def page(work: Work, query: Query) -> Page[Consumer]:
    """Return the consumers that match."""
    return await work.unit.consumers.page(query)


async def create(work: Work, gateway_id: str, form: CreateConsumer) -> Consumer:
    """Make a consumer. Raises Refused."""
    kind = _kind(form.type, form.routing_mode)
    name = checked_name(form.name)
    now = work.tools.now()
    consumer = Consumer(
        id=work.tools.record_id(),
        gateway_id=gateway_id,
        name=name,
        slug=await _slug(work, gateway_id, form.slug, name),
        type=kind,
        active=form.active is not False,
        strict_translation=form.strict_translation is True,
        share=form.share or 1,
        aliases=form.aliases or {},
        lb_config=form.lb_config,
        fallback=form.fallback,
        registries=await _bindings(work, gateway_id, form.registries or [], kind),
        model_policies=_model_policies(form.model_policies or [], form.registries or []),
        toolkit=None if form.toolkit is None else tuple(form.toolkit),
        fail_mode=form.fail_mode or "open",
        tool_search=form.tool_search is True,
        created_at=now,
        updated_at=now,
    )
    consumer = _checked_whole(consumer)
    await check_routing(work, consumer)
    with saving("consumer"):
        await work.unit.consumers.insert(consumer)
    return consumer


async def update(work: Work, gateway_id: str, consumer_id: str, form: UpdateConsumer) -> Consumer:
    """Change what the form says and check the whole. Raises Refused."""
    before = await get(work, gateway_id, consumer_id)
    if form.type and _kind(form.type, None) != before.type:
        raise invalid(f"type cannot be changed, it is {before.type}: make a new consumer")
    _kind(None, form.routing_mode)
    if form.slug and checked_slug(form.slug) != before.slug:
        raise invalid("slug cannot be changed, callers have it in their base URL: make a new consumer")
    after = structs.replace(before, **await _changes(work, before, form))
    after = _checked_whole(after)
    await check_routing(work, after)
    return await save(work, work.unit.consumers, "consumer", before=before, after=after)


async def delete(work: Work, gateway_id: str, consumer_id: str) -> None:
    """Delete a consumer and detach its keys, registries and policies. Raises Refused."""
    await get(work, gateway_id, consumer_id)
    await work.unit.consumers.delete(consumer_id, gateway_id=gateway_id)


async def _changes(work: Work, before: Consumer, form: UpdateConsumer) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if form.name is not None:
        changes["name"] = checked_name(form.name)
    if form.active is not None:
        changes["active"] = form.active
    if form.strict_translation is not None:
        changes["strict_translation"] = form.strict_translation
    for name in ("aliases", "lb_config", "fallback", "share"):
        if (value := getattr(form, name)) is not None:
            changes[name] = value
    if form.registries is not None:
        if any(choice.model_policies for choice in form.registries):
            raise invalid("registries[].model_policies is only taken on create: use the top-level model_policies")
        changes["registries"] = await _bindings(work, before.gateway_id, form.registries, before.type)
    if form.model_policies is not None:
        changes["model_policies"] = _model_policies(form.model_policies, [])
    if form.toolkit is not None:
        changes["toolkit"] = tuple(form.toolkit)
    if form.fail_mode:
        changes["fail_mode"] = form.fail_mode
    if form.tool_search is not None:
        changes["tool_search"] = form.tool_search
    return changes


def _checked_whole(consumer: Consumer) -> Consumer:
    """Return the consumer if all that it has goes with its type, and with what is attached. Raises Refused."""
    _check_rules(consumer)
    if consumer.type == "LLM":
        if consumer.toolkit is not None or consumer.fail_mode != "open" or consumer.tool_search:
            raise invalid("toolkit, fail_mode and tool_search are for consumers of type MCP: leave them out")
        return consumer
    usual = structs.replace(consumer, **{name: _USUAL[name] for name in _OF_LLM})
    if usual != consumer:
        raise invalid(f"a consumer of type MCP has none of {', '.join(_OF_LLM)}: leave them out")
    if consumer.toolkit is None:
        return consumer
    attached = [binding.registry_id for binding in consumer.registries]
    return structs.replace(consumer, toolkit=checked_toolkit(consumer.toolkit, attached))


_USUAL: Final = structs.asdict(Consumer(id="", gateway_id="", name="", slug=""))


def _kind(kind: str | None, routing_mode: str | None) -> Literal["LLM", "MCP"]:
    asked = (kind or "LLM").upper()
    if asked == "A2A":
        raise invalid("type A2A is not served by this version: use LLM or MCP")
    if asked not in ("LLM", "MCP"):
        raise invalid("type must be LLM or MCP")
    mode = (routing_mode or "inline").strip().lower()
    if mode == "role_based":
        raise not_served("routing_mode role_based")
    if mode != "inline":
        raise invalid("routing_mode must be inline")
    return "MCP" if asked == "MCP" else "LLM"


async def _slug(work: Work, gateway_id: str, wanted: str | None, name: str) -> str:
    if not (wanted and wanted.strip()):
        return await _free_slug(work, gateway_id, name)
    slug = checked_slug(wanted)
    if slug in RESERVED:
        raise invalid(f"slug {slug} is reserved, it is the first part of a route: choose another")
    return slug


async def _free_slug(work: Work, gateway_id: str, name: str) -> str:
    base = slug_from(name) or f"app-{random_label(work, 8)}"
    for candidate in [base, *(f"{base}-{n}" for n in range(2, 50))]:
        if candidate not in RESERVED and not await work.unit.consumers.find(gateway_id=gateway_id, slug=candidate):
            return candidate
    return f"{base[:50].rstrip('-')}-{random_label(work, 8)}"


async def _bindings(
    work: Work, gateway_id: str, choices: Sequence[BindingForm], kind: Literal["LLM", "MCP"]
) -> tuple[Binding, ...]:
    ids = unique("registries", [checked_id("registries[].id", choice.id) for choice in choices])
    query = Query(gateway_id=gateway_id, where={"id": ids}, limit=len(ids))
    known = {registry.id: registry for registry in (await work.unit.registries.page(query)).items} if ids else {}
    if missing := [id_ for id_ in ids if id_ not in known]:
        raise invalid(f"registries names {missing[0]}, which is no registry of this gateway: create it first")
    for id_ in ids:
        check_same_type(kind, known[id_])
    return tuple(Binding(registry_id=id_, weight=choice.weight or 1) for id_, choice in zip(ids, choices, strict=True))


def _model_policies(forms: Sequence[ModelPolicyForm], choices: Sequence[BindingForm]) -> tuple[ModelPolicy, ...]:
    rules = [(form.registry_id, form) for form in forms]
    inline = [(choice.id, choice.model_policies) for choice in choices if choice.model_policies]
    ids = [checked_id("model_policies[].registry_id", id_) for id_, _ in [*rules, *inline]]
    unique("model_policies", ids)
    made = [_rule(id_, form) for id_, (_, form) in zip(ids, [*rules, *inline], strict=True)]
    return tuple(sorted(made, key=lambda rule: rule.registry_id))


def _rule(registry_id: str, form: ModelRules) -> ModelPolicy:
    allowed = None if form.allowed is None else tuple(form.allowed)
    default = form.default or ""
    if allowed == ():
        raise invalid("model_policies[].allowed must not be empty: leave it out to allow every model")
    if allowed and not all(model.strip() for model in allowed):
        raise invalid("model_policies[].allowed must not hold a blank model")
    unique("model_policies[].allowed", allowed or ())
    if default and allowed and default not in allowed:
        raise invalid("model_policies[].default must be one of allowed")
    return ModelPolicy(registry_id=registry_id, allowed=allowed, default=default)


def _check_rules(consumer: Consumer) -> None:
    """Every registry with a model policy is attached, whichever of the two was changed."""
    attached = {binding.registry_id for binding in consumer.registries}
    for rule in consumer.model_policies:
        if rule.registry_id not in attached:
            raise invalid(
                f"model_policies names registry {rule.registry_id}, which is not attached to this consumer: "
                "name it in registries too, or leave its model policy out"
            )


def check_same_type(kind: str, registry: Registry) -> None:
    """Raise Refused unless a registry is of a consumer's type."""
    if registry.type != kind:
        raise invalid(
            f"registries: {registry.name} is of type {registry.type}, and this consumer is of type {kind}: "
            "both have to be of one type"
        )
