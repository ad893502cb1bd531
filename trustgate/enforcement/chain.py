"""Policies and hook implementations → ordered chains, compiled once per consumer and revision; requests walk them."""

import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, Final, Literal

from msgspec import Struct, field

from trustgate.config.records import Policy
from trustgate.contract.context import RequestContext, Stage
from trustgate.contract.policy import PolicyRef, PolicySettings
from trustgate.contract.ports import Services
from trustgate.enforcement.plugins import STAGES, Plugin, Plugins

SUBJECTS: Final[Mapping[Stage, str]] = {
    "pre_request": "",
    "pre_response": "answer",
    "on_chunk": "chunk",
    "post_response": "usage",
}
"""What a stage is about, besides the request: the name under which its hooks ask for it."""


Call = Callable[[RequestContext, Any], Coroutine[Any, Any, Any]]
"""A hook with its settings bound: what is left to say is the request, and what the stage is about."""


class Habit:
    """What a link did last: whether it waited or decided on the spot. The one thing here that changes.

    One that has not run yet is taken for one that waits, so that a batch waits together the first time too.
    """

    __slots__ = ("waits",)

    def __init__(self) -> None:
        self.waits = True


class Link(Struct, frozen=True, kw_only=True):
    """One policy at one stage, ready to be called. `timeout` is in seconds, `hold_back` in characters."""

    policy: PolicyRef
    stage: Stage
    call: Call
    on_error: Literal["deny", "allow"]
    timeout: float
    hold_back: int = 0
    buffers_stream: bool = False
    habit: Habit = field(default_factory=Habit)


Batch = tuple[Link, ...]
"""Links that run side by side. Batches run one after the other."""


class Chains(Struct, frozen=True, kw_only=True):
    """What runs for one consumer, stage by stage."""

    pre_request: tuple[Batch, ...] = ()
    pre_response: tuple[Batch, ...] = ()
    on_chunk: tuple[Link, ...] = ()
    post_response: tuple[Link, ...] = ()

    @property
    def buffers_stream(self) -> bool:
        """Whether a policy needs a stream's whole answer before the caller sees any of it."""
        return any(link.buffers_stream for batch in self.pre_response for link in batch)


def effective(policies: Iterable[Policy], consumer_id: str) -> list[Policy]:
    """Return the policies in force for a consumer, in order: its own override the global ones of the same slug."""
    enabled = [policy for policy in policies if policy.enabled]
    own = [policy for policy in enabled if consumer_id in policy.consumer_ids]
    slugs = {policy.slug for policy in own}
    shared = [p for p in enabled if p.is_global and p.slug not in slugs and consumer_id not in p.consumer_ids]
    return sorted([*own, *shared], key=lambda policy: (policy.priority, policy.slug, policy.id))


def compile_chains(policies: Sequence[Policy], plugins: Plugins, services: Services, *, timeout: float) -> Chains:
    """Compile ordered policies. One that cannot be compiled becomes a link that fails, so that `on_error` decides."""
    links: list[tuple[Policy, Link]] = []
    for policy in policies:
        links += [(policy, link) for link in _links(policy, plugins.get(policy.slug), services, timeout)]
    at = {stage: [(policy, link) for policy, link in links if link.stage == stage] for stage in STAGES}
    return Chains(
        pre_request=_batches(at["pre_request"]),
        pre_response=_batches(at["pre_response"]),
        on_chunk=tuple(link for _, link in at["on_chunk"]),
        post_response=tuple(link for _, link in at["post_response"]),
    )


def _batches(links: Sequence[tuple[Policy, Link]]) -> tuple[Batch, ...]:
    """Consecutive parallel links of equal priority share a batch; any other link is a batch of its own."""
    grouped = groupby(enumerate(links), key=lambda item: (item[1][0].priority, -1 if item[1][0].parallel else item[0]))
    return tuple(tuple(link for _, (_, link) in group) for _, group in grouped)


def _links(policy: Policy, plugin: Plugin | None, services: Services, timeout: float) -> list[Link]:
    if not policy.readable:
        return [_broken(policy, f"the settings of policy {policy.name} cannot be read")]
    if plugin is None:
        return [_broken(policy, f"no plugin provides the policy {policy.slug}")]
    try:
        settings = plugin.parse(policy.settings)
    except ValueError as error:
        return [_broken(policy, f"the settings of policy {policy.name} are not valid: {error}")]
    chosen = [stage for stage in plugin.stages if not policy.stages or stage in policy.stages]
    try:
        return [_link(policy, plugin, stage, settings=settings, services=services, timeout=timeout) for stage in chosen]
    except Exception as error:  # noqa: BLE001 - what a plugin says of itself is its own code, and may fail
        return [_broken(policy, f"policy {policy.name} cannot be prepared ({type(error).__name__})")]


def _link(
    policy: Policy, plugin: Plugin, stage: Stage, *, settings: PolicySettings, services: Services, timeout: float
) -> Link:
    ref = _ref(policy)
    given = {"settings": settings, "policy": ref, "services": services}
    return Link(
        policy=ref,
        stage=stage,
        call=_bind(plugin.hooks[stage], stage, given),
        on_error=policy.on_error or settings.on_error,
        timeout=policy.timeout_ms / 1000 or timeout,
        hold_back=settings.hold_back() if stage == "on_chunk" else 0,
        buffers_stream=stage == "pre_response" and settings.buffers_stream,
    )


def _ref(policy: Policy) -> PolicyRef:
    return PolicyRef(id=policy.id, name=policy.name, slug=policy.slug, is_global=policy.is_global, mode=policy.mode)


def _bind(hook: Callable[..., Any], stage: Stage, given: Mapping[str, Any]) -> Call:
    """Bind what configuration decides, in the order in which the hook asks for it; what it did not ask for is dropped.

    Positions rather than names, and the usual order (`ctx` first, nothing else that a request brings) without a copy:
    this runs for every policy of every request.
    """
    known = {"ctx", SUBJECTS[stage], *given}
    parameters = inspect.signature(hook).parameters.values()
    asked = [each.name for each in parameters if each.name in known or each.default is each.empty]
    spoken = hook if inspect.iscoroutinefunction(hook) else _as_coroutine(hook)
    if asked[:1] == ["ctx"] and SUBJECTS[stage] not in asked:
        rest = [given[name] for name in asked[1:]]
        return lambda ctx, _: spoken(ctx, *rest)
    values = [given.get(name) for name in asked]
    places = {name: asked.index(name) for name in ("ctx", SUBJECTS[stage]) if name in asked}

    def call(ctx: RequestContext, subject: Any) -> Coroutine[Any, Any, Any]:
        arguments = values.copy()
        for name, place in places.items():
            arguments[place] = ctx if name == "ctx" else subject
        return spoken(*arguments)

    return call


def _as_coroutine(hook: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    async def call(*arguments: Any) -> Any:
        return hook(*arguments)

    return call


class CannotDecide(Exception):
    """A policy that cannot be run at all."""


def _broken(policy: Policy, why: str) -> Link:
    async def call(_ctx: RequestContext, _subject: Any) -> None:
        raise CannotDecide(why)

    return Link(policy=_ref(policy), stage="pre_request", call=call, on_error=policy.on_error or "deny", timeout=1.0)
