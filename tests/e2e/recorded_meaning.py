"""What a recorded answer means: its text, its tools, its end and its tokens, whatever dialect it was said in.

None of it goes through the gateway's code. The words for the end are those of the providers' documents, each with what
a caller of OpenAI's chat and one of Anthropic's messages must hear for it.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from genai_prices import extract_usage

from .program import Json

Ends = Mapping[str, tuple[str, str]]

STOP, LENGTH, TOOLS, FILTER = (
    *(("stop", "end_turn"), ("length", "max_tokens")),
    *(("tool_calls", "tool_use"), ("content_filter", "refusal")),
)
OPENAI: Ends = {
    **{"stop": STOP, "length": LENGTH, "tool_calls": TOOLS, "content_filter": FILTER},
    "function_call": ("function_call", "tool_use"),
}
"""https://platform.openai.com/docs/api-reference/chat/object"""
OPENAI_LIKE: Ends = {**OPENAI, "model_length": LENGTH, "eos": STOP, "insufficient_system_resource": LENGTH}
"""https://docs.mistral.ai/api · https://docs.together.ai/reference · https://api-docs.deepseek.com/api"""
ANTHROPIC: Ends = {
    "end_turn": STOP,
    "stop_sequence": ("stop", "stop_sequence"),
    "max_tokens": LENGTH,
    "tool_use": TOOLS,
    "pause_turn": ("stop", "pause_turn"),
    "refusal": FILTER,
    "model_context_window_exceeded": ("length", "model_context_window_exceeded"),
}
"""https://platform.claude.com/docs/en/build-with-claude/handling-stop-reasons"""
BEDROCK: Ends = {
    **ANTHROPIC,
    "guardrail_intervened": FILTER,
    "content_filtered": FILTER,
}
"""https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html"""
GEMINI: Ends = {
    **dict.fromkeys(("STOP", "1"), STOP),
    **dict.fromkeys(("MAX_TOKENS", "2"), LENGTH),
    **dict.fromkeys(("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY"), FILTER),
    **dict.fromkeys(("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "OTHER"), STOP),
}
"""https://ai.google.dev/api/generate-content#FinishReason, with the numbers of the enum"""
COHERE: Ends = {"COMPLETE": STOP, "STOP_SEQUENCE": STOP, "MAX_TOKENS": LENGTH, "TOOL_CALL": TOOLS}
"""https://docs.cohere.com/reference/chat#response.body.finish_reason"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tokens:
    """`input` holds what was read from the cache, `output` the thoughts."""

    input: int
    output: int
    cached: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Said:
    """One choice. A call is a name and its arguments; `finish` is the word for either caller, None for no end."""

    text: str = ""
    refusal: str = ""
    thoughts: str = ""
    calls: tuple[tuple[str, Any], ...] = ()
    finish: tuple[str, str] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Meaning:
    """An answer: its choices, and its tokens if it states them."""

    choices: tuple[Said, ...]
    tokens: Tokens | None


def arguments_of(written: Any) -> Any:
    """Return what arguments say: they are JSON unless the model made a mistake; none are an empty object."""
    if not isinstance(written, str):
        return written or {}
    try:
        return json.loads(written or "{}")
    except ValueError:
        return written


def tokens_of(said: Json, provider: str, flavor: str) -> Tokens:
    """Count as a library does that knows what each provider means by its numbers; it need not know the model."""
    unnamed = {name: value for name, value in said.items() if name not in ("model", "modelVersion")}
    counted = extract_usage(unnamed, provider_id=provider, api_flavor=flavor).usage
    return Tokens(
        input=int(counted.input_tokens or 0),
        output=int(counted.output_tokens or 0),
        cached=int(counted.cache_read_tokens or 0),
    )


def anthropic_tokens(usage: Json) -> Tokens:
    """Count all that is paid for.

    https://platform.claude.com/docs/en/build-with-claude/compaction: that work is counted in `iterations` only.
    """
    compactions = [each for each in usage.get("iterations") or () if each["type"] == "compaction"]
    counted = [tokens_of({"usage": each}, "anthropic", "default") for each in (usage, *compactions)]
    return Tokens(
        input=sum(each.input for each in counted),
        output=sum(each.output for each in counted),
        cached=sum(each.cached for each in counted),
    )
