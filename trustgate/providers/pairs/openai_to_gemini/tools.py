"""Functions and the choice among them. https://ai.google.dev/gemini-api/docs/function-calling

A schema of parameters goes as `parametersJsonSchema`, which is JSON schema as the hub has it: `parameters` is a dialect
of OpenAPI without references, closed objects and many a keyword.
"""

from typing import Any, Final

from trustgate.providers.hub import CannotSay, Json, Losses
from trustgate.providers.pairs.openai_to_gemini.abilities import Abilities
from trustgate.providers.pairs.reading import an_object, objects, string

_MODES: Final[dict[str, str]] = {"auto": "AUTO", "none": "NONE", "required": "ANY"}


def say_tools(hub: Json, body: Json, model: Abilities, losses: Losses) -> None:
    """Put `tools` and `toolConfig` into the body. Raises CannotSay."""
    mode, allowed = _choice(hub.get("tool_choice"))
    given = hub.get("tools")
    declared: list[Json] = []
    strict = False
    for at, tool in enumerate(objects([] if given is None else given, "tools")):
        if tool.get("type", "function") != "function":
            losses.drop(f"tools.{str(tool['type'])[:60]}")
            continue
        declared.append(_declared(tool, f"tools.{at}", losses))
        strict = strict or bool(tool["function"].get("strict"))
    if not declared:
        return
    if hub.get("parallel_tool_calls") is False:
        losses.drop("parallel_tool_calls")
    if mode == "AUTO" and model.validates and (strict or allowed is not None):
        mode = "VALIDATED"
    elif strict and mode == "AUTO":
        losses.drop("tools.function.strict")
    if allowed is not None and mode == "AUTO":
        declared, allowed = [each for each in declared if each["name"] in allowed], None
    if declared:
        body["tools"] = [{"functionDeclarations": declared}]
        _say_choice(mode, allowed, body)


def _say_choice(mode: str, allowed: list[str] | None, body: Json) -> None:
    """Say what is not the usual choice, which is the model's own among all."""
    if mode == "AUTO":
        return
    config: Json = {"mode": mode}
    if allowed is not None:
        config["allowedFunctionNames"] = allowed
    body["toolConfig"] = {"functionCallingConfig": config}


def _choice(choice: Any) -> tuple[str, list[str] | None]:
    """Return Gemini's mode, and the names that are allowed, None for all."""
    if choice is None:
        return "AUTO", None
    if isinstance(choice, str):
        if choice not in _MODES:
            raise CannotSay("tool_choice", "This must be none, auto, required or an object.")
        return _MODES[choice], None
    found = an_object(choice, "tool_choice")
    if found.get("type") == "function":
        return "ANY", [_name(found, "tool_choice")]
    if found.get("type") != "allowed_tools":
        raise CannotSay("tool_choice.type", "Gemini knows the choice of functions only.")
    path = "tool_choice.allowed_tools"
    allowed = an_object(found.get("allowed_tools"), path)
    tools = objects(allowed.get("tools"), f"{path}.tools")
    names = [_name(tool, f"{path}.tools.{at}") for at, tool in enumerate(tools)]
    return "ANY" if allowed.get("mode") == "required" else "AUTO", names


def _name(tool: Json, path: str) -> str:
    return string(an_object(tool.get("function"), f"{path}.function").get("name"), f"{path}.function.name")


def _declared(tool: Json, path: str, losses: Losses) -> Json:
    if tool.get("cache_control") is not None:
        losses.drop("tools.cache_control")
    told: Json = {"name": _name(tool, path)}
    function = tool["function"]
    if (description := function.get("description")) is not None:
        told["description"] = string(description, f"{path}.function.description")
    if (parameters := function.get("parameters")) is not None:
        told["parametersJsonSchema"] = an_object(parameters, f"{path}.function.parameters")
    return told
