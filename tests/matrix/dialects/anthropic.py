"""Anthropic's messages. https://platform.claude.com/docs/en/api/messages

Version 2026-10-21 has no temperature, top_p and top_k any more; version 2023-06-01 has.
"""

import json
import re
from typing import Any, Final, get_type_hints

from anthropic.types.message_create_params import MessageCreateParamsBase

from ..talk import Asked, Call, Json, Said, Usage
from . import Dialect, Header
from .history import BadRequest, History, check_fields
from .wording import checked, event, pieces

FIELDS: Final = frozenset(get_type_hints(MessageCreateParamsBase)) | {"stream"}
SAMPLING: Final = frozenset(("temperature", "top_p", "top_k"))
ID: Final = re.compile(r"[a-zA-Z0-9_-]+")
REASONS: Final = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
KINDS: Final = {400: "invalid_request_error", 404: "not_found_error", 429: "rate_limit_error", 529: "overloaded_error"}


def hear(path: str, body: Json, header: Header) -> Asked:
    """Read a request."""
    check_fields(body, FIELDS | (SAMPLING if header("anthropic-version") == "2023-06-01" else frozenset()))
    if not isinstance(body.get("max_tokens"), int):
        raise BadRequest("max_tokens: Field required")
    history = History()
    system = body.get("system", "")
    history.system += [system] if isinstance(system, str) else [block["text"] for block in system]
    for message in body["messages"]:
        check_fields(message, frozenset(("role", "content")), "a message")
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        (_take_user if message["role"] == "user" else _take_assistant)(history, blocks)
    tools = {tool["name"]: tool["input_schema"] for tool in body.get("tools", ())}
    return history.asked(model=body["model"], streamed=bool(body.get("stream")), tools=tools)


def _take_user(history: History, blocks: list[Json]) -> None:
    """Results come first in their message."""
    kinds = [block["type"] for block in blocks]
    results = kinds.count("tool_result")
    if "tool_result" in kinds[results:]:
        raise BadRequest("tool_result blocks come first")
    for block in blocks[:results]:
        history.result(block["tool_use_id"], _text(block.get("content", "")))
    if rest := blocks[results:]:
        pictures = [
            checked(block["source"]["media_type"], block["source"]["data"])
            for block in rest
            if block["type"] == "image"
        ]
        history.user(_text([block for block in rest if block["type"] != "image"]), pictures)


def _take_assistant(history: History, blocks: list[Json]) -> None:
    calls = [Call(it["name"], it["input"], it["id"]) for it in blocks if it["type"] == "tool_use"]
    for call in calls:
        if not ID.fullmatch(call.id) or not isinstance(call.arguments, dict):
            raise BadRequest(f"tool_use.id is to match {ID.pattern}, tool_use.input to be an object: {call}")
    if any(block["type"] == "text" and not block["text"].strip() for block in blocks):
        raise BadRequest("text content blocks must contain non-whitespace text")
    history.assistant(calls)


def _text(content: Any) -> str:
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if any(block["type"] != "text" for block in blocks):
        raise BadRequest(f"a block of an unexpected kind in {[block['type'] for block in blocks]}")
    return "".join(block["text"] for block in blocks)


def whole(said: Said, asked: Asked) -> Json:
    """Say an answer."""
    content: list[Json] = [{"type": "text", "text": said.text, "citations": None}] if said.text else []
    content += [{**_started(call), "input": call.arguments} for call in said.calls]
    return {**_head(asked), "content": content, **_ended(said), "usage": _usage(said.usage)}


def _started(call: Call) -> Json:
    return {"type": "tool_use", "id": f"toolu_{call.id}", "name": call.name, "input": {}}


def _head(asked: Asked) -> Json:
    head: Json = {"id": "msg_013Zva2CMHLNnXjNJJKqJ2EF", "type": "message", "role": "assistant", "model": asked.model}
    return {**head, "content": [], "stop_reason": None, "stop_sequence": None}


def _ended(said: Said) -> Json:
    reason = said.native or REASONS[said.finish]
    return {"stop_reason": reason, "stop_sequence": "STOP" if reason == "stop_sequence" else None}


def _usage(usage: Usage) -> Json:
    return {
        "input_tokens": usage.prompt - usage.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.completion,
        "service_tier": "standard",
    }


def events(said: Said, asked: Asked) -> list[bytes]:
    """Say an answer as a stream."""
    opening = {**_usage(said.usage), "output_tokens": 1}
    story: list[Json] = [{"type": "message_start", "message": {**_head(asked), "usage": opening}}, {"type": "ping"}]
    if said.text:
        deltas = [{"type": "text_delta", "text": piece} for piece in pieces(said.text)]
        story += _block(0, {"type": "text", "text": "", "citations": None}, deltas)
    for index, call in enumerate(said.calls, int(bool(said.text))):
        parts = ("", *pieces(json.dumps(call.arguments, ensure_ascii=False)))
        story += _block(index, _started(call), [{"type": "input_json_delta", "partial_json": part} for part in parts])
    usage = {name: value for name, value in _usage(said.usage).items() if name != "service_tier"}
    story += [{"type": "message_delta", "delta": _ended(said), "usage": usage}, {"type": "message_stop"}]
    return [event(data, data["type"]) for data in story]


def _block(index: int, block: Json, deltas: list[dict[str, str]]) -> list[Json]:
    return [
        {"type": "content_block_start", "index": index, "content_block": block},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def fault(status: int, code: str, message: str) -> Json:
    """Say an error."""
    error = {"type": code or KINDS.get(status, "api_error"), "message": message}
    return {"type": "error", "error": error, "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy"}


ANTHROPIC: Final = Dialect(paths=("/v1/messages",), hear=hear, whole=whole, events=events, fault=fault)
