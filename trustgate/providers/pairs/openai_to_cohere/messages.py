"""The messages of a request as Cohere's v2 chat takes them. https://docs.cohere.com/reference/chat#request.body.messages

Cohere refuses text beside tool calls; what a model says before it calls is its `tool_plan`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from trustgate.providers.hub import CannotSay, Json, Losses

_IMAGE: Final = re.compile(r"data:(?!image/(?:png|jpeg|jpg|webp|gif)[;,])([^;,]*)", re.IGNORECASE)
"""https://docs.cohere.com/docs/image-inputs#file-types: a data URL of a type that Cohere does not take."""


def to_messages(messages: Any, losses: Losses) -> list[Json]:
    """Return Cohere's messages. Raises CannotSay."""
    if not isinstance(messages, list):
        raise CannotSay("messages", "`messages` must be a list.")
    return [_message(message, f"messages.{index}", losses) for index, message in enumerate(messages)]


def _message(message: Any, path: str, losses: Losses) -> Json:
    if not isinstance(message, dict):
        raise CannotSay(path, "A message must be an object.")
    told = _ROLES.get(message.get("role")) if isinstance(message.get("role"), str) else None
    if told is None:
        raise CannotSay(f"{path}.role", "`role` must be system, developer, user, assistant or tool.")
    for name in ("name", "cache_control", "is_error", "citations", "extra_content"):
        if message.get(name) is not None:
            losses.drop(f"messages.{name}")
    return told(message, path, losses)


def _system(message: Json, path: str, losses: Losses) -> Json:
    return {"role": "system", "content": _texts(message, path, losses)}


def _user(message: Json, path: str, losses: Losses) -> Json:
    content = message.get("content")
    if not isinstance(content, list):
        return {"role": "user", "content": _texts(message, path, losses)}
    return {"role": "user", "content": _parts(content, path, _user_part, losses)}


def _tool(message: Json, path: str, losses: Losses) -> Json:
    identity = message.get("tool_call_id")
    if not isinstance(identity, str):
        raise CannotSay(f"{path}.tool_call_id", "A message of role tool needs the `tool_call_id` of its call.")
    return {"role": "tool", "tool_call_id": identity, "content": _texts(message, path, losses)}


# Parts of content.

_Part = Callable[[Json, str], Json]


def _texts(message: Json, path: str, losses: Losses) -> str | list[Json]:
    content = message.get("content")
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if not isinstance(content, list):
        raise CannotSay(f"{path}.content", "`content` must be a string or a list of parts.")
    return _parts(content, path, _text_part, losses)


def _parts(content: Sequence[Any], path: str, to_part: _Part, losses: Losses) -> list[Json]:
    told = []
    for index, part in enumerate(content):
        at = f"{path}.content.{index}"
        if not isinstance(part, dict):
            raise CannotSay(at, "A part of content must be an object.")
        if part.get("cache_control") is not None:
            losses.drop("messages.content.cache_control")
        told.append(to_part(part, at))
    return told


def _text_part(part: Json, path: str) -> Json:
    """What a model refused to say it said in words."""
    kind = part.get("type")
    text = part.get(kind) if kind in ("text", "refusal") else None
    if isinstance(text, str):
        return {"type": "text", "text": text}
    raise _unsaid(part, path)


def _user_part(part: Json, path: str) -> Json:
    if part.get("type") != "image_url":
        return _text_part(part, path)
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str):
        raise CannotSay(f"{path}.image_url", "`image_url` must be an object with a `url`.")
    if refused := _IMAGE.match(url):
        raise CannotSay(f"{path}.image_url", f"Cohere takes PNG, JPEG, WebP and GIF images, not {refused[1]}.")
    return {"type": "image_url", "image_url": image if isinstance(image, dict) else {"url": url}}


def _unsaid(part: Mapping[str, Any], path: str) -> CannotSay:
    kind = part.get("type")
    if kind in ("text", "refusal"):
        return CannotSay(f"{path}.{kind}", f"`{kind}` must be a string.")
    if isinstance(kind, str) and kind in part:
        return CannotSay(f"{path}.{kind}", f"Cohere takes no content of type {kind} here.")
    return CannotSay(f"{path}.type", "Cohere takes no content of this type here.")


# What the model said.


def _assistant(message: Json, path: str, losses: Losses) -> Json:
    for name in ("audio", "function_call"):
        if message.get(name) is not None:
            raise CannotSay(f"{path}.{name}", f"Cohere has no `{name}` in a message.")
    thoughts = _thoughts(message, path, losses)
    text = _texts(message, path, losses)
    if not text and isinstance(refusal := message.get("refusal"), str):
        text = refusal
    calls = message.get("tool_calls")
    if not calls:
        return {"role": "assistant", "content": [*thoughts, *_blocks(text)] if thoughts else text}
    if not isinstance(calls, list):
        raise CannotSay(f"{path}.tool_calls", "`tool_calls` must be a list.")
    told: Json = {"role": "assistant"}
    if thoughts:
        told["content"] = thoughts
    if plan := "".join(block["text"] for block in _blocks(text)):
        told["tool_plan"] = plan
    told["tool_calls"] = [_call(call, f"{path}.tool_calls.{at}", losses) for at, call in enumerate(calls)]
    return told


def _blocks(text: str | list[Json]) -> list[Json]:
    if isinstance(text, str):
        return [{"type": "text", "text": text}] if text else []
    return text


def _thoughts(message: Json, path: str, losses: Losses) -> list[Json]:
    """Cohere's thoughts have no signatures, and there is nothing in a redacted one that another model could read."""
    blocks = message.get("thinking_blocks")
    if not blocks:
        text = message.get("reasoning_content")
        return [{"type": "thinking", "thinking": text}] if isinstance(text, str) and text else []
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise CannotSay(f"{path}.thinking_blocks", "`thinking_blocks` must be a list of objects.")
    told = []
    for block in blocks:
        if isinstance(text := block.get("thinking"), str) and text:
            told.append({"type": "thinking", "thinking": text})
        if block.get("signature"):
            losses.drop("messages.thinking_blocks.signature")
        if block.get("type") == "redacted_thinking":
            losses.drop("messages.thinking_blocks.data")
    return told


def _call(call: Any, path: str, losses: Losses) -> Json:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(call, dict) or not isinstance(function, dict) or not isinstance(call.get("id"), str):
        raise CannotSay(path, "Cohere only has calls of functions, each with an `id`.")
    if call.get("extra_content") is not None:
        losses.drop("messages.tool_calls.extra_content")
    told = {"name": function.get("name"), "arguments": function.get("arguments") or "{}"}
    return {"id": call["id"], "type": "function", "function": told}


_Role = Callable[[Json, str, Losses], Json]
_ROLES: Final[Mapping[Any, _Role]] = {
    "system": _system,
    "developer": _system,
    "user": _user,
    "assistant": _assistant,
    "tool": _tool,
}
