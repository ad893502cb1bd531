"""Which tools may be offered."""

import re
from functools import cached_property
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from trustgate import PolicySettings, one_of

Tool = Annotated[str, Meta(min_length=1, max_length=255)]


class ToolAllowlistSettings(PolicySettings, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """Lets a model be offered only some tools: the others are taken out of the request."""

    title: ClassVar[str] = "Tool allowlist"
    group = "Tool Governance"
    mandatory: ClassVar[frozenset[str]] = frozenset({"pre_request"})

    allow_tools: Annotated[
        tuple[Tool, ...],
        Meta(description="Names of tools that may be offered; `*` is any run of characters. None listed: all may."),
    ] = ()
    deny_tools: Annotated[
        tuple[Tool, ...], Meta(description="Names of tools that may not, whatever `allow_tools` says.")
    ] = ()
    on_empty_after_filter: Annotated[
        Literal["strip_tools_field", "pass_through_empty", "reject"],
        Meta(
            description="What becomes of a request none of whose tools is left: it goes on without the field, with an "
            "empty list, or is refused."
        ),
    ] = "strip_tools_field"

    def __post_init__(self) -> None:
        if not (self.allow_tools or self.deny_tools):
            raise ValueError("`allow_tools` or `deny_tools` has to name a tool")

    @cached_property
    def allowed(self) -> re.Pattern[str]:
        """What may be offered."""
        return one_of(self.allow_tools or ("*",))

    @cached_property
    def denied(self) -> re.Pattern[str]:
        """What may not."""
        return one_of(self.deny_tools)

    def allows(self, name: str) -> bool:
        """Say whether a tool may be offered."""
        return self.allowed.fullmatch(name) is not None and self.denied.fullmatch(name) is None
