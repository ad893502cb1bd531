"""A request to Cohere's v2 chat as the hub says it. https://docs.cohere.com/reference/chat

A request that thinks without a budget is a `reasoning_effort` of high, as Cohere's own OpenAI endpoint has it
(https://docs.cohere.com/docs/compatibility-api); one with a budget is Anthropic's `thinking`.
"""

from collections.abc import Mapping
from typing import Any, Final

from trustgate.providers.hub import CannotSay, Json, Losses
from trustgate.providers.pairs.cohere_to_openai.messages import to_messages

_NAMES: Final[Mapping[str, str]] = {
    "max_tokens": "max_completion_tokens",
    "stop_sequences": "stop",
    "temperature": "temperature",
    "seed": "seed",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "p": "top_p",
}
_CHOICES: Final = {"REQUIRED": "required", "NONE": "none"}
_NO_CITATIONS: Final = ("OFF", "DISABLED")
_HANDLED: Final = frozenset(
    (
        *_NAMES,
        *("model", "stream", "messages", "documents", "tools", "strict_tools", "tool_choice", "response_format"),
        *("thinking", "k", "logprobs", "citation_options"),
    )
)


def to_request(said: Json, losses: Losses) -> Json:
    """Return the hub's request, without model and stream. Raises CannotSay for what is no request to Cohere."""
    hub: Json = {"messages": to_messages(said.get("messages"), said.get("documents"), losses)}
    for name, told in _NAMES.items():
        if said.get(name) is not None:
            hub[told] = said[name]
    if said.get("k"):
        hub["top_k"] = said["k"]
    if said.get("logprobs"):
        hub["logprobs"] = True
    _put_tools(hub, said)
    _put_format(hub, said.get("response_format"))
    _put_thinking(hub, said.get("thinking"))
    _note_losses(said, losses)
    return hub


def _note_losses(said: Json, losses: Losses) -> None:
    """Documents are cited unless the caller will have none of it; whoever wants no citations loses nothing."""
    for name, value in said.items():
        if name not in _HANDLED and value is not None:
            losses.drop(name)
    citations = said.get("citation_options")
    mode = citations.get("mode") if isinstance(citations, dict) else citations
    if mode is None and not said.get("documents"):
        return
    if not (isinstance(mode, str) and mode.upper() in _NO_CITATIONS):
        losses.drop("citation_options")


def _put_tools(hub: Json, said: Json) -> None:
    tools = said.get("tools")
    if tools is not None and not isinstance(tools, list):
        raise CannotSay("tools", "`tools` must be a list.")
    strict = said.get("strict_tools") is True
    if tools:
        hub["tools"] = [_tool(tool, f"tools.{index}", strict) for index, tool in enumerate(tools)]
    choice = said.get("tool_choice")
    if choice is None:
        return
    if not isinstance(choice, str) or choice.upper() not in _CHOICES:
        raise CannotSay("tool_choice", "`tool_choice` must be REQUIRED or NONE.")
    hub["tool_choice"] = _CHOICES[choice.upper()]


def _tool(tool: Any, path: str, strict: bool) -> Json:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict):
        raise CannotSay(path, "A tool must be a function.")
    return {"type": "function", "function": {**function, "strict": True} if strict else function}


def _put_format(hub: Json, wanted: Any) -> None:
    """OpenAI's schemas have a name; `schema` is what `json_schema` was called first."""
    if wanted is None:
        return
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind not in ("text", "json_object"):
        raise CannotSay("response_format", "`response_format` must be of type text or json_object.")
    schema = wanted.get("json_schema") or wanted.get("schema")
    if kind == "json_object" and schema is not None:
        if not isinstance(schema, dict):
            raise CannotSay("response_format.json_schema", "`json_schema` must be an object.")
        hub["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    else:
        hub["response_format"] = {"type": kind}


def _put_thinking(hub: Json, thinking: Any) -> None:
    if thinking is None:
        return
    if not isinstance(thinking, dict):
        raise CannotSay("thinking", "`thinking` must be an object.")
    budget = thinking.get("token_budget")
    if thinking.get("type") == "disabled":
        hub["thinking"] = {"type": "disabled"}
    elif budget is not None:
        hub["thinking"] = {"type": "enabled", "budget_tokens": budget}
    else:
        hub["reasoning_effort"] = "high"
