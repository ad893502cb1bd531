"""What Gemini's requests, and the hub's chunks, mean: what two of them must have in common to say the same.

`normal` states what is normalised when a request goes inwards and outwards again to a Gemini 3, beside the losses that
are reported:

- names are in camel case, enums are words, a lone object is a list of one, roles are in small letters, and nobody says
  what is usual;
- base64 is in its standard alphabet, and MP3 is called audio/mp3; a media type of a file is that which the address
  tells;
- in a turn of the user the results of functions come first and have a turn of their own, as have those of several
  turns in a row; what a result shows at an address stands behind them;
- what the model says in several contents is one turn, in which thoughts come first, then its text, as one, then
  pictures, then calls;
- an empty text is left out, unless it is all that there is;
- a signature on thoughts is not Gemini's, and is lost; the first call of a turn is signed, or said to be unsigned;
- calls and results have ids; a result is an object, its text where it is nothing but that is `output` or `error`;
- schemas are JSON schema; a model is held to the schemas of functions only where one of them is closed;
- a budget of thought is a level, and who says how long to think is shown the thoughts.
"""

import json
import re
from collections.abc import Iterable
from typing import Any

from trustgate.providers.hub import Json

OPAQUE = frozenset(("args", "response", "parametersJsonSchema", "responseJsonSchema", "properties", "enum", "default"))
GOOGLES = frozenset(("executableCode", "codeExecutionResult", "toolCall", "toolResponse"))
"""Parts that only Gemini has."""
TYPES = {"png": "image/png", "jpg": "image/jpeg", "pdf": "application/pdf", "txt": "text/plain"}
TYPES |= {"mp4": "video/mp4", "webm": "video/webm", "wav": "audio/wav", "mp3": "audio/mp3"}
NUMBERS = ("", "string", "number", "integer", "boolean", "array", "object")


def camels(value: Any) -> Any:
    """Return a document with all names of Google's in camel case; a caller's own names stay."""
    if isinstance(value, list):
        return [camels(each) for each in value]
    if not isinstance(value, dict):
        return value
    told = {}
    for name, inner in value.items():
        camel = re.sub(r"_([a-z])", lambda found: found[1].upper(), name)
        told[camel] = inner if camel in OPAQUE else camels(inner)
    return told


def unsayable(asked: Json) -> bool:
    """Whether there is something in the conversation that can be said to Gemini alone."""
    return any(GOOGLES & part.keys() for content in camels(asked)["contents"] for part in content["parts"])


def normal(asked: Json) -> Json:
    """Return what comes back of a request."""
    said = camels(asked)
    told: Json = {"contents": _contents(said["contents"]) or [{"role": "user", "parts": [{"text": ""}]}]}
    if parts := [part for part in (said.get("systemInstruction") or {}).get("parts", ()) if part["text"]]:
        told["systemInstruction"] = {"parts": [{"text": part["text"]} for part in parts]}
    declared = [each for tool in said.get("tools") or () for each in tool.get("functionDeclarations") or ()]
    if declared:
        told["tools"] = [{"functionDeclarations": [_declared(each) for each in declared]}]
        if config := _calling(said, told["tools"][0]["functionDeclarations"]):
            told["toolConfig"] = {"functionCallingConfig": config}
    if config := _config(said.get("generationConfig") or {}):
        told["generationConfig"] = config
    if said.get("serviceTier") in ("standard", "flex", "priority"):
        told["serviceTier"] = said["serviceTier"]
    return told


def _contents(contents: list[Json]) -> list[Json]:
    told: list[Json] = []
    results: list[Json] = []
    shown: list[Json] = []
    model: list[Json] = []
    open_calls: list[tuple[str, str]] = []

    def settle() -> None:
        for parts in (results, shown):
            if parts:
                told.append({"role": "user", "parts": list(parts)})
            parts.clear()

    def speak() -> None:
        if turn := _model(model, open_calls):
            settle()
            told.append({"role": "model", "parts": turn})
        model.clear()

    for index, content in enumerate(contents):
        parts = content["parts"]
        if content.get("role", "user") == "model":
            model += [_identified(part, f"call_{index}_{at}") for at, part in enumerate(parts)]
            continue
        speak()
        rest = [part for part in parts if "functionResponse" not in part]
        for part in parts:
            if "functionResponse" in part:
                result, elsewhere = _result(part["functionResponse"], open_calls)
                results.append({"functionResponse": result})
                shown += elsewhere
        if rest:
            open_calls.clear()
            settle()
            if said := [_part(part) for part in rest if part.get("text") != ""]:
                told.append({"role": "user", "parts": said})
    speak()
    settle()
    return told


def _identified(part: Json, identity: str) -> Json:
    if "functionCall" not in part:
        return part
    return {**part, "functionCall": {**part["functionCall"], "id": part["functionCall"].get("id") or identity}}


def _model(parts: list[Json], open_calls: list[tuple[str, str]]) -> list[Json]:
    thoughts = [part["text"] for part in parts if part.get("thought")]
    texts = [part for part in parts if "text" in part and not part.get("thought")]
    text = {"text": "".join(part["text"] for part in texts)}
    if signatures := [part["thoughtSignature"] for part in texts if part.get("thoughtSignature")]:
        text["thoughtSignature"] = signatures[-1]
    calls = [part for part in parts if "functionCall" in part]
    told: list[Json] = [{"text": thought, "thought": True} for thought in _joined(parts, thoughts)]
    told += [text] if text != {"text": ""} else []
    told += [_part(part) for part in parts if "inlineData" in part]
    for at, part in enumerate(calls):
        call = part["functionCall"]
        open_calls.append((call["id"], call["name"]))
        said: Json = {"functionCall": {"id": call["id"], "name": call["name"], "args": call.get("args") or {}}}
        if part.get("thoughtSignature") or at == 0:
            said["thoughtSignature"] = part.get("thoughtSignature") or "skip_thought_signature_validator"
        told.append(said)
    return told


def _joined(parts: list[Json], thoughts: list[str]) -> list[str]:
    """Return the thoughts of a turn: all as one, or, where some are signed, one up to each signature."""
    if not any(part.get("thought") and part.get("thoughtSignature") for part in parts):
        return [joined] if (joined := "".join(thoughts)) else []
    told, begun = [], ""
    for part in parts:
        if part.get("thought"):
            begun += part["text"]
            if part.get("thoughtSignature"):
                told.append(begun)
                begun = ""
    return [thought for thought in (*told, begun) if thought]


def _result(result: Json, open_calls: list[tuple[str, str]]) -> tuple[Json, list[Json]]:
    identity, name = result.get("id"), result["name"]
    for at, (call, called) in enumerate(open_calls):
        if call == identity or (not identity and called == name):
            identity = call
            del open_calls[at]
            break
    media = [_part(part) for part in result.get("parts") or ()]
    inside = [part for part in media if "inlineData" in part]
    response = result.get("response") or {}
    told: Json = {"id": identity, "name": name, "response": _response(response, inside)}
    if inside:
        told["parts"] = inside
    return told, [part for part in media if part not in inside]


def _response(response: Json, inside: list[Json]) -> Json:
    if not response or response == {"output": ""}:
        return {} if inside else {"output": ""}
    (name, value), *more = response.items()
    if not more and name in ("output", "error") and isinstance(value, str):
        return _object(value) or {"output": value} if name == "output" else {"error": _object(value) or value}
    if not more and name == "error" and value is not None and not isinstance(value, dict):
        return {"error": written(value)}
    found = value if not more and name == "error" and isinstance(value, dict) else response
    if re.search(r"\d{16}", written(found)):
        return {"error": written(found)} if found is not response else {"output": written(found)}
    return response


def written(value: Any) -> str:
    """Return a value as JSON without spaces."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _object(text: str) -> Json | None:
    try:
        found = json.loads(text) if text.startswith("{") and not re.search(r"\d{16}", text) else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _part(part: Json) -> Json:
    if "inlineData" in part:
        data = part["inlineData"]
        kind = data["mimeType"].replace("audio/mpeg", "audio/mp3")
        said: Json = {"mimeType": kind, "data": data["data"].replace("-", "+").replace("_", "/")}
        signed = {name: part[name] for name in ("thoughtSignature",) if part.get(name)}
        return {"inlineData": said, **signed}
    if "fileData" in part:
        uri = part["fileData"]["fileUri"]
        kind = TYPES.get(uri.partition("?")[0].rpartition(".")[2].lower())
        return {"fileData": {"mimeType": kind, "fileUri": uri} if kind else {"fileUri": uri}}
    return {"text": part["text"]}


def _declared(function: Json) -> Json:
    told = {name: function[name] for name in ("name", "description") if function.get(name) is not None}
    if function.get("parametersJsonSchema") is not None:
        told["parametersJsonSchema"] = function["parametersJsonSchema"]
    elif function.get("parameters") is not None:
        told["parametersJsonSchema"] = json_schema(function["parameters"])
    return told


def json_schema(schema: Any) -> Any:
    """Return a schema of Google's as JSON schema; of what it may have, what the tests and the recordings have."""
    if isinstance(schema, list):
        return [json_schema(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    told = {name: json_schema(value) for name, value in schema.items()}
    if "any_of" in told:
        told["anyOf"] = told.pop("any_of")
    if isinstance(kind := told.get("type"), str | int):
        told["type"] = kind.lower() if isinstance(kind, str) else NUMBERS[kind]
    if told.pop("nullable", False):
        told["type"] = [told["type"], "null"]
    order = told.pop("property_ordering", None) or told.pop("propertyOrdering", None)
    if order:
        told["properties"] = {name: told["properties"][name] for name in order}
    for name in ("minItems", "maxItems"):
        if isinstance(told.get(name), str):
            told[name] = int(told[name])
    return told


def _calling(said: Json, declared: list[Json]) -> Json:
    config = (said.get("toolConfig") or {}).get("functionCallingConfig") or {}
    mode, allowed = config.get("mode", "AUTO"), config.get("allowedFunctionNames") or []
    if mode == "VALIDATED" and not allowed:
        return {"mode": mode} if any(closed(each.get("parametersJsonSchema")) for each in declared) else {}
    if mode == "NONE":
        return {"mode": mode}
    if mode == "AUTO":
        return {}
    return {"mode": mode, **({"allowedFunctionNames": allowed} if allowed else {})}


def closed(schema: Any) -> bool:
    """Whether every object in a schema has all that it may have, and nothing else."""
    if isinstance(schema, list):
        return all(closed(each) for each in schema)
    if not isinstance(schema, dict):
        return schema is not None
    is_open = schema.get("type") == "object" and (
        schema.get("additionalProperties") is not False
        or set(schema.get("properties", ())) != set(schema.get("required", ()))
    )
    inner = [value for value in schema.values() if isinstance(value, dict | list)]
    return not is_open and all(closed(value) for value in inner if not isinstance(value, list) or value)


SAMPLING = ("temperature", "topP", "topK", "maxOutputTokens", "stopSequences", "seed")


def _config(config: Json) -> Json:
    told = {name: config[name] for name in SAMPLING if config.get(name) is not None}
    if config.get("responseLogprobs"):
        told["responseLogprobs"] = True
        told.update({"logprobs": config["logprobs"]} if config.get("logprobs") else {})
    if config.get("responseMimeType") == "application/json":
        told["responseMimeType"] = "application/json"
        schema = config.get("responseJsonSchema") or json_schema(config.get("responseSchema"))
        told.update({"responseJsonSchema": schema} if schema is not None else {})
    if "IMAGE" in (modalities := config.get("responseModalities") or ()):
        told["responseModalities"] = list(modalities)
    if thinking := _thinking(config.get("thinkingConfig") or {}):
        told["thinkingConfig"] = thinking
    return told


def _thinking(config: Json) -> Json:
    level, budget = config.get("thinkingLevel"), config.get("thinkingBudget")
    if level is None and budget == 0:
        return {"thinkingLevel": "MINIMAL"}
    if level is None and budget is not None and budget > 0:
        level = "LOW" if budget <= 1024 else "MEDIUM" if budget <= 8192 else "HIGH"
    if level is not None:
        return {"thinkingLevel": level, "includeThoughts": True}
    return {"includeThoughts": True} if config.get("includeThoughts") or budget is not None else {}


class Folded:
    """What a list of the hub's chunks says: the message and the choice that each candidate's add up to."""

    def __init__(self, chunks: Iterable[Json]) -> None:
        self.messages: dict[int, Json] = {}
        self.finishes: dict[int, Json] = {}
        self.usage: Json | None = None
        self.tier: str | None = None
        for chunk in chunks:
            self.usage = chunk.get("usage") or self.usage
            self.tier = chunk.get("service_tier") or self.tier
            for choice in chunk["choices"]:
                self._fold(choice["index"], choice["delta"])
                if choice["finish_reason"]:
                    names = ("finish_reason", "native_finish_reason")
                    self.finishes[choice["index"]] = {name: choice[name] for name in names if name in choice}
        for message in self.messages.values():
            if message.get("tool_calls") and not message["content"]:
                message["content"] = None

    def _fold(self, index: int, delta: Json) -> None:
        message = self.messages.setdefault(index, {"role": "assistant", "content": "", "refusal": None})
        message["content"] += delta.get("content") or ""
        if delta.get("refusal"):
            message["refusal"] = delta["refusal"]
        if thoughts := delta.get("reasoning_content"):
            message["reasoning_content"] = message.get("reasoning_content", "") + thoughts
        if extra := delta.get("extra_content"):
            message["extra_content"] = extra
        for name in ("images", "annotations"):
            if delta.get(name):
                message[name] = [*message.get(name, ()), *delta[name]]
        for call in delta.get("tool_calls", ()):
            calls = message.setdefault("tool_calls", [])
            assert call["index"] == len(calls), "Gemini's calls are whole"
            calls.append({name: value for name, value in call.items() if name != "index"})
