"""The hub's messages in Anthropic's words.

System and developer messages stand beside the conversation. The results of tools stand in a turn of the user, together
with what the user says behind them. Text without a character that is not blank says nothing, and is refused: it is
left out. https://platform.claude.com/docs/en/build-with-claude/working-with-messages
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from trustgate.providers.hub import SEALED, CannotSay, Json, Losses
from trustgate.providers.pairs.openai_to_anthropic.citations import cut
from trustgate.providers.pairs.openai_to_anthropic.media import document, image
from trustgate.providers.pairs.reading import an_object, cache_mark, objects, string

_KNOWN: Final[Mapping[str, frozenset[str]]] = {
    "system": frozenset(("role", "content", "cache_control")),
    "developer": frozenset(("role", "content", "cache_control")),
    "user": frozenset(("role", "content", "cache_control")),
    "tool": frozenset(("role", "content", "cache_control", "tool_call_id", "is_error")),
    "assistant": frozenset(
        (
            *("role", "content", "cache_control", "tool_calls", "refusal", "thinking_blocks", "reasoning_content"),
            *("citations", "audio", "function_call"),
        )
    ),
}
_NOT_IN_IDS: Final = re.compile(r"[^A-Za-z0-9_-]")
_UNCACHEABLE: Final = ("thinking", "redacted_thinking")
_decode: Final = msgspec.json.Decoder().decode


class Conversation:
    """Takes the hub's messages one after the other; `system` and `turns` are Anthropic's."""

    __slots__ = ("_losses", "_results", "system", "turns")

    def __init__(self, losses: Losses) -> None:
        self.system: list[Json] = []
        self.turns: list[Json] = []
        self._losses = losses
        self._results: list[Json] | None = None

    def add(self, message: Json, path: str) -> None:
        """Say one message. Raises CannotSay."""
        role = message.get("role")
        known = _KNOWN.get(role) if isinstance(role, str) else None
        if known is None:
            raise CannotSay(f"{path}.role", "The role must be one of system, developer, user, assistant and tool.")
        for name in message:
            if name not in known and message[name]:
                self._losses.drop(f"messages.{name}")
        if role == "user":
            self._say_user(message, path)
        elif role == "assistant":
            self._say_assistant(message, path)
        elif role == "tool":
            self._say_result(message, path)
        else:
            self.system += self._marked(self._texts(message.get("content"), path), message, path)

    def close(self) -> None:
        """End the conversation. What the model is to continue may not end in blanks."""
        last = self.turns[-1] if self.turns else {}
        if last.get("role") != "assistant":
            return
        content = last["content"]
        if isinstance(content, str):
            last["content"] = content.rstrip()
        elif content[-1]["type"] == "text":
            content[-1]["text"] = content[-1]["text"].rstrip()

    def _say_user(self, message: Json, path: str) -> None:
        content = message.get("content")
        if isinstance(content, str) and self._results is None and message.get("cache_control") is None:
            if not _is_blank(content):
                self.turns.append({"role": "user", "content": content})
            return
        blocks = self._marked(self._blocks(content, path), message, path)
        if self._results is not None:
            self._results += blocks
        elif blocks:
            self.turns.append({"role": "user", "content": blocks})
        self._results = None

    def _say_result(self, message: Json, path: str) -> None:
        """Results of tools that were called together stand in one turn."""
        call = string(message.get("tool_call_id"), f"{path}.tool_call_id")
        told: Json = {"type": "tool_result", "tool_use_id": call_id(call)}
        content = message.get("content")
        if said := content if isinstance(content, str) else self._blocks(content, path):
            told["content"] = said
        if message.get("is_error"):
            told["is_error"] = True
        if self._results is None:
            self._results = []
            self.turns.append({"role": "user", "content": self._results})
        self._results += self._marked([told], message, path)

    def _say_assistant(self, message: Json, path: str) -> None:
        self._results = None
        for name in ("audio", "function_call"):
            if message.get(name) is not None:
                raise CannotSay(f"{path}.{name}", "Anthropic has no such content in a message of the assistant.")
        blocks = self._thoughts(message, path)
        if message.get("citations"):
            blocks += self._cited(message, path)
        else:
            blocks += self._texts(message.get("content"), path)
        if (refusal := message.get("refusal")) and not _is_blank(string(refusal, f"{path}.refusal")):
            blocks.append({"type": "text", "text": refusal})
        if (calls := message.get("tool_calls")) is not None:
            calls_path = f"{path}.tool_calls"
            blocks += [self._call(call, f"{calls_path}.{at}") for at, call in enumerate(objects(calls, calls_path))]
        if blocks := self._marked(blocks, message, path):
            self.turns.append({"role": "assistant", "content": _plain(blocks)})

    def _blocks(self, content: Any, path: str) -> list[Json]:
        """Return the blocks of a content of any kind."""
        if content is None:
            return []
        if isinstance(content, str):
            return [] if _is_blank(content) else [{"type": "text", "text": content}]
        path += ".content"
        blocks: list[Json] = []
        for at, part in enumerate(objects(content, path)):
            if (block := self._block(part, f"{path}.{at}")) is not None:
                blocks.append(block)
        return blocks

    def _block(self, part: Json, path: str) -> Json | None:
        kind = part.get("type")
        if kind == "image_url":
            block = image(part, path, self._losses)
        elif kind == "file":
            block = document(part, path)
        else:
            return self._text(part, path)
        if mark := cache_mark(part, path):
            block["cache_control"] = mark
        return block

    def _text(self, part: Json, path: str) -> Json | None:
        kind = part.get("type")
        if kind not in ("text", "refusal"):
            where = f"{path}.{kind}" if isinstance(kind, str) and kind in part else f"{path}.type"
            raise CannotSay(where, f"Anthropic has no content of the type {str(kind)[:40]!r} here.")
        text, mark = string(part.get(kind), f"{path}.{kind}"), cache_mark(part, path)
        if _is_blank(text):
            if mark:
                self._losses.drop("messages.content.cache_control")
            return None
        return {"type": "text", "text": text, "cache_control": mark} if mark else {"type": "text", "text": text}

    def _texts(self, content: Any, path: str) -> list[Json]:
        """Return the blocks of a content that can be nothing but text."""
        if not isinstance(content, list):
            return self._blocks(content, path)
        path += ".content"
        texts = (self._text(part, f"{path}.{at}") for at, part in enumerate(objects(content, path)))
        return [text for text in texts if text is not None]

    def _marked(self, blocks: list[Json], message: Json, path: str) -> list[Json]:
        """Put the mark of a message on the last block that can bear one."""
        mark = cache_mark(message, path)
        if mark is None:
            return blocks
        if blocks and blocks[-1]["type"] not in _UNCACHEABLE:
            return [*blocks[:-1], {**blocks[-1], "cache_control": mark}]
        self._losses.drop("messages.cache_control")
        return blocks

    def _thoughts(self, message: Json, path: str) -> list[Json]:
        """Thoughts go back as they came. Those that are not signed are not Claude's, and would be refused."""
        if (given := message.get("thinking_blocks")) is None:
            if message.get("reasoning_content"):
                self._losses.drop("messages.reasoning_content")
            return []
        path += ".thinking_blocks"
        thoughts = [_thought(block, f"{path}.{at}") for at, block in enumerate(objects(given, path))]
        if None in thoughts:
            self._losses.drop("messages.thinking_blocks")
        return [thought for thought in thoughts if thought is not None]

    def _cited(self, message: Json, path: str) -> list[Json]:
        """Return the blocks of a text with citations. A citation counts all characters, also those of blank parts."""
        citations = objects(message["citations"], f"{path}.citations")
        content, offset, found = message.get("content"), 0, 0
        parts: list[Json] = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
        blocks: list[Json] = []
        for at, part in enumerate(objects(parts, f"{path}.content")):
            if (block := self._text(part, f"{path}.content.{at}")) is not None:
                pieces, fit = cut(block["text"], offset, citations)
                blocks += self._marked(pieces, part, path)
                found += fit
            offset += len(part[part["type"]])
        if found < len(citations):
            self._losses.drop("messages.citations")
        return blocks

    def _call(self, call: Json, path: str) -> Json:
        if call.get("extra_content"):
            self._losses.drop("messages.tool_calls.extra_content")
        if call.get("type", "function") != "function":
            raise CannotSay(f"{path}.type", "Anthropic knows calls of functions only.")
        function = an_object(call.get("function"), f"{path}.function")
        return {
            "type": "tool_use",
            "id": call_id(string(call.get("id"), f"{path}.id")),
            "name": string(function.get("name"), f"{path}.function.name"),
            "input": arguments_of(string(function.get("arguments", ""), f"{path}.function.arguments")),
        }


def _is_blank(text: str) -> bool:
    return not text or text.isspace()


def _plain(blocks: list[Json]) -> str | list[Json]:
    """One text, of which there is nothing else to say, needs no block."""
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        text: str = blocks[0]["text"]
        return text
    return blocks


def _thought(block: Json, path: str) -> Json | None:
    """Return a block of thoughts, None for one that nobody has signed, or that OpenAI has sealed."""
    if block.get("type") == "redacted_thinking":
        return {"type": "redacted_thinking", "data": string(block.get("data"), f"{path}.data")}
    if block.get("type") != "thinking":
        raise CannotSay(f"{path}.type", "A thinking block is of the type thinking or redacted_thinking.")
    thinking = string(block.get("thinking"), f"{path}.thinking")
    if not (signature := block.get("signature")) or str(signature).startswith(SEALED):
        return None
    return {"type": "thinking", "thinking": thinking, "signature": string(signature, f"{path}.signature")}


def call_id(given: str) -> str:
    """Return the id of a call with nothing in it but the characters that Anthropic takes."""
    return _NOT_IN_IDS.sub("_", given)


def arguments_of(arguments: str) -> Json:
    """Return the object that the arguments are; none at all are an empty one.

    What a model said that is no JSON object goes back as Anthropic advises, as the one field of an object
    (https://platform.claude.com/docs/en/agents-and-tools/tool-use/fine-grained-tool-streaming).
    """
    if not arguments or arguments.isspace():
        return {}
    try:
        found = _decode(arguments)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {"INVALID_JSON": arguments}
