"""Tools and the choice among them.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ToolConfiguration.html
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from trustgate.providers.hub import CannotSay, Json, Losses
from trustgate.providers.pairs.openai_to_anthropic.schemas import followed
from trustgate.providers.pairs.openai_to_bedrock.family import Family
from trustgate.providers.pairs.openai_to_bedrock.messages import cache_point
from trustgate.providers.pairs.reading import an_object, objects, string

_NOTHING_WANTED: Final[Json] = {"type": "object", "properties": {}}
_ANYTHING: Final[Json] = {"type": "object"}


def tool_config(hub: Json, used: Iterable[str], family: Family, losses: Losses) -> Json | None:
    """Return the tools and the choice, None where there are none.

    A conversation in which tools were used must have tools in Converse. So where none may be called they stand there
    all the same, those that were `used` if there are no others, and that none may be called is lost.
    """
    choice, allowed = _choice(hub.get("tool_choice"))
    tools = _tools(hub.get("tools"), allowed, family, losses)
    if choice == "none" or not tools:
        if not used:
            return None
        losses.drop("tool_choice")
        return {"tools": tools or [_tool(name, _ANYTHING) for name in used]}
    if not isinstance(choice, dict):
        return {"tools": tools}
    if not family.forces_tools:
        losses.drop("tool_choice")
        return {"tools": tools}
    return {"tools": tools, "toolChoice": choice}


def _choice(choice: Any) -> tuple[Json | str, Sequence[str] | None]:
    """Return Bedrock's choice, or auto (which it means by saying nothing) or none, and the names that are allowed."""
    if choice is None or choice in ("auto", "none"):
        return choice or "auto", None
    if choice == "required":
        return {"any": {}}, None
    found = an_object(choice, "tool_choice")
    if found.get("type") == "function":
        function = an_object(found.get("function"), "tool_choice.function")
        return {"tool": {"name": string(function.get("name"), "tool_choice.function.name")}}, None
    if found.get("type") != "allowed_tools":
        raise CannotSay("tool_choice.type", "Bedrock knows the choice of functions only.")
    allowed = an_object(found.get("allowed_tools"), "tool_choice.allowed_tools")
    names = [_name_of(tool) for tool in objects(allowed.get("tools"), "tool_choice.allowed_tools.tools")]
    return {"any": {}} if allowed.get("mode") == "required" else "auto", names


def _name_of(tool: Json) -> str:
    path = "tool_choice.allowed_tools.tools.function"
    return string(an_object(tool.get("function"), path).get("name"), f"{path}.name")


def _tools(given: Any, allowed: Sequence[str] | None, family: Family, losses: Losses) -> list[Json]:
    tools: list[Json] = []
    for at, tool in enumerate(objects([] if given is None else given, "tools")):
        path = f"tools.{at}"
        if tool.get("type", "function") != "function":
            losses.drop(f"tools.{str(tool['type'])[:60]}")
            continue
        spec = _spec(an_object(tool.get("function"), f"{path}.function"), f"{path}.function", family, losses)
        if allowed is None or spec["toolSpec"]["name"] in allowed:
            mark = tool.get("cache_control")
            tools += (spec, *cache_point(mark, f"{path}.cache_control", "tools.cache_control", family, losses))
    return tools


def _spec(function: Json, path: str, family: Family, losses: Losses) -> Json:
    schema = function.get("parameters")
    schema = _NOTHING_WANTED if schema is None else an_object(schema, f"{path}.parameters")
    is_strict = bool(function.get("strict")) and family.follows_schemas
    if is_strict and family.claude:
        schema = followed(schema, "tools.function.parameters", losses)
    tool = _tool(string(function.get("name"), f"{path}.name"), schema)
    if description := function.get("description"):
        tool["toolSpec"]["description"] = string(description, f"{path}.description")
    if is_strict:
        tool["toolSpec"]["strict"] = True
    elif function.get("strict"):
        losses.drop("tools.function.strict")
    return tool


def _tool(name: str, schema: Json) -> Json:
    return {"toolSpec": {"name": name, "inputSchema": {"json": schema}}}
