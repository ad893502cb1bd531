"""The body of a call of Messages as the hub's request. Whoever asks adds model and stream.

https://platform.claude.com/docs/en/api/messages/create
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from trustgate.providers.hub import CannotSay, Json, Losses
from trustgate.providers.pairs.anthropic_to_openai.messages import to_messages, to_system
from trustgate.providers.pairs.openai_to_anthropic.thinking import effort_of
from trustgate.providers.pairs.reading import (
    an_object,
    cache_mark,
    integer,
    number,
    objects,
    string,
)

_SAID: Final = frozenset(
    (
        *("model", "messages", "system", "max_tokens", "temperature", "top_p", "top_k", "stop_sequences", "stream"),
        *("tools", "tool_choice", "thinking", "output_config", "output_format", "metadata", "service_tier"),
        "cache_control",
    )
)
_TOOL: Final = frozenset(("type", "name", "description", "input_schema", "strict", "cache_control"))
_CHOICES: Final[Mapping[Any, str]] = {"auto": "auto", "any": "required", "none": "none"}
_TIERS: Final[Mapping[Any, str]] = {"auto": "auto", "standard_only": "default"}
_LONGEST_USER: Final = 64
"""Characters of OpenAI's `user`."""


def _strings(value: Any, path: str) -> list[str]:
    if not isinstance(value, list):
        raise CannotSay(path, "This must be a list of strings.")
    return [string(each, f"{path}.{at}") for at, each in enumerate(value)]


_PLAIN: Final[Mapping[str, tuple[str, Callable[[Any, str], Any]]]] = {
    "max_tokens": ("max_completion_tokens", integer),
    "temperature": ("temperature", number),
    "top_p": ("top_p", number),
    "top_k": ("top_k", integer),
    "stop_sequences": ("stop", _strings),
}
"""What has another name in the hub and no other meaning, and how to read it."""


def to_request(said: Json, losses: Losses) -> Json:
    """Return the hub's request. Raises CannotSay."""
    system = said.get("system")
    messages = [] if system is None else to_system(system, "system")
    messages += to_messages(said.get("messages"), losses)
    if messages and (mark := cache_mark(said, "")) is not None:
        messages[-1].setdefault("cache_control", mark)
    hub: Json = {"messages": messages}
    for name, (theirs, read) in _PLAIN.items():
        if said.get(name) is not None:
            hub[theirs] = read(said[name], name)
    if said.get("tools"):
        _hear_tools(said, hub, losses)
    _hear_thinking(said, hub, losses)
    _hear_rest(said, hub, losses)
    for name, value in said.items():
        if name not in _SAID and value is not None:
            losses.drop(name)
    return hub


def _hear_tools(said: Json, hub: Json, losses: Losses) -> None:
    """Take the caller's own tools. Those that are Anthropic's, by type, are no one else's: they are lost."""
    tools: list[Json] = []
    for at, tool in enumerate(objects(said["tools"], "tools")):
        if tool.get("type") in (None, "custom"):
            tools.append(_tool(tool, f"tools.{at}", losses))
        else:
            losses.drop(f"tools.{str(tool['type'])[:60]}")
    if tools:
        hub["tools"] = tools
    if said.get("tool_choice") is not None:
        _hear_choice(an_object(said["tool_choice"], "tool_choice"), tools, hub, losses)


def _tool(tool: Json, path: str, losses: Losses) -> Json:
    function: Json = {"name": string(tool.get("name"), f"{path}.name")}
    if tool.get("description") is not None:
        function["description"] = string(tool["description"], f"{path}.description")
    function["parameters"] = an_object(tool.get("input_schema"), f"{path}.input_schema")
    if tool.get("strict"):
        function["strict"] = True
    for name, value in tool.items():
        if name not in _TOOL and value:
            losses.drop(f"tools.{name}")
    told: Json = {"type": "function", "function": function}
    if mark := cache_mark(tool, path):
        told["cache_control"] = mark
    return told


def _hear_choice(choice: Json, tools: list[Json], hub: Json, losses: Losses) -> None:
    """A choice among tools of which none is left, or the choice of one that is lost, is lost with them."""
    kind, name = choice.get("type"), choice.get("name")
    if kind == "tool":
        string(name, "tool_choice.name")
        told: Any = {"type": "function", "function": {"name": name}}
    elif isinstance(kind, str) and kind in _CHOICES:
        told = _CHOICES[kind]
    else:
        raise CannotSay("tool_choice.type", "This must be auto, any, tool or none.")
    if not tools or (kind == "tool" and all(tool["function"]["name"] != name for tool in tools)):
        losses.drop("tool_choice")
        return
    hub["tool_choice"] = told
    if choice.get("disable_parallel_tool_use"):
        hub["parallel_tool_calls"] = False


def _hear_thinking(said: Json, hub: Json, losses: Losses) -> None:
    """Take `thinking` as it is, for those who know it, and what it means as an effort, for those who do not."""
    thinking, config = said.get("thinking"), said.get("output_config")
    output = {} if config is None else an_object(config, "output_config")
    if thinking is not None:
        hub["thinking"] = an_object(thinking, "thinking")
    effort = output.get("effort")
    effort = effort_of(thinking) if effort is None else string(effort, "output_config.effort")
    if effort is not None:
        hub["reasoning_effort"] = effort
    for name, path in (("format", "output_config.format"), ("output_format", "output_format")):
        given = output.get(name) if name == "format" else said.get(name)
        if given is not None:
            hub["response_format"] = _format(an_object(given, path), path)
    for name, value in output.items():
        if name not in ("effort", "format") and value is not None:
            losses.drop(f"output_config.{name}")


def _format(given: Json, path: str) -> Json:
    """OpenAI's schemas have a name, and are only suggestions where they are not strict."""
    if given.get("type") != "json_schema":
        raise CannotSay(f"{path}.type", "This must be json_schema.")
    schema = an_object(given.get("schema"), f"{path}.schema")
    return {"type": "json_schema", "json_schema": {"name": "response", "schema": schema, "strict": True}}


def _hear_rest(said: Json, hub: Json, losses: Losses) -> None:
    metadata = said.get("metadata")
    for name, value in ({} if metadata is None else an_object(metadata, "metadata")).items():
        if value is None:
            continue
        if name == "user_id" and len(string(value, "metadata.user_id")) <= _LONGEST_USER:
            hub["user"] = value
        else:
            losses.drop(f"metadata.{name}")
    if (tier := said.get("service_tier")) is not None:
        if string(tier, "service_tier") in _TIERS:
            hub["service_tier"] = _TIERS[tier]
        else:
            losses.drop("service_tier")
