"""The hub's request as the body of a Converse call. Model and streaming stand in its address.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from trustgate.providers.hub import CannotSay, Json, Losses
from trustgate.providers.pairs.openai_to_anthropic.schemas import followed
from trustgate.providers.pairs.openai_to_bedrock.family import Family, family_of
from trustgate.providers.pairs.openai_to_bedrock.messages import Conversation
from trustgate.providers.pairs.openai_to_bedrock.thinking import say_thinking
from trustgate.providers.pairs.openai_to_bedrock.tools import tool_config
from trustgate.providers.pairs.reading import an_object, integer, number, objects, string, strings

_SAID: Final = frozenset(
    (
        *("model", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "stop", "tools"),
        *("tool_choice", "response_format", "service_tier", "metadata", "thinking", "reasoning_effort", "stream"),
        "stream_options",
    )
)
_USUAL: Final[Mapping[str, Any]] = {
    "n": 1,
    "parallel_tool_calls": True,
    "logprobs": False,
    "store": False,
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "modalities": ["text"],
    "functions": [],
    "logit_bias": {},
}
"""What Converse does anyway: nothing is lost when a caller asks for it."""
TIERS: Final = frozenset(("default", "flex", "priority"))
_METADATA: Final = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,.-]{0,256}").fullmatch
_ENTRIES: Final = 16
_encode: Final = msgspec.json.Encoder().encode


def to_request(hub: Json, losses: Losses) -> Json:
    """Return the body. Raises CannotSay."""
    model = hub.get("model")
    family = family_of(model if isinstance(model, str) else "")
    conversation = Conversation(family, losses)
    for at, message in enumerate(objects(hub.get("messages"), "messages")):
        conversation.add(message, f"messages.{at}")
    if not conversation.messages:
        raise CannotSay("messages", "Bedrock needs at least one message of the user that says something.")
    body: Json = {"messages": conversation.messages}
    if conversation.system:
        body["system"] = conversation.system
    if tools := tool_config(hub, conversation.tool_names, family, losses):
        body["toolConfig"] = tools
    _say_parameters(hub, body, family, losses)
    for name in sorted(hub.keys() - _SAID):
        value = hub[name]
        if value is not None and _USUAL.get(name) != value:
            losses.drop(name)
    return body


def _say_parameters(hub: Json, body: Json, family: Family, losses: Losses) -> None:
    if inference := _inference(hub, losses):
        body["inferenceConfig"] = inference
    if family.claude and len(body.get("inferenceConfig", {}).get("stopSequences", ())) > 1:
        body["additionalModelResponseFieldPaths"] = ["/stop_sequence"]
    if (top_k := hub.get("top_k")) is not None:
        _say_top_k(integer(top_k, "top_k"), body, family, losses)
    if (output := hub.get("response_format")) is not None:
        _say_format(an_object(output, "response_format"), body, family, losses)
    say_thinking(hub, body, family, losses)
    if (tier := hub.get("service_tier")) is not None:
        _say_tier(string(tier, "service_tier"), body, losses)
    if metadata := hub.get("metadata"):
        _say_metadata(an_object(metadata, "metadata"), body, losses)
    for name in ("inferenceConfig", "additionalModelRequestFields"):
        if body.get(name) == {}:
            del body[name]


def _inference(hub: Json, losses: Losses) -> Json:
    """https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InferenceConfiguration.html"""
    told: Json = {}
    for name in ("max_completion_tokens", "max_tokens"):
        if hub.get(name) is not None and "maxTokens" not in told:
            told["maxTokens"] = integer(hub[name], name)
    if (temperature := hub.get("temperature")) is not None:
        if number(temperature, "temperature") > 1:
            losses.drop("temperature")
        told["temperature"] = min(temperature, 1)
    if (top_p := hub.get("top_p")) is not None:
        told["topP"] = number(top_p, "top_p")
    if stop := hub.get("stop"):
        told["stopSequences"] = [stop] if isinstance(stop, str) else strings(stop, "stop")
    return told


def _say_top_k(top_k: int, body: Json, family: Family, losses: Losses) -> None:
    if family.claude or family.is_opaque:
        body["additionalModelRequestFields"] = {"top_k": top_k}
    elif family.nova:
        body["additionalModelRequestFields"] = {"inferenceConfig": {"topK": top_k}}
    else:
        losses.drop("top_k")


def _say_format(output: Json, body: Json, family: Family, losses: Losses) -> None:
    """https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_OutputFormat.html: the schema is a string."""
    kind = output.get("type")
    if kind != "json_schema" or not family.follows_schemas:
        if kind != "text":
            losses.drop("response_format")
        return
    path = "response_format.json_schema"
    given = an_object(output.get("json_schema"), path)
    wanted = an_object(given.get("schema"), f"{path}.schema")
    wanted = followed(wanted, f"{path}.schema", losses) if family.claude else wanted
    schema: Json = {"schema": _encode(wanted).decode()}
    for name in ("name", "description"):
        if given.get(name):
            schema[name] = string(given[name], f"{path}.{name}")
    body["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}}


def _say_tier(tier: str, body: Json, losses: Losses) -> None:
    if tier in TIERS:
        body["serviceTier"] = {"type": tier}
    elif tier != "auto":
        losses.drop("service_tier")


def _say_metadata(metadata: Json, body: Json, losses: Losses) -> None:
    """Bedrock takes 16 entries of few characters; those that it would refuse are lost."""
    fit = [
        (name, value)
        for name, value in metadata.items()
        if name and isinstance(value, str) and _METADATA(name) and _METADATA(value)
    ][:_ENTRIES]
    if len(fit) < len(metadata):
        losses.drop("metadata")
    if fit:
        body["requestMetadata"] = dict(fit)
