"""Which tools a request offers, and which of them the echo model calls: those that it must, or that the text names."""

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from trustgate.providers.echo.faults import Fault, empty, missing, optional, wrong_type, wrong_value

CHOICES = ("none", "auto", "required")
TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Tool(Struct, frozen=True, kw_only=True):
    """A function that may be called, and the schema of its arguments."""

    name: str
    parameters: Any


def choose_calls(body: Mapping[str, Any], text: str) -> tuple[Tool, ...]:
    """Return which tools to call: those that must be, otherwise those that the text names."""
    tools = _tools(body)
    wanted, choice = _choice(body, tools)
    named = tuple(tool for tool in wanted if _mentions(text, tool.name))
    if choice == "required":
        named = named or wanted[:1]
    return named[:1] if body.get("parallel_tool_calls") is False else named


def _tools(body: Mapping[str, Any]) -> tuple[Tool, ...]:
    listed = optional(body, "tools", list, "an array of objects")
    if listed is None:
        return ()
    if not listed:
        raise empty("tools")
    return tuple(_tool(f"tools[{at}]", tool) for at, tool in enumerate(listed))


def _tool(param: str, tool: Any) -> Tool:
    if not isinstance(tool, dict):
        raise wrong_type(param, "an object", tool)
    if tool.get("type") != "function":
        raise wrong_value(f"{param}.type", tool.get("type"), ("function",))
    function = tool.get("function")
    if not isinstance(function, dict) or "name" not in function:
        raise missing(f"{param}.function.name")
    name = function["name"]
    if not isinstance(name, str) or not TOOL_NAME.fullmatch(name):
        said = f"Invalid '{param}.function.name': string does not match pattern '^[a-zA-Z0-9_-]+$'."
        raise Fault(said, param=f"{param}.function.name", code="invalid_value")
    return Tool(name=name, parameters=function.get("parameters") or {"type": "object"})


def _choice(body: Mapping[str, Any], tools: tuple[Tool, ...]) -> tuple[tuple[Tool, ...], str]:
    """Return the tools among which `tool_choice` lets the model choose, and whether it must call one."""
    choice = body.get("tool_choice")
    if choice is None:
        return tools, "auto"
    if not tools:
        said = "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified."
        raise Fault(said, param="tool_choice")
    if isinstance(choice, str):
        if choice not in CHOICES:
            raise wrong_value("tool_choice", choice, CHOICES)
        return (() if choice == "none" else tools), choice
    return _chosen(choice, tools)


def _chosen(choice: Any, tools: tuple[Tool, ...]) -> tuple[tuple[Tool, ...], str]:
    if not isinstance(choice, dict):
        raise wrong_type("tool_choice", "one of a string or object", choice)
    allowed = choice.get("allowed_tools") if choice.get("type") == "allowed_tools" else None
    entries = allowed.get("tools") or () if isinstance(allowed, dict) else (choice,)
    names = {_function_name(entry) for entry in entries}
    if unknown := names - {tool.name for tool in tools}:
        said = f"Tool choice '{sorted(map(str, unknown))[0]}' not found in 'tools' parameter."
        raise Fault(f"Invalid value for 'tool_choice': {said}", param="tool_choice")
    chosen = tuple(tool for tool in tools if tool.name in names)
    return chosen, str(allowed.get("mode", "auto")) if isinstance(allowed, dict) else "required"


def _function_name(entry: Any) -> Any:
    function = entry.get("function") if isinstance(entry, dict) else None
    return function.get("name") if isinstance(function, dict) else None


def _mentions(text: str, name: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) is not None
