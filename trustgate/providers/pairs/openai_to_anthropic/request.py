"""The hub's request as the body of a call of Messages. Whoever sends it adds model and stream.

https://platform.claude.com/docs/en/api/messages/create
"""

from collections.abc import Mapping
from typing import Any, Final

from trustgate.providers.hub import CannotSay, Json, Losses
from trustgate.providers.pairs.openai_to_anthropic.abilities import Abilities, abilities_of
from trustgate.providers.pairs.openai_to_anthropic.messages import Conversation
from trustgate.providers.pairs.openai_to_anthropic.schemas import followed
from trustgate.providers.pairs.openai_to_anthropic.thinking import say_thinking, thinks
from trustgate.providers.pairs.openai_to_anthropic.tools import say_tools
from trustgate.providers.pairs.reading import an_object, integer, number, objects, string

_SAID: Final = frozenset(
    (
        *("model", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "stop", "tools"),
        *("tool_choice", "parallel_tool_calls", "response_format", "service_tier", "user", "safety_identifier"),
        *("thinking", "reasoning_effort", "stream", "stream_options"),
    )
)
_USUAL: Final[Mapping[str, Any]] = {
    "n": 1,
    "logprobs": False,
    "store": False,
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "modalities": ["text"],
    "verbosity": "medium",
    "logit_bias": {},
    "metadata": {},
    "functions": [],
}
"""What Anthropic does anyway: nothing is lost when a caller asks for it."""
_UNSET_SAMPLING: Final[Mapping[str, int]] = {"temperature": 1, "top_p": 1}
"""What they are where they are not set. Anthropic's temperature goes to 1, OpenAI's to 2."""
_TIERS: Final[Mapping[str, str]] = {"auto": "auto", "priority": "auto", "default": "standard_only"}
"""OpenAI's tiers → Anthropic's, whose `auto` is its priority tier where one has it."""
_LONGEST_USER: Final = 256


def to_request(hub: Json, losses: Losses) -> Json:
    """Return the body. Raises CannotSay."""
    name = hub.get("model")
    model = abilities_of(name if isinstance(name, str) else "")
    conversation = Conversation(losses)
    for at, message in enumerate(objects(hub.get("messages"), "messages")):
        conversation.add(message, f"messages.{at}")
    conversation.close()
    if not conversation.turns:
        raise CannotSay("messages", "Anthropic needs a message of the user or the assistant that says something.")
    body: Json = {"messages": conversation.turns}
    if system := conversation.system:
        is_plain = len(system) == 1 and "cache_control" not in system[0]
        body["system"] = system[0]["text"] if is_plain else system
    _say_parameters(hub, body, model, losses)
    for field, value in hub.items():
        if field not in _SAID and value is not None and _USUAL.get(field) != value:
            losses.drop(field)
    return body


def _say_parameters(hub: Json, body: Json, model: Abilities, losses: Losses) -> None:
    for name in ("max_completion_tokens", "max_tokens"):
        if hub.get(name) is not None and "max_tokens" not in body:
            body["max_tokens"] = integer(hub[name], name)
    say_tools(hub, body, model, losses)
    if (output := hub.get("response_format")) is not None:
        _say_format(an_object(output, "response_format"), body, model, losses)
    say_thinking(hub, body, model, losses)
    _say_sampling(hub, body, model, losses)
    if (stop := hub.get("stop")) is not None:
        _say_stop(stop, body, losses)
    _say_rest(hub, body, losses)


def _say_format(output: Json, body: Json, model: Abilities, losses: Losses) -> None:
    """https://platform.claude.com/docs/en/build-with-claude/structured-outputs: any JSON at all has no schema there."""
    kind = output.get("type")
    if kind == "text":
        return
    if kind != "json_schema" or not model.follows_schemas:
        losses.drop("response_format")
        return
    path = "response_format.json_schema"
    schema = an_object(an_object(output.get("json_schema"), path).get("schema"), f"{path}.schema")
    body["output_config"] = {"format": {"type": "json_schema", "schema": followed(schema, f"{path}.schema", losses)}}


def _say_sampling(hub: Json, body: Json, model: Abilities, losses: Losses) -> None:
    temperature, top_p, top_k = hub.get("temperature"), hub.get("top_p"), hub.get("top_k")
    given = {
        "temperature": None if temperature is None else number(temperature, "temperature"),
        "top_p": None if top_p is None else number(top_p, "top_p"),
        "top_k": None if top_k is None else integer(top_k, "top_k"),
    }
    for name, value in given.items():
        if value is None:
            continue
        if _is_settable(name, value, body, model):
            body[name] = min(value, 1) if name == "temperature" else value
        if body.get(name, _UNSET_SAMPLING.get(name)) != value:
            losses.drop(name)


def _is_settable(name: str, value: float, body: Json, model: Abilities) -> bool:
    """A thinking model takes none but a high top_p; many take only one of temperature and top_p."""
    if model.sampling == "none":
        return False
    if thinks(body, model):
        return name == "top_p" and value >= 0.95
    return not (name == "top_p" and model.sampling == "one" and "temperature" in body)


def _say_stop(stop: Any, body: Json, losses: Losses) -> None:
    """Sequences of nothing but blanks are refused."""
    if not isinstance(stop, list):
        stop = [string(stop, "stop")]
    sequences = [each for at, each in enumerate(stop) if string(each, f"stop.{at}").strip()]
    if len(sequences) < len(stop):
        losses.drop("stop")
    if sequences:
        body["stop_sequences"] = sequences


def _say_rest(hub: Json, body: Json, losses: Losses) -> None:
    if (tier := hub.get("service_tier")) is not None:
        if string(tier, "service_tier") in _TIERS:
            body["service_tier"] = _TIERS[tier]
        else:
            losses.drop("service_tier")
    for name in ("user", "safety_identifier"):
        if user := hub.get(name):
            if len(string(user, name)) <= _LONGEST_USER:
                body["metadata"] = {"user_id": user}
            else:
                losses.drop(name)
