"""What a plugin says about itself: its settings class validates, documents and draws its form."""

import re
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from trustgate.contract.context import RequestContext

Group = Literal["Traffic Control", "Quota", "Routing", "Prompt Management", "Tool Governance", "Guardrails"]
Modes = tuple[Literal["enforce", "throttle", "observe"], ...]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")

Duration = Annotated[
    str,
    Meta(pattern=r"^(\d+(\.\d+)?(ms|s|m|h|d))+$", description="A duration such as `500ms`, `90s`, `1m30s` or `24h`."),
]
Secret = Annotated[str, Meta(extra_json_schema={"format": "password", "writeOnly": True}, extra={"secret": True})]
"""A string that is sealed where it is stored and masked wherever it is read back."""


def seconds(duration: str) -> float:
    """Return a duration such as `1m30s` in seconds. Raises ValueError for anything else."""
    if not _DURATION.fullmatch(duration):
        raise ValueError(f"`{duration}` is not a duration: write it as 500ms, 90s, 1m30s, 24h or 7d")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(duration))


class PolicySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of every plugin's settings. The docstring is the plugin's description in the catalogue.

    Class variables describe the plugin: `title` and `group` for the catalogue, `modes` it can run in, what happens by
    default when it cannot decide (`on_error`), whether it needs whole answers (`buffers_stream`), whether it may change
    requests, models or whole answers (`rewrites`: policies behind it wait for what it makes), which stages no policy
    may leave out (`mandatory`), and what kinds of consumers it can serve (`protocols`).
    Rules between fields go into `__post_init__`, raising ValueError.
    """

    title: ClassVar[str]
    group: ClassVar[Group] = "Traffic Control"
    modes: ClassVar[Modes] = ("enforce", "observe")
    on_error: ClassVar[Literal["deny", "allow"]] = "deny"
    buffers_stream: ClassVar[bool] = False
    rewrites: ClassVar[bool] = True
    mandatory: ClassVar[frozenset[str]] = frozenset()
    protocols: ClassVar[tuple[Literal["LLM", "MCP"], ...]] = ("LLM",)

    def hold_back(self) -> int:
        """Return how many characters of a live stream `on_chunk` must be able to see and change at once."""
        return 0

    def takes(self) -> float:
        """Return for how many seconds a hook may wait, where the policy does not say; 0 is POLICY_TIMEOUT."""
        return 0.0

    def line(self, ctx: RequestContext, policy: "PolicyRef") -> str:  # noqa: ARG002 - for those that override it
        """Return who waits behind whom in mode `throttle`: requests of one line are asked about in their order."""
        return ctx.caller.consumer_id

    def step(self) -> int:
        """Return after how many new characters of a choice `on_chunk` is asked again; 0 is whenever some come.

        For hooks that ask somebody else. What was not yet looked at is held back, whatever `hold_back` says.
        """
        return 0

    def counts(self) -> bool:
        """Say whether the hooks before the provider only count: they ask nobody but the limiter, by what they return
        (`Count`), and rewrite nothing."""
        return False

    def skips(self) -> frozenset[str]:
        """Return the hooks that these settings do not need: what is not needed costs nothing."""
        return frozenset()


class PolicyRef(Struct, frozen=True, kw_only=True):
    """Which configured policy is running; `scope` and `subject` name what its counters count."""

    id: str
    name: str
    slug: str
    is_global: bool
    mode: Literal["enforce", "throttle", "observe"]
