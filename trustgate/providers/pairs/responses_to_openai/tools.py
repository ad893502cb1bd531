"""Tools of Responses as chat has them. https://platform.openai.com/docs/guides/function-calling

OpenAI's own tools are no one else's, and are lost; so is the choice of one, and every choice where no tool is left.
"""

from collections.abc import Sequence
from typing import Any, Final

from trustgate.providers.hub import CannotSay, Json, Losses
from trustgate.providers.pairs.reading import an_object, boolean, objects, string

_FUNCTION: Final = frozenset(("type", "name", "description", "parameters", "strict"))
_CUSTOM: Final = frozenset(("type", "name", "description", "format"))
_WORDS: Final = ("none", "auto", "required")
_TYPES: Final = ("function", "custom")


def to_tools(given: Sequence[tuple[Json, str]], losses: Losses) -> list[Json]:
    """Return the tools that the caller has given, each with its path. Raises CannotSay."""
    tools: dict[tuple[str, str], Json] = {}
    for tool, path in given:
        kind = tool.get("type")
        if kind in _TYPES:
            name = string(tool.get("name"), f"{path}.name")
            told = _function(tool, path, losses) if kind == "function" else _custom(tool, path, losses)
            tools.setdefault((kind, name), told)
        elif isinstance(kind, str):
            losses.drop(f"tools.{kind[:60]}")
        else:
            raise CannotSay(f"{path}.type", "A tool must have a type.")
    return list(tools.values())


def _described(tool: Json, path: str, known: frozenset[str], losses: Losses) -> Json:
    for name, value in tool.items():
        if name not in known and value:
            losses.drop(f"tools.{name}")
    told: Json = {"name": tool["name"]}
    if tool.get("description") is not None:
        told["description"] = string(tool["description"], f"{path}.description")
    return told


def _function(tool: Json, path: str, losses: Losses) -> Json:
    function = _described(tool, path, _FUNCTION, losses)
    if tool.get("parameters") is not None:
        function["parameters"] = an_object(tool["parameters"], f"{path}.parameters")
    if tool.get("strict") is not None:
        function["strict"] = boolean(tool["strict"], f"{path}.strict")
    return {"type": "function", "function": function}


def _custom(tool: Json, path: str, losses: Losses) -> Json:
    custom = _described(tool, path, _CUSTOM, losses)
    if tool.get("format") is not None:
        form = an_object(tool["format"], f"{path}.format")
        custom["format"] = _grammar(form) if form.get("type") == "grammar" else form
    return {"type": "custom", "custom": custom}


def _grammar(form: Json) -> Json:
    return {"type": "grammar", "grammar": {name: form[name] for name in ("syntax", "definition") if name in form}}


def put_choice(hub: Json, choice: Any, losses: Losses) -> None:
    """Put the choice among the tools that are left into the hub's request. Raises CannotSay."""
    told = _choice(choice, losses)
    if told is None:
        losses.drop("tool_choice")
    elif hub.get("tools") and _is_left(told, hub["tools"]):
        hub["tool_choice"] = told
    elif told not in ("auto", "none"):
        losses.drop("tool_choice")


def _choice(choice: Any, losses: Losses) -> Any:
    """Return chat's choice, None for one that it does not have."""
    if isinstance(choice, str) and choice in _WORDS:
        return choice
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind in _TYPES:
        return _named(choice, "tool_choice")
    if kind == "allowed_tools":
        return _allowed(choice, losses)
    if isinstance(kind, str):
        return None
    raise CannotSay("tool_choice", "This must be none, auto, required or an object with a type.")


def _named(choice: Json, path: str) -> Json:
    kind = choice["type"]
    return {"type": kind, kind: {"name": string(choice.get("name"), f"{path}.name")}}


def _allowed(choice: Json, losses: Losses) -> Json | None:
    path = "tool_choice.tools"
    tools = []
    for at, tool in enumerate(objects(choice.get("tools"), path)):
        if tool.get("type") in _TYPES:
            tools.append(_named(tool, f"{path}.{at}"))
        else:
            losses.drop(path)
    mode = choice.get("mode", "auto")
    if mode not in ("auto", "required"):
        raise CannotSay("tool_choice.mode", "This must be auto or required.")
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}} if tools else None


def _is_left(choice: Any, tools: Sequence[Json]) -> bool:
    """Whether a tool that is chosen by its name is among the tools."""
    if not isinstance(choice, dict) or choice["type"] == "allowed_tools":
        return True
    kind = choice["type"]
    return any(tool["type"] == kind and tool[kind]["name"] == choice[kind]["name"] for tool in tools)
