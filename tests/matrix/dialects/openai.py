"""OpenAI's chat completions. https://platform.openai.com/docs/api-reference/chat"""

from typing import Any, Final, get_type_hints

from openai.types.chat.completion_create_params import CompletionCreateParamsBase

from ..talk import Asked, Call, Json, Said, Usage
from . import Dialect, Header
from .history import BadRequest, History, check_fields
from .wording import arguments_of, event, picture_of, pieces, written

FIELDS: Final = frozenset(get_type_hints(CompletionCreateParamsBase)) | {"stream"}
MESSAGE: Final = frozenset(
    (
        *("role", "content", "name", "tool_calls", "tool_call_id", "refusal", "audio", "function_call"),
        "annotations",  # stands in answers, and agents send answers back as they came
    )
)


def hear(path: str, body: Json, header: Header) -> Asked:
    """Read a request."""
    check_fields(body, FIELDS)
    history = History()
    for message in body["messages"]:
        check_fields(message, MESSAGE, "a message")
        _take(history, message)
    tools = {tool["function"]["name"]: tool["function"].get("parameters", {}) for tool in body.get("tools", ())}
    return history.asked(model=body["model"], streamed=bool(body.get("stream")), tools=tools)


def _take(history: History, message: Json) -> None:
    content = message.get("content")
    parts: list[Json] = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
    text = "".join(part["text"] for part in parts if part["type"] == "text")
    match message["role"]:
        case "system" | "developer":
            history.system.append(text)
        case "user":
            history.user(text, [picture_of(part["image_url"]["url"]) for part in parts if part["type"] == "image_url"])
        case "assistant":
            history.assistant([_call(call) for call in message.get("tool_calls") or ()])
        case "tool":
            history.result(message["tool_call_id"], text)
        case role:
            raise BadRequest(f"there is no role {role}")


def _call(call: Json) -> Call:
    return Call(call["function"]["name"], arguments_of(call["function"]["arguments"]), call["id"])


def whole(said: Said, asked: Asked) -> Json:
    """Say an answer."""
    message: Json = {"role": "assistant", "content": said.text or None, "refusal": None, "annotations": []}
    if said.calls:
        message["tool_calls"] = [_told(call) for call in said.calls]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": said.native or said.finish}
    return {**_head(asked, "chat.completion"), "choices": [choice], "usage": told_usage(said.usage)}


def _told(call: Call) -> Json:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": written(call.arguments)}}


def _head(asked: Asked, kind: str) -> Json:
    head: Json = {"id": "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG", "object": kind, "created": 1741570283}
    return {**head, "model": asked.model, "service_tier": "default", "system_fingerprint": "fp_44709d6fcb"}


def told_usage(usage: Usage) -> Json:
    """Say the tokens, with all the details that OpenAI gives."""
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def events(said: Said, asked: Asked) -> list[bytes]:
    """Say an answer as a stream; the usage comes last, whether or not it was asked for."""
    deltas: list[Json] = [{"role": "assistant", "content": None if said.calls else "", "refusal": None}]
    deltas += [{"content": piece} for piece in pieces(said.text)]
    for index, call in enumerate(said.calls):
        told = _told(call)
        told["function"]["arguments"] = ""
        deltas.append({"tool_calls": [{"index": index, **told}]})
        for piece in pieces(written(call.arguments)):
            deltas.append({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    told_events = [_chunk(asked, delta, None) for delta in deltas]
    told_events.append(_chunk(asked, {}, said.native or said.finish))
    last = {**_head(asked, "chat.completion.chunk"), "choices": [], "usage": told_usage(said.usage)}
    return [*told_events, event(last), b"data: [DONE]\n\n"]


def _chunk(asked: Asked, delta: Json, finish: str | None) -> bytes:
    choice: dict[str, Any] = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return event({**_head(asked, "chat.completion.chunk"), "choices": [choice], "usage": None})


def fault(status: int, code: str, message: str) -> Json:
    """Say an error."""
    kinds = {429: "rate_limit_error", 400: "invalid_request_error"}
    kind = kinds.get(status, "server_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": code or None}}


OPENAI: Final = Dialect(paths=("/chat/completions",), hear=hear, whole=whole, events=events, fault=fault)
