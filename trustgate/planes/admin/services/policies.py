"""Policies: one configured plugin each. The plugin's settings type says what may be set; nothing else is taken."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, cast

from msgspec import Meta, Struct, structs

from trustgate.config.records import Mode, OnError, Policy
from trustgate.contract.policy import seconds
from trustgate.enforcement.plugins import Plugin
from trustgate.planes.admin import masking
from trustgate.planes.admin.services.explain import explain, unknown_fields
from trustgate.planes.admin.services.fields import Name, checked_name, checked_size
from trustgate.planes.admin.services.problems import found, invalid, save, saving
from trustgate.planes.admin.services.work import Tools, Work
from trustgate.storage.store import Page, Query

_NUMBERED: Final = re.compile(r"(.*\S) ([1-9][0-9]{0,8})", re.DOTALL)
_LONGEST: Final = 24 * 3600

Priority = Annotated[int, Meta(ge=0, le=2**31 - 1, description="Lower runs first.")]
Timeout = Annotated[
    str, Meta(max_length=32, description="How long it may take to decide, such as `500ms`; empty is the plane's own.")
]


class UpdatePolicy(Struct, frozen=True, kw_only=True):
    """What changes; a field that is absent or null stays as it is. `settings` is replaced, but a secret in it that is
    absent, empty or masked stays. The whole result is checked again."""

    name: Name | None = None
    description: str | None = None
    slug: str | None = None
    enabled: bool | None = None
    priority: Priority | None = None
    parallel: bool | None = None
    settings: dict[str, Any] | None = None
    stages: list[str] | None = None
    mode: str | None = None
    on_error: str | None = None
    timeout: Timeout | None = None


class CreatePolicy(UpdatePolicy, frozen=True, kw_only=True):
    """A new policy: `slug` is the plugin, or one of its published short names. It is enabled unless told otherwise."""

    name: Name
    slug: str


async def get(work: Work, gateway_id: str, policy_id: str) -> Policy:
    """Return a policy of that gateway. Raises Refused."""
    return found(await work.unit.policies.get(policy_id, gateway_id=gateway_id))


async def page(work: Work, query: Query) -> Page[Policy]:
    """Return the policies that match."""
    return await work.unit.policies.page(query)


async def create(work: Work, gateway_id: str, form: CreatePolicy) -> Policy:
    """Make a policy. Raises Refused."""
    now = work.tools.now()
    blank = Policy(id=work.tools.record_id(), gateway_id=gateway_id, name="", slug="", created_at=now, updated_at=now)
    policy = _changed(work.tools, blank, form)
    with saving("policy"):
        await work.unit.policies.insert(policy)
    return policy


async def update(work: Work, gateway_id: str, policy_id: str, form: UpdatePolicy) -> Policy:
    """Change what the form says and check the whole. Raises Refused."""
    before = await get(work, gateway_id, policy_id)
    return await save(work, work.unit.policies, "policy", before=before, after=_changed(work.tools, before, form))


async def delete(work: Work, gateway_id: str, policy_id: str) -> None:
    """Delete a policy, and detach it from every consumer. Raises Refused."""
    await get(work, gateway_id, policy_id)
    await work.unit.policies.delete(policy_id, gateway_id=gateway_id)


async def set_global(work: Work, gateway_id: str, policy_id: str, *, is_global: bool) -> Policy:
    """Put every consumer of the gateway under the policy, or only those attached to it. Raises Refused."""
    before = await get(work, gateway_id, policy_id)
    after = structs.replace(before, is_global=is_global)
    return await save(work, work.unit.policies, "policy", before=before, after=after)


async def duplicate(work: Work, gateway_id: str, policy_id: str) -> Policy:
    """Make a copy under the next free name; neither global nor attached to anybody. Raises Refused."""
    origin = await get(work, gateway_id, policy_id)
    now = work.tools.now()
    copy = structs.replace(
        origin,
        id=work.tools.record_id(),
        name=await _next_name(work, gateway_id, origin.name),
        is_global=False,
        consumer_ids=(),
        created_at=now,
        updated_at=now,
    )
    with saving("policy"):
        await work.unit.policies.insert(copy)
    return copy


def plugin_of(tools: Tools, slug: str) -> Plugin:
    """Return the plugin of that slug or alias. Raises Refused."""
    plugin = tools.plugins.get(slug)
    if plugin is None:
        known = ", ".join(each.slug for each in tools.plugins)
        raise invalid(f'slug: no plugin is called "{slug[:100]}": use one of {known}')
    return plugin


def _changed(tools: Tools, before: Policy, form: UpdatePolicy) -> Policy:
    plugin = plugin_of(tools, before.slug if form.slug is None else form.slug)
    if plugin.slug != before.slug:  # another plugin's settings and stages mean nothing to this one
        before = structs.replace(before, slug=plugin.slug, settings={}, stages=())
    return structs.replace(
        before,
        settings=_settings(plugin, form, before.settings),
        stages=_stages(plugin, before.stages if form.stages is None else tuple(form.stages)),
        mode=_mode(plugin, before.mode if form.mode is None else form.mode),
        **_changes(form),
    )


def _changes(form: UpdatePolicy) -> dict[str, Any]:
    """Return what does not depend on the plugin."""
    plain = {name: getattr(form, name) for name in ("enabled", "priority", "parallel")}
    changes = {name: value for name, value in plain.items() if value is not None}
    if form.name is not None:
        changes["name"] = checked_name(form.name)
    if form.description is not None:
        changes["description"] = checked_size("description", form.description, 1000)
    if form.on_error is not None:
        changes["on_error"] = _on_error(form.on_error)
    if form.timeout is not None:
        changes["timeout_ms"] = _milliseconds(form.timeout)
    return changes


def _settings(plugin: Plugin, form: UpdatePolicy, stored: Mapping[str, Any]) -> dict[str, Any]:
    given = dict(stored) if form.settings is None else form.settings
    try:
        merged: dict[str, Any] = masking.kept(plugin.settings_type, given, dict(stored), path="settings")
        unknown_fields(plugin.settings_type, merged, f"settings of {plugin.slug}")
        plugin.parse(merged)
    except ValueError as error:
        raise invalid(explain(error, "" if isinstance(error, masking.MaskedSecret) else "settings")) from None
    return merged


def _stages(plugin: Plugin, stages: tuple[str, ...]) -> tuple[str, ...]:
    """An empty choice is every stage of the plugin, and every stage is stored as the empty choice."""
    for stage in stages:
        if stage == "post_request":
            raise invalid("stages: post_request does not exist here, nothing ever ran in it: use pre_request")
        if stage not in plugin.stages:
            raise invalid(f'stages: {plugin.slug} has no stage "{stage[:100]}": use some of {", ".join(plugin.stages)}')
    chosen = plugin.chosen(stages)
    return () if chosen == plugin.stages else chosen


def _mode(plugin: Plugin, mode: str) -> Mode:
    wanted = mode or "enforce"
    if wanted not in plugin.settings_type.modes:
        accepted = ", ".join(plugin.settings_type.modes)
        raise invalid(f'mode: {plugin.slug} has no mode "{wanted[:100]}": use one of {accepted}')
    return wanted


def _on_error(given: str) -> OnError:
    if given not in ("", "deny", "allow"):
        raise invalid("on_error must be deny or allow, or empty for what the plugin does by itself")
    return cast(OnError, given)


def _milliseconds(timeout: str) -> int:
    if not timeout:
        return 0
    try:
        wanted = seconds(timeout)
    except ValueError as error:
        raise invalid(f"timeout: {error}") from None
    if not 0.001 <= wanted <= _LONGEST:
        raise invalid("timeout must be between 1ms and 24h, or empty for the plane's own")
    return round(wanted * 1000)


async def _next_name(work: Work, gateway_id: str, name: str) -> str:
    numbered = _NUMBERED.fullmatch(name)
    base, number = (numbered[1], int(numbered[2])) if numbered else (name, 1)
    while True:
        number += 1
        candidate = _fitted(base, f" {number}")
        if not await work.unit.policies.find(gateway_id=gateway_id, name=candidate):
            return candidate


def _fitted(base: str, suffix: str) -> str:
    room = 255 - len(suffix)
    return base.encode()[:room].decode(errors="ignore").rstrip() + suffix
