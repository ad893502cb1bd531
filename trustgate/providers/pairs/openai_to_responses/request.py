"""A request of the hub as Responses takes it. https://platform.openai.com/docs/api-reference/responses/create

Chat forgets what it answered unless it is told to store it, Responses the other way round: the body always says it.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from trustgate.providers.hub import CannotSay, Json, Losses
from trustgate.providers.pairs.openai_to_responses.messages import to_input
from trustgate.providers.pairs.openai_to_responses.tools import put_tools
from trustgate.providers.pairs.reading import an_object, integer, string

SAME: Final = (
    *("temperature", "top_p", "metadata", "user", "safety_identifier", "service_tier", "parallel_tool_calls"),
    *("prompt_cache_key", "prompt_cache_retention", "prompt_cache_options", "top_logprobs", "moderation"),
)
"""Parameters that chat and Responses have under one name and in one form."""
_HANDLED: Final = frozenset(
    (
        *SAME,
        *("model", "stream", "messages", "tools", "tool_choice", "web_search_options", "store", "stream_options"),
        *("max_tokens", "max_completion_tokens", "response_format", "verbosity", "reasoning_effort", "thinking"),
        *("logprobs", "n", "modalities"),
    )
)
_LEAST: Final = 16
"""OpenAI refuses fewer `max_output_tokens` with `integer_below_min_value`."""
_THINKERS: Final = re.compile(r"(?:^|[/.:])(?:o\d|gpt-[5-9]|codex)(?!.*-chat)")
"""Models that think, and so have thoughts to encrypt: all others refuse to be asked for them."""
_UNSAID: Final[Mapping[str, Callable[[Any], bool]]] = {
    "n": lambda value: value == 1,
    "modalities": lambda value: value == ["text"],
}
"""Parameters for which Responses has no name, and when their value is what it does anyway."""


def to_request(hub: Json, losses: Losses) -> Json:
    """Return the body of a Responses call. Raises CannotSay for content that Responses has no words for."""
    body: Json = {name: hub[name] for name in ("model", "stream") if hub.get(name) is not None}
    stored = hub.get("store") is True
    instructions, body["input"] = to_input(hub.get("messages"), losses, stored=stored)
    if instructions is not None:
        body["instructions"] = instructions
    body["store"] = stored
    body.update((name, hub[name]) for name in SAME if hub.get(name) is not None)
    put_tools(body, hub, losses)
    _put_limit(body, hub, losses)
    _put_text(body, hub)
    _put_reasoning(body, hub, losses)
    _put_include(body, hub)
    _note_losses(hub, losses)
    return body


def _note_losses(hub: Json, losses: Losses) -> None:
    for name, value in hub.items():
        if name not in _HANDLED and value is not None:
            losses.drop(name)
    for name, is_said in _UNSAID.items():
        if hub.get(name) is not None and not is_said(hub[name]):
            losses.drop(name)


def _put_limit(body: Json, hub: Json, losses: Losses) -> None:
    for name in ("max_completion_tokens", "max_tokens"):
        if hub.get(name) is not None:
            limit = integer(hub[name], name)
            body["max_output_tokens"] = max(limit, _LEAST)
            if limit < _LEAST:
                losses.drop(name)
            return


def _put_text(body: Json, hub: Json) -> None:
    text: Json = {}
    if (wanted := hub.get("response_format")) is not None:
        text["format"] = _format(an_object(wanted, "response_format"))
    if hub.get("verbosity") is not None:
        text["verbosity"] = hub["verbosity"]
    if text:
        body["text"] = text


def _format(wanted: Json) -> Json:
    kind = wanted.get("type")
    if kind in ("text", "json_object"):
        return {"type": kind}
    if kind != "json_schema":
        raise CannotSay("response_format.type", "This must be text, json_object or json_schema.")
    path = "response_format.json_schema"
    described = an_object(wanted.get("json_schema"), path)
    told: Json = {"type": "json_schema", "name": string(described.get("name"), f"{path}.name")}
    told["schema"] = an_object(described.get("schema", {}), f"{path}.schema")
    told.update((name, described[name]) for name in ("description", "strict") if described.get(name) is not None)
    return told


def _put_reasoning(body: Json, hub: Json, losses: Losses) -> None:
    """Thoughts can be seen as a summary, for which OpenAI wants to know who asks: so only who asks in words gets it."""
    reasoning: Json = {}
    effort, thinking = hub.get("reasoning_effort"), hub.get("thinking")
    if thinking is not None:
        losses.drop("thinking")
        an_object(thinking, "thinking")
        effort = _effort(thinking) if effort is None else effort
        if thinking.get("display") == "summarized":
            reasoning["summary"] = "auto"
    if effort is not None:
        reasoning["effort"] = string(effort, "reasoning_effort")
    if reasoning:
        body["reasoning"] = reasoning


def _effort(thinking: Json) -> str | None:
    """Return the effort that stands for Anthropic's budget of tokens; what thinks without one thinks a lot."""
    if thinking.get("type") not in ("enabled", "adaptive"):
        return None
    budget = thinking.get("budget_tokens")
    if not isinstance(budget, int):
        return "high"
    return "low" if budget < 4096 else "medium" if budget < 16384 else "high"


def _put_include(body: Json, hub: Json) -> None:
    """What is not stored has to come back with the conversation: thoughts are asked for so that they can."""
    include = ["message.output_text.logprobs"] if hub.get("logprobs") is True else []
    if isinstance(model := hub.get("model"), str) and _THINKERS.search(model):
        include.append("reasoning.encrypted_content")
    if include:
        body["include"] = include
