"""Bedrock's messages as the hub's: the results of tools, which stand in a turn of the user, are messages there.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Message.html
"""

from typing import Any, Final

import msgspec

from trustgate.providers.hub import CannotSay, Json, Losses
from trustgate.providers.pairs.bedrock_to_openai.media import MEDIA, to_part
from trustgate.providers.pairs.openai_to_bedrock.citations import heard
from trustgate.providers.pairs.reading import an_object, objects, string

_encode: Final = msgspec.json.Encoder().encode
_POINT: Final = "messages.content.cachePoint"


def mark(marked: Json | None, point: Any, path: str, where: str, losses: Losses) -> None:
    """Put a cache point on what stands before it. With nothing there, or in its place by then, it is lost."""
    ttl = an_object(point, path).get("ttl")
    if marked is None:
        losses.drop(where)
        return
    marked["cache_control"] = {"type": "ephemeral", "ttl": ttl} if ttl else {"type": "ephemeral"}


def to_messages(said: Any, path: str, losses: Losses) -> list[Json]:
    """Return the hub's messages. Raises CannotSay."""
    messages: list[Json] = []
    for at, message in enumerate(objects(said, path)):
        place = f"{path}.{at}"
        role = message.get("role")
        blocks = objects(message.get("content"), f"{place}.content")
        if role == "user":
            messages += _of_user(blocks, f"{place}.content", losses)
        elif role == "assistant":
            messages.append(_Assistant(losses).told(blocks, f"{place}.content"))
        elif role == "system":
            messages += to_system(blocks, f"{place}.content", losses)
        else:
            raise CannotSay(f"{place}.role", "The role must be user, assistant or system.")
    return messages


def to_system(blocks: list[Json], path: str, losses: Losses) -> list[Json]:
    """Return the system's message, none for no blocks. Raises CannotSay."""
    parts: list[Json] = []
    for at, block in enumerate(blocks):
        place = f"{path}.{at}"
        if (point := block.get("cachePoint")) is not None:
            mark(parts[-1] if parts else None, point, f"{place}.cachePoint", "system.cachePoint", losses)
        else:
            parts.append(_text(block, place, losses))
    return [{"role": "system", "content": _plain(parts)}] if parts else []


def _plain(parts: list[Json]) -> str | list[Json]:
    """One text, and nothing to say of it, needs no list."""
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        text: str = parts[0]["text"]
        return text
    return parts


def _text(block: Json, path: str, losses: Losses) -> Json:
    """Return the part of a block that can be nothing but text; what a guardrail is to look at is text as well."""
    if (guarded := block.get("guardContent")) is not None:
        losses.drop("messages.content.guardContent")
        path += ".guardContent"
        return _text(an_object(an_object(guarded, path).get("text"), f"{path}.text"), f"{path}.text", losses)
    if "text" not in block:
        raise CannotSay(path, f"A block of the kind {next(iter(block), 'none')!r} can be said to Bedrock alone.")
    return {"type": "text", "text": string(block["text"], f"{path}.text")}


def _part(block: Json, path: str, losses: Losses) -> Json:
    for kind in MEDIA:
        if block.get(kind) is not None:
            return to_part(kind, block, path, losses)
    guarded = block.get("guardContent")
    if isinstance(guarded, dict) and guarded.get("image") is not None:
        losses.drop("messages.content.guardContent")
        return to_part("image", guarded, f"{path}.guardContent", losses)
    return _text(block, path, losses)


def _of_user(blocks: list[Json], path: str, losses: Losses) -> list[Json]:
    """Return the results of tools, and behind them all else that the user says: so the hub's dialect wants it."""
    results: list[Json] = []
    parts: list[Json] = []
    last: Json | None = None
    for at, block in enumerate(blocks):
        place = f"{path}.{at}"
        if (point := block.get("cachePoint")) is not None:
            mark(last, point, f"{place}.cachePoint", _POINT, losses)
        elif block.get("toolResult") is not None:
            results.append(last := _result(block["toolResult"], f"{place}.toolResult", losses))
        else:
            parts.append(last := _part(block, place, losses))
    return [*results, {"role": "user", "content": _plain(parts)}] if parts else results


def _result(given: Any, path: str, losses: Losses) -> Json:
    result = an_object(given, path)
    call = string(result.get("toolUseId"), f"{path}.toolUseId")
    blocks = objects(result.get("content"), f"{path}.content")
    parts = [_result_part(block, f"{path}.content.{at}", losses) for at, block in enumerate(blocks)]
    message: Json = {"role": "tool", "tool_call_id": call, "content": _plain(parts) if parts else ""}
    if result.get("status") == "error":
        message["is_error"] = True
    return message


def _result_part(block: Json, path: str, losses: Losses) -> Json:
    if "json" in block:
        return {"type": "text", "text": _encode(block["json"]).decode()}
    return _part(block, path, losses)


class _Assistant:
    """Takes the blocks of one message of the assistant."""

    __slots__ = ("_calls", "_citations", "_losses", "_message", "_parts", "_thoughts")

    def __init__(self, losses: Losses) -> None:
        self._losses = losses
        self._message: Json = {"role": "assistant", "content": None}
        self._parts: list[Json] = []
        self._thoughts: list[Json] = []
        self._calls: list[Json] = []
        self._citations: list[Json] = []

    def told(self, blocks: list[Json], path: str) -> Json:
        """Return the hub's message. Raises CannotSay."""
        last: Json | None = None
        for at, block in enumerate(blocks):
            place = f"{path}.{at}"
            if (point := block.get("cachePoint")) is not None:
                marked = self._message if at == len(blocks) - 1 else last
                mark(marked, point, f"{place}.cachePoint", _POINT, self._losses)
            else:
                last = self._hear(block, place)
        if self._parts or not self._calls:
            self._message["content"] = self._content() if self._parts else ""
        thoughts = "".join(block.get("thinking", "") for block in self._thoughts)
        if thoughts:
            self._message["reasoning_content"] = thoughts
        found = {"thinking_blocks": self._thoughts, "citations": self._citations, "tool_calls": self._calls}
        self._message.update((name, value) for name, value in found.items() if value)
        return self._message

    def _content(self) -> str | list[Json]:
        """Citations point into a text that is one, unless a cache mark divides it."""
        if self._citations and not any("cache_control" in part for part in self._parts):
            return "".join(part["text"] for part in self._parts)
        return _plain(self._parts)

    def _hear(self, block: Json, path: str) -> Json | None:
        """Take one block. Returns the part that a cache mark can be put on: calls and thoughts are none."""
        if block.get("toolUse") is not None:
            self._calls.append(_call(block["toolUse"], f"{path}.toolUse"))
            return None
        if block.get("reasoningContent") is not None:
            self._thoughts.append(_thought(block["reasoningContent"], f"{path}.reasoningContent"))
            return None
        cited = block.get("citationsContent")
        self._parts.append(
            _text(block, path, self._losses) if cited is None else self._cited(cited, f"{path}.citationsContent")
        )
        return self._parts[-1]

    def _cited(self, given: Any, path: str) -> Json:
        cited = an_object(given, path)
        start = sum(len(part["text"]) for part in self._parts)
        texts = [
            _text(part, f"{path}.content.{at}", self._losses)["text"]
            for at, part in enumerate(objects(cited.get("content") or [], f"{path}.content"))
        ]
        text = "".join(texts)
        for citation in objects(cited.get("citations") or [], f"{path}.citations"):
            if found := heard(citation, start, start + len(text)):
                self._citations.append(found)
            else:
                self._losses.drop("messages.content.citationsContent.citations")
        return {"type": "text", "text": text}


def _call(given: Any, path: str) -> Json:
    call = an_object(given, path)
    if call.get("type") == "server_tool_use":
        raise CannotSay(f"{path}.type", "A call of a tool that Bedrock runs itself can be said to Bedrock alone.")
    name = string(call.get("name"), f"{path}.name")
    arguments = _encode(an_object(call.get("input", {}), f"{path}.input")).decode()
    return {
        "id": string(call.get("toolUseId"), f"{path}.toolUseId"),
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def _thought(given: Any, path: str) -> Json:
    reasoning = an_object(given, path)
    if (data := reasoning.get("redactedContent")) is not None:
        return {"type": "redacted_thinking", "data": string(data, f"{path}.redactedContent")}
    path += ".reasoningText"
    thought = an_object(reasoning.get("reasoningText"), path)
    signature = thought.get("signature")
    return {
        "type": "thinking",
        "thinking": string(thought.get("text"), f"{path}.text"),
        "signature": "" if signature is None else string(signature, f"{path}.signature"),
    }
