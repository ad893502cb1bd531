"""Gemini's functions, and the choice among them. https://ai.google.dev/gemini-api/docs/function-calling"""

from typing import Any, Final

from trustgate.providers.hub import CannotSay, Json, Losses
from trustgate.providers.pairs.gemini_to_openai.reading import named, several
from trustgate.providers.pairs.gemini_to_openai.schemas import is_closed, to_json_schema
from trustgate.providers.pairs.reading import an_object, string, strings

_DECLARED: Final = frozenset(("name", "description", "parameters", "parametersJsonSchema"))
_MODES: Final = ("MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED")
"""In the order of their numbers, which some of Google's own clients write."""


def hear_tools(said: Json, hub: Json, losses: Losses) -> None:
    """Put `tools` and `tool_choice` into the hub's request. Raises CannotSay.

    Tools that are not the caller's own but Google's are no one else's: they are lost.
    """
    config = _config(said, losses)
    mode = _mode(config.get("mode", "AUTO"))
    functions = [
        _function(each, f"tools.{at}.functionDeclarations.{number}", losses)
        for at, tool in enumerate(several(said.get("tools"), "tools"))
        for number, each in enumerate(_declarations(tool, at, losses))
    ]
    if not functions:
        return
    if mode == "VALIDATED":
        _hold(functions, losses)
    hub["tools"] = [{"type": "function", "function": function} for function in functions]
    _hear_choice(mode, config.get("allowedFunctionNames"), hub)


def _mode(given: Any) -> str:
    mode = _MODES[given] if isinstance(given, int) and 0 <= given < len(_MODES) else given or "AUTO"
    if not isinstance(mode, str) or mode.upper() not in _MODES:
        raise CannotSay("toolConfig.functionCallingConfig.mode", "This must be AUTO, ANY, NONE or VALIDATED.")
    return mode.upper()


def _config(said: Json, losses: Losses) -> Json:
    """Return the configuration of function calling; what else there is in that of tools is Google's alone."""
    given = {} if said.get("toolConfig") is None else named(said["toolConfig"], "toolConfig")
    path = "toolConfig.functionCallingConfig"
    calling = given.get("functionCallingConfig")
    config = {} if calling is None else named(calling, path)
    for name, value in given.items():
        if name != "functionCallingConfig" and value is not None:
            losses.drop(f"toolConfig.{name}")
    for name, value in config.items():
        if name not in ("mode", "allowedFunctionNames") and value:
            losses.drop(f"{path}.{name}")
    return config


def _declarations(tool: Json, at: int, losses: Losses) -> list[Json]:
    for name, value in tool.items():
        if name != "functionDeclarations" and value is not None:
            losses.drop(f"tools.{name[:60]}")
    return several(tool.get("functionDeclarations"), f"tools.{at}.functionDeclarations")


def _function(declared: Json, path: str, losses: Losses) -> Json:
    function: Json = {"name": string(declared.get("name"), f"{path}.name")}
    if declared.get("description") is not None:
        function["description"] = string(declared["description"], f"{path}.description")
    if declared.get("parametersJsonSchema") is not None:
        function["parameters"] = an_object(declared["parametersJsonSchema"], f"{path}.parametersJsonSchema")
    elif declared.get("parameters") is not None:
        function["parameters"] = to_json_schema(declared["parameters"], f"{path}.parameters")
    for name, value in declared.items():
        if name not in _DECLARED and value is not None:
            losses.drop(f"tools.functionDeclarations.{name[:60]}")
    return function


def _hold(functions: list[Json], losses: Losses) -> None:
    """Hold the model to the schemas of the functions, which OpenAI can promise for closed ones only."""
    for function in functions:
        if is_closed(function.get("parameters")) and "parameters" in function:
            function["strict"] = True
        elif "parameters" in function:
            losses.drop("toolConfig.functionCallingConfig.mode")


def _hear_choice(mode: str, given: Any, hub: Json) -> None:
    allowed = [] if given is None else strings(given, "toolConfig.functionCallingConfig.allowedFunctionNames")
    must = mode == "ANY"
    if mode == "NONE":
        hub["tool_choice"] = "none"
    elif must and len(allowed) == 1:
        hub["tool_choice"] = {"type": "function", "function": {"name": allowed[0]}}
    elif allowed and (must or mode == "VALIDATED"):
        tools = [{"type": "function", "function": {"name": name}} for name in allowed]
        choice = {"mode": "required" if must else "auto", "tools": tools}
        hub["tool_choice"] = {"type": "allowed_tools", "allowed_tools": choice}
    elif must:
        hub["tool_choice"] = "required"
