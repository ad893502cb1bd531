"""OpenAI's chat completions as policies read and change them. https://platform.openai.com/docs/api-reference/chat"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from trustgate.contract.edits import REMOVED, Edits, Inserted, Path
from trustgate.contract.prompt import Function, OfferedTool, PieceKind, Prompt, Role
from trustgate.providers.prompts.gather import Gathered, a_list, a_name, an_object, fields
from trustgate.providers.prompts.tools import Place, joined, taken_away

ROLES: Final[Mapping[str, Role]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_MESSAGE: Final = (
    *("role", "content", "name", "tool_call_id", "tool_calls", "function_call", "reasoning_content", "reasoning"),
    *("refusal", "audio", "tool_plan", "reasoning_details"),
)
_BESIDE: Final[tuple[Path, ...]] = (("tool_choice",), ("parallel_tool_calls",), ("function_call",))


class ChatLens:
    """Reads chat requests."""

    max_output: tuple[str, ...] = ("max_completion_tokens", "max_tokens")

    def read(self, body: Any) -> Prompt:
        """Return what a parsed body says. Raises Unreadable."""
        asked, found = an_object(body, "the body"), Gathered()
        messages = a_list(asked.get("messages"), "messages")
        for index, message in enumerate(messages):
            gather_message(found, an_object(message, f"message {index}"), ("messages", index), index)
        found.within("assistant").text(("prediction", "content"), fields(asked.get("prediction")).get("content"))
        gather_tools(found, asked)
        self.gather_more(found, asked)
        return found.prompt(
            messages=messages,
            max_output=next((asked[name] for name in self.max_output if asked.get(name) is not None), None),
            choices=asked.get("n"),
            tool_choice=_insisted(asked.get("tool_choice")),
        )

    def gather_more(self, found: Gathered, asked: dict[str, Any]) -> None:
        """What a dialect like this one has besides."""

    def with_tools(self, body: Any, functions: Sequence[Function]) -> Edits:
        """Return the edits that offer these functions too. Raises Unreadable."""
        tools = a_list(an_object(body, "the body").get("tools"), "tools")
        offered = [{"type": "function", "function": described(each)} for each in functions]
        return {("tools", len(tools)): Inserted(*offered)} if tools else {("tools",): offered}

    def without_tools(self, body: Any, drop: Callable[[OfferedTool], bool], *, keep_empty: bool = False) -> Edits:
        """Return the edits that take tools away. Raises Unreadable."""
        asked, found = an_object(body, "the body"), Gathered()
        gather_tools(found, asked)
        lists = [(name,) for name in ("tools", "functions") if asked.get(name)]
        edits, gone = taken_away(found.tools, drop, lists=lists, beside=_BESIDE, keep_empty=keep_empty)
        if edits and ("tool_choice",) not in edits:
            edits |= _choice_among(asked.get("tool_choice"), gone)
        return edits

    def with_system(self, body: Any, text: str, place: Place) -> Edits:
        """Return the edits that put a text before, behind or in the place of what the system says. Raises Unreadable"""
        messages = a_list(an_object(body, "the body").get("messages"), "messages")
        system = [at for at, message in enumerate(messages) if ROLES.get(fields(message).get("role", "")) == "system"]
        if not system:
            return {("messages", 0): Inserted({"role": "system", "content": text})}
        at = system[-1] if place == "behind" else system[0]
        others: dict[Path, Any] = {
            ("messages", other): REMOVED for other in system if other != at and place == "instead"
        }
        return {**others, **content_with(messages[at].get("content"), ("messages", at, "content"), text, place)}

    def with_conversation(self, body: Any, messages: Sequence[tuple[Role, str]]) -> Edits:
        """Return the edits that put other messages in the place of all."""
        return {("messages",): [{"role": role, "content": text} for role, text in messages]}


def content_with(content: Any, path: Path, text: str, place: Place) -> Edits:
    """Return the edits that put a text to the content of a message: a string, or a list of parts."""
    if isinstance(content, list) and content and place != "instead":
        return {(*path, 0 if place == "before" else len(content)): Inserted({"type": "text", "text": text})}
    return {path: joined(text, a_name(content), place)}


def gather_message(found: Gathered, message: dict[str, Any], path: Path, index: int) -> None:
    """What one message says; the role of one that has none that is known is the user's."""
    found.within(ROLES.get(a_name(message.get("role")), "user"), index, found.choice)
    if found.role == "tool":
        found.result(path, message.get("tool_call_id"), message.get("name"))
    found.content((*path, "content"), message.get("content"), gather_part, _kind(found))
    for name in ("reasoning_content", "reasoning"):
        if isinstance(message.get(name), str):
            found.text((*path, name), message[name], "thought")
    found.text((*path, "refusal"), message.get("refusal"))
    found.text((*path, "audio", "transcript"), fields(message.get("audio")).get("transcript"))
    gather_calls(found, message, path)
    found.rest(path, message, *_MESSAGE)


def gather_calls(found: Gathered, message: dict[str, Any], path: Path) -> None:
    """The tools that a message calls."""
    for at, call in enumerate(a_list(message.get("tool_calls"), "tool_calls")):
        made, place = fields(call), (*path, "tool_calls", at)
        if "custom" in made:
            custom = fields(made["custom"])
            found.call(place, made.get("id"), custom.get("name"), custom.get("input"), (*place, "custom", "input"))
        else:
            function = fields(made.get("function"))
            arguments = (*place, "function", "arguments")
            found.call(place, made.get("id"), function.get("name"), function.get("arguments"), arguments)
    if function := fields(message.get("function_call")):
        place = (*path, "function_call")
        found.call(place, "", function.get("name"), function.get("arguments"), (*place, "arguments"))


def gather_part(found: Gathered, part: Any, path: Path) -> None:
    """One part of a content. https://platform.openai.com/docs/api-reference/chat/create#chat-create-messages"""
    kind = part.get("type") if isinstance(part, dict) else ""
    match kind:
        case "text":
            found.text((*path, "text"), part.get("text"), _kind(found))
            found.rest(path, part, "text")
        case "thinking":
            found.text((*path, "thinking"), part.get("thinking"), "thought")
        case "refusal":
            found.text((*path, "refusal"), part.get("refusal"))
        case "image_url":
            image = part.get("image_url")
            found.attachment(path, "image", image if isinstance(image, str) else fields(image).get("url"))
        case "input_audio":
            found.attachment(path, "audio")
        case "file":
            file = fields(part.get("file"))
            found.attachment(path, "file", file.get("file_data"))
            found.rest((*path, "file"), file, "file_data", "file_id")
        case _:
            found.unknown(path, part)


def _kind(found: Gathered) -> PieceKind:
    """What the texts of a message are: a tool's message holds what the tool gave back."""
    return "tool_result" if found.role == "tool" else "text"


def gather_tools(found: Gathered, asked: dict[str, Any]) -> None:
    """The tools that a request offers, in today's form and in the first one."""
    for at, tool in enumerate(a_list(asked.get("tools"), "tools")):
        offered = an_object(tool, "a tool")
        kind = a_name(offered.get("type")) or "function"
        named = fields(offered.get(kind)).get("name") if kind in ("function", "custom") else kind
        found.tool(("tools", at), named, builtin=kind not in ("function", "custom"))
    for at, function in enumerate(a_list(asked.get("functions"), "functions")):
        found.tool(("functions", at), an_object(function, "a function").get("name"))


def described(function: Function) -> dict[str, Any]:
    """Return a function as the dialects after OpenAI's describe it."""
    return {"name": function.name, "description": function.description, "parameters": dict(function.parameters)}


def _insisted(choice: Any) -> str:
    asked = fields(choice)
    kind = a_name(asked.get("type"))
    return a_name(fields(asked.get(kind)).get("name")) if kind in ("function", "custom") else ""


def _choice_among(choice: Any, gone: frozenset[str]) -> dict[Path, Any]:
    """An insistence on a tool that is gone goes; of several allowed ones those go that are gone."""
    if _insisted(choice) in gone:
        return {("tool_choice",): REMOVED}
    allowed = a_list(fields(fields(choice).get("allowed_tools")).get("tools"), "the allowed tools")
    path: Path = ("tool_choice", "allowed_tools", "tools")
    edits: dict[Path, Any] = {(*path, at): REMOVED for at, tool in enumerate(allowed) if _insisted(tool) in gone}
    return edits if not edits or len(edits) < len(allowed) else {("tool_choice",): REMOVED}


LENS: Final = ChatLens()
