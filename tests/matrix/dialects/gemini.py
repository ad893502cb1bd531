"""Google's Gemini API. https://ai.google.dev/api/generate-content

Older models give their calls no ids; those of Gemini 3 do, and sign their first call, and refuse a history in which
that signature is missing (https://ai.google.dev/gemini-api/docs/thought-signatures). As in all of Google's JSON, names
may be written in snake case (https://protobuf.dev/programming-guides/json/), and base64 with the letters of URLs.
"""

import base64
import re
from typing import Any, Final

from ..talk import Asked, Call, Json, Picture, Said, Usage
from . import Dialect, Header
from .history import BadRequest, History, check_fields
from .wording import checked, event, pieces

FIELDS: Final = frozenset(
    (
        *("contents", "systemInstruction", "tools", "toolConfig", "safetySettings", "generationConfig"),
        *("cachedContent", "labels", "serviceTier", "store", "model"),
    )
)
PART: Final = frozenset(
    (
        *("text", "inlineData", "fileData", "functionCall", "functionResponse", "thought", "thoughtSignature"),
        *("executableCode", "codeExecutionResult", "videoMetadata", "mediaResolution"),
    )
)
SIGNATURE: Final = "EswBCskBAXLI2nxGZW1pbmkz"
UNSIGNED: Final = frozenset(("skip_thought_signature_validator", "context_engineering_is_the_way_to_go"))
REASONS: Final = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "content_filter": "SAFETY"}
STATUSES: Final = {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}


def hear(path: str, body: Json, header: Header) -> Asked:
    """Read a request; model and stream are in the path."""
    body = _in_camels(body)
    check_fields(body, FIELDS)
    model, _, action = path.rpartition("/")[2].partition(":")
    history = History()
    history.system += [part["text"] for part in body.get("systemInstruction", {"parts": []})["parts"]]
    for content in body["contents"]:
        check_fields(content, frozenset(("role", "parts")), "a content")
        for part in content["parts"]:
            check_fields(part, PART, "a part")
        if content.get("role", "user") == "model":
            _take_model(history, content["parts"], signed=_is_signed(model))
        else:
            _take_user(history, content["parts"])
    declared = [each for tool in body.get("tools", ()) for each in tool.get("functionDeclarations", ())]
    tools = {each["name"]: each.get("parametersJsonSchema", each.get("parameters", {})) for each in declared}
    return history.asked(model=model, streamed=action.startswith("stream"), tools=tools)


OPAQUE: Final = frozenset(("args", "response", "parameters", "parametersJsonSchema", "responseJsonSchema", "labels"))


def _in_camels(value: Any) -> Any:
    """Return the same with all names of Google's in camel case; a caller's own names stay."""
    if isinstance(value, list):
        return [_in_camels(each) for each in value]
    if not isinstance(value, dict):
        return value
    named = {re.sub(r"_([a-z])", lambda found: found[1].upper(), name): each for name, each in value.items()}
    return {name: each if name in OPAQUE else _in_camels(each) for name, each in named.items()}


def _picture(data: Json) -> Picture:
    return checked(data["mimeType"], base64.b64encode(base64.urlsafe_b64decode(_urlsafe(data["data"]))).decode())


def _urlsafe(data: str) -> str:
    return data.replace("+", "-").replace("/", "_")


def _is_signed(model: str) -> bool:
    return model.startswith("gemini-3")


def _take_user(history: History, parts: list[Json]) -> None:
    answers = [part["functionResponse"] for part in parts if "functionResponse" in part]
    for answer in answers:
        check_fields(answer, frozenset(("id", "name", "response", "willContinue", "scheduling", "parts")), "an answer")
        if not isinstance(answer["response"], dict):
            raise BadRequest("function_response.response is an object")
        told = next(iter(answer["response"].values()))
        text = told if isinstance(told, str) else str(told)
        if "id" in answer:
            history.result(answer["id"], text)
        else:
            history.named(answer["name"], text)
    if answers:
        history.settle("the number of function response parts is equal to that of the calls: a turn")
    pictures = [_picture(part["inlineData"]) for part in parts if "inlineData" in part]
    if text := "".join(part.get("text", "") for part in parts):
        history.user(text, pictures)


def _take_model(history: History, parts: list[Json], *, signed: bool) -> None:
    calls = [part for part in parts if "functionCall" in part]
    if signed and calls and calls[0].get("thoughtSignature") not in (SIGNATURE, *UNSIGNED):
        raise BadRequest("Function call is missing a thought_signature in functionCall parts")
    history.assistant(
        [
            Call(it["functionCall"]["name"], it["functionCall"].get("args", {}), it["functionCall"].get("id", ""))
            for it in calls
        ]
    )


def whole(said: Said, asked: Asked) -> Json:
    """Say an answer."""
    parts = [{"text": said.text}] if said.text else []
    return _answer(asked, [*parts, *_calls(said, asked)], said)


def _calls(said: Said, asked: Asked) -> list[Json]:
    parts: list[Json] = [{"functionCall": {"name": call.name, "args": call.arguments}} for call in said.calls]
    if parts and _is_signed(asked.model):
        parts[0]["thoughtSignature"] = SIGNATURE
        for part, call in zip(parts, said.calls, strict=True):
            part["functionCall"]["id"] = call.id
    return parts


def _answer(asked: Asked, parts: list[Json], said: Said | None) -> Json:
    candidate: Json = {"content": {"parts": parts, "role": "model"}, "index": 0}
    answer: Json = {"candidates": [candidate], "modelVersion": asked.model, "responseId": "mAitaLmkHPPlz7IPvtfUqQ4"}
    if said is None:
        return answer
    candidate["finishReason"] = said.native or REASONS[said.finish]
    return {**answer, "usageMetadata": _usage(said.usage)}


def _usage(usage: Usage) -> Json:
    return {
        "promptTokenCount": usage.prompt,
        "candidatesTokenCount": usage.completion,
        "totalTokenCount": usage.prompt + usage.completion,
        "cachedContentTokenCount": usage.cached,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": usage.prompt}],
    }


def events(said: Said, asked: Asked) -> list[bytes]:
    """Say an answer as a stream: each event is an answer of its own, the last has the reason and the usage."""
    story = [_answer(asked, [{"text": piece}], None) for piece in pieces(said.text)]
    story += [_answer(asked, [part], None) for part in _calls(said, asked)]
    return [event(data) for data in (*story, _answer(asked, [{"text": ""}], said))]


def fault(status: int, code: str, message: str) -> Json:
    """Say an error."""
    return {"error": {"code": status, "message": message, "status": code or STATUSES.get(status, "INTERNAL")}}


GEMINI: Final = Dialect(
    paths=(":generateContent", ":streamGenerateContent"), hear=hear, whole=whole, events=events, fault=fault
)
