"""Anthropic's Messages as policies read and change them. https://platform.claude.com/docs/en/api/messages/create"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from trustgate.contract.edits import REMOVED, Edits, Inserted, Path
from trustgate.contract.prompt import Function, OfferedTool, Prompt, Role
from trustgate.providers.prompts.gather import Gathered, a_list, a_name, an_object, fields
from trustgate.providers.prompts.openai import content_with
from trustgate.providers.prompts.tools import Place, taken_away


class MessagesLens:
    """Reads requests for messages."""

    def read(self, body: Any) -> Prompt:
        """Return what a parsed body says. Raises Unreadable."""
        asked, found = an_object(body, "the body"), Gathered()
        found.within("system")
        found.content(("system",), asked.get("system"), gather_block)
        messages = a_list(asked.get("messages"), "messages")
        for index, message in enumerate(messages):
            said = an_object(message, f"message {index}")
            found.within("assistant" if said.get("role") == "assistant" else "user", index)
            found.content(("messages", index, "content"), said.get("content"), gather_block)
        gather_tools(found, asked)
        choice = fields(asked.get("tool_choice"))
        return found.prompt(
            messages=messages, max_output=asked.get("max_tokens"), choices=1, tool_choice=choice.get("name")
        )

    def with_tools(self, body: Any, functions: Sequence[Function]) -> Edits:
        """Return the edits that offer these functions too. Raises Unreadable."""
        tools = a_list(an_object(body, "the body").get("tools"), "tools")
        offered = [
            {
                "name": each.name,
                "description": each.description,
                "input_schema": {"type": "object", **each.parameters},
            }
            for each in functions
        ]
        return {("tools", len(tools)): Inserted(*offered)} if tools else {("tools",): offered}

    def without_tools(self, body: Any, drop: Callable[[OfferedTool], bool], *, keep_empty: bool = False) -> Edits:
        """Return the edits that take tools away. Raises Unreadable."""
        asked, found = an_object(body, "the body"), Gathered()
        gather_tools(found, asked)
        edits, gone = taken_away(
            found.tools, drop, lists=[("tools",)], beside=[("tool_choice",)], keep_empty=keep_empty
        )
        name = a_name(fields(asked.get("tool_choice")).get("name"))
        return {**edits, ("tool_choice",): REMOVED} if name in gone else edits

    def with_system(self, body: Any, text: str, place: Place) -> Edits:
        """Return the edits that put a text before, behind or in the place of the system's. Raises Unreadable."""
        return content_with(an_object(body, "the body").get("system"), ("system",), text, place)

    def with_conversation(self, body: Any, messages: Sequence[tuple[Role, str]]) -> Edits:
        """Return the edits that put other messages in the place of all; what the system says stands outside them."""
        system = "\n\n".join(text for role, text in messages if role == "system")
        said = [
            {"role": "assistant" if role == "assistant" else "user", "content": text}
            for role, text in messages
            if role != "system"
        ]
        return {("system",): system or REMOVED, ("messages",): said}


def gather_block(found: Gathered, block: Any, path: Path) -> None:
    """One block. What a tool gives back is the tool's word, though it stands in a message of the user's."""
    kind = block.get("type") if isinstance(block, dict) else ""
    match kind:
        case "text":
            found.text((*path, "text"), block.get("text"), "tool_result" if found.role == "tool" else "text")
            found.rest(path, block, "text")
        case "thinking":
            found.text((*path, "thinking"), block.get("thinking"), "thought")
        case "redacted_thinking":
            pass  # encrypted: nobody but the provider can read it
        case "image":
            found.attachment(path, "image", fields(block.get("source")).get("url"))
        case "document":
            _gather_document(found, block, path)
        case "tool_use" | "server_tool_use" | "mcp_tool_use":
            found.call(path, block.get("id"), block.get("name"), block.get("input"), (*path, "input"))
        case "tool_result" | "mcp_tool_result":
            _gather_result(found, block, path)
        case _:
            found.unknown(path, block)


def _gather_result(found: Gathered, block: dict[str, Any], path: Path) -> None:
    found.result(path, block.get("tool_use_id"))
    role, found.role = found.role, "tool"
    found.content((*path, "content"), block.get("content"), gather_block, "tool_result")
    found.role = role


def _gather_document(found: Gathered, block: dict[str, Any], path: Path) -> None:
    source = fields(block.get("source"))
    for name in ("title", "context"):
        found.text((*path, name), block.get(name))
    match source.get("type"):
        case "text":
            found.text((*path, "source", "data"), source.get("data"))
        case "content":
            found.content((*path, "source", "content"), source.get("content"), gather_block)
        case _:
            found.attachment(path, "file", source.get("url"))


def gather_tools(found: Gathered, asked: dict[str, Any]) -> None:
    """The tools that a request offers: the provider's own have a dated type."""
    for at, tool in enumerate(a_list(asked.get("tools"), "tools")):
        offered = an_object(tool, "a tool")
        kind = a_name(offered.get("type"))
        found.tool(("tools", at), offered.get("name") or kind, builtin=kind not in ("", "custom"))


LENS: Final = MessagesLens()
