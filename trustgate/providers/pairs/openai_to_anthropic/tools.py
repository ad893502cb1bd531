"""Tools and the choice among them.

https://platform.claude.com/docs/en/agents-and-tools/tool-use/define-tools
"""

from collections.abc import Set as AbstractSet
from typing import Any, Final

from trustgate.providers.hub import CannotSay, Json, Losses
from trustgate.providers.pairs.openai_to_anthropic.abilities import Abilities
from trustgate.providers.pairs.openai_to_anthropic.schemas import followed
from trustgate.providers.pairs.reading import an_object, cache_mark, objects, string

_NOTHING_WANTED: Final[Json] = {"type": "object", "properties": {}}
_MOST_STRICT: Final = 20
"""Tools of one request that may be strict (structured outputs, "Schema complexity limits")."""
_CHOICES: Final[dict[str, str]] = {"auto": "auto", "none": "none", "required": "any"}


def say_tools(hub: Json, body: Json, model: Abilities, losses: Losses) -> None:
    """Put `tools` and `tool_choice` into the body. Raises CannotSay."""
    choice, allowed = _choice(hub.get("tool_choice"))
    tools = _tools(hub.get("tools"), allowed, model, losses)
    if not tools:
        return
    body["tools"] = tools
    if choice is not None and choice["type"] in ("any", "tool") and not model.forces_tools:
        losses.drop("tool_choice")
        choice = None
    parallel = hub.get("parallel_tool_calls")
    if parallel is False and (choice is None or choice["type"] != "none"):
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    if choice is not None:
        body["tool_choice"] = choice


def _choice(choice: Any) -> tuple[Json | None, AbstractSet[str] | None]:
    """Return Anthropic's choice, None for its usual one, and the names that are allowed, None for all."""
    if choice is None:
        return None, None
    if isinstance(choice, str):
        if choice not in _CHOICES:
            raise CannotSay("tool_choice", "This must be none, auto, required or an object.")
        return {"type": _CHOICES[choice]}, None
    found = an_object(choice, "tool_choice")
    if found.get("type") == "function":
        return {"type": "tool", "name": _name(found, "tool_choice")}, None
    if found.get("type") != "allowed_tools":
        raise CannotSay("tool_choice.type", "Anthropic knows the choice of functions only.")
    path = "tool_choice.allowed_tools"
    allowed = an_object(found.get("allowed_tools"), path)
    tools = objects(allowed.get("tools"), f"{path}.tools")
    names = {_name(tool, f"{path}.tools.{at}") for at, tool in enumerate(tools)}
    return {"type": "any" if allowed.get("mode") == "required" else "auto"}, names


def _name(tool: Json, path: str) -> str:
    return string(an_object(tool.get("function"), f"{path}.function").get("name"), f"{path}.function.name")


def _tools(given: Any, allowed: AbstractSet[str] | None, model: Abilities, losses: Losses) -> list[Json]:
    tools: list[Json] = []
    strict = _MOST_STRICT if model.follows_schemas else 0
    for at, tool in enumerate(objects([] if given is None else given, "tools")):
        if tool.get("type", "function") != "function":
            losses.drop(f"tools.{str(tool['type'])[:60]}")
            continue
        told = _tool(tool, f"tools.{at}", losses, may_be_strict=strict > 0)
        if allowed is None or told["name"] in allowed:
            strict -= "strict" in told
            tools.append(told)
    return tools


def _tool(tool: Json, path: str, losses: Losses, *, may_be_strict: bool) -> Json:
    function = an_object(tool.get("function"), f"{path}.function")
    told: Json = {"name": string(function.get("name"), f"{path}.function.name")}
    if (description := function.get("description")) is not None:
        told["description"] = string(description, f"{path}.function.description")
    schema = _schema(function.get("parameters"), f"{path}.function.parameters")
    if function.get("strict") and may_be_strict:
        schema = followed(schema, "tools.function.parameters", losses)
        told["strict"] = True
    elif function.get("strict"):
        losses.drop("tools.function.strict")
    told["input_schema"] = schema
    if mark := cache_mark(tool, path):
        told["cache_control"] = mark
    return told


def _schema(given: Any, path: str) -> Json:
    """Return a schema that says that it is an object's, as Anthropic insists."""
    if given is None:
        return _NOTHING_WANTED
    schema = an_object(given, path)
    return schema if "type" in schema else {"type": "object", **schema}
