"""The hub's messages as items of Responses. https://platform.openai.com/docs/api-reference/responses/create#input

Calls of tools and thoughts, which chat has within a message, are items of their own, in the order in which they were
said. A first message of the system that is plain text is the `instructions`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from trustgate.providers.hub import CannotSay, Json, Losses
from trustgate.providers.pairs.openai_to_responses.content import output_parts, parts
from trustgate.providers.pairs.openai_to_responses.thoughts import to_item, unseal
from trustgate.providers.pairs.reading import an_object, objects, string, text_of

_KNOWN: Final[Mapping[str, frozenset[str]]] = {
    "system": frozenset(("role", "content")),
    "developer": frozenset(("role", "content")),
    "user": frozenset(("role", "content")),
    "tool": frozenset(("role", "content", "tool_call_id")),
    "assistant": frozenset(("role", "content", "refusal", "tool_calls", "thinking_blocks", "reasoning_content")),
}
_NOT_HERE: Final = ("audio", "function_call")


def to_input(messages: Any, losses: Losses, *, stored: bool) -> tuple[str | None, list[Json]]:
    """Return the instructions, None where there are none, and the items. Raises CannotSay.

    `stored` says that OpenAI keeps what it answers, and so knows thoughts by their id.
    """
    found = objects(messages, "messages")
    first = found[0] if len(found) > 1 else {}
    instructions = first["content"] if _is_instructions(first) else None
    conversation = _Conversation(losses, stored=stored)
    for at, message in enumerate(found):
        if at or instructions is None:
            conversation.add(message, f"messages.{at}")
    return instructions, conversation.items


def _is_instructions(message: Json) -> bool:
    return message.keys() == {"role", "content"} and message["role"] == "system" and isinstance(message["content"], str)


class _Conversation:
    """Takes messages one after the other. A result does not say whether a function was called or a custom tool."""

    __slots__ = ("_customs", "_losses", "_stored", "items")

    def __init__(self, losses: Losses, *, stored: bool) -> None:
        self.items: list[Json] = []
        self._customs: set[str] = set()
        self._losses = losses
        self._stored = stored

    def add(self, message: Json, path: str) -> None:
        """Say one message. Raises CannotSay."""
        role = message.get("role")
        known = _KNOWN.get(role) if isinstance(role, str) else None
        if known is None:
            raise CannotSay(f"{path}.role", "The role must be one of system, developer, user, assistant and tool.")
        for name, value in message.items():
            if name not in known and value:
                if name in _NOT_HERE:
                    raise CannotSay(f"{path}.{name}", "Responses has no such content in a message of the assistant.")
                self._losses.drop(f"messages.{name}")
        if role == "assistant":
            self._speak(message, path)
        elif role == "tool":
            self._answer(message, path)
        else:
            content = parts(message.get("content"), f"{path}.content", self._losses, media=role == "user")
            self.items.append({"type": "message", "role": role, "content": content})

    def _answer(self, message: Json, path: str) -> None:
        call = string(message.get("tool_call_id"), f"{path}.tool_call_id")
        kind = "custom_tool_call_output" if call in self._customs else "function_call_output"
        output = parts(message.get("content"), f"{path}.content", self._losses, media=True)
        self.items.append({"type": kind, "call_id": call, "output": output})

    def _speak(self, message: Json, path: str) -> None:
        content = output_parts(message, path, self._losses)
        calls = message.get("tool_calls")
        found = [] if calls is None else objects(calls, f"{path}.tool_calls")
        told = [self._call(call, f"{path}.tool_calls.{at}") for at, call in enumerate(found)]
        begun, called = 0, 0
        for (characters, before), item in self._thoughts(message, path):
            begun = self._say(content, begun, characters)
            self.items += told[called:before]
            called = max(called, before)
            self.items.append(item)
        self._say(content, begun, None)
        self.items += told[called:]

    def _say(self, content: str | list[Json], begun: int, end: int | None) -> int:
        """Say a text from one place to another, the end where there is none; parts only as a whole."""
        if isinstance(content, str):
            said: str | list[Json] = content[begun:end]
        else:
            said = [] if begun or end == 0 else content
        if said:
            self.items.append({"type": "message", "role": "assistant", "content": said})
        return begun if end is None else max(begun, end)

    def _thoughts(self, message: Json, path: str) -> list[tuple[tuple[int, int], Json]]:
        """Return the thoughts that were OpenAI's own, and behind what they stand. Others could not be read there."""
        if (blocks := message.get("thinking_blocks")) is None:
            if message.get("reasoning_content"):
                self._losses.drop("messages.reasoning_content")
            return []
        told = []
        for block in objects(blocks, f"{path}.thinking_blocks"):
            seal = unseal(block.get("signature"))
            if seal is None or not (seal.encrypted_content or seal.content or (self._stored and seal.id)):
                self._losses.drop("messages.thinking_blocks")
            else:
                told.append((seal.after, to_item(text_of(block.get("thinking")), seal)))
        return told

    def _call(self, call: Json, path: str) -> Json:
        if call.get("extra_content"):
            self._losses.drop("messages.tool_calls.extra_content")
        kind = call.get("type", "function")
        to_call = _CALLS.get(kind) if isinstance(kind, str) else None
        if to_call is None:
            raise CannotSay(f"{path}.type", "A call must be of the type function or custom.")
        told = to_call(an_object(call.get(kind), f"{path}.{kind}"), f"{path}.{kind}")
        told["call_id"] = string(call.get("id"), f"{path}.id")
        if kind == "custom":
            self._customs.add(told["call_id"])
        return told


def _function(function: Json, path: str) -> Json:
    name = string(function.get("name"), f"{path}.name")
    arguments = string(function.get("arguments", ""), f"{path}.arguments")
    return {"type": "function_call", "name": name, "arguments": arguments}


def _custom(custom: Json, path: str) -> Json:
    name = string(custom.get("name"), f"{path}.name")
    return {"type": "custom_tool_call", "name": name, "input": string(custom.get("input", ""), f"{path}.input")}


_CALLS: Final[Mapping[str, Callable[[Json, str], Json]]] = {"function": _function, "custom": _custom}
