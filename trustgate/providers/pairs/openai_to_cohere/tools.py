"""Tools as Cohere's v2 chat takes them. https://docs.cohere.com/docs/tool-use-overview

Cohere can be told to use some tool, but not which: for a tool that must be used the others are left out.
"""

from collections.abc import Sequence
from typing import Any, Final

from trustgate.providers.hub import CannotSay, Json, Losses

_NO_PARAMETERS: Final[Json] = {"type": "object", "properties": {}}
"""Cohere insists on parameters; OpenAI takes their absence for none."""
_CHOICES: Final = {"required": "REQUIRED", "none": "NONE"}


def put_tools(body: Json, hub: Json, losses: Losses) -> None:
    """Put `tools`, `strict_tools` and `tool_choice` into a body. Raises CannotSay for tools that are no functions."""
    tools = _functions(hub.get("tools"))
    choice, named = _choice(hub.get("tool_choice"))
    if named is not None:
        tools = [tool for tool in tools if tool["function"].get("name") in named]
        if len({tool["function"].get("name") for tool in tools}) < len(set(named)):
            raise CannotSay("tool_choice", "`tool_choice` names a tool that is not among `tools`.")
    if choice:
        body["tool_choice"] = choice
    if tools:
        body["tools"] = [_tool(tool, losses) for tool in tools]
        _put_strictness(body, tools, losses)


def _functions(tools: Any) -> list[Json]:
    if tools is None:
        return []
    if not isinstance(tools, list):
        raise CannotSay("tools", "`tools` must be a list.")
    for index, tool in enumerate(tools):
        if not isinstance(tool, dict) or not isinstance(tool.get("function"), dict):
            raise CannotSay(f"tools.{index}", "Cohere only has tools that are functions.")
    return tools


def _tool(tool: Json, losses: Losses) -> Json:
    if tool.get("cache_control") is not None:
        losses.drop("tools.cache_control")
    function = tool["function"]
    told = {name: function[name] for name in ("name", "description") if function.get(name) is not None}
    told["parameters"] = function.get("parameters") or _NO_PARAMETERS
    return {"type": "function", "function": told}


def _put_strictness(body: Json, tools: Sequence[Json], losses: Losses) -> None:
    """Cohere is strict with all tools or with none, and refuses some that OpenAI takes where it need not be strict."""
    strict = [bool(tool["function"].get("strict")) for tool in tools]
    if all(strict):
        body["strict_tools"] = True
    elif any(strict):
        losses.drop("tools.function.strict")


def _choice(choice: Any) -> tuple[str, Sequence[str] | None]:
    """Return Cohere's word, empty where the model is free, and the names of the tools there are to be, if not all."""
    if choice is None or choice == "auto":
        return "", None
    if isinstance(choice, str) and choice in _CHOICES:
        return _CHOICES[choice], None
    if isinstance(choice, dict):
        if isinstance(name := _name(choice), str):
            return "REQUIRED", (name,)
        if isinstance(allowed := choice.get("allowed_tools"), dict):
            return _allowed(allowed)
    raise CannotSay("tool_choice", "`tool_choice` must be none, auto, required, a function or allowed tools.")


def _allowed(allowed: Json) -> tuple[str, Sequence[str]]:
    tools = allowed.get("tools")
    names = [_name(tool) if isinstance(tool, dict) else None for tool in tools] if isinstance(tools, list) else [None]
    if not all(isinstance(name, str) for name in names):
        raise CannotSay("tool_choice.allowed_tools.tools", "`tools` must be a list of functions.")
    return _CHOICES.get(str(allowed.get("mode")), ""), [name for name in names if name is not None]


def _name(choice: Json) -> str | None:
    function = choice.get("function")
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else None
