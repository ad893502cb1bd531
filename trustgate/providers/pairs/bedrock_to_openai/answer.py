"""The hub's answer as a Converse answer.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html#API_runtime_Converse_ResponseSyntax
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from trustgate.providers.hub import Json, Moment
from trustgate.providers.pairs.bedrock_to_openai.request import STOP_PATH
from trustgate.providers.pairs.openai_to_bedrock.citations import cited_blocks

_REASONS: Final = frozenset(
    (
        *("end_turn", "tool_use", "max_tokens", "stop_sequence", "guardrail_intervened", "content_filtered"),
        *("malformed_model_output", "malformed_tool_use", "model_context_window_exceeded"),
    )
)
"""All the words that Bedrock has: its SDKs refuse others."""
_STOPS: Final[Mapping[str, str]] = {
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "content_filtered",
}
_TIERS: Final = frozenset(("priority", "default", "flex", "reserved"))
_decode: Final = msgspec.json.Decoder().decode


def to_answer(hub: Json, asked: Json, moment: Moment) -> Json:
    """Return the caller's answer. Of several choices it has the first."""
    choices = a_list(hub.get("choices"))
    choice = _object(choices[0]) if choices else {}
    told: Json = {
        "output": {"message": {"role": "assistant", "content": _content(_object(choice.get("message")))}},
        "stopReason": to_stop(choice),
        "usage": to_usage(hub.get("usage")),
        "metrics": METRICS,
        **to_tier(hub),
    }
    if fields := to_stop_fields(choice, asked):
        told["additionalModelResponseFields"] = fields
    return told


METRICS: Final[Json] = {"latencyMs": 0}
"""SDKs insist on a latency, and a translation has no clock."""


def _content(message: Json) -> list[Json]:
    thoughts = a_list(message.get("thinking_blocks"))
    blocks = [to_thought(block) for block in thoughts if isinstance(block, dict)]
    if not blocks and (reasoning := to_string(message.get("reasoning_content"))):
        blocks.append({"reasoningText": {"text": reasoning}})
    content: list[Json] = [{"reasoningContent": block} for block in blocks if block]
    text = to_text(message.get("content"))
    citations = [each for each in a_list(message.get("citations")) if isinstance(each, dict)]
    content += (cited_blocks(text, 0, citations) if citations else None) or ([{"text": text}] if text else [])
    if refusal := to_string(message.get("refusal")):
        content.append({"text": refusal})
    tools = [(call, to_tool(call)) for call in a_list(message.get("tool_calls")) if isinstance(call, dict)]
    return [*content, *({"toolUse": {**tool, "input": _input(call)}} for call, tool in tools if tool)]


def to_thought(block: Json) -> Json:
    """Return a block of thoughts, an empty one for what is none."""
    if block.get("type") == "redacted_thinking":
        data = to_string(block.get("data"))
        return {"redactedContent": data} if data else {}
    thought: Json = {"text": to_string(block.get("thinking"))}
    if signature := to_string(block.get("signature")):
        thought["signature"] = signature
    return {"reasoningText": thought} if thought["text"] or signature else {}


def to_tool(call: Json) -> Json:
    """Return id and name of a call, nothing for one without a name."""
    name = to_string(_object(call.get("function")).get("name"))
    return {"toolUseId": to_string(call.get("id")), "name": name} if name else {}


def _input(call: Json) -> Any:
    """Arguments that are not JSON go as the string that they are: what a model said wrong, its caller is to see."""
    arguments = to_string(_object(call.get("function")).get("arguments"))
    try:
        return _decode(arguments) if arguments.strip() else {}
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return arguments


def to_stop(choice: Json) -> str:
    """Return the reason to stop: the target's own word where it is Bedrock's too."""
    native, reason = choice.get("native_finish_reason"), choice.get("finish_reason")
    if isinstance(native, str) and native in _REASONS:
        return native
    usual = "stop_sequence" if choice.get("stop_sequence") else "end_turn"
    return _STOPS.get(reason, usual) if isinstance(reason, str) else usual


def to_stop_fields(choice: Json, asked: Json) -> Json:
    """Return the sequence at which the model stopped, if the caller has asked for it, as Claude tells it."""
    stop = choice.get("stop_sequence")
    return (
        {"stop_sequence": stop} if stop and STOP_PATH in a_list(asked.get("additionalModelResponseFieldPaths")) else {}
    )


def to_usage(usage: Any) -> Json:
    """Return the tokens: `inputTokens` are those that were neither read from the cache nor written to it."""
    found = _object(usage)
    details = _object(found.get("prompt_tokens_details"))
    prompt, completion = _count(found.get("prompt_tokens")), _count(found.get("completion_tokens"))
    cached, written = _count(details.get("cached_tokens")), _count(details.get("cache_write_tokens"))
    told = {
        "inputTokens": max(0, prompt - cached - written),
        "outputTokens": completion,
        "totalTokens": prompt + completion,
    }
    if cached or written:
        told |= {"cacheReadInputTokens": cached, "cacheWriteInputTokens": written}
    return told


def to_tier(hub: Json) -> Json:
    """Return the service tier, nothing where Bedrock has no such."""
    tier = hub.get("service_tier")
    return {"serviceTier": {"type": tier}} if isinstance(tier, str) and tier in _TIERS else {}


def to_text(content: Any) -> str:
    """Return the text of a content, which may be a list of parts."""
    if isinstance(content, list):
        return "".join(to_string(_object(part).get("text")) for part in content)
    return to_string(content)


def to_string(value: Any) -> str:
    """Return a string, an empty one for anything else."""
    return value if isinstance(value, str) else ""


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def a_list(value: Any) -> Sequence[Any]:
    """Return a list, an empty one for anything else."""
    return value if isinstance(value, list) else ()
