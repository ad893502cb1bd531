"""What providers that speak almost OpenAI say is put right, and what is right already keeps its very bytes."""

import base64
import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import ValidationError

from trustgate.providers.catalog import PROVIDERS
from trustgate.providers.repairs import REPAIRS, Repair

Json = dict[str, Any]
DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "provider-traffic"
RIGHT = frozenset(("openai", "bedrock-mantle", "cerebras", "crusoecloud", "deepseek", "zai"))
"""Providers whose recorded answers were all right."""


@lru_cache
def rows() -> list[Json]:
    index = DATA / "index.jsonl"
    found = [json.loads(line) for line in index.read_text("utf-8").splitlines()] if index.is_file() else []
    return [
        row
        for row in found
        if row["api"] == "chat" and row["status"] == 200 and row["provider"] != "cohere" and row["bytes"]
    ]


def recorded(row: Json) -> bytes:
    response = json.loads((DATA / row["file"]).read_bytes())["response"]
    if "body_b64" in response:
        return base64.b64decode(response["body_b64"])
    body = response.get("body", "")
    return body.encode() if isinstance(body, str) else json.dumps(body, ensure_ascii=False).encode()


def events(raw: bytes) -> Iterator[bytes]:
    for line in raw.replace(b"\r\n", b"\n").split(b"\n"):
        data = line.removeprefix(b"data:").strip()
        if line.startswith(b"data:") and data != b"[DONE]":
            yield data


def repair_of(provider: str) -> Repair:
    return REPAIRS.get(provider, REPAIRS["openai_compatible"])


def is_right(raw: bytes, kind: type[ChatCompletion | ChatCompletionChunk]) -> bool:
    try:
        kind.model_validate(json.loads(raw), strict=True)
    except ValidationError:
        return False
    return True


def parts_text(content: object) -> str:
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content)
    return content if isinstance(content, str) else ""


def said(raw: bytes) -> list[object]:
    """What no repair may change: the text, the calls of tools, the usage, the id, and how often it was said."""
    found = json.loads(raw)
    usage = found.get("usage") or (found.get("x_groq") or {}).get("usage")
    told: list[object] = [found.get("id"), found.get("model"), found.get("created"), usage]
    for choice in found["choices"]:
        message = choice.get("message") or choice.get("delta") or {}
        calls = [
            (call.get("id"), call["function"].get("name"), call["function"].get("arguments") or "{}")
            for call in message.get("tool_calls") or ()
        ]
        told += [parts_text(message.get("content")), calls, message.get("refusal"), choice.get("logprobs")]
    return told


def check(raw: bytes, right: bytes, kind: type[ChatCompletion | ChatCompletionChunk]) -> None:
    kind.model_validate(json.loads(right), strict=True)
    assert said(raw) == said(right)


@pytest.mark.skipif(not rows(), reason=f"the recorded traffic is not here: {DATA}")
@pytest.mark.parametrize("row", [row for row in rows() if not row["stream"]], ids=lambda row: row["id"])
def test_recorded_answers_are_put_right(row: Json) -> None:
    raw = recorded(row)
    right = repair_of(row["provider"]).answer(raw)
    check(raw, right, ChatCompletion)
    if is_right(raw, ChatCompletion):
        assert right is raw
    assert row["provider"] not in RIGHT or right is raw


@pytest.mark.skipif(not rows(), reason=f"the recorded traffic is not here: {DATA}")
@pytest.mark.parametrize("row", [row for row in rows() if row["stream"]], ids=lambda row: row["id"])
def test_recorded_events_are_put_right(row: Json) -> None:
    repair = repair_of(row["provider"])
    for raw in events(recorded(row)):
        right = repair.event(raw)
        if "choices" not in json.loads(raw):
            assert right is raw
            continue
        check(raw, right, ChatCompletionChunk)
        if is_right(raw, ChatCompletionChunk) and b'"x_groq"' not in raw:
            assert right is raw


@pytest.mark.skipif(not rows(), reason=f"the recorded traffic is not here: {DATA}")
def test_the_recordings_deviate() -> None:
    """Were they all right, the two tests above would prove nothing."""
    wrong = {row["provider"] for row in rows() if not row["stream"] and not is_right(recorded(row), ChatCompletion)}
    assert wrong >= {"azure", "groq", "mistral", "openrouter", "together"}


@pytest.mark.skipif(not rows(), reason=f"the recorded traffic is not here: {DATA}")
def test_groq_tells_usage_where_openai_does() -> None:
    streams = [row for row in rows() if row["provider"] == "groq" and row["stream"]]
    told = [[REPAIRS["groq"].event(raw) for raw in events(recorded(row))] for row in streams]
    whole = [stream for stream in told if "error" not in json.loads(stream[-1])]
    assert len(whole) >= 5
    assert all(json.loads(stream[-1])["usage"]["prompt_tokens"] > 0 for stream in whole)


def test_every_repair_is_a_providers() -> None:
    assert REPAIRS.keys() <= PROVIDERS.keys()
    assert all(PROVIDERS[name].dialect == "openai" for name in REPAIRS)


def answer(choice: Json | None = None, **fields: Any) -> bytes:
    message = {"role": "assistant", "content": "Hi"}
    right = {"index": 0, "message": message, "finish_reason": "stop", **(choice or {})}
    return json.dumps(
        {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [right], **fields}
    ).encode()


def chunk(choice: Json | None = None, **fields: Any) -> bytes:
    right = {"index": 0, "delta": {"content": "Hi"}, "finish_reason": None, **(choice or {})}
    kind = "chat.completion.chunk"
    return json.dumps({"id": "x", "object": kind, "created": 1, "model": "m", "choices": [right], **fields}).encode()


@pytest.mark.parametrize(
    ("tier", "right"),
    [("on_demand", "default"), ("performance", None), ("", None), (5, None), ({}, None), ("flex", "flex")],
)
def test_tiers_that_openai_does_not_have(tier: object, right: str | None) -> None:
    assert json.loads(REPAIRS["groq"].answer(answer(service_tier=tier)))["service_tier"] == right
    assert json.loads(REPAIRS["groq"].event(chunk(service_tier=tier)))["service_tier"] == right


@pytest.mark.parametrize(
    ("word", "right"),
    [("eos", "stop"), ("model_length", "length"), ("error", "length"), ("", "stop"), (None, "stop"), ("new", "stop")],
)
def test_reasons_that_openai_does_not_have(word: str | None, right: str) -> None:
    choice = json.loads(REPAIRS["together"].answer(answer({"finish_reason": word})))["choices"][0]
    assert choice["finish_reason"] == right
    assert choice.get("native_finish_reason") == (word or None)


def test_an_unknown_reason_beside_tool_calls_is_theirs() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    raw = answer({"message": message, "finish_reason": ""})
    assert json.loads(REPAIRS["openai_compatible"].answer(raw))["choices"][0]["finish_reason"] == "tool_calls"


def test_a_choice_that_goes_on_is_not_ended() -> None:
    raw = chunk({"finish_reason": ""})
    choice = json.loads(REPAIRS["openai_compatible"].event(raw))["choices"][0]
    assert choice["finish_reason"] is None
    assert "native_finish_reason" not in choice


def test_thoughts_among_the_content_of_mistral_stand_beside_it() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}, {"type": "text", "text": "m."}]},
        {"type": "text", "text": "4"},
        {"type": "reference", "reference_ids": [1]},
        {"type": "text", "text": "2"},
    ]
    message = json.loads(REPAIRS["mistral"].answer(answer({"message": {"role": "assistant", "content": parts}})))
    assert message["choices"][0]["message"] == {"role": "assistant", "content": "42", "reasoning_content": "Hmm."}
    delta = json.loads(REPAIRS["mistral"].event(chunk({"delta": {"content": parts[:1]}})))["choices"][0]["delta"]
    assert delta == {"content": None, "reasoning_content": "Hmm."}


@pytest.mark.parametrize(
    ("arguments", "right"), [({"arguments": {"a": 1}}, '{"a": 1}'), ({}, "{}"), ({"arguments": None}, "{}")]
)
def test_calls_of_tools_are_completed(arguments: Json, right: str) -> None:
    call = {"id": "123456789", "function": {"name": "f", **arguments}}
    message = {"role": "assistant", "content": "", "tool_calls": [call]}
    raw = REPAIRS["mistral"].answer(answer({"message": message, "finish_reason": "tool_calls"}))
    ChatCompletion.model_validate(json.loads(raw), strict=True)
    (told,) = json.loads(raw)["choices"][0]["message"]["tool_calls"]
    assert told == {"id": "123456789", "type": "function", "function": {"name": "f", "arguments": right}}


def test_calls_in_a_stream_get_their_places() -> None:
    calls = [{"id": "a", "type": "", "function": {"name": "f"}}, {"function": {"arguments": "{}"}}]
    raw = REPAIRS["mistral"].event(chunk({"delta": {"tool_calls": calls}}))
    ChatCompletionChunk.model_validate(json.loads(raw), strict=True)
    assert [call["index"] for call in json.loads(raw)["choices"][0]["delta"]["tool_calls"]] == [0, 1]


def test_a_choice_that_a_filter_took_has_an_empty_message() -> None:
    raw = json.loads(answer({"finish_reason": "content_filter"}))
    del raw["choices"][0]["message"]
    right = json.loads(REPAIRS["azure"].answer(json.dumps(raw).encode()))
    assert right["choices"][0]["message"] == {"role": "assistant", "content": None}
    assert right["choices"][0]["finish_reason"] == "content_filter"


def test_azures_first_event_is_a_chunk() -> None:
    raw = b'{"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[ {"prompt_index" : 0} ]}'
    right = REPAIRS["azure"].event(raw)
    assert right == raw.replace(b'"object":""', b'"object":"chat.completion.chunk"')


def test_what_does_not_deviate_keeps_its_bytes() -> None:
    raw = answer(service_tier="on_demand").replace(b'"Hi"', b'"\\u00fc \\/ 1.0"').replace(b'"created": 1', b'"x":1.00')
    right = REPAIRS["groq"].answer(raw)
    assert b'"\\u00fc \\/ 1.0"' in right
    assert b'"x":1.00' in right


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b'"x"', b"\xff", b'{"error":{"message":"no"}}', b"[" * 100_000])
@pytest.mark.parametrize("repair", REPAIRS.values(), ids=REPAIRS)
def test_what_is_no_answer_is_left_alone(repair: Repair, raw: bytes) -> None:
    assert repair.answer(raw) is raw
    assert repair.event(raw) is raw


odd: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5) | st.just("chat.completion"),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["index", "delta", "message", "content", "type", "function"]), inner)
        | st.dictionaries(st.sampled_from(["tool_calls", "finish_reason", "arguments", "thinking"]), inner)
    ),
    max_leaves=12,
)


@given(odd, odd, odd)
@settings(deadline=None, max_examples=300)
def test_no_repair_ever_raises(choices: Any, tier: Any, message: Any) -> None:
    raw = json.dumps({"choices": choices, "service_tier": tier, "messages": message, "x_groq": tier}).encode()
    whole = answer({"message": message, "delta": message, "finish_reason": tier})
    for repair in REPAIRS.values():
        for each in (raw, whole):
            json.loads(repair.answer(each))
            json.loads(repair.event(each))
        if repair.request:
            repair.request({"messages": message, "seed": tier, "max_completion_tokens": choices})


# Requests.


def asked(provider: str, body: Json) -> Json:
    request = REPAIRS[provider].request
    assert request is not None
    before = json.dumps(body)
    told = request(body)
    assert json.dumps(body) == before
    assert request(told) == told
    return told


@pytest.mark.parametrize("provider", ["deepseek", "mistral", "perplexity", "together"])
def test_newer_names_become_the_older_ones(provider: str) -> None:
    body = {"messages": [{"role": "developer", "content": "Be brief."}], "max_completion_tokens": 5, "temperature": 0.5}
    assert asked(provider, body) == {
        "messages": [{"role": "system", "content": "Be brief."}],
        "max_tokens": 5,
        "temperature": 0.5,
    }
    assert asked(provider, {"max_completion_tokens": 5, "max_tokens": 4}) == {"max_tokens": 4}
    assert asked(provider, {"max_completion_tokens": None}) == {}


def test_mistral_gets_ids_of_its_own_kind() -> None:
    call = {"id": "call_abc", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    kept = {"id": "abcDEF123", "type": "function", "function": {"name": "g", "arguments": "{}"}}
    body = {
        "messages": [
            {
                "role": "assistant",
                "content": None,
                "refusal": None,
                "reasoning_content": "Hm.",
                "tool_calls": [call, kept],
            },
            {"role": "tool", "tool_call_id": "call_abc", "content": "1"},
            {"role": "tool", "tool_call_id": "abcDEF123", "content": "2"},
        ]
    }
    assistant, first, second = asked("mistral", body)["messages"]
    ids = [told["id"] for told in assistant["tool_calls"]]
    assert ids == [first["tool_call_id"], second["tool_call_id"]]
    assert ids[1] == "abcDEF123"
    assert len(ids[0]) == 9
    assert ids[0].isalnum()
    assert assistant.keys() == {"role", "content", "tool_calls"}
    assert assistant["content"] is None


def test_mistral_is_spared_what_it_does_not_know() -> None:
    sound = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}}
    body = {
        "messages": [{"role": "user", "content": [sound, {"type": "text", "text": "What?"}]}],
        "seed": 7,
        "user": "u",
        "stream_options": {"include_usage": True},
        "n": 1,
    }
    assert asked("mistral", body) == {
        "messages": [
            {
                "role": "user",
                "content": [{"type": "input_audio", "input_audio": "AAAA"}, {"type": "text", "text": "What?"}],
            }
        ],
        "random_seed": 7,
        "n": 1,
    }
