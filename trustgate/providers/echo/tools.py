"""Which tools a request offers, and which of them the echo model calls: those that it must, or that the text names."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from trustgate.providers.echo.faults import Fault, empty, missing, optional, wrong_type, wrong_value
from trustgate.providers.echo.instances import BadSchema, make_instance

CHOICES = ("none", "auto", "required")
TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Tool(Struct, frozen=True, kw_only=True):
    """A function that may be called, the schema of its arguments, and which parameter of the request that is."""

    name: str
    parameters: Any
    param: str


class ToolCall(Struct, frozen=True, kw_only=True):
    """A function that is called, and with what: JSON, as text."""

    name: str
    arguments: str


def choose_calls(body: Mapping[str, Any], text: str) -> tuple[ToolCall, ...]:
    """Return which tools to call: those that must be, otherwise those that the text names. Raises Fault."""
    tools = _tools(body)
    wanted, choice = _choice(body, tools)
    named = tuple(tool for tool in wanted if _mentions(text, tool.name))
    if choice == "required":
        named = named or wanted[:1]
    chosen = named[:1] if body.get("parallel_tool_calls") is False else named
    return tuple(_call(tool) for tool in chosen)


def _call(tool: Tool) -> ToolCall:
    try:
        return ToolCall(name=tool.name, arguments=msgspec.json.encode(make_instance(tool.parameters)).decode())
    except BadSchema as error:
        said = f"Invalid schema for function '{tool.name}': {error}."
        raise Fault(said, param=f"{tool.param}.function.parameters", code="invalid_function_parameters") from error


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
    return Tool(name=name, parameters=function.get("parameters") or {"type": "object"}, param=param)


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
    if choice.get("type") != "allowed_tools":
        return _named([choice], tools), "required"
    allowed = optional(choice, "allowed_tools", dict, "an object") or {}
    entries = optional(allowed, "tools", list, "an array of objects") or []
    return _named(entries, tools), str(allowed.get("mode", "auto"))


def _named(entries: list[Any], tools: tuple[Tool, ...]) -> tuple[Tool, ...]:
    names = [_function_name(entry) for entry in entries]
    known = [tool.name for tool in tools]
    if unknown := [name for name in names if name not in known]:
        said = f"Tool choice '{unknown[0]}' not found in 'tools' parameter."
        raise Fault(f"Invalid value for 'tool_choice': {said}", param="tool_choice")
    return tuple(tool for tool in tools if tool.name in names)


def _function_name(entry: Any) -> Any:
    function = entry.get("function") if isinstance(entry, dict) else None
    return function.get("name") if isinstance(function, dict) else None


def _mentions(text: str, name: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) is not None
