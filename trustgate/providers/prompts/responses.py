"""OpenAI's Responses as policies read and change them. https://platform.openai.com/docs/api-reference/responses"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from trustgate.contract.edits import REMOVED, Edits, Inserted, Path
from trustgate.contract.prompt import Function, OfferedTool, PieceKind, Prompt, Role
from trustgate.providers.prompts.gather import Gathered, Part, a_list, a_name, an_object, fields
from trustgate.providers.prompts.openai import ROLES, described
from trustgate.providers.prompts.tools import Place, joined, taken_away

_CALLS: Final = {"function_call": "arguments", "custom_tool_call": "input", "mcp_call": "arguments"}
_RESULTS: Final = ("function_call_output", "custom_tool_call_output")
_NAMED: Final = ("function", "custom")


class ResponsesLens:
    """Reads requests for responses."""

    def read(self, body: Any) -> Prompt:
        """Return what a parsed body says. Raises Unreadable."""
        asked, found = an_object(body, "the body"), Gathered()
        found.within("system").text(("instructions",), asked.get("instructions"))
        found.within("user").anything(("prompt", "variables"), fields(asked.get("prompt")).get("variables"))
        items = asked.get("input")
        if not isinstance(items, list):
            found.within("user", 0).text(("input",), items)
            items = [] if items is None else [items]
        else:
            for index, item in enumerate(items):
                gather_item(found, item, ("input", index), index)
        gather_tools(found, asked)
        choice = fields(asked.get("tool_choice"))
        return found.prompt(
            messages=items,
            max_output=asked.get("max_output_tokens"),
            choices=1,
            tool_choice=choice.get("name") if choice.get("type") in _NAMED else "",
        )

    def with_tools(self, body: Any, functions: Sequence[Function]) -> Edits:
        """Return the edits that offer these functions too. Raises Unreadable."""
        tools = a_list(an_object(body, "the body").get("tools"), "tools")
        offered = [{"type": "function", **described(each), "strict": False} for each in functions]
        return {("tools", len(tools)): Inserted(*offered)} if tools else {("tools",): offered}

    def without_tools(self, body: Any, drop: Callable[[OfferedTool], bool], *, keep_empty: bool = False) -> Edits:
        """Return the edits that take tools away. Raises Unreadable."""
        asked, found = an_object(body, "the body"), Gathered()
        gather_tools(found, asked)
        beside: list[Path] = [("tool_choice",), ("parallel_tool_calls",), ("max_tool_calls",)]
        edits, gone = taken_away(found.tools, drop, lists=[("tools",)], beside=beside, keep_empty=keep_empty)
        return edits | _choice_among(asked.get("tool_choice"), gone) if ("tools",) not in edits else edits

    def with_system(self, body: Any, text: str, place: Place) -> Edits:
        """Return the edits that put a text before, behind or in the place of what the system says.

        It says that in its instructions and in messages; `instead` takes the messages away. Raises Unreadable.
        """
        asked = an_object(body, "the body")
        items = asked.get("input")
        roles = [a_name(fields(item).get("role")) for item in items] if isinstance(items, list) else []
        system = [at for at, role in enumerate(roles) if ROLES.get(role) == "system"]
        if system and place == "behind":
            return {("input", system[-1] + 1): Inserted({"role": "system", "content": text})}
        gone: dict[Path, Any] = {("input", at): REMOVED for at in system if place == "instead"}
        return {**gone, ("instructions",): joined(text, a_name(asked.get("instructions")), place)}

    def with_conversation(self, body: Any, messages: Sequence[tuple[Role, str]]) -> Edits:
        """Return the edits that put other messages in the place of all; the first system text is the instructions."""
        said = [{"role": role, "content": text} for role, text in messages if role != "system"]
        system = "\n\n".join(text for role, text in messages if role == "system")
        return {("instructions",): system or REMOVED, ("input",): said}


def gather_item(found: Gathered, item: Any, path: Path, index: int = -1) -> None:
    """One item of an input or an output."""
    said = an_object(item, "an item")
    kind = a_name(said.get("type")) or ("message" if "role" in said else "")
    found.within("assistant", index, found.choice)
    if kind == "message":
        found.role = ROLES.get(a_name(said.get("role")), "user")
        found.content((*path, "content"), said.get("content"), _PARTS["text"], "text")
    elif kind in _CALLS:
        place = (*path, _CALLS[kind])
        found.call(path, said.get("call_id") or said.get("id"), said.get("name"), said.get(_CALLS[kind]), place)
        if kind == "mcp_call":
            found.text((*path, "output"), said.get("output"), "tool_result")
    elif kind in _RESULTS:
        found.role = "tool"
        found.result(path, said.get("call_id"))
        found.content((*path, "output"), said.get("output"), _PARTS["tool_result"], "tool_result")
    elif kind == "reasoning":
        for name in ("summary", "content"):
            found.content((*path, name), said.get(name), _PARTS["thought"], "thought")
    elif kind != "item_reference":
        found.unknown(path, said)


def _gather_part(found: Gathered, part: Any, path: Path, kind: PieceKind) -> None:
    match part.get("type") if isinstance(part, dict) else "":
        case "input_text" | "output_text" | "text" | "summary_text" | "reasoning_text":
            found.text((*path, "text"), part.get("text"), kind)
        case "refusal":
            found.text((*path, "refusal"), part.get("refusal"))
        case "input_image":
            found.attachment(path, "image", part.get("image_url"))
        case "input_audio":
            found.attachment(path, "audio")
        case "input_file":
            found.attachment(path, "file", part.get("file_url") or part.get("file_data"))
        case _:
            found.unknown(path, part)


_PARTS: Final[Mapping[PieceKind, Part]] = {
    kind: partial(_gather_part, kind=kind) for kind in ("text", "tool_result", "thought")
}
"""What gathers a part of each kind of content."""


def gather_tools(found: Gathered, asked: dict[str, Any]) -> None:
    """The tools that a request offers: those that are neither functions nor custom are the provider's own."""
    for at, tool in enumerate(a_list(asked.get("tools"), "tools")):
        offered = an_object(tool, "a tool")
        kind = a_name(offered.get("type"))
        found.tool(("tools", at), offered.get("name") if kind in _NAMED else kind, builtin=kind not in _NAMED)


def _choice_among(choice: Any, gone: frozenset[str]) -> dict[Path, Any]:
    """An insistence on a tool that is gone goes; of several allowed ones those go that are gone."""
    asked = fields(choice)
    if asked.get("type") != "allowed_tools":
        return {("tool_choice",): REMOVED} if _name(asked) in gone else {}
    allowed = a_list(asked.get("tools"), "the allowed tools")
    edits: dict[Path, Any] = {
        ("tool_choice", "tools", at): REMOVED for at, tool in enumerate(allowed) if _name(tool) in gone
    }
    return edits if not edits or len(edits) < len(allowed) else {("tool_choice",): REMOVED}


def _name(tool: Any) -> str:
    named = fields(tool)
    return a_name(named.get("name")) if named.get("type") in _NAMED else a_name(named.get("type"))


LENS: Final = ResponsesLens()
