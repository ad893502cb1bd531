"""The hub's answer as an answer of Responses. https://platform.openai.com/docs/api-reference/responses/object

Thoughts, the message and calls are items, in this order. Every block of thoughts is an item whose `encrypted_content`
carries the block; what other providers want to have back with a text or a call is carried by an item behind them.
"""

from collections.abc import Mapping
from typing import Any, Final

from trustgate.providers.hub import Json, Moment
from trustgate.providers.pairs.openai_to_responses.thoughts import carry
from trustgate.providers.pairs.reading import count_of, list_of, object_of, text_of
from trustgate.providers.pairs.responses_to_openai.request import LOGPROBS

_ECHOED: Final = (
    *("instructions", "max_output_tokens", "max_tool_calls", "temperature", "top_p", "user", "safety_identifier"),
    *("prompt_cache_key", "prompt_cache_retention", "top_logprobs"),
)
_REASONS: Final[Mapping[str, str]] = {"length": "max_output_tokens", "content_filter": "content_filter"}
_OWN: Final = frozenset(("max_output_tokens", "content_filter", "max_messages", "steered"))
_TIERS: Final = frozenset(("auto", "default", "flex", "scale", "priority", "fast", "ultrafast"))
_TYPES: Final = ("function", "custom")


def to_answer(hub: Json, asked: Json, moment: Moment) -> Json:
    """Return the caller's answer. Of several choices it has the first."""
    choices = list_of(hub.get("choices"))
    choice = object_of(choices[0]) if choices else {}
    usage = hub.get("usage")
    return {
        **to_response(asked, moment),
        **to_told(hub),
        **to_ending(choice),
        "output": _items(choice, asked, moment),
        "usage": to_usage(usage) if isinstance(usage, dict) else None,
    }


def to_response(asked: Json, moment: Moment) -> Json:
    """Return a response in which nothing has been said yet: it repeats what was asked, as OpenAI's do."""
    text = object_of(asked.get("text"))
    tools = [tool for tool in list_of(asked.get("tools")) if isinstance(tool, dict) and tool.get("type") in _TYPES]
    return {
        "id": f"resp_{moment.id}",
        "object": "response",
        "created_at": moment.created,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": moment.model,
        "output": [],
        "parallel_tool_calls": asked.get("parallel_tool_calls") is not False,
        "previous_response_id": None,
        "metadata": asked.get("metadata") or {},
        "reasoning": {"effort": None, "summary": None, **object_of(asked.get("reasoning"))},
        "store": False,
        "text": {**text, "format": text.get("format") or {"type": "text"}},
        "tool_choice": asked.get("tool_choice") or "auto",
        "tools": tools,
        "truncation": asked.get("truncation") or "disabled",
        "usage": None,
        **{name: asked.get(name) for name in _ECHOED},
    }


def to_told(hub: Mapping[str, Any]) -> Json:
    """Return what an answer or a chunk says of the model and the service tier."""
    told: Json = {}
    if model := text_of(hub.get("model")):
        told["model"] = model
    if (tier := text_of(hub.get("service_tier"))) in _TIERS:
        told["service_tier"] = tier
    return told


def to_ending(choice: Mapping[str, Any]) -> Json:
    """Return the status, and why the answer is incomplete: in OpenAI's own word where it was Responses that said it."""
    own = text_of(choice.get("native_finish_reason"))
    reason = own if own in _OWN else _REASONS.get(text_of(choice.get("finish_reason")))
    if reason is None:
        return {"status": "completed", "incomplete_details": None}
    return {"status": "incomplete", "incomplete_details": {"reason": reason}}


def _items(choice: Mapping[str, Any], asked: Json, moment: Moment) -> list[Json]:
    message = object_of(choice.get("message"))
    items: list[Json] = []
    for text, encrypted in _thoughts(message):
        items.append(to_thought(f"rs_{moment.id}_{len(items)}", text, encrypted))
    if content := _content(message, choice, asked):
        items.append(to_message(f"msg_{moment.id}_{len(items)}", content))
    carried = Extras()
    carried.hear(message)
    for call in list_of(message.get("tool_calls")):
        if isinstance(call, dict) and is_call(call):
            items.append(to_call(call, f"{moment.id}_{len(items)}"))
            carried.hear_call(call, items[-1]["call_id"])
    if items and "status" in items[-1] and to_ending(choice)["status"] == "incomplete":
        items[-1]["status"] = "incomplete"
    if encrypted := carried.carried():
        items.append(to_thought(f"rs_{moment.id}_{len(items)}", "", encrypted))
    return items


# Thoughts.


def _thoughts(message: Json) -> list[tuple[str, str]]:
    """Return the text and the encrypted content of each item."""
    blocks = [block for block in list_of(message.get("thinking_blocks")) if isinstance(block, dict)]
    if not blocks and (reasoning := text_of(message.get("reasoning_content"))):
        return [(reasoning, "")]
    found = ((text_of(block.get("thinking")), to_encrypted(block)) for block in blocks)
    return [(text, encrypted) for text, encrypted in found if text or encrypted]


def to_encrypted(block: Json) -> str:
    """Return what carries a block, empty for one of which the text is all there is."""
    return carry([block]) if block.get("signature") or block.get("type") == "redacted_thinking" else ""


def to_thought(identity: str, text: str, encrypted: str) -> Json:
    """Return an item of thoughts; what can be read of them is a summary, which clients show."""
    summary = [{"type": "summary_text", "text": text}] if text else []
    item: Json = {"id": identity, "type": "reasoning", "summary": summary}
    return {**item, "encrypted_content": encrypted} if encrypted else item


class Extras:
    """Takes what a provider wants to have back with a text or a call (`extra_content`)."""

    __slots__ = ("_calls", "_extra")

    def __init__(self) -> None:
        self._extra: Json = {}
        self._calls: dict[str, Json] = {}

    def hear(self, message: Mapping[str, Any]) -> None:
        """Take that of a message."""
        self._extra = object_of(message.get("extra_content")) or self._extra

    def hear_call(self, call: Mapping[str, Any], identity: str) -> None:
        """Take that of a call, which is known to the caller by this id."""
        if extra := object_of(call.get("extra_content")):
            self._calls[identity] = extra

    def carried(self) -> str:
        """Return an encrypted content that carries them, empty where there are none."""
        return carry([], self._extra, self._calls) if self._extra or self._calls else ""


# The message.


def _content(message: Json, choice: Mapping[str, Any], asked: Json) -> list[Json]:
    content: list[Json] = []
    if text := to_text(message.get("content")):
        logprobs = to_logprobs(choice.get("logprobs")) if wants_logprobs(asked) else []
        content.append(to_part(text, to_annotations(message, 0), logprobs))
    if refusal := text_of(message.get("refusal")):
        content.append({"type": "refusal", "refusal": refusal})
    return content


def to_text(content: Any) -> str:
    """Return the text of a content, which may be a list of parts."""
    if isinstance(content, list):
        return "".join(text_of(object_of(part).get("text")) for part in content)
    return text_of(content)


def to_part(text: str, annotations: list[Json], logprobs: list[Json]) -> Json:
    """Return a part of a message."""
    return {"type": "output_text", "text": text, "annotations": annotations, "logprobs": logprobs}


def to_message(identity: str, content: list[Json]) -> Json:
    """Return an item that is a message."""
    return {"id": identity, "type": "message", "status": "completed", "role": "assistant", "content": content}


def to_annotations(message: Mapping[str, Any], begin: int) -> list[Json]:
    """Return the addresses that a message cites, for a text that begins here; OpenAI cites nothing else."""
    found = [object_of(each).get("url_citation") for each in list_of(message.get("annotations"))]
    told = []
    for each in (*found, *list_of(message.get("citations"))):
        if isinstance(each, dict) and isinstance(url := each.get("url"), str):
            start, end = count_of(each.get("start_index")), count_of(each.get("end_index"))
            place = {"start_index": max(0, start - begin), "end_index": max(0, end - begin)}
            told.append({"type": "url_citation", **place, "url": url, "title": text_of(each.get("title"))})
    return told


def wants_logprobs(asked: Json) -> bool:
    """Say whether a caller has asked for log probabilities."""
    return LOGPROBS in list_of(asked.get("include"))


def to_logprobs(logprobs: Any) -> list[Json]:
    """Return log probabilities. OpenAI's clients insist on the bytes of each token."""
    items = [item for item in list_of(object_of(logprobs).get("content")) if isinstance(item, dict)]
    return [{**_logprob(item), "top_logprobs": [_logprob(each) for each in _top(item)]} for item in items]


def _top(item: Json) -> list[Json]:
    return [each for each in list_of(item.get("top_logprobs")) if isinstance(each, dict)]


def _logprob(item: Mapping[str, Any]) -> Json:
    token, number, octets = text_of(item.get("token")), item.get("logprob"), item.get("bytes")
    return {
        "token": token,
        "logprob": float(number) if isinstance(number, int | float) else 0.0,
        "bytes": octets if isinstance(octets, list) else list(token.encode("utf-8", "replace")),
    }


# Calls and tokens.


def is_call(call: Json) -> bool:
    """Say whether a call is one of something: it has an id, or a name to be called."""
    names = (text_of(object_of(call.get(kind)).get("name")) for kind in _TYPES)
    return bool(text_of(call.get("id"))) or any(names)


def to_call(call: Json, identity: str) -> Json:
    """Return an item that is a call; `identity` makes its id, and that of the call where it has none."""
    called = text_of(call.get("id")) or f"call_{identity}"
    if call.get("type") == "custom":
        custom = object_of(call.get("custom"))
        told = {"id": f"ctc_{identity}", "type": "custom_tool_call", "call_id": called}
        return {**told, "name": text_of(custom.get("name")), "input": text_of(custom.get("input"))}
    function = object_of(call.get("function"))
    told = {"id": f"fc_{identity}", "type": "function_call", "status": "completed", "call_id": called}
    return {**told, "name": text_of(function.get("name")), "arguments": text_of(function.get("arguments"))}


def to_usage(usage: Mapping[str, Any]) -> Json:
    """Return the tokens. OpenAI's clients insist on all of the details."""
    read = object_of(usage.get("prompt_tokens_details"))
    written = object_of(usage.get("completion_tokens_details"))
    prompt, completion = count_of(usage.get("prompt_tokens")), count_of(usage.get("completion_tokens"))
    return {
        "input_tokens": prompt,
        "input_tokens_details": {
            "cached_tokens": count_of(read.get("cached_tokens")),
            "cache_write_tokens": count_of(read.get("cache_write_tokens")),
        },
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": count_of(written.get("reasoning_tokens"))},
        "total_tokens": prompt + completion,
    }
