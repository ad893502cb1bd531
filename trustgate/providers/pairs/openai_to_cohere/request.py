"""A request of the hub as Cohere's v2 chat takes it. https://docs.cohere.com/reference/chat

What Cohere bounds more narrowly than OpenAI is brought within its bounds. `top_p` 1, which is OpenAI's default, becomes
0.99, the most there is, and no loss; every other bound that bites is one.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from trustgate.providers.hub import CannotSay, Json, Losses
from trustgate.providers.pairs.openai_to_cohere.messages import to_messages
from trustgate.providers.pairs.openai_to_cohere.tools import put_tools

_SAME: Final = ("model", "stream", "temperature", "logprobs")
_HANDLED: Final = frozenset(
    (
        *_SAME,
        *("messages", "tools", "tool_choice", "stream_options", "modalities", "max_tokens", "max_completion_tokens"),
        *("top_p", "top_k", "frequency_penalty", "presence_penalty", "seed", "stop", "response_format"),
        *("reasoning_effort", "thinking", "parallel_tool_calls", "n"),
    )
)
_SEEDS: Final = 2**64 - 1


def to_request(hub: Json, losses: Losses) -> Json:
    """Return Cohere's body. Raises CannotSay for content that Cohere has no words for."""
    body: Json = {name: hub[name] for name in _SAME if hub.get(name) is not None}
    body["messages"] = to_messages(hub.get("messages"), losses)
    put_tools(body, hub, losses)
    _put_limits(body, hub)
    _put_sampling(body, hub, losses)
    _put_format(body, hub, losses)
    _put_thinking(body, hub, losses)
    for name, value in hub.items():
        if name not in _HANDLED and value is not None:
            losses.drop(name)
    for name, is_said in _UNSAID.items():
        if hub.get(name) is not None and not is_said(hub[name]):
            losses.drop(name)
    return body


_UNSAID: Final[Mapping[str, Callable[[Any], bool]]] = {
    "n": lambda value: value == 1,
    "parallel_tool_calls": lambda value: value is not False,
    "modalities": lambda value: value == ["text"],
}
"""Parameters for which Cohere has no name, and when their value is what it does anyway."""


def _put_limits(body: Json, hub: Json) -> None:
    for name in ("max_completion_tokens", "max_tokens"):
        if hub.get(name) is not None:
            body["max_tokens"] = hub[name]
            break
    stop = hub.get("stop")
    if isinstance(stop, str):
        body["stop_sequences"] = [stop]
    elif isinstance(stop, list):
        body["stop_sequences"] = stop
    elif stop is not None:
        raise CannotSay("stop", "`stop` must be a string or a list of strings.")


_BOUNDS: Final = (
    ("top_p", "p", 0.01, 0.99),
    ("top_k", "k", 0, 500),
    ("frequency_penalty", "frequency_penalty", 0.0, 1.0),
    ("presence_penalty", "presence_penalty", 0.0, 1.0),
    ("seed", "seed", 0, _SEEDS),
)


def _put_sampling(body: Json, hub: Json, losses: Losses) -> None:
    """A penalty below zero would have to favour repetition, which Cohere cannot: it gets none."""
    for name, told, least, most in _BOUNDS:
        value = hub.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise CannotSay(name, f"`{name}` must be a number.")
        if name == "seed" and not least <= value <= most:
            losses.drop(name)
            continue
        body[told] = value if least <= value <= most else least if value < least else most
        if body[told] != value and not (name == "top_p" and 0 <= value <= 1):
            losses.drop(name)


def _put_format(body: Json, hub: Json, losses: Losses) -> None:
    """https://docs.cohere.com/docs/structured-outputs: a schema is always kept to, and has no name."""
    wanted = hub.get("response_format")
    if wanted is None:
        return
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind in ("text", "json_object"):
        body["response_format"] = {"type": kind}
    elif kind == "json_schema":
        body["response_format"] = _schema(wanted, losses)
    else:
        raise CannotSay("response_format", "`response_format` must be text, json_object or json_schema.")


def _schema(wanted: Mapping[str, Any], losses: Losses) -> Json:
    described = wanted.get("json_schema")
    schema = described.get("schema") if isinstance(described, dict) else None
    if not isinstance(described, dict) or not (schema is None or isinstance(schema, dict)):
        raise CannotSay("response_format.json_schema", "`json_schema` must be an object with a schema.")
    if described.get("description") is not None:
        losses.drop("response_format.json_schema.description")
    return {"type": "json_object", "json_schema": schema} if schema is not None else {"type": "json_object"}


_EFFORTS: Final[Sequence[str]] = ("none", "high")
"""https://docs.cohere.com/docs/compatibility-api: the two efforts that Cohere has, disabled and enabled thinking."""


def _put_thinking(body: Json, hub: Json, losses: Losses) -> None:
    """https://docs.cohere.com/docs/reasoning"""
    thinking, effort = hub.get("thinking"), hub.get("reasoning_effort")
    if thinking is not None:
        if not isinstance(thinking, dict):
            raise CannotSay("thinking", "`thinking` must be an object.")
        body["thinking"] = _thinking(thinking, losses)
    elif effort is not None:
        body["thinking"] = {"type": "disabled" if effort == "none" else "enabled"}
        if effort not in _EFFORTS:
            losses.drop("reasoning_effort")


def _thinking(thinking: Mapping[str, Any], losses: Losses) -> Json:
    if thinking.get("type") == "disabled":
        return {"type": "disabled"}
    for name in thinking:
        if name not in ("type", "budget_tokens"):
            losses.drop(f"thinking.{name}")
    budget = thinking.get("budget_tokens")
    return {"type": "enabled"} if budget is None else {"type": "enabled", "token_budget": budget}
