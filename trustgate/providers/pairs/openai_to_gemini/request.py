"""The hub's request as the body of a call of generateContent. The model, and whether it streams, are in the address.

https://ai.google.dev/api/generate-content#request-body
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from trustgate.providers.hub import CannotSay, Json, Losses
from trustgate.providers.pairs.openai_to_gemini.abilities import Abilities, abilities_of
from trustgate.providers.pairs.openai_to_gemini.messages import Conversation
from trustgate.providers.pairs.openai_to_gemini.thinking import say_thinking
from trustgate.providers.pairs.openai_to_gemini.tools import say_tools
from trustgate.providers.pairs.reading import an_object, integer, number, objects, string

_SAID: Final = frozenset(
    (
        *("model", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "stop", "tools"),
        *("tool_choice", "parallel_tool_calls", "response_format", "service_tier", "thinking", "reasoning_effort"),
        *("n", "seed", "frequency_penalty", "presence_penalty", "logprobs", "top_logprobs", "modalities"),
        *("stream", "stream_options"),
    )
)
_USUAL: Final[Mapping[str, Any]] = {
    "store": False,
    "verbosity": "medium",
    "logit_bias": {},
    "metadata": {},
    "functions": [],
}
"""What Gemini does anyway: nothing is lost when a caller asks for it."""
_PLAIN: Final[Mapping[str, tuple[str, Callable[[Any, str], Any]]]] = {
    "max_tokens": ("maxOutputTokens", integer),
    "max_completion_tokens": ("maxOutputTokens", integer),
    "temperature": ("temperature", number),
    "top_p": ("topP", number),
    "top_k": ("topK", integer),
    "seed": ("seed", integer),
    "frequency_penalty": ("frequencyPenalty", number),
    "presence_penalty": ("presencePenalty", number),
    "n": ("candidateCount", integer),
}
"""What has another name in Gemini and no other meaning, and how to read it."""
_IDLE: Final[Mapping[str, int]] = {"frequency_penalty": 0, "presence_penalty": 0, "n": 1}
"""Values that say what is done anyway."""
_TIERS: Final[Mapping[Any, str]] = {"default": "standard", "flex": "flex", "priority": "priority"}
"""OpenAI's service tiers → Google's. OpenAI's `auto` is to say none."""
_SILENCE: Final[Json] = {"role": "user", "parts": [{"text": ""}]}
"""What a user says who leaves all to the system: Gemini takes nothing shorter."""
_BIGGEST: Final = 1 << 31
"""Beyond Gemini's seeds, which have 32 bits."""
_MODALITIES: Final[Mapping[Any, str]] = {"text": "TEXT", "image": "IMAGE"}


def to_request(hub: Json, losses: Losses) -> Json:
    """Return the body. Raises CannotSay."""
    name = hub.get("model")
    model = abilities_of(name if isinstance(name, str) else "")
    conversation = Conversation(model, losses)
    messages = objects(hub.get("messages"), "messages")
    if not messages:
        raise CannotSay("messages", "There must be a message.")
    for at, message in enumerate(messages):
        conversation.add(message, f"messages.{at}")
    conversation.close()
    body: Json = {"contents": conversation.contents or [_SILENCE]}
    if conversation.system:
        body["systemInstruction"] = {"parts": conversation.system}
    say_tools(hub, body, model, losses)
    if config := _config(hub, body, model, losses):
        body["generationConfig"] = config
    _say_tier(hub, body, losses)
    for field, value in hub.items():
        if field not in _SAID and value is not None and _USUAL.get(field) != value:
            losses.drop(field)
    return body


def _config(hub: Json, body: Json, model: Abilities, losses: Losses) -> Json:
    config: Json = {}
    for name, (theirs, read) in _PLAIN.items():
        if (value := hub.get(name)) is None or _IDLE.get(name) == read(value, name):
            continue
        if _is_settable(name, value, model):
            config[theirs] = value
        else:
            losses.drop(name)
    if (stop := hub.get("stop")) is not None:
        config["stopSequences"] = _strings(stop, "stop")
    _say_logprobs(hub, config)
    if (output := hub.get("response_format")) is not None:
        _say_format(an_object(output, "response_format"), body, config, model, losses)
    if (modalities := hub.get("modalities")) is not None:
        _say_modalities(modalities, config, losses)
    say_thinking(hub, config, model, losses)
    return config


def _is_settable(name: str, value: float, model: Abilities) -> bool:
    """Whether the model does not refuse, or overlook, a parameter."""
    if name == "seed":
        return -_BIGGEST <= value < _BIGGEST
    if name in ("frequency_penalty", "presence_penalty"):
        return model.penalizes
    if name == "n":
        return model.chooses
    return model.samples or name not in ("temperature", "top_p", "top_k")


def _strings(value: Any, path: str) -> list[str]:
    if not isinstance(value, list):
        return [string(value, path)]
    return [string(each, f"{path}.{at}") for at, each in enumerate(value)]


def _say_logprobs(hub: Json, config: Json) -> None:
    if not hub.get("logprobs"):
        return
    config["responseLogprobs"] = True
    if top := hub.get("top_logprobs"):
        config["logprobs"] = integer(top, "top_logprobs")


def _say_format(output: Json, body: Json, config: Json, model: Abilities, losses: Losses) -> None:
    """https://ai.google.dev/gemini-api/docs/structured-output: a schema is always followed to the letter."""
    kind = output.get("type")
    if kind == "text":
        return
    if kind not in ("json_object", "json_schema"):
        raise CannotSay("response_format.type", "This must be text, json_object or json_schema.")
    if "tools" in body and not model.calls_beside_schema:
        losses.drop("response_format")
        return
    config["responseMimeType"] = "application/json"
    if kind == "json_schema":
        path = "response_format.json_schema"
        wanted = an_object(output.get("json_schema"), path)
        config["responseJsonSchema"] = an_object(wanted.get("schema"), f"{path}.schema")
        if wanted.get("description"):
            losses.drop(f"{path}.description")


def _say_modalities(given: Any, config: Json, losses: Losses) -> None:
    """Sound would have to be asked for with a voice of Google's."""
    modalities = _strings(given, "modalities")
    told = [_MODALITIES[each] for each in modalities if each in _MODALITIES]
    if len(told) < len(modalities):
        losses.drop("modalities")
    if "IMAGE" in told:
        config["responseModalities"] = told


def _say_tier(hub: Json, body: Json, losses: Losses) -> None:
    if (tier := hub.get("service_tier")) is None:
        return
    if string(tier, "service_tier") in _TIERS:
        body["serviceTier"] = _TIERS[tier]
    elif tier != "auto":
        losses.drop("service_tier")
