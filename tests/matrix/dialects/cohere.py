"""Cohere's chat, version 2. https://docs.cohere.com/reference/chat"""

from collections.abc import Sequence
from typing import Any, Final

from ..talk import Asked, Call, Json, Said, Usage
from . import Dialect, Header
from .history import BadRequest, History, check_fields
from .wording import arguments_of, event, picture_of, pieces, written

FIELDS: Final = frozenset(
    (
        *("stream", "model", "messages", "tools", "strict_tools", "documents", "citation_options", "response_format"),
        *("safety_mode", "max_tokens", "stop_sequences", "temperature", "seed", "frequency_penalty"),
        *("presence_penalty", "k", "p", "logprobs", "tool_choice", "thinking", "priority"),
    )
)
MESSAGE: Final = frozenset(("role", "content", "tool_calls", "tool_call_id", "tool_plan", "citations"))
PLAN: Final = "I will use the tools."
REASONS: Final = {"stop": "COMPLETE", "length": "MAX_TOKENS", "tool_calls": "TOOL_CALL", "content_filter": "ERROR"}


def hear(path: str, body: Json, header: Header) -> Asked:
    """Read a request."""
    check_fields(body, FIELDS)
    history = History()
    for message in body["messages"]:
        check_fields(message, MESSAGE, "a message")
        _take(history, message)
    tools = {tool["function"]["name"]: tool["function"]["parameters"] for tool in body.get("tools", ())}
    return history.asked(model=body["model"], streamed=bool(body.get("stream")), tools=tools)


def _take(history: History, message: Json) -> None:
    content = message.get("content")
    match message["role"]:
        case "system":
            history.system.append(_text(content))
        case "user":
            parts = content if isinstance(content, list) else []
            pictures = [picture_of(part["image_url"]["url"]) for part in parts if part["type"] == "image_url"]
            history.user(_text([part for part in parts if part["type"] != "image_url"] if parts else content), pictures)
        case "assistant":
            history.assistant([_call(call) for call in message.get("tool_calls") or ()])
        case "tool":
            history.result(message["tool_call_id"], _text(content))
        case role:
            raise BadRequest(f"there is no role {role}")


def _text(content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if unknown := {part["type"] for part in content} - {"text", "thinking", "document"}:
        raise BadRequest(f"content of the kinds {unknown} does not belong here")
    return "".join(_words(part) for part in content)


def _words(part: Json) -> str:
    if part["type"] == "document":
        data = part["document"]["data"]
        return data if isinstance(data, str) else str(next(iter(data.values())))
    return str(part.get("text", ""))


def _call(call: Json) -> Call:
    return Call(call["function"]["name"], arguments_of(call["function"]["arguments"]), call["id"])


def whole(said: Said, asked: Asked) -> Json:
    """Say an answer."""
    message: Json = {"role": "assistant"}
    if said.text:
        message["content"] = [{"type": "text", "text": said.text}]
    if said.calls:
        message["tool_plan"] = PLAN
        message["tool_calls"] = [_told(call, written(call.arguments)) for call in said.calls]
    return {"id": "c14c80c3-18eb-4519-9460-6c92edd8cfb4", **_ended(said), "message": message}


def _told(call: Call, arguments: str) -> Json:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _ended(said: Said) -> Json:
    return {"finish_reason": said.native or REASONS[said.finish], "usage": _usage(said.usage)}


def _usage(usage: Usage) -> Json:
    """What is billed is what counts; `tokens` have Cohere's own preamble in them."""
    billed = {"input_tokens": usage.prompt, "output_tokens": usage.completion}
    tokens = {"input_tokens": usage.prompt + 66, "output_tokens": usage.completion + 2}
    return {"billed_units": billed, "tokens": tokens, "cached_tokens": usage.cached}


def events(said: Said, asked: Asked) -> list[bytes]:
    """Say an answer as a stream."""
    opening = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    head = {"id": "29f14a5a-11de-4cae-9800-25e4747408ea", "type": "message-start", "delta": {"message": opening}}
    story: list[Json] = [head]
    if said.text:
        story.append(_at("content-start", 0, {"content": {"type": "text", "text": ""}}))
        story += [_at("content-delta", 0, {"content": {"text": piece}}) for piece in pieces(said.text)]
        story.append({"type": "content-end", "index": 0})
    if said.calls:
        story += [{"type": "tool-plan-delta", "delta": {"message": {"tool_plan": word}}} for word in pieces(PLAN)]
        story += [data for index, call in enumerate(said.calls) for data in _called(index, call)]
    story.append({"type": "message-end", "delta": _ended(said)})
    return [event(data, data["type"]) for data in story]


def _called(index: int, call: Call) -> Sequence[Json]:
    deltas = [
        _at("tool-call-delta", index, {"tool_calls": {"function": {"arguments": piece}}})
        for piece in pieces(written(call.arguments))
    ]
    start = _at("tool-call-start", index, {"tool_calls": _told(call, "")})
    return [start, *deltas, {"type": "tool-call-end", "index": index}]


def _at(kind: str, index: int, message: Json) -> Json:
    return {"type": kind, "index": index, "delta": {"message": message}}


def fault(status: int, code: str, message: str) -> Json:
    """Say an error: it has no code."""
    return {"id": "c14c80c3-18eb-4519-9460-6c92edd8cfb4", "message": message}


COHERE: Final = Dialect(paths=("/v2/chat",), hear=hear, whole=whole, events=events, fault=fault)
