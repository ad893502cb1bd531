"""Tools as Responses has them: without the envelope of their type. https://platform.openai.com/docs/guides/function-calling

What chat does not say of strictness is false, where Responses means true.
"""

from collections.abc import Mapping
from typing import Any, Final

from trustgate.providers.hub import CannotSay, Json, Losses
from trustgate.providers.pairs.reading import an_object, objects, string

_NO_PARAMETERS: Final[Json] = {"type": "object", "properties": {}}
_WORDS: Final = ("none", "auto", "required")
_TYPES: Final = ("function", "custom")


def put_tools(body: Json, hub: Json, losses: Losses) -> None:
    """Put `tools` and `tool_choice` into a body. Raises CannotSay."""
    tools: list[Json] = []
    if hub.get("tools") is not None:
        tools = [_tool(tool, f"tools.{at}", losses) for at, tool in enumerate(objects(hub["tools"], "tools"))]
    if (search := hub.get("web_search_options")) is not None:
        tools.append(_search(an_object(search, "web_search_options")))
    if tools:
        body["tools"] = tools
    if (choice := hub.get("tool_choice")) is not None:
        body["tool_choice"] = _choice(choice)


def _tool(tool: Json, path: str, losses: Losses) -> Json:
    if tool.get("cache_control") is not None:
        losses.drop("tools.cache_control")
    kind = tool.get("type")
    if kind == "custom":
        return _custom(an_object(tool.get("custom"), f"{path}.custom"), f"{path}.custom")
    if kind != "function":
        raise CannotSay(f"{path}.type", "A tool must be of the type function or custom.")
    path += ".function"
    function = an_object(tool.get("function"), path)
    told: Json = {"type": "function", "name": string(function.get("name"), f"{path}.name")}
    if function.get("description") is not None:
        told["description"] = function["description"]
    told["parameters"] = function.get("parameters") or _NO_PARAMETERS
    told["strict"] = function.get("strict") is True
    return told


def _custom(custom: Json, path: str) -> Json:
    told: Json = {"type": "custom", "name": string(custom.get("name"), f"{path}.name")}
    if custom.get("description") is not None:
        told["description"] = custom["description"]
    if custom.get("format") is not None:
        form = an_object(custom["format"], f"{path}.format")
        grammar = form.get("grammar")
        told["format"] = {"type": form.get("type"), **grammar} if isinstance(grammar, dict) else form
    return told


def _search(options: Json) -> Json:
    """https://platform.openai.com/docs/guides/tools-web-search: what some chat models always do is a tool here."""
    told: Json = {"type": "web_search"}
    if options.get("search_context_size") is not None:
        told["search_context_size"] = options["search_context_size"]
    if isinstance(place := options.get("user_location"), dict):
        approximate = place.get("approximate")
        told["user_location"] = {"type": "approximate", **(approximate if isinstance(approximate, dict) else {})}
    return told


def _choice(choice: Any) -> Any:
    if isinstance(choice, str) and choice in _WORDS:
        return choice
    if isinstance(choice, dict):
        if choice.get("type") == "allowed_tools":
            return _allowed(an_object(choice.get("allowed_tools"), "tool_choice.allowed_tools"))
        if choice.get("type") in _TYPES:
            return named(choice, "tool_choice")
    raise CannotSay("tool_choice", "This must be none, auto, required, a function, a custom tool or allowed tools.")


def _allowed(allowed: Json) -> Json:
    path = "tool_choice.allowed_tools.tools"
    tools = [named(tool, f"{path}.{at}") for at, tool in enumerate(objects(allowed.get("tools"), path))]
    return {"type": "allowed_tools", "mode": allowed.get("mode", "auto"), "tools": tools}


def named(choice: Mapping[str, Any], path: str) -> Json:
    """Return the name of a tool, and of which type it is. Raises CannotSay."""
    kind = choice.get("type")
    if kind not in _TYPES:
        raise CannotSay(f"{path}.type", "This must be function or custom.")
    described = an_object(choice.get(kind), f"{path}.{kind}")
    return {"type": kind, "name": string(described.get("name"), f"{path}.{kind}.name")}
