"""The hub's answer as an answer of Messages. https://platform.claude.com/docs/en/api/messages/create#response"""

from collections.abc import Mapping
from typing import Any, Final

from trustgate.providers.hub import Json, Moment
from trustgate.providers.lenses.anthropic import FINISH_REASONS
from trustgate.providers.pairs.openai_to_anthropic.answer import to_thought
from trustgate.providers.pairs.openai_to_anthropic.citations import cut
from trustgate.providers.pairs.openai_to_anthropic.messages import arguments_of
from trustgate.providers.pairs.reading import count_of, list_of, object_of, text_of

_STOPS: Final[Mapping[str, str]] = {
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
"""OpenAI's reasons to stop in Anthropic's words; all others are the end of a turn."""
_TIERS: Final[Mapping[Any, str]] = {"default": "standard", "priority": "priority"}


def to_answer(hub: Json, asked: Json, moment: Moment) -> Json:
    """Return the caller's answer. Of several choices it has the first."""
    choices = list_of(hub.get("choices"))
    choice = object_of(choices[0]) if choices else {}
    message = object_of(choice.get("message"))
    calls = [call for call in list_of(message.get("tool_calls")) if isinstance(call, dict)]
    refusal = text_of(message.get("refusal"))
    return {
        "id": text_of(hub.get("id")) or f"msg_{moment.id}",
        "type": "message",
        "role": "assistant",
        "model": text_of(hub.get("model")) or moment.model,
        "content": [
            *_thoughts(message),
            *cut(to_text(message.get("content")), 0, list_of(message.get("citations")))[0],
            *([{"type": "text", "text": refusal}] if refusal else []),
            *(_call(call, f"toolu_{moment.id}_{at}") for at, call in enumerate(calls)),
        ],
        **to_stop(choice, calls=bool(calls), refused=bool(refusal)),
        "usage": {**to_usage(hub.get("usage")), **to_tier(hub)},
    }


def _thoughts(message: Json) -> list[Json]:
    """Return the thoughts. Anthropic's clients insist on a signature, if an empty one."""
    found = (to_thought(object_of(block)) for block in list_of(message.get("thinking_blocks")))
    blocks = [block for block in found if block is not None]
    if not blocks and (reasoning := text_of(message.get("reasoning_content"))):
        return [{"type": "thinking", "thinking": reasoning, "signature": ""}]
    return blocks


def _call(call: Json, identity: str) -> Json:
    function = object_of(call.get("function"))
    return {**to_tool(call, identity), "input": arguments_of(text_of(function.get("arguments")))}


def to_tool(call: Json, identity: str) -> Json:
    """Return a call without its input; `identity` is its id where it has none."""
    name = text_of(object_of(call.get("function")).get("name"))
    return {"type": "tool_use", "id": text_of(call.get("id")) or identity, "name": name}


def to_text(content: Any) -> str:
    """Return the text of a content, which may be a list of parts."""
    if isinstance(content, list):
        return "".join(text_of(object_of(part).get("text")) for part in content)
    return text_of(content)


def to_stop(choice: Json, *, calls: bool, refused: bool) -> Json:
    """Return why the model stopped: in the target's own word, where that is one of Anthropic's too."""
    native, reason = choice.get("native_finish_reason"), choice.get("finish_reason")
    stop = text_of(choice.get("stop_sequence")) or None
    if isinstance(native, str) and native in FINISH_REASONS:
        word = native
    elif refused:
        word = "refusal"
    else:
        usual = "tool_use" if calls else "stop_sequence" if stop else "end_turn"
        word = _STOPS.get(text_of(reason), usual)
    return {"stop_reason": word, "stop_sequence": stop}


def to_usage(usage: Any) -> Json:
    """Return the tokens: `input_tokens` are those that were neither read from the cache nor written to it."""
    found = object_of(usage)
    details = object_of(found.get("prompt_tokens_details"))
    cached, written = count_of(details.get("cached_tokens")), count_of(details.get("cache_write_tokens"))
    told: Json = {
        "input_tokens": max(0, count_of(found.get("prompt_tokens")) - cached - written),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": cached,
        "output_tokens": count_of(found.get("completion_tokens")),
    }
    thoughts = count_of(object_of(found.get("completion_tokens_details")).get("reasoning_tokens"))
    if thoughts:
        told["output_tokens_details"] = {"thinking_tokens": thoughts}
    return told


def to_tier(hub: Json) -> Json:
    """Return the service tier, nothing where Anthropic has no such."""
    tier = hub.get("service_tier")
    return {"service_tier": _TIERS[tier]} if isinstance(tier, str) and tier in _TIERS else {}
