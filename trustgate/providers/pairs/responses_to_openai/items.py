"""Items of Responses as messages of the hub. https://platform.openai.com/docs/api-reference/responses/create#input

What a model said at once, its thoughts, text and calls, is one message, as far as the order can be kept: thoughts or
text behind a text begin another, unless there are calls already, whose results have to follow all of them.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from trustgate.providers.hub import CannotSay, Json, Losses
from trustgate.providers.pairs.openai_to_responses.thoughts import (
    BREAK,
    Carried,
    is_carried,
    texts_of,
    to_block,
    uncarry,
)
from trustgate.providers.pairs.reading import objects, string
from trustgate.providers.pairs.responses_to_openai.content import to_content, to_said

_LOST: Final = frozenset(
    (
        *("web_search_call", "file_search_call", "code_interpreter_call", "mcp_list_tools", "mcp_call"),
        *("tool_search_call", "configuration_update"),
    )
)
"""What OpenAI's own tools did at OpenAI, of which the text behind it tells, and settings."""
_ROLES: Final = ("user", "system", "developer")


class Conversation:
    """Takes items one after the other. `tools` are those that items bring, with their paths."""

    __slots__ = ("_losses", "_turn", "messages", "tools")

    def __init__(self, losses: Losses) -> None:
        self.messages: list[Json] = []
        self.tools: list[tuple[Json, str]] = []
        self._losses = losses
        self._turn: Json | None = None

    def add(self, item: Json, path: str) -> None:
        """Hear one item. Raises CannotSay."""
        kind = item.get("type")
        if kind is None:
            kind = "message" if "role" in item else "item_reference"
        kind = string(kind, f"{path}.type")
        if (hear := _ITEMS.get(kind)) is not None:
            hear(self, item, path)
        elif kind in _LOST:
            self._losses.drop(f"input.{kind}")
        else:
            raise CannotSay(f"{path}.type", f"An item of the type {kind[:40]!r} can be said to Responses alone.")

    def close(self) -> None:
        """End what the model said. A message without calls must have a content, if an empty one."""
        if self._turn is not None and "tool_calls" not in self._turn and "refusal" not in self._turn:
            self._turn["content"] = self._turn["content"] or ""
        self._turn = None

    def _open(self) -> Json:
        if self._turn is None:
            self._turn = {"role": "assistant", "content": None}
            self.messages.append(self._turn)
        return self._turn

    def _open_behind_text(self) -> Json:
        turn = self._turn
        if turn is not None and "tool_calls" not in turn and (turn["content"] is not None or "refusal" in turn):
            self.close()
        return self._open()

    # What is said to the model.

    def _message(self, item: Json, path: str) -> None:
        role = item.get("role")
        if role == "assistant":
            self._speak(item, path)
            return
        if role not in _ROLES:
            raise CannotSay(f"{path}.role", "The role must be one of user, system, developer and assistant.")
        self.close()
        self.messages.append(
            {"role": role, "content": to_content(item.get("content"), f"{path}.content", self._losses)}
        )

    def _result(self, item: Json, path: str) -> None:
        call = string(item.get("call_id"), f"{path}.call_id")
        self.close()
        content = to_content(item.get("output"), f"{path}.output", self._losses)
        self.messages.append({"role": "tool", "tool_call_id": call, "content": content})

    def _tools(self, item: Json, path: str) -> None:
        """Tools that became known on the way are known from the beginning."""
        path += ".tools"
        self.tools += [(tool, f"{path}.{at}") for at, tool in enumerate(objects(item.get("tools"), path))]

    def _reference(self, item: Json, path: str) -> None:
        raise CannotSay(path, "This item lives with the provider that gave it: send the item itself.")

    # What the model said.

    def _speak(self, item: Json, path: str) -> None:
        if item.get("phase") is not None:
            self._losses.drop("input.phase")
        content, refusal = to_said(item.get("content"), f"{path}.content", self._losses)
        turn = self._open_behind_text()
        turn["content"] = _joined(turn["content"], content)
        if refusal:
            turn["refusal"] = turn.get("refusal", "") + refusal
            turn["content"] = turn["content"] or None

    def _call(self, item: Json, path: str) -> None:
        arguments = string(item.get("arguments", ""), f"{path}.arguments")
        self._calls(item, path, "function", {"arguments": arguments})

    def _custom_call(self, item: Json, path: str) -> None:
        self._calls(item, path, "custom", {"input": string(item.get("input", ""), f"{path}.input")})

    def _calls(self, item: Json, path: str, kind: str, said: Json) -> None:
        if item.get("namespace") is not None:
            self._losses.drop("input.namespace")
        called = {"name": string(item.get("name"), f"{path}.name"), **said}
        call = {"id": string(item.get("call_id"), f"{path}.call_id"), "type": kind, kind: called}
        self._open().setdefault("tool_calls", []).append(call)

    def _reason(self, item: Json, path: str) -> None:
        encrypted = item.get("encrypted_content")
        if is_carried(encrypted):
            carried = uncarry(str(encrypted))
            if carried is None:
                raise CannotSay(f"{path}.encrypted_content", "This is not whole: send thoughts back as they came.")
            self._take(carried)
            return
        texts, is_content = texts_of(item)
        if encrypted or is_content:
            turn = self._open_behind_text()
            _think(turn, BREAK.join(texts), [to_block(item, _said_in(turn))])
        elif texts:
            _think(self._open_behind_text(), BREAK.join(texts), [])
        else:
            self._losses.drop("input.reasoning")

    def _take(self, carried: Carried) -> None:
        """Take thoughts of others as they were, and what belongs to the text or the calls before them."""
        if carried.blocks:
            texts = [block["thinking"] for block in carried.blocks if isinstance(block.get("thinking"), str)]
            _think(self._open_behind_text(), BREAK.join(text for text in texts if text), carried.blocks)
        if self._turn is None:
            return
        if isinstance(carried.extra_content, dict):
            self._turn["extra_content"] = carried.extra_content
        for call in self._turn.get("tool_calls", ()):
            if call["id"] in carried.calls:
                call["extra_content"] = carried.calls[call["id"]]


_ITEMS: Final[Mapping[str, Callable[[Conversation, Json, str], None]]] = {
    "message": Conversation._message,
    "function_call": Conversation._call,
    "custom_tool_call": Conversation._custom_call,
    "function_call_output": Conversation._result,
    "custom_tool_call_output": Conversation._result,
    "reasoning": Conversation._reason,
    "item_reference": Conversation._reference,
    "additional_tools": Conversation._tools,
    "tool_search_output": Conversation._tools,
}


def _think(turn: Json, text: str, blocks: list[Json]) -> None:
    if blocks:
        turn["thinking_blocks"] = [*turn.get("thinking_blocks", ()), *blocks]
    if text:
        before = turn.get("reasoning_content")
        turn["reasoning_content"] = f"{before}{BREAK}{text}" if before else text


def _said_in(turn: Json) -> tuple[int, int]:
    """Return how many characters, of a refusal too, and calls there are."""
    content: Any = turn["content"] or ""
    texts = [content] if isinstance(content, str) else [part["text"] for part in content]
    return sum(map(len, (*texts, turn.get("refusal", "")))), len(turn.get("tool_calls", ()))


def _joined(before: str | list[Json] | None, behind: str | list[Json]) -> str | list[Json]:
    if not before:
        return behind
    if isinstance(before, str) and isinstance(behind, str):
        return before + behind
    return [*_parts(before), *_parts(behind)]


def _parts(content: str | list[Json]) -> list[Json]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content
