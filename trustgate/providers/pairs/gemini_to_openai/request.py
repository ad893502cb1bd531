"""The body of a call of generateContent as the hub's request. Whoever asks adds model and stream, from the address.

https://ai.google.dev/api/generate-content#request-body
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from trustgate.providers.hub import CannotSay, Json, Losses
from trustgate.providers.pairs.gemini_to_openai.contents import Conversation, to_system
from trustgate.providers.pairs.gemini_to_openai.reading import named, several, whole
from trustgate.providers.pairs.gemini_to_openai.schemas import is_closed, to_json_schema
from trustgate.providers.pairs.gemini_to_openai.tools import hear_tools
from trustgate.providers.pairs.openai_to_gemini.thinking import effort_of
from trustgate.providers.pairs.reading import an_object, number, string, strings

_SAID: Final = frozenset(
    ("contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "serviceTier", "model")
)
_PLAIN: Final[Mapping[str, tuple[str, Callable[[Any, str], Any]]]] = {
    "temperature": ("temperature", number),
    "topP": ("top_p", number),
    "topK": ("top_k", whole),
    "candidateCount": ("n", whole),
    "maxOutputTokens": ("max_completion_tokens", whole),
    "stopSequences": ("stop", strings),
    "presencePenalty": ("presence_penalty", number),
    "frequencyPenalty": ("frequency_penalty", number),
    "seed": ("seed", whole),
    "logprobs": ("top_logprobs", whole),
}
"""What has another name in the hub and no other meaning, and how to read it."""
_CONFIGURED: Final = frozenset(
    (
        *(*_PLAIN, "responseLogprobs", "responseMimeType", "responseSchema", "responseJsonSchema", "thinkingConfig"),
        "responseModalities",
    )
)
_TIERS: Final[Mapping[str, str]] = {"standard": "default", "flex": "flex", "priority": "priority"}
_THINKING: Final = ("thinkingBudget", "thinkingLevel", "includeThoughts")
_EFFORTS: Final = frozenset(("minimal", "low", "medium", "high", "xhigh"))
_PATH: Final = "generationConfig"


def to_request(said: Json, losses: Losses) -> Json:
    """Return the hub's request. Raises CannotSay."""
    said = named(said, "")
    if said.get("cachedContent") is not None:
        raise CannotSay("cachedContent", "What Google has cached is a part of the question, and only Google knows it.")
    conversation = Conversation(losses)
    if said.get("systemInstruction") is not None:
        conversation.messages += to_system(said["systemInstruction"])
    for at, content in enumerate(several(said.get("contents"), "contents")):
        conversation.add(content, at)
    conversation.close()
    if not conversation.messages:
        raise CannotSay("contents", "There must be a content that says something.")
    hub: Json = {"messages": conversation.messages}
    hear_tools(said, hub, losses)
    if said.get(_PATH) is not None:
        _hear_config(named(said[_PATH], _PATH), hub, losses)
    _hear_tier(said, hub, losses)
    for name, value in said.items():
        if name not in _SAID and value:
            losses.drop(name)
    return hub


def _hear_config(config: Json, hub: Json, losses: Losses) -> None:
    for name, (theirs, read) in _PLAIN.items():
        if config.get(name) is not None:
            hub[theirs] = read(config[name], f"{_PATH}.{name}")
    if config.get("responseLogprobs"):
        hub["logprobs"] = True
    _hear_format(config, hub, losses)
    if config.get("responseModalities") is not None:
        _hear_modalities(config["responseModalities"], hub, losses)
    if config.get("thinkingConfig") is not None:
        _hear_thinking(named(config["thinkingConfig"], f"{_PATH}.thinkingConfig"), hub, losses)
    for name, value in config.items():
        if name not in _CONFIGURED and value:
            losses.drop(f"{_PATH}.{name}")


def _hear_format(config: Json, hub: Json, losses: Losses) -> None:
    """https://ai.google.dev/gemini-api/docs/structured-output. A lone word out of several is JSON nowhere else."""
    kind = config.get("responseMimeType")
    kind = "text/plain" if kind is None else string(kind, f"{_PATH}.responseMimeType")
    schema: Json | None = None
    if config.get("responseJsonSchema") is not None:
        schema = an_object(config["responseJsonSchema"], f"{_PATH}.responseJsonSchema")
    elif config.get("responseSchema") is not None:
        schema = to_json_schema(config["responseSchema"], f"{_PATH}.responseSchema")
    if kind != "application/json":
        if kind != "text/plain":
            losses.drop(f"{_PATH}.responseMimeType")
        if schema is not None:
            losses.drop(f"{_PATH}.responseSchema")
    elif schema is None:
        hub["response_format"] = {"type": "json_object"}
    else:
        wanted = {"name": "response", "schema": schema, **({"strict": True} if is_closed(schema) else {})}
        hub["response_format"] = {"type": "json_schema", "json_schema": wanted}


def _hear_modalities(given: Any, hub: Json, losses: Losses) -> None:
    """Text is what everybody says. Sound would have to be asked for with a voice of the target's."""
    modalities = [each.lower() for each in strings(given, f"{_PATH}.responseModalities")]
    told = [each for each in modalities if each in ("text", "image")]
    if len(told) < len(modalities):
        losses.drop(f"{_PATH}.responseModalities")
    if "image" in told:
        hub["modalities"] = told


def _hear_thinking(config: Json, hub: Json, losses: Losses) -> None:
    """Take a budget for those who know one, and the effort that it is good for, for those who know that."""
    path = f"{_PATH}.thinkingConfig"
    for name in config:
        if name not in _THINKING and config[name] is not None:
            losses.drop(f"{path}.{name}")
    if config.get("thinkingLevel") is not None:
        _hear_level(string(config["thinkingLevel"], f"{path}.thinkingLevel").lower(), hub, losses)
    if config.get("thinkingBudget") is not None:
        _hear_budget(whole(config["thinkingBudget"], f"{path}.thinkingBudget"), hub)
    if config.get("includeThoughts") and hub.get("reasoning_effort") != "none":
        hub.setdefault("thinking", {"type": "adaptive"})


def _hear_level(level: str, hub: Json, losses: Losses) -> None:
    if level in _EFFORTS:
        hub["reasoning_effort"] = level
    elif level != "thinking_level_unspecified":
        losses.drop(f"{_PATH}.thinkingConfig.thinkingLevel")


def _hear_budget(budget: int, hub: Json) -> None:
    """A budget of 0 is none at all; a negative one is the model's to find."""
    if budget == 0:
        hub["reasoning_effort"] = "none"
    elif budget < 0:
        hub["thinking"] = {"type": "adaptive"}
    else:
        hub["thinking"] = {"type": "enabled", "budget_tokens": budget}
        hub.setdefault("reasoning_effort", effort_of(budget))


def _hear_tier(said: Json, hub: Json, losses: Losses) -> None:
    if said.get("serviceTier") is None:
        return
    tier = string(said["serviceTier"], "serviceTier").lower()
    if tier in _TIERS:
        hub["service_tier"] = _TIERS[tier]
    elif tier != "unspecified":
        losses.drop("serviceTier")
