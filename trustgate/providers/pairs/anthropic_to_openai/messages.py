"""Anthropic's messages as the hub's: the results of tools, which stand in a turn of the user, are messages there.

https://platform.claude.com/docs/en/build-with-claude/working-with-messages
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from trustgate.providers.hub import CannotSay, Json, Losses
from trustgate.providers.pairs.anthropic_to_openai.media import to_file, to_image
from trustgate.providers.pairs.openai_to_anthropic.citations import placed
from trustgate.providers.pairs.reading import an_object, cache_mark, objects, string

_encode: Final = msgspec.json.Encoder().encode


def to_messages(said: Any, losses: Losses) -> list[Json]:
    """Return the hub's messages. Raises CannotSay."""
    messages: list[Json] = []
    for at, message in enumerate(objects(said, "messages")):
        path = f"messages.{at}"
        role, content = message.get("role"), message.get("content")
        if role not in ("user", "assistant", "system"):
            raise CannotSay(f"{path}.role", "The role must be user, assistant or system.")
        if isinstance(content, str):
            messages.append({"role": role, "content": content})
        elif role == "assistant":
            messages.append(_Assistant().told(objects(content, f"{path}.content"), f"{path}.content"))
        elif role == "user":
            messages += _of_user(objects(content, f"{path}.content"), f"{path}.content", losses)
        else:
            messages += to_system(content, f"{path}.content")
    return messages


def to_system(system: Any, path: str) -> list[Json]:
    """Return the message of the system, none where it says nothing. Raises CannotSay."""
    if isinstance(system, str):
        return [{"role": "system", "content": system}] if system else []
    parts = [_text(block, f"{path}.{at}") for at, block in enumerate(objects(system, path))]
    return [{"role": "system", "content": _plain(parts)}] if parts else []


def _of_user(blocks: list[Json], path: str, losses: Losses) -> list[Json]:
    """Return the messages of one turn: the results first, for they answer what the assistant has said before."""
    results: list[Json] = []
    parts: list[Json] = []
    for at, block in enumerate(blocks):
        if block.get("type") == "tool_result":
            results.append(_result(block, f"{path}.{at}", losses))
        else:
            parts.append(_part(block, f"{path}.{at}", losses))
    if parts or not results:
        results.append({"role": "user", "content": _plain(parts)})
    return results


def _result(block: Json, path: str, losses: Losses) -> Json:
    content = block.get("content")
    if content is not None and not isinstance(content, str):
        inner = f"{path}.content"
        content = _plain([_part(each, f"{inner}.{at}", losses) for at, each in enumerate(objects(content, inner))])
    call = string(block.get("tool_use_id"), f"{path}.tool_use_id")
    message: Json = {"role": "tool", "tool_call_id": call, "content": content or ""}
    if block.get("is_error"):
        message["is_error"] = True
    if mark := cache_mark(block, path):
        message["cache_control"] = mark
    return message


def _plain(parts: list[Json]) -> str | list[Json]:
    """One text, of which there is nothing else to say, needs no list; no part at all says nothing."""
    if not parts:
        return ""
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        text: str = parts[0]["text"]
        return text
    return parts


def _part(block: Json, path: str, losses: Losses) -> Json:
    kind = block.get("type")
    if kind == "image":
        if block.get("transformations"):
            losses.drop("messages.content.transformations")
        part = to_image(block, path)
    elif kind == "document":
        part = to_file(block, path)
    else:
        return _text(block, path)
    if mark := cache_mark(block, path):
        part["cache_control"] = mark
    return part


def _text(block: Json, path: str) -> Json:
    """Return the part of a block that can be nothing but text."""
    kind = block.get("type")
    if kind != "text":
        raise CannotSay(f"{path}.type", f"A block of the type {str(kind)[:40]!r} can be said to Anthropic alone.")
    part: Json = {"type": "text", "text": string(block.get("text"), f"{path}.text")}
    if mark := cache_mark(block, path):
        part["cache_control"] = mark
    return part


class _Assistant:
    """Takes the blocks of one message of the assistant."""

    __slots__ = ("_calls", "_citations", "_length", "_mark", "_parts", "_reasoning", "_thoughts")

    def __init__(self) -> None:
        self._parts: list[Json] = []
        self._length = 0
        self._citations: list[Json] = []
        self._reasoning: list[str] = []
        self._thoughts: list[Json] = []
        self._calls: list[Json] = []
        self._mark: Json | None = None

    def told(self, blocks: Sequence[Json], path: str) -> Json:
        """Return the hub's message. Raises CannotSay."""
        for at, block in enumerate(blocks):
            self._hear(block, f"{path}.{at}")
        message: Json = {"role": "assistant", "content": self._content()}
        found = {
            "reasoning_content": "".join(self._reasoning),
            "thinking_blocks": self._thoughts,
            "citations": self._citations,
            "tool_calls": self._calls,
            "cache_control": self._mark,
        }
        message.update((name, value) for name, value in found.items() if value)
        return message

    def _content(self) -> str | list[Json] | None:
        """Return the text, which citations point into: one, unless cache marks divide it."""
        if not self._parts:
            return None if self._calls else ""
        if self._citations and not any("cache_control" in part for part in self._parts):
            return "".join(part["text"] for part in self._parts)
        return _plain(self._parts)

    def _hear(self, block: Json, path: str) -> None:
        kind = block.get("type")
        if kind == "tool_use":
            self._calls.append(_call(block, path))
            self._mark = cache_mark(block, path) or self._mark
        elif kind == "thinking":
            self._think(block, path)
        elif kind == "redacted_thinking":
            data = string(block.get("data"), f"{path}.data")
            self._thoughts.append({"type": "redacted_thinking", "data": data})
        else:
            self._say(block, path)

    def _think(self, block: Json, path: str) -> None:
        """Thoughts that nobody has signed were never Claude's: they have no block to go back in."""
        thinking = string(block.get("thinking"), f"{path}.thinking")
        self._reasoning.append(thinking)
        if signature := block.get("signature"):
            signed = string(signature, f"{path}.signature")
            self._thoughts.append({"type": "thinking", "thinking": thinking, "signature": signed})

    def _say(self, block: Json, path: str) -> None:
        part = _text(block, path)
        begin, self._length = self._length, self._length + len(part["text"])
        if citations := block.get("citations"):
            self._citations += placed(objects(citations, f"{path}.citations"), begin, self._length)
        self._parts.append(part)


def _call(block: Json, path: str) -> Json:
    given = an_object(block.get("input", {}), f"{path}.input")
    try:
        arguments = _encode(given).decode()
    except RecursionError as error:
        raise CannotSay(f"{path}.input", "This is nested too deeply.") from error
    function = {"name": string(block.get("name"), f"{path}.name"), "arguments": arguments}
    return {"id": string(block.get("id"), f"{path}.id"), "type": "function", "function": function}
