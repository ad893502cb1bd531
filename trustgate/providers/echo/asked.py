"""A chat request as the echo model reads it: checked as strictly as OpenAI does, and no more kept than is answered."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from trustgate.providers.echo.faults import Fault, empty, missing, optional, wrong_type, wrong_value
from trustgate.providers.echo.instances import BadSchema, make_instance
from trustgate.providers.echo.tools import ToolCall, choose_calls

ROLES = ("system", "assistant", "user", "function", "tool", "developer")
FORMS = ("json_object", "json_schema", "text")


class Asked(Struct, frozen=True, kw_only=True):
    """What is to be answered. `calls` are the tools to call; `said` is the JSON to say where a form was asked for."""

    model: str
    text: str
    results: tuple[str, ...]
    calls: tuple[ToolCall, ...]
    said: str | None
    count: int
    most: int | None
    stop: tuple[str, ...]
    stream: bool
    include_usage: bool
    prompt_tokens: int
    metadata: Mapping[str, str]


def read_request(raw: bytes) -> Asked:
    """Read and check a request. Raises Fault."""
    body = _decode(raw)
    model = _model(body)
    messages = _messages(body)
    stream = bool(optional(body, "stream", bool, "a boolean"))
    text = next((text_of(message.get("content")) for message in reversed(messages) if message["role"] == "user"), "")
    results = _results(messages)
    return Asked(
        model=model,
        text=text,
        results=results,
        calls=() if results else choose_calls(body, text),
        said=_said(body, text),
        count=_whole(body, "n", 128) or 1,
        most=_most(body),
        stop=_stop(body),
        stream=stream,
        include_usage=_include_usage(body, stream),
        prompt_tokens=sum(4 + len(text_of(message.get("content"))) // 4 for message in messages),
        metadata=_metadata(body),
    )


def text_of(content: Any) -> str:
    """Return the text of a message's content, whether it is one string or a list of parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    return " ".join(part["text"] for part in parts if isinstance(part, Mapping) and isinstance(part.get("text"), str))


def _decode(raw: bytes) -> Mapping[str, Any]:
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Fault("We could not parse the JSON body of your request. (HINT: it has to be valid JSON.)") from error
    if not isinstance(body, dict):
        raise Fault("Invalid type for request body: expected an object.", code="invalid_type")
    return body


def _model(body: Mapping[str, Any]) -> str:
    model = body.get("model")
    if model is None or model == "":
        raise Fault("you must provide a model parameter")
    if not isinstance(model, str):
        raise wrong_type("model", "a string", model)
    return model


def _messages(body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    if "messages" not in body:
        raise missing("messages")
    messages = body["messages"]
    if not isinstance(messages, list):
        raise wrong_type("messages", "an array of objects", messages)
    if not messages:
        raise empty("messages")
    for at, message in enumerate(messages):
        _check_message(f"messages[{at}]", message)
    _check_tool_messages(messages)
    return messages


def _check_message(param: str, message: Any) -> None:
    if not isinstance(message, dict):
        raise wrong_type(param, "an object", message)
    if "role" not in message:
        raise missing(f"{param}.role")
    if message["role"] not in ROLES:
        raise wrong_value(f"{param}.role", message["role"], ROLES)
    content = message.get("content")
    if content is None and message["role"] == "assistant":
        return
    if not isinstance(content, str | list):
        raise wrong_type(f"{param}.content", "one of a string or array of objects", content)


def _check_tool_messages(messages: Sequence[Mapping[str, Any]]) -> None:
    called: list[Any] = []
    for at, message in enumerate(messages):
        if message["role"] == "assistant":
            calls = message.get("tool_calls")
            called = [call.get("id") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
        elif message["role"] == "tool" and message.get("tool_call_id") not in called:
            said = "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'."
            raise Fault(f"Invalid parameter: {said}", param=f"messages[{at}].role")


def _results(messages: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return what the tools called last have said, if nobody has spoken since."""
    results: list[str] = []
    for message in reversed(messages):
        if message["role"] != "tool":
            break
        results.append(text_of(message.get("content")))
    return tuple(reversed(results))


def _whole(body: Mapping[str, Any], param: str, highest: int | None = None) -> int | None:
    value: int | None = optional(body, param, int, "an integer")
    if value is not None and value < 1:
        said = f"Invalid '{param}': integer below minimum value. Expected a value >= 1, but got {value} instead."
        raise Fault(said, param=param, code="integer_below_min_value")
    if value is not None and highest is not None and value > highest:
        said = (
            f"Invalid '{param}': integer above maximum value. Expected a value <= {highest}, but got {value} instead."
        )
        raise Fault(said, param=param, code="integer_above_max_value")
    return value


def _most(body: Mapping[str, Any]) -> int | None:
    old, new = _whole(body, "max_tokens"), _whole(body, "max_completion_tokens")
    return old if new is None else new


def _stop(body: Mapping[str, Any]) -> tuple[str, ...]:
    stop = body.get("stop")
    listed = [stop] if isinstance(stop, str) else [] if stop is None else stop
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise wrong_type("stop", "one of a string or array of strings", stop)
    if len(listed) > 4:
        said = (
            f"Invalid 'stop': array too long. Expected an array with maximum length 4, but got {len(listed)} instead."
        )
        raise Fault(said, param="stop", code="array_above_max_length")
    return tuple(one for one in listed if one)


def _include_usage(body: Mapping[str, Any], stream: bool) -> bool:
    options = optional(body, "stream_options", dict, "an object")
    if options is None:
        return False
    if not stream:
        raise Fault("The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options")
    return options.get("include_usage") is True


def _metadata(body: Mapping[str, Any]) -> Mapping[str, str]:
    metadata = optional(body, "metadata", dict, "an object") or {}
    for name, value in metadata.items():
        if not isinstance(value, str):
            raise wrong_type(f"metadata.{name}", "a string", value)
    return metadata


def _said(body: Mapping[str, Any], text: str) -> str | None:
    form = optional(body, "response_format", dict, "an object")
    if form is None or form.get("type") == "text":
        return None
    if form.get("type") not in FORMS:
        raise wrong_value("response_format.type", form.get("type"), FORMS)
    if form["type"] == "json_object":
        return msgspec.json.encode({"echo": text}).decode()
    named = form.get("json_schema")
    if not isinstance(named, dict):
        raise missing("response_format.json_schema")
    try:
        return msgspec.json.encode(make_instance(named.get("schema") or {"type": "object"})).decode()
    except BadSchema as error:
        said = f"Invalid schema for response_format '{named.get('name')}': {error}."
        raise Fault(said, param="response_format", code="invalid_json_schema") from error
