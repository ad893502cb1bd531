"""What is replaced by what, and where."""

from functools import cached_property
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from trustgate import PolicySettings
from trustgate_plugins.regex_replace.patterns import Patterns


class ReplaceRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One pattern and its replacement."""

    pattern: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=2000,
            description="What is looked for, in RE2's syntax (https://github.com/google/re2/wiki/Syntax).",
        ),
    ]
    replacement: Annotated[
        str,
        Meta(
            max_length=2000, description="What stands in its place: `$1` or `${name}` is a group, `$$` a dollar sign."
        ),
    ]
    case_insensitive: Annotated[bool, Meta(description="Capital and small letters are alike.")] = False
    multiline: Annotated[bool, Meta(description="`^` and `$` stand for the ends of lines too.")] = False


class RegexReplaceSettings(PolicySettings, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """Replaces what matches a pattern in requests, in answers, or in both, also while an answer is still coming."""

    title: ClassVar[str] = "Regex replace"
    protocols = ("LLM", "MCP")
    group = "Guardrails"

    target: Annotated[
        Literal["request", "response", "both"], Meta(description="Where it is replaced: in what is asked or answered.")
    ]
    rules: Annotated[
        tuple[ReplaceRule, ...],
        Meta(min_length=1, max_length=100, description="One after the other, each over what the one before it left."),
    ]
    window: Annotated[
        int,
        Meta(
            ge=1,
            le=4096,
            description="How many characters of a live stream wait for each rule, so that what is no longer than that "
            "is found however it is cut.",
        ),
    ] = 128

    def __post_init__(self) -> None:
        _ = self.patterns  # a pattern that does not compile is told when it is written, not when it is needed

    @cached_property
    def patterns(self) -> Patterns:
        """The rules, compiled."""
        return Patterns(self.rules)

    def hold_back(self) -> int:
        """Each rule has a window of its own."""
        return self.window * len(self.rules)

    def skips(self) -> frozenset[str]:
        """What is not its target costs nothing."""
        skipped = {"request": ("pre_response", "on_chunk"), "response": ("pre_request",), "both": ()}
        return frozenset(skipped[self.target])
