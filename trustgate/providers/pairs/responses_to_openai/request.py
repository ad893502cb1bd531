"""A Responses call as the hub's request. Whoever asks adds model and stream.

https://platform.openai.com/docs/api-reference/responses/create
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from trustgate.providers.hub import CannotSay, Json, Losses
from trustgate.providers.pairs.reading import (
    an_object,
    boolean,
    integer,
    number,
    objects,
    string,
)
from trustgate.providers.pairs.responses_to_openai.items import Conversation
from trustgate.providers.pairs.responses_to_openai.tools import put_choice, to_tools

_ELSEWHERE: Final[Mapping[str, str]] = {
    "previous_response_id": "The previous response lives with the provider that gave it: send the whole conversation.",
    "conversation": "The conversation lives with the provider that keeps it: send it in `input`.",
    "prompt": "The prompt lives with the provider that keeps it: send it in `instructions` and `input`.",
    "background": "Answers in the background can be asked of Responses alone.",
}
"""What only those can answer who keep something between requests."""
LOGPROBS: Final = "message.output_text.logprobs"
_CARRIED_ANYWAY: Final = ("reasoning.encrypted_content", LOGPROBS)
_SAID: Final = frozenset(
    (
        *("model", "stream", "stream_options", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls"),
        *("text", "reasoning", "include", "store", "truncation", *_ELSEWHERE),
    )
)


def _metadata(value: Any, path: str) -> Json:
    for name, each in an_object(value, path).items():
        string(each, f"{path}.{name}")
    return dict(value)


_PLAIN: Final[Mapping[str, tuple[str, Callable[[Any, str], Any]]]] = {
    "max_output_tokens": ("max_completion_tokens", integer),
    "temperature": ("temperature", number),
    "top_p": ("top_p", number),
    "top_logprobs": ("top_logprobs", integer),
    "metadata": ("metadata", _metadata),
    "user": ("user", string),
    "safety_identifier": ("safety_identifier", string),
    "service_tier": ("service_tier", string),
    "prompt_cache_key": ("prompt_cache_key", string),
    "prompt_cache_retention": ("prompt_cache_retention", string),
    "prompt_cache_options": ("prompt_cache_options", an_object),
    "moderation": ("moderation", an_object),
}
"""What has no other meaning in the hub: its name there, and how to read it."""


def to_request(said: Json, losses: Losses) -> Json:
    """Return the hub's request. Raises CannotSay."""
    for name, message in _ELSEWHERE.items():
        if said.get(name) not in (None, False):
            raise CannotSay(name, message)
    conversation = _conversation(said, losses)
    hub: Json = {"messages": conversation.messages}
    for name, (theirs, read) in _PLAIN.items():
        if said.get(name) is not None:
            hub[theirs] = read(said[name], name)
    _hear_tools(said, conversation.tools, hub, losses)
    _hear_text(said, hub, losses)
    _hear_reasoning(said, hub, losses)
    _hear_rest(said, hub, losses)
    for name, value in said.items():
        if name not in _SAID and name not in _PLAIN and value is not None:
            losses.drop(name)
    return hub


def _conversation(said: Json, losses: Losses) -> Conversation:
    conversation, given = Conversation(losses), said.get("input")
    if said.get("instructions") is not None:
        conversation.messages.append({"role": "system", "content": string(said["instructions"], "instructions")})
    if isinstance(given, str):
        conversation.messages.append({"role": "user", "content": given})
        return conversation
    if not isinstance(given, list):
        raise CannotSay("input", "This must be a string or a list of items.")
    for at, item in enumerate(objects(given, "input")):
        conversation.add(item, f"input.{at}")
    conversation.close()
    return conversation


def _hear_tools(said: Json, more: list[tuple[Json, str]], hub: Json, losses: Losses) -> None:
    """Without tools chat takes neither a choice among them nor a word about their calls."""
    given: list[tuple[Json, str]] = []
    if said.get("tools") is not None:
        given = [(tool, f"tools.{at}") for at, tool in enumerate(objects(said["tools"], "tools"))]
    if tools := to_tools([*given, *more], losses):
        hub["tools"] = tools
    if said.get("tool_choice") is not None:
        put_choice(hub, said["tool_choice"], losses)
    if said.get("parallel_tool_calls") is not None:
        parallel = boolean(said["parallel_tool_calls"], "parallel_tool_calls")
        if tools:
            hub["parallel_tool_calls"] = parallel


def _hear_text(said: Json, hub: Json, losses: Losses) -> None:
    text = {} if said.get("text") is None else an_object(said["text"], "text")
    for name, value in text.items():
        if value is None:
            continue
        if name == "format":
            hub["response_format"] = _format(an_object(value, "text.format"))
        elif name == "verbosity":
            hub["verbosity"] = string(value, "text.verbosity")
        else:
            losses.drop(f"text.{name}")


def _format(given: Json) -> Json:
    kind = given.get("type")
    if kind in ("text", "json_object"):
        return {"type": kind}
    if kind != "json_schema":
        raise CannotSay("text.format.type", "This must be text, json_object or json_schema.")
    described: Json = {"name": string(given.get("name"), "text.format.name")}
    described["schema"] = an_object(given.get("schema"), "text.format.schema")
    if given.get("description") is not None:
        described["description"] = string(given["description"], "text.format.description")
    if given.get("strict") is not None:
        described["strict"] = boolean(given["strict"], "text.format.strict")
    return {"type": "json_schema", "json_schema": described}


def _hear_reasoning(said: Json, hub: Json, losses: Losses) -> None:
    """Whether thoughts are shown is for the target to say: nobody else is asked for a summary of them."""
    reasoning = {} if said.get("reasoning") is None else an_object(said["reasoning"], "reasoning")
    for name, value in reasoning.items():
        if name == "effort" and value is not None:
            hub["reasoning_effort"] = string(value, "reasoning.effort")
        elif value is not None:
            losses.drop(f"reasoning.{name}")


def _hear_rest(said: Json, hub: Json, losses: Losses) -> None:
    """Nothing is stored unless it is asked for in words: the caller could not find it again."""
    if said.get("store") is not None and boolean(said["store"], "store"):
        hub["store"] = True
    if said.get("truncation") is not None and string(said["truncation"], "truncation") != "disabled":
        losses.drop("truncation")
    _hear_include(said, hub, losses)


def _hear_include(said: Json, hub: Json, losses: Losses) -> None:
    """Without log probabilities there are none of other tokens either."""
    include = [] if said.get("include") is None else said["include"]
    if not isinstance(include, list):
        raise CannotSay("include", "This must be a list.")
    if LOGPROBS in include:
        hub["logprobs"] = True
    elif hub.pop("top_logprobs", 0):
        losses.drop("top_logprobs")
    for at, each in enumerate(include):
        if string(each, f"include.{at}") not in _CARRIED_ANYWAY:
            losses.drop(f"include.{each[:60]}")
