"""Policies and hook implementations → ordered chains, compiled once per consumer and revision; requests walk them."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal

from msgspec import Struct, field

from trustgate.config.records import Policy
from trustgate.contract.context import RequestContext
from trustgate.contract.policy import PolicyRef, PolicySettings
from trustgate.contract.ports import Limiter, Services
from trustgate.enforcement.plugins import BESIDE, STAGES, Plugin, Plugins

SUBJECTS: Final[Mapping[str, tuple[str, ...]]] = {
    "pre_request": (),
    "pre_call": ("target",),
    "pre_response": ("answer",),
    "on_chunk": ("chunk",),
    "post_response": ("outcome", "answer", "usage"),
    "refund": (),
    "browser": ("origin",),
}
"""What a hook is about, besides the request: the names under which it asks for that."""

_THROTTLED: Final = ("pre_request", "pre_call")
"""Stages at which a request can wait: afterwards somebody already works on it."""

Call = Callable[[RequestContext | None, Any, Any], Any]
"""A hook with its settings bound: left to say are the request, what the stage is about (a tuple where that is several
things), and what the policy kept. Returns a coroutine, and a verdict where the hook is `direct`."""


class Habit:
    """What a link did last: whether it waited or decided on the spot. The one thing here that changes.

    One that has not run yet is taken for one that waits, so that a batch waits together the first time too.
    """

    __slots__ = ("waits",)

    def __init__(self, *, waits: bool = True) -> None:
        self.waits = waits


class Link(Struct, frozen=True, kw_only=True):
    """One policy at one stage, ready to be called. `timeout` is in seconds, `hold_back` and `step` in characters."""

    policy: PolicyRef
    stage: str
    call: Call
    on_error: Literal["deny", "allow"]
    timeout: float
    hold_back: int = 0
    step: int = 0
    buffers_stream: bool = False
    rewrites: bool = True
    wants_answer: bool = False
    direct: bool = False
    line: Callable[[RequestContext], str] | None = None
    """Of a policy that throttles: in which line a request waits."""
    limiter: Limiter
    """Where it counts, if it does."""
    counts: bool = False
    """Whether it does nothing else."""
    habit: Habit = field(default_factory=Habit)


Batch = tuple[Link, ...]
"""Links that run side by side. Batches run one after the other."""


class Chains(Struct, frozen=True, kw_only=True):
    """What runs for one consumer, stage by stage."""

    pre_request: tuple[Batch, ...] = ()
    pre_call: tuple[Batch, ...] = ()
    pre_response: tuple[Batch, ...] = ()
    on_chunk: tuple[Link, ...] = ()
    post_response: tuple[Link, ...] = ()
    refund: tuple[Link, ...] = ()
    browser: tuple[Link, ...] = ()
    buffers_stream: bool = False
    """Whether a policy needs a stream's whole answer before the caller sees any of it."""
    wants_answer: bool = False
    """Whether a policy wants to see what the caller was sent, after it was."""


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
    at = {name: [(policy, link) for policy, link in links if link.stage == name] for name in (*STAGES, *BESIDE)}
    alone = {name: tuple(link for _, link in at[name]) for name in at}
    return Chains(
        pre_request=_batches(at["pre_request"]),
        pre_call=_batches(at["pre_call"]),
        pre_response=_batches(at["pre_response"]),
        on_chunk=alone["on_chunk"],
        post_response=alone["post_response"],
        refund=alone["refund"],
        browser=alone["browser"],
        buffers_stream=any(link.buffers_stream for link in alone["pre_response"]),
        wants_answer=any(link.wants_answer for link in alone["post_response"]),
    )


def _batches(links: Sequence[tuple[Policy, Link]]) -> tuple[Batch, ...]:
    """Consecutive parallel links of equal priority share a batch, up to one that may rewrite: those behind it are asked
    about what it makes. So do consecutive ones that only count, of whatever priority: they are counted in their order.
    Any other link is a batch of its own."""
    batches: list[list[Link]] = []
    before: Policy | None = None
    for policy, link in links:
        together = before is not None and before.parallel and policy.parallel and before.priority == policy.priority
        both_count = bool(batches) and link.counts and all(each.counts for each in batches[-1])
        if both_count or (together and not batches[-1][-1].rewrites):
            batches[-1].append(link)
        else:
            batches.append([link])
        before = policy
    return tuple(map(tuple, batches))


def _links(policy: Policy, plugin: Plugin | None, services: Services, timeout: float) -> list[Link]:
    if not policy.readable:
        return [_broken(policy, services, f"the settings of policy {policy.name} cannot be read")]
    if plugin is None:
        return [_broken(policy, services, f"no plugin provides the policy {policy.slug}")]
    try:
        settings = plugin.parse(policy.settings)
    except ValueError as error:
        return [_broken(policy, services, f"the settings of policy {policy.name} are not valid: {error}")]
    named = (*plugin.chosen(policy.stages), *BESIDE)
    try:
        chosen = [name for name in named if name in plugin.hooks and name not in settings.skips()]
        return [_link(policy, plugin, stage, settings=settings, services=services, timeout=timeout) for stage in chosen]
    except Exception as error:  # noqa: BLE001 - what a plugin says of itself is its own code, and may fail
        return [_broken(policy, services, f"policy {policy.name} cannot be prepared ({type(error).__name__})")]


def _link(
    policy: Policy, plugin: Plugin, stage: str, *, settings: PolicySettings, services: Services, timeout: float
) -> Link:
    ref = _ref(policy)
    given = {"settings": settings, "policy": ref, "services": services}
    hook = plugin.hooks[stage]
    line = _line(settings, ref) if policy.mode == "throttle" and stage in _THROTTLED else None
    direct = not inspect.iscoroutinefunction(hook)
    return Link(
        policy=ref,
        stage=stage,
        call=_bind(hook, stage, given),
        on_error=policy.on_error or settings.on_error,
        timeout=policy.timeout_ms / 1000 or settings.takes() or timeout,
        hold_back=settings.hold_back() if stage == "on_chunk" else 0,
        step=settings.step() if stage == "on_chunk" else 0,
        buffers_stream=stage == "pre_response" and settings.buffers_stream,
        rewrites=settings.rewrites,
        wants_answer=stage == "post_response" and "answer" in inspect.signature(hook).parameters,
        direct=direct,
        habit=Habit(waits=not direct),
        line=line,
        limiter=services.limiter,
        counts=stage in _THROTTLED and direct and line is None and settings.counts(),
    )


def _line(settings: PolicySettings, policy: PolicyRef) -> Callable[[RequestContext], str]:
    return lambda ctx: settings.line(ctx, policy)


def _ref(policy: Policy) -> PolicyRef:
    return PolicyRef(id=policy.id, name=policy.name, slug=policy.slug, is_global=policy.is_global, mode=policy.mode)


def _bind(hook: Callable[..., Any], stage: str, given: Mapping[str, Any]) -> Call:
    """Bind what configuration decides, in the order in which the hook asks for it; what it did not ask for is dropped.

    Positions rather than names, and the usual order (`ctx` first, nothing else that a request brings) without a copy:
    this runs for every policy of every request.
    """
    subjects = SUBJECTS[stage]
    brought = {"ctx", "kept", *subjects}
    parameters = inspect.signature(hook).parameters.values()
    asked = [each.name for each in parameters if each.name in brought | given.keys() or each.default is each.empty]
    if asked[:1] == ["ctx"] and not brought & set(asked[1:]):
        rest = [given[name] for name in asked[1:]]
        return lambda ctx, _subject, _kept: hook(ctx, *rest)
    values = [given.get(name) for name in asked]
    places = [(place, name) for place, name in enumerate(asked) if name in brought]
    several = len(subjects) > 1

    def call(ctx: RequestContext | None, subject: Any, kept: Any) -> Any:
        arguments = values.copy()
        for place, name in places:
            if name == "ctx":
                arguments[place] = ctx
            elif name == "kept":
                arguments[place] = kept
            else:
                arguments[place] = subject[subjects.index(name)] if several else subject
        return hook(*arguments)

    return call


class CannotDecide(Exception):
    """A policy that cannot be run at all."""


def _broken(policy: Policy, services: Services, why: str) -> Link:
    async def call(_ctx: RequestContext | None, _subject: Any, _kept: Any) -> None:
        raise CannotDecide(why)

    return Link(
        policy=_ref(policy),
        stage="pre_request",
        call=call,
        on_error=policy.on_error or "deny",
        timeout=1.0,
        limiter=services.limiter,
    )
