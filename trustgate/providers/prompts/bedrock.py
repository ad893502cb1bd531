"""Bedrock's Converse as policies read and change it.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from trustgate.contract.edits import REMOVED, Edits, Inserted, Path
from trustgate.contract.prompt import Function, OfferedTool, Prompt, Role
from trustgate.providers.prompts.gather import Gathered, a_list, a_name, an_object, fields
from trustgate.providers.prompts.tools import Place, taken_away

_TOOLS: Final[Path] = ("toolConfig", "tools")


class ConverseLens:
    """Reads requests to converse."""

    def read(self, body: Any) -> Prompt:
        """Return what a parsed body says. Raises Unreadable."""
        asked, found = an_object(body, "the body"), Gathered()
        found.within("system")
        gather_blocks(found, asked.get("system"), ("system",))
        messages = a_list(asked.get("messages"), "messages")
        for index, message in enumerate(messages):
            said = an_object(message, f"message {index}")
            found.within("assistant" if said.get("role") == "assistant" else "user", index)
            gather_blocks(found, said.get("content"), ("messages", index, "content"))
        found.within("user").anything(("promptVariables",), asked.get("promptVariables"))
        gather_tools(found, asked)
        choice = fields(fields(asked.get("toolConfig")).get("toolChoice"))
        return found.prompt(
            messages=messages,
            max_output=fields(asked.get("inferenceConfig")).get("maxTokens"),
            choices=1,
            tool_choice=fields(choice.get("tool")).get("name"),
        )

    def with_tools(self, body: Any, functions: Sequence[Function]) -> Edits:
        """Return the edits that offer these functions too. Raises Unreadable."""
        config = fields(an_object(body, "the body").get("toolConfig"))
        tools = a_list(config.get("tools"), "tools")
        offered = [_spec(each) for each in functions]
        if tools:
            return {(*_TOOLS, len(tools)): Inserted(*offered)}
        return {_TOOLS: offered} if config else {("toolConfig",): {"tools": offered}}

    def without_tools(self, body: Any, drop: Callable[[OfferedTool], bool], *, keep_empty: bool = False) -> Edits:
        """Return the edits that take tools away: an empty list is not allowed here, so it always goes."""
        asked, found = an_object(body, "the body"), Gathered()
        gather_tools(found, asked)
        edits, gone = taken_away(found.tools, drop, lists=[("toolConfig",)], beside=(), keep_empty=False)
        name = a_name(fields(fields(fields(asked.get("toolConfig")).get("toolChoice")).get("tool")).get("name"))
        if name in gone and ("toolConfig",) not in edits:
            edits[("toolConfig", "toolChoice")] = REMOVED
        return edits

    def with_system(self, body: Any, text: str, place: Place) -> Edits:
        """Return the edits that put a text before, behind or in the place of the system's. Raises Unreadable."""
        system = a_list(an_object(body, "the body").get("system"), "system")
        if place == "instead" or not system:
            return {("system",): [{"text": text}]}
        return {("system", 0 if place == "before" else len(system)): Inserted({"text": text})}

    def with_conversation(self, body: Any, messages: Sequence[tuple[Role, str]]) -> Edits:
        """Return the edits that put other messages in the place of all; what the system says stands outside them."""
        system = [{"text": text} for role, text in messages if role == "system"]
        said = [
            {"role": "assistant" if role == "assistant" else "user", "content": [{"text": text}]}
            for role, text in messages
            if role != "system"
        ]
        return {("system",): system or REMOVED, ("messages",): said}


def gather_blocks(found: Gathered, content: Any, path: Path) -> None:
    """The blocks of a content."""
    for at, block in enumerate(a_list(content, "content")):
        _gather_block(found, block, (*path, at))


def _gather_block(found: Gathered, block: Any, path: Path) -> None:
    said = fields(block)
    if isinstance(said.get("text"), str):
        found.text((*path, "text"), said["text"], "tool_result" if found.role == "tool" else "text")
    elif use := fields(said.get("toolUse")):
        found.call(path, use.get("toolUseId"), use.get("name"), use.get("input"), (*path, "toolUse", "input"))
    elif result := fields(said.get("toolResult")):
        found.result(path, result.get("toolUseId"))
        role, found.role = found.role, "tool"
        gather_blocks(found, result.get("content"), (*path, "toolResult", "content"))
        found.role = role
    elif thought := fields(said.get("reasoningContent")):
        place = (*path, "reasoningContent", "reasoningText", "text")
        found.text(place, fields(thought.get("reasoningText")).get("text"), "thought")
    elif kind := next((name for name in ("image", "document", "video", "audio") if name in said), ""):
        found.attachment(path, "file" if kind == "document" else kind)
        _gather_media(found, fields(said[kind]), (*path, kind))
    elif "json" in said:
        found.anything((*path, "json"), said["json"], "tool_result")
    elif "cachePoint" not in said:
        found.unknown(path, block)


def _gather_media(found: Gathered, media: dict[str, Any], path: Path) -> None:
    """A document's text and name are read like what is said; bytes and places in S3 are not."""
    found.rest(path, media, "format", "source", "citations")
    source = fields(media.get("source"))
    for name in ("text", "content"):
        found.anything((*path, "source", name), source.get(name))


def gather_tools(found: Gathered, asked: dict[str, Any]) -> None:
    """The tools that a request offers; cache points between them are none."""
    for at, tool in enumerate(a_list(fields(asked.get("toolConfig")).get("tools"), "tools")):
        offered = an_object(tool, "a tool")
        if "toolSpec" in offered:
            found.tool((*_TOOLS, at), fields(offered["toolSpec"]).get("name"))
        elif "cachePoint" not in offered:
            found.tool((*_TOOLS, at), next(iter(offered), ""), builtin=True)


def _spec(function: Function) -> dict[str, Any]:
    schema = {"type": "object", **function.parameters}
    described = {"description": function.description} if function.description else {}
    return {"toolSpec": {"name": function.name, **described, "inputSchema": {"json": schema}}}


LENS: Final = ConverseLens()
