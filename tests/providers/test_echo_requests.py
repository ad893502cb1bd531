"""What the echo model refuses, in OpenAI's shape with all four keys, naming the parameter that is wrong."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustgate.providers.echo import EchoTransport
from trustgate.providers.echo.asked import read_request
from trustgate.providers.echo.chat import split_pieces, write_completion, write_events
from trustgate.providers.echo.faults import Fault

from .conftest import ask, events, make_call

pytestmark = pytest.mark.anyio

TOOL: Any = {"type": "function", "function": {"name": "look"}}


def without(field: str) -> dict[str, Any]:
    return {key: value for key, value in ask("x").items() if key != field}


def with_messages(*messages: Any) -> dict[str, Any]:
    return {"model": "echo-1", "messages": list(messages)}


BAD: list[tuple[Any, str | None, str | None]] = [
    (b'{"model": ', None, None),
    (b"\xff\xfe", None, None),
    (b"", None, None),
    ([], None, "invalid_type"),
    (without("model"), None, None),
    (ask("x", model=3), "model", "invalid_type"),
    (without("messages"), "messages", "missing_required_parameter"),
    (ask("x", messages="hello"), "messages", "invalid_type"),
    (ask("x", messages=[]), "messages", "empty_array"),
    (with_messages("hello"), "messages[0]", "invalid_type"),
    (with_messages({"content": "x"}), "messages[0].role", "missing_required_parameter"),
    (with_messages({"role": "boss", "content": "x"}), "messages[0].role", "invalid_value"),
    (with_messages({"role": "user"}), "messages[0].content", "invalid_type"),
    (with_messages({"role": "user", "content": 3}), "messages[0].content", "invalid_type"),
    (with_messages({"role": "tool", "content": "x", "tool_call_id": "call_1"}), "messages[0].role", None),
    (ask("x", stream="yes"), "stream", "invalid_type"),
    (ask("x", stream_options={"include_usage": True}), "stream_options", None),
    (ask("x", n=0), "n", "integer_below_min_value"),
    (ask("x", n=129), "n", "integer_above_max_value"),
    (ask("x", n=True), "n", "invalid_type"),
    (ask("x", max_tokens=0), "max_tokens", "integer_below_min_value"),
    (ask("x", max_completion_tokens="5"), "max_completion_tokens", "invalid_type"),
    (ask("x", stop=7), "stop", "invalid_type"),
    (ask("x", stop=["a"] * 5), "stop", "array_above_max_length"),
    (ask("x", metadata={"a": 1}), "metadata.a", "invalid_type"),
    (ask("x", tools=[]), "tools", "empty_array"),
    (ask("x", tools=[3]), "tools[0]", "invalid_type"),
    (ask("x", tools=[{"type": "magic"}]), "tools[0].type", "invalid_value"),
    (ask("x", tools=[{"type": "function"}]), "tools[0].function.name", "missing_required_parameter"),
    (ask("x", tools=[{"type": "function", "function": {"name": "a b"}}]), "tools[0].function.name", "invalid_value"),
    (ask("x", tool_choice="auto"), "tool_choice", None),
    (ask("x", tools=[TOOL], tool_choice="maybe"), "tool_choice", "invalid_value"),
    (ask("x", tools=[TOOL], tool_choice={"type": "function", "function": {"name": "leap"}}), "tool_choice", None),
    (ask("x", tools=[TOOL], tool_choice=3), "tool_choice", "invalid_type"),
    (ask("x", response_format={"type": "xml"}), "response_format.type", "invalid_value"),
    (ask("x", response_format={"type": "json_schema"}), "response_format.json_schema", "missing_required_parameter"),
    (ask("x", metadata={"echo.latency": "soon"}), "metadata.echo.latency", "invalid_value"),
    (ask("x", metadata={"echo.failure": "shy"}), "metadata.echo.failure", "invalid_value"),
]


@pytest.mark.parametrize(("body", "param", "code"), BAD)
async def test_a_wrong_request_is_refused_by_name(body: Any, param: str | None, code: str | None) -> None:
    upstream = await EchoTransport().send(make_call(body))
    assert upstream.status == 400
    assert dict(upstream.headers)[b"content-type"] == b"application/json"
    raw = await upstream.read()
    assert dict(upstream.headers)[b"content-length"] == b"%d" % len(raw)
    error = msgspec.json.decode(raw)["error"]
    assert error.pop("message")
    assert error == {"type": "invalid_request_error", "param": param, "code": code}


@pytest.mark.parametrize(
    ("given_call", "status", "code"),
    [
        ({"target": b"/embeddings"}, 404, "unknown_url"),
        ({"method": "GET"}, 405, "method_not_supported"),
    ],
)
async def test_only_chat_completions_are_answered(given_call: dict[str, Any], status: int, code: str) -> None:
    upstream = await EchoTransport().send(make_call(ask("x"), **given_call))
    assert upstream.status == status
    assert msgspec.json.decode(await upstream.read())["error"]["code"] == code


async def test_a_query_changes_nothing() -> None:
    upstream = await EchoTransport().send(make_call(ask("x"), target=b"/v1/chat/completions?api-version=1"))
    assert upstream.status == 200


RICH: Any = {
    "model": "echo-1",
    "messages": [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "look at this"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "seen"},
        {"role": "user", "content": "look again"},
    ],
    "stream": True,
    "stream_options": {"include_usage": True},
    "n": 2,
    "max_tokens": 9,
    "stop": ["x"],
    "metadata": {"a": "b"},
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "look",
                "parameters": {
                    "type": "object",
                    "properties": {
                        "at": {"type": "string", "minLength": 2, "maxLength": 9, "format": "date"},
                        "far": {"type": "number", "minimum": 1, "maximum": 2, "multipleOf": 0.5},
                        "all": {"type": "array", "items": {"$ref": "#/$defs/n"}, "minItems": 1, "maxItems": 3},
                        "any": {"anyOf": [{"type": "null"}, {"enum": ["a"]}]},
                        "both": {"allOf": [{"$ref": "#/$defs/n"}, {"type": ["integer", "null"]}]},
                    },
                    "required": ["at"],
                    "$defs": {"n": {"type": "integer", "exclusiveMinimum": 3}},
                },
            },
        }
    ],
    "tool_choice": {
        "type": "allowed_tools",
        "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "look"}}]},
    },
    "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
}

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the path of every part of a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, part in inside for place in places(part, (*path, key)))]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Return the value with the part at the path replaced."""
    if not path:
        return new
    changed = value.copy()
    changed[path[0]] = replaced(value[path[0]], path[1:], new)
    return changed


@given(place=st.sampled_from(places(RICH)), new=json_values)
@settings(max_examples=600, deadline=None)
def test_whatever_is_sent_it_is_answered_or_refused(place: tuple[Any, ...], new: Any) -> None:
    """A provider that fails in a way that nobody chose would be useless for finding out why something fails."""
    try:
        asked = read_request(msgspec.json.encode(replaced(RICH, place, new)))
    except Fault as fault:
        assert 400 <= fault.status < 500
        assert msgspec.json.decode(fault.body())["error"]["message"]
        return
    assert msgspec.json.decode(write_completion(asked, answer_id="chatcmpl-1", created=1))["choices"]
    assert events(b"".join(write_events(asked, answer_id="chatcmpl-1", created=1)))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {"type": "array", "minItems": 1000}, "minItems": 1000},
        {"type": "array", "minItems": 10**12},
        {"type": "string", "minLength": 10**12},
        {"type": "object", "properties": {f"p{at}": {"$ref": "#"} for at in range(40)}},
        {"type": "magic"},
        {"type": "object", "properties": [1]},
        {"$ref": "#/nowhere"},
        {"$ref": 3},
        {"type": "integer", "multipleOf": 0},
        {"anyOf": 3},
    ],
)
async def test_a_schema_that_is_none_or_too_much_is_refused(schema: Any) -> None:
    """Schemas come from callers, and are followed in the gateway's own process."""
    tool = {"type": "function", "function": {"name": "look", "parameters": schema}}
    upstream = await EchoTransport().send(make_call(ask("look", tools=[tool])))
    error = msgspec.json.decode(await upstream.read())["error"]
    assert upstream.status == 400
    assert (error["param"], error["code"]) == ("tools[0].function.parameters", "invalid_function_parameters")
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    upstream = await EchoTransport().send(make_call(ask("look", response_format=form)))
    assert upstream.status == 400
    assert msgspec.json.decode(await upstream.read())["error"]["code"] == "invalid_json_schema"


@given(text=st.text(), limit=st.none() | st.integers(1, 5), count=st.integers(1, 3))
@settings(deadline=None)
def test_a_stream_and_a_whole_answer_say_the_same(text: str, limit: int | None, count: int) -> None:
    asked = read_request(msgspec.json.encode(ask(text, n=count, max_tokens=limit)))
    whole = msgspec.json.decode(write_completion(asked, answer_id="chatcmpl-1", created=1))
    said = [""] * count
    finished = [""] * count
    for event in events(b"".join(write_events(asked, answer_id="chatcmpl-1", created=1))):
        (choice,) = event["choices"]
        said[choice["index"]] += choice["delta"].get("content", "")
        finished[choice["index"]] += choice["finish_reason"] or ""
    assert said == [choice["message"]["content"] for choice in whole["choices"]]
    assert finished == [choice["finish_reason"] for choice in whole["choices"]]


@pytest.mark.parametrize("include_usage", [False, True])
async def test_usage_is_null_until_the_end_if_asked_for_and_absent_otherwise(include_usage: bool) -> None:
    body = ask("x", stream=True, stream_options={"include_usage": include_usage})
    upstream = await EchoTransport().send(make_call(body))
    *chunks, last = events(await upstream.read())
    if include_usage:
        assert all(chunk["usage"] is None for chunk in chunks)
        assert last["usage"]["total_tokens"] > 0
    else:
        assert not any("usage" in chunk for chunk in (*chunks, last))


@given(st.text())
def test_pieces_are_the_text(text: str) -> None:
    assert "".join(split_pieces(text)) == text
