"""What is made shorter, and where."""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from trustgate import PolicySettings


class PromptCompressionSettings(PolicySettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Makes prompts shorter without changing what they say: blanks in JSON and text, and terminal colours, go."""

    title: ClassVar[str] = "Prompt compression"
    group = "Prompt Management"
    on_error: ClassVar[Literal["deny", "allow"]] = "allow"

    compress_json: Annotated[bool, Meta(description="Texts that are JSON lose the blanks between their values.")] = True
    normalize_whitespace: Annotated[
        bool,
        Meta(description="Outside code blocks: no blanks at the end of lines, one between words, few empty lines."),
    ] = True
    strip_ansi: Annotated[bool, Meta(description="Escape sequences of terminals go.")] = True
    max_consecutive_blank_lines: Annotated[
        int, Meta(ge=1, le=1000, description="How many empty lines in a row stay.")
    ] = 1
    min_length: Annotated[int, Meta(ge=0, description="Texts with fewer characters stay as they are.")] = 256
    max_body_bytes: Annotated[
        int, Meta(ge=0, description="Bodies with more bytes stay as they are; 0 is any size.")
    ] = 1024 * 1024
    target_roles: Annotated[
        tuple[Literal["system", "user", "assistant", "tool"], ...],
        Meta(description="Whose texts are made shorter; none listed: everybody's."),
    ] = ()
