"""How often which tools may run."""

import re
from functools import cached_property
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from trustgate import Duration, PolicySettings, one_of, seconds

Behavior = Literal["reject_response", "inject_error_result", "strip_tool_from_request"]


class ToolWindow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At most so many runs in any such time."""

    duration: Annotated[Duration, Meta(description="How long, from one second up.")]
    max: Annotated[int, Meta(ge=1, le=1_000_000_000, description="How many runs.")]

    @property
    def seconds(self) -> float:
        """How long it is."""
        return seconds(self.duration)


class ToolRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds for some tools; each of them has counters of its own."""

    tool: Annotated[
        str, Meta(min_length=1, max_length=255, description="The tool's name; `*` is any run of characters in it.")
    ]
    windows: Annotated[tuple[ToolWindow, ...], Meta(min_length=1, max_length=5, description="All of them hold.")]
    behavior: Annotated[
        Behavior | None, Meta(description="What becomes of a request that offers it then; unsaid: `behavior_default`.")
    ] = None
    per_argument: Annotated[
        str,
        Meta(
            max_length=255,
            description="Counts calls of an MCP server's tool by themselves for every value of this argument; `a.b` is "
            "what is within one. Conversations with models are not held against such a rule.",
        ),
    ] = ""


class PerToolRateLimiterSettings(PolicySettings, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """Limits how often each tool runs: the gateway counts the results that come back with the conversations."""

    title: ClassVar[str] = "Per-tool rate limiter"
    protocols = ("LLM", "MCP")
    modes = ("enforce", "observe")
    mandatory: ClassVar[frozenset[str]] = frozenset({"pre_request", "pre_response"})

    rules: Annotated[
        tuple[ToolRule, ...], Meta(min_length=1, max_length=200, description="The first that fits a tool is its rule.")
    ]
    behavior_default: Annotated[
        Behavior,
        Meta(
            description="What becomes of a request that offers a tool which has run as often as it may: it is refused, "
            "the tool is taken out of it, or the model's calls of it are answered with a note (on streams: taken out)."
        ),
    ] = "reject_response"

    def __post_init__(self) -> None:
        for rule in self.rules:
            for window in rule.windows:
                if window.seconds < 1:
                    raise ValueError(f"`duration` is {window.duration!r}: the shortest window is 1s")

    @cached_property
    def patterns(self) -> tuple[tuple[re.Pattern[str], ToolRule], ...]:
        """The rules with what they fit."""
        return tuple((one_of([rule.tool]), rule) for rule in self.rules)

    def rule_of(self, tool: str) -> ToolRule | None:
        """Return the rule of a tool that a model is offered, if it has one: nobody knows yet what it will be given."""
        fits = (rule for pattern, rule in self.patterns if pattern.fullmatch(tool))
        return next((rule for rule in fits if not rule.per_argument), None)

    def rule_of_call(self, tool: str) -> ToolRule | None:
        """Return the rule of a tool that is called, if it has one."""
        return next((rule for pattern, rule in self.patterns if pattern.fullmatch(tool)), None)

    def behavior_of(self, rule: ToolRule) -> Behavior:
        """Return what becomes of a request that offers a tool of this rule when it may not run."""
        return rule.behavior or self.behavior_default

    def skips(self) -> frozenset[str]:
        """Answers are of interest only where calls in them are answered."""
        injects = any(self.behavior_of(rule) == "inject_error_result" for rule in self.rules)
        return frozenset() if injects else frozenset({"pre_response"})
