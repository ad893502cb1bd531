"""OpenAI's responses. https://platform.openai.com/docs/api-reference/responses"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, get_type_hints

from openai.types.responses.response_create_params import ResponseCreateParamsBase

from ..talk import Asked, Call, Json, Said
from . import Dialect, Header
from .history import BadRequest, History, check_fields
from .openai import fault
from .wording import arguments_of, event, picture_of, pieces, written

FIELDS: Final = frozenset(get_type_hints(ResponseCreateParamsBase)) | {"stream"}
RESPONSE: Final = "resp_67ccd3a9da748190baa7f1570fe91ac6"


def hear(path: str, body: Json, header: Header) -> Asked:
    """Read a request. Calls and results are items of their own here: those of one turn stand in a row."""
    check_fields(body, FIELDS)
    history = History()
    history.system += [body["instructions"]] if body.get("instructions") else []
    items = body["input"]
    items = [{"role": "user", "content": items}] if isinstance(items, str) else items
    for kind, group in _turns(items):
        if kind == "function_call":
            history.assistant([_call(item) for item in group])
        else:
            _take(history, group[0])
    tools = {tool["name"]: tool["parameters"] for tool in body.get("tools", ()) if tool["type"] == "function"}
    return history.asked(model=body["model"], streamed=bool(body.get("stream")), tools=tools)


def _turns(items: Sequence[Json]) -> Iterator[tuple[str, list[Json]]]:
    row: list[Json] = []
    for item in items:
        kind = item.get("type", "message")
        if kind == "function_call":
            row.append(item)
            continue
        if row:
            yield "function_call", row
            row = []
        yield kind, [item]
    if row:
        yield "function_call", row


def _take(history: History, item: Json) -> None:
    match item.get("type", "message"), item.get("role"):
        case "function_call_output", _:
            history.result(item["call_id"], _text(item["output"]))
        case "message", "system" | "developer":
            history.system.append(_text(item["content"]))
        case "message", "user":
            parts = item["content"] if isinstance(item["content"], list) else []
            pictures = [picture_of(part["image_url"]) for part in parts if part["type"] == "input_image"]
            history.user(_text(item["content"]), pictures)
        case "message", "assistant":
            _text(item["content"], ("output_text", "refusal"))
        case "reasoning", _:
            pass
        case kind, role:
            raise BadRequest(f"there is no item {kind} of {role}")


def _text(content: Any, kinds: Sequence[str] = ("input_text",)) -> str:
    if isinstance(content, str):
        return content
    if unknown := {part["type"] for part in content} - {*kinds, "input_image"}:
        raise BadRequest(f"parts of the kinds {unknown} do not belong here")
    return "".join(part["text"] for part in content if part["type"] in kinds)


def _call(item: Json) -> Call:
    return Call(item["name"], arguments_of(item["arguments"]), item["call_id"])


def whole(said: Said, asked: Asked) -> Json:
    """Say an answer."""
    incomplete = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(said.native or said.finish)
    return {
        **_head(asked, "incomplete" if incomplete else "completed"),
        "incomplete_details": {"reason": incomplete} if incomplete else None,
        "output": [_finished(item) for item in _items(said)],
        "usage": _usage(said),
    }


def _head(asked: Asked, status: str) -> Json:
    return {
        **{"id": RESPONSE, "object": "response", "created_at": 1741476542, "status": status, "error": None},
        **{"incomplete_details": None, "instructions": None, "max_output_tokens": None, "model": asked.model},
        **{"output": [], "parallel_tool_calls": True, "previous_response_id": None, "store": True},
        **{"reasoning": {"effort": None, "summary": None}, "temperature": 1.0, "top_p": 1.0, "truncation": "disabled"},
        **{"text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [], "user": None, "metadata": {}},
        "usage": None,
    }


def _usage(said: Said) -> Json:
    usage = said.usage
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": 0},
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt + usage.completion,
    }


def _items(said: Said) -> Iterator[Json]:
    """The items of an answer, before anything has been said in them."""
    if said.text or not said.calls:
        yield {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "text": said.text}
    for call in said.calls:
        name = {"id": f"fc_{call.id}", "type": "function_call", "call_id": call.id, "name": call.name}
        yield {**name, "arguments": "", "text": written(call.arguments)}


def _started(item: Json) -> Json:
    return {**{name: value for name, value in item.items() if name != "text"}, "status": "in_progress"}


def _finished(item: Json) -> Json:
    done = {**_started(item), "status": "completed"}
    return {
        **done,
        **({"content": [_part(item["text"])]} if item["type"] == "message" else {"arguments": item["text"]}),
    }


def _part(text: str) -> Json:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def events(said: Said, asked: Asked) -> list[bytes]:
    """Say an answer as a stream."""
    started = {"response": _head(asked, "in_progress")}
    story: list[tuple[str, Json]] = [("response.created", started), ("response.in_progress", started)]
    for index, item in enumerate(_items(said)):
        story.append(("response.output_item.added", {"output_index": index, "item": _started(item)}))
        story += _message(item, index) if item["type"] == "message" else _arguments(item, index)
        story.append(("response.output_item.done", {"output_index": index, "item": _finished(item)}))
    answer = whole(said, asked)
    story.append((f"response.{answer['status']}", {"response": answer}))
    return [event({"type": kind, "sequence_number": at, **data}, kind) for at, (kind, data) in enumerate(story)]


def _message(item: Json, index: int) -> Iterator[tuple[str, Json]]:
    place: Json = {"item_id": item["id"], "output_index": index, "content_index": 0}
    yield "response.content_part.added", {**place, "part": _part("")}
    for piece in pieces(item["text"]):
        yield "response.output_text.delta", {**place, "delta": piece, "logprobs": []}
    yield "response.output_text.done", {**place, "text": item["text"], "logprobs": []}
    yield "response.content_part.done", {**place, "part": _part(item["text"])}


def _arguments(item: Json, index: int) -> Iterator[tuple[str, Json]]:
    place: Json = {"item_id": item["id"], "output_index": index}
    for piece in pieces(item["text"]):
        yield "response.function_call_arguments.delta", {**place, "delta": piece}
    done = {"arguments": item["text"], "name": item["name"]}
    yield "response.function_call_arguments.done", {**place, **done}


RESPONSES: Final = Dialect(paths=("/responses",), hear=hear, whole=whole, events=events, fault=fault)
