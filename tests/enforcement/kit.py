"""Plugins made of a function or two, policies over them, and a desk at which a request is judged."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from types import ModuleType
from typing import Any, ClassVar

from msgspec import Struct
from msgspec.structs import replace

from tests.world import services
from trustgate import Body, Caller, Chosen, Operation, Outcome, PolicySettings, RequestContext, Usage, hookimpl
from trustgate.config.records import Policy
from trustgate.contract.context import AnswerView
from trustgate.contract.event import PolicyFinding
from trustgate.contract.verdict import Deny, Rewrite
from trustgate.enforcement.chain import Chains, compile_chains, effective
from trustgate.enforcement.plugins import Plugin, Plugins, assemble
from trustgate.enforcement.run import Ruling, Runner
from trustgate.enforcement.trail import Trail, note

Hook = Callable[..., Any]
SOON = 5.0
"""Seconds after which a test that hangs has failed."""


class Plain(PolicySettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nothing to set."""

    title: ClassVar[str] = "Plain"


class Deciding(Plain, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Lets pass or refuses, and changes nothing."""

    rewrites = False


class Lenient(Plain, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nothing to set; lets pass what it cannot judge."""

    on_error = "allow"


def module(settings: object = Plain, **hooks: Hook) -> ModuleType:
    """Return a plugin as its author writes it."""
    made = ModuleType("made")
    made.__dict__["settings_type"] = hookimpl(lambda: settings)
    for name, hook in hooks.items():
        made.__dict__[name] = hookimpl(hook)
    return made


def plugin(slug: str = "guard", *, settings: type[PolicySettings] = Plain, **hooks: Hook) -> Plugin:
    return next(iter(assemble({slug: module(settings, **hooks)})))


def policy(id_: str = "p1", slug: str = "guard", **fields: Any) -> Policy:
    given = {"id": id_, "gateway_id": "g1", "name": f"policy {id_}", "slug": slug, "consumer_ids": ("c1",)}
    return Policy(**given | fields)


def context(raw: bytes = b'{"model":"m"}') -> RequestContext:
    return RequestContext(
        id="0af7651916cd43dd8448eb211c80319c",
        started=0.0,
        caller=Caller(
            gateway_id="g1",
            gateway_slug="demo",
            tenant_id="",
            consumer_id="c1",
            consumer_slug="my-app",
            consumer_name="My app",
            auth_id="a1",
            auth_name="key",
        ),
        operation=Operation(name="chat_completions", dialect="openai", method="POST", family="chat"),
        path="/my-app/v1/chat/completions",
        headers={},
        body=Body(raw, model="m"),
    )


class Rule(Struct, frozen=True):
    """One policy to be: its hooks by stage, its plugin's settings type, and the fields of its record."""

    hooks: Mapping[str, Hook]
    settings: type[PolicySettings]
    fields: Mapping[str, Any]


def rule(hook: Hook, stage: str = "pre_request", *, settings: type[PolicySettings] = Plain, **fields: Any) -> Rule:
    return Rule({stage: hook}, settings, fields)


def beside(hook: Hook, stage: str = "pre_request", **fields: Any) -> Rule:
    """One policy that changes nothing, so that it runs beside others."""
    return rule(hook, stage, settings=Deciding, **fields)


def says(verdict: object, calls: list[object] | None = None) -> Hook:
    """Return a hook that always says the same."""

    async def hook() -> object:
        if calls is not None:
            calls.append(verdict)
        return verdict

    return hook


def raises(error: Exception) -> Hook:
    async def hook() -> object:
        raise error

    return hook


class Desk:
    """Where the policies of one consumer judge: `p0`, `p1`, … of the plugins `guard_0`, `guard_1`, …"""

    def __init__(self, *rules: Rule, timeout: float = 2.0, throttle_wait: float = 2.0) -> None:
        policies = [policy(f"p{at}", f"guard_{at}", **rule.fields) for at, rule in enumerate(rules)]
        plugins = [
            plugin(f"guard_{at}", settings=rule.settings, **rule.hooks) for at, rule in enumerate(rules) if rule.hooks
        ]
        self.chains = compiled(policies, plugins, timeout=timeout)
        self.runner = Runner(throttle_wait=throttle_wait)
        self.trail = Trail()
        self.ctx = context()
        self._before = asyncio.all_tasks()

    @property
    def left_behind(self) -> set["asyncio.Task[Any]"]:
        """The tasks that were not there before."""
        return asyncio.all_tasks() - self._before

    async def pre_request(self) -> Ruling:
        async with asyncio.timeout(SOON):
            return await self.runner.pre_request(self.chains, self.ctx, self.trail, reread)

    async def pre_call(self, target: Chosen | None = None) -> Ruling:
        to = target or Chosen(registry_id="r1", registry="r", provider="openai", model="m")
        async with asyncio.timeout(SOON):
            return await self.runner.pre_call(self.chains, self.ctx, to, self.trail, reread)

    async def pre_response(self, answer: AnswerView | None = None) -> Ruling:
        view = answer or AnswerView(status=200, body=b"answer", text="answer")
        async with asyncio.timeout(SOON):
            return await self.runner.pre_response(
                self.chains, self.ctx, view, self.trail, lambda body: replace(view, body=body)
            )

    async def on_chunk(self, text: str = "text", *, final: bool = False) -> Rewrite | Deny | None:
        """What becomes of a text that comes at once, as a verdict; what is held is in it."""
        async with asyncio.timeout(SOON):
            sifted = await self.runner.sieve(self.chains, self.ctx, self.trail).feed(0, text, final=final)
        if isinstance(sifted, Deny):
            return sifted
        return None if sifted.text is None else Rewrite(text=sifted.text)

    async def post_response(self, usage: Usage | None = None) -> None:
        async with asyncio.timeout(SOON):
            outcome = Outcome(status=200, usage=usage or Usage())
            left = self.runner.post_response(self.chains, self.ctx, outcome, lambda: None, self.trail)
            if left is not None:
                await left

    @property
    def findings(self) -> list[PolicyFinding]:
        """What the policies said, those too that had nothing to say, by policy."""
        silent = Trail()
        for link in self.trail.silent:
            note(link, None, perf_counter(), silent)
        return sorted([*self.trail.findings, *silent.findings], key=lambda finding: finding.policy_id)

    @property
    def decisions(self) -> list[tuple[str, str]]:
        return [(finding.policy_id, finding.decision) for finding in self.findings]


def compiled(policies: Sequence[Policy], plugins: Sequence[Plugin], *, timeout: float = 2.0) -> Chains:
    return compile_chains(effective(policies, "c1"), Plugins(plugins), services(), timeout=timeout)


def reread(body: Body, raw: bytes | bytearray | None, model: str) -> Body:
    return Body(body.raw if raw is None else raw, model=model or body.model)
