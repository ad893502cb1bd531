"""The body of a Converse call as the hub's request. Model and streaming stand in its address.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from trustgate.providers.hub import CannotSay, Json, Losses
from trustgate.providers.pairs.bedrock_to_openai.messages import mark, to_messages, to_system
from trustgate.providers.pairs.openai_to_anthropic.thinking import effort_of
from trustgate.providers.pairs.openai_to_bedrock.request import TIERS
from trustgate.providers.pairs.reading import an_object, integer, number, objects, string, strings

STOP_PATH: Final = "/stop_sequence"
_SAID: Final = frozenset(
    (
        *("messages", "system", "inferenceConfig", "toolConfig", "outputConfig", "serviceTier", "requestMetadata"),
        *("additionalModelRequestFields", "additionalModelResponseFieldPaths", "promptVariables", "modelId"),
    )
)
_NUMBERS: Final[Mapping[str, tuple[str, Callable[[Any, str], Any]]]] = {
    "maxTokens": ("max_tokens", integer),
    "temperature": ("temperature", number),
    "topP": ("top_p", number),
    "stopSequences": ("stop", strings),
}
_decode: Final = msgspec.json.Decoder().decode


def to_request(said: Json, losses: Losses) -> Json:
    """Return the hub's request. Raises CannotSay."""
    if said.get("promptVariables"):
        raise CannotSay("promptVariables", "A prompt that is kept at Bedrock can be asked for at Bedrock alone.")
    system = objects(said.get("system") or [], "system")
    hub: Json = {
        "messages": to_system(system, "system", losses) + to_messages(said.get("messages"), "messages", losses)
    }
    if (inference := said.get("inferenceConfig")) is not None:
        _hear_inference(an_object(inference, "inferenceConfig"), hub, losses)
    if (tools := said.get("toolConfig")) is not None:
        _hear_tools(an_object(tools, "toolConfig"), hub, losses)
    if (output := said.get("outputConfig")) is not None:
        _hear_output(an_object(output, "outputConfig"), hub, losses)
    if (additional := said.get("additionalModelRequestFields")) is not None:
        _hear_additional(an_object(additional, "additionalModelRequestFields"), hub, losses)
    _hear_rest(said, hub, losses)
    return hub


def _hear_inference(inference: Json, hub: Json, losses: Losses) -> None:
    for name, value in inference.items():
        if name not in _NUMBERS:
            losses.drop(f"inferenceConfig.{name}")
        elif value is not None:
            theirs, read = _NUMBERS[name]
            hub[theirs] = read(value, f"inferenceConfig.{name}")


def _hear_tools(config: Json, hub: Json, losses: Losses) -> None:
    tools: list[Json] = []
    for at, tool in enumerate(objects(config.get("tools"), "toolConfig.tools")):
        path = f"toolConfig.tools.{at}"
        if (point := tool.get("cachePoint")) is not None:
            last = tools[-1] if tools else None
            mark(last, point, f"{path}.cachePoint", "toolConfig.tools.cachePoint", losses)
        elif "toolSpec" in tool:
            tools.append({"type": "function", "function": _function(tool["toolSpec"], f"{path}.toolSpec")})
        else:
            losses.drop(f"toolConfig.tools.{next(iter(tool), 'none')}")
    if tools:
        hub["tools"] = tools
    if choice := config.get("toolChoice"):
        hub["tool_choice"] = _choice(an_object(choice, "toolConfig.toolChoice"))


def _function(given: Any, path: str) -> Json:
    spec = an_object(given, path)
    schema = an_object(spec.get("inputSchema"), f"{path}.inputSchema")
    function: Json = {"name": string(spec.get("name"), f"{path}.name")}
    if (description := spec.get("description")) is not None:
        function["description"] = string(description, f"{path}.description")
    function["parameters"] = an_object(schema.get("json"), f"{path}.inputSchema.json")
    if spec.get("strict"):
        function["strict"] = True
    return function


def _choice(choice: Json) -> Json | str:
    if choice.get("any") is not None:
        return "required"
    if (tool := choice.get("tool")) is None:
        return "auto"
    path = "toolConfig.toolChoice.tool"
    return {"type": "function", "function": {"name": string(an_object(tool, path).get("name"), f"{path}.name")}}


def _hear_output(output: Json, hub: Json, losses: Losses) -> None:
    for name, value in output.items():
        if name == "textFormat" and value is not None:
            hub["response_format"] = _format(an_object(value, "outputConfig.textFormat"))
        elif name == "effort" and value is not None:
            _hear_effort(value, "outputConfig.effort", hub)
        elif value is not None:
            losses.drop(f"outputConfig.{name}")


def _format(text: Json) -> Json:
    """OpenAI's schemas have a name, and are only suggestions where they are not strict."""
    path = "outputConfig.textFormat.structure"
    structure = an_object(text.get("structure"), path)
    path += ".jsonSchema"
    given = an_object(structure.get("jsonSchema"), path)
    try:
        schema = _decode(string(given.get("schema"), f"{path}.schema"))
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise CannotSay(f"{path}.schema", "The schema must be JSON.") from error
    told: Json = {"name": "response", "schema": an_object(schema, f"{path}.schema"), "strict": True}
    for name in ("name", "description"):
        if given.get(name):
            told[name] = string(given[name], f"{path}.{name}")
    return {"type": "json_schema", "json_schema": told}


def _hear_thinking(thinking: Json, hub: Json) -> None:
    """Take `thinking` as it is, for those who know it, and what it means as an effort, for those who do not."""
    hub["thinking"] = thinking
    if (effort := effort_of(thinking)) is not None:
        hub.setdefault("reasoning_effort", effort)


def _hear_effort(effort: Any, path: str, hub: Json) -> None:
    hub["reasoning_effort"] = string(effort, path)


def _hear_additional(additional: Json, hub: Json, losses: Losses) -> None:
    """What stands beside Converse is each maker's own; what several of them have, the hub has."""
    where = "additionalModelRequestFields"
    for name, value in additional.items():
        path = f"{where}.{name}"
        if value is None:
            continue
        if name == "top_k":
            hub["top_k"] = integer(value, path)
        elif name == "thinking":
            _hear_thinking(an_object(value, path), hub)
        elif name in ("reasoning_effort", "reasoning_config") and isinstance(value, str):
            _hear_effort(value, path, hub)
        elif name not in _WITHIN or not isinstance(value, dict) or not _hear_within(name, value, path, hub):
            losses.drop(path)


_WITHIN: Final[Mapping[str, str]] = {
    "inferenceConfig": "topK",
    "output_config": "effort",
    "reasoningConfig": "maxReasoningEffort",
}
"""Nova's, Claude's and Nova's fields with one field within that the hub has."""


def _hear_within(name: str, value: Json, path: str, hub: Json) -> bool:
    """Take the one field that is known. Returns whether there was nothing else."""
    field = _WITHIN[name]
    if (found := value.get(field)) is None:
        return value.get("type") == "disabled"
    if field == "topK":
        hub["top_k"] = integer(found, f"{path}.{field}")
    else:
        _hear_effort(found, f"{path}.{field}", hub)
    return not value.keys() - {field, "type"}


def _hear_rest(said: Json, hub: Json, losses: Losses) -> None:
    if tier := said.get("serviceTier"):
        kind = an_object(tier, "serviceTier").get("type")
        if isinstance(kind, str) and kind in TIERS:
            hub["service_tier"] = kind
        else:
            losses.drop("serviceTier")
    if metadata := said.get("requestMetadata"):
        hub["metadata"] = an_object(metadata, "requestMetadata")
    paths = said.get("additionalModelResponseFieldPaths")
    if paths and paths != [STOP_PATH]:
        losses.drop("additionalModelResponseFieldPaths")
    for name in sorted(said.keys() - _SAID):
        if said[name] is not None:
            losses.drop(name)
