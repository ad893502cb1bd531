"""Looking into Anthropic's answers and events without changing them."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustgate.contract.lens import Said
from trustgate.contract.usage import Usage
from trustgate.providers.lenses.anthropic import LENS

DEEP = b"[" * 100_000
USAGE = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 100,
    "cache_read_input_tokens": 1000,
    "cache_creation": {"ephemeral_5m_input_tokens": 60, "ephemeral_1h_input_tokens": 40},
    "output_tokens": 25,
    "output_tokens_details": {"thinking_tokens": 12},
}
READ = Usage(input=1110, output=25, cached_input=1000, cache_write=100, cache_write_1h=40, reasoning_output=12)


def raw(value: object) -> bytes:
    return json.dumps(value).encode()


def whole(**fields: Any) -> bytes:
    return raw({"type": "message", "role": "assistant", "content": [{"type": "text", "text": "Hi"}], **fields})


def delta(piece: object, index: object = 0) -> bytes:
    return raw({"type": "content_block_delta", "index": index, "delta": piece})


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("tool_use", "tool_calls"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("novel", "novel"),
        (None, ""),
        ([], ""),
    ],
)
def test_why_it_stopped(word: object, reason: str) -> None:
    for said in (whole(stop_reason=word), raw({"type": "message_delta", "delta": {"stop_reason": word}})):
        found = LENS.answer(said)
        assert found is not None
        assert found.finish_reason == reason
        assert found.is_answer
        assert found.error is None


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        (USAGE, READ),
        ({"output_tokens": 7}, Usage(output=7)),
        ({"input_tokens": 3, "cache_read_input_tokens": None, "output_tokens": None}, Usage(input=3)),
        ({"cache_creation_input_tokens": 5, "cache_creation": None}, Usage(input=5, cache_write=5)),
        (
            {"cache_creation_input_tokens": 5, "cache_creation": {"ephemeral_1h_input_tokens": 9}},
            Usage(input=5, cache_write=5, cache_write_1h=5),
        ),
        ({"input_tokens": "3", "output_tokens": -2, "output_tokens_details": 7}, Usage()),
        ({"input_tokens": 2.0, "output_tokens": True}, Usage(input=2, output=1)),
        (
            {
                "input_tokens": 181,
                "output_tokens": 8,
                "iterations": [
                    {"type": "compaction", "input_tokens": 100, "cache_read_input_tokens": 55096, "output_tokens": 83},
                    {"type": "message", "input_tokens": 181, "output_tokens": 8},
                    {"type": "advisor_message", "input_tokens": 9, "output_tokens": 9},
                    None,
                ],
            },
            Usage(input=55377, output=91, cached_input=55096),
        ),
        ({"iterations": 7}, Usage()),
        ({}, Usage()),
        ([], None),
        (None, None),
    ],
)
def test_what_it_used(usage: object, read: Usage | None) -> None:
    events = (whole(usage=usage), raw({"type": "message_start", "message": {"usage": usage}}))
    for said in (*events, raw({"type": "message_delta", "delta": {}, "usage": usage})):
        found = LENS.answer(said)
        assert found is not None
        assert found.usage == read


def test_both_parts_of_a_streams_usage_are_its_usage() -> None:
    first = LENS.answer(
        raw({"type": "message_start", "message": {"model": "claude", "usage": {**USAGE, "output_tokens": 1}}})
    )
    last = LENS.answer(
        raw({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 25}})
    )
    assert first is not None
    assert last is not None
    assert first.usage is not None
    assert last.usage is not None
    assert first.model == "claude"
    assert first.usage.merged(last.usage) == READ


@pytest.mark.parametrize(
    ("usage", "tier"),
    [
        ({"service_tier": "standard", "speed": "standard"}, "standard"),
        ({"service_tier": "priority"}, "priority"),
        ({"service_tier": "standard", "speed": "fast"}, "fast"),
        ({"service_tier": 7, "speed": None}, ""),
        ({}, ""),
    ],
)
def test_what_its_price_depends_on(usage: object, tier: str) -> None:
    for said in (whole(usage=usage), raw({"type": "message_start", "message": {"usage": usage}})):
        found = LENS.answer(said)
        assert found is not None
        assert found.service_tier == tier


def test_numbers_beyond_all_numbers_are_none() -> None:
    found = LENS.answer(b'{"type":"message","usage":{"input_tokens":1e999,"output_tokens":1}}')
    assert found is None or found.usage == Usage(output=1)


def test_errors_are_told() -> None:
    error = {"type": "overloaded_error", "message": "Overloaded"}
    found = LENS.answer(raw({"type": "error", "error": error, "request_id": "req_1"}))
    assert found is not None
    assert found.error == error
    assert not found.is_answer


@pytest.mark.parametrize("said", [b"", b"{", b"[]", b"7", b'"x"', b"\xff", DEEP, b"null"])
def test_what_is_no_object_is_no_answer(said: bytes) -> None:
    assert LENS.answer(said) is None
    assert LENS.text(said) == ""
    assert LENS.said(said) == Said()
    assert not LENS.last(said)


@pytest.mark.parametrize(
    "said", [{}, {"choices": []}, {"type": "list", "data": []}, {"type": 7}, {"input_tokens": 14}, {"model": "m"}]
)
def test_other_objects_are_no_answers(said: object) -> None:
    found = LENS.answer(raw(said))
    assert found is not None
    assert not found.is_answer


def test_the_text_is_what_was_said_aloud() -> None:
    content = [
        {"type": "thinking", "thinking": "hm", "signature": "s", "text": "hidden"},
        {"type": "text", "text": "One "},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "text", "text": "two", "citations": []},
        {"type": "text", "text": None},
        None,
    ]
    assert LENS.text(whole(content=content)) == "One two"
    assert LENS.text(whole(content="x")) == ""
    assert LENS.text(b'{"content":[{"type":"text","text":"a\tb"}]}') == "a\tb"


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (delta({"type": "text_delta", "text": "Hi"}, 3), Said(texts={3: "Hi"})),
        (delta({"type": "text_delta", "text": ""}), Said()),
        (delta({"type": "text_delta", "text": None}), Said()),
        (delta({"type": "text_delta", "text": "Hi"}, "2"), Said(texts={0: "Hi"})),
        (delta({"type": "thinking_delta", "thinking": "hm", "text": "x"}), Said()),
        (delta({"type": "input_json_delta", "partial_json": "{"}), Said()),
        (delta(None), Said()),
        (
            raw({"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": "Oh"}}),
            Said(texts={1: "Oh"}),
        ),
        (raw({"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "text": "Oh"}}), Said()),
        (raw({"type": "content_block_stop", "index": 4}), Said(finished=frozenset((4,)))),
        (raw({"type": "message_stop"}), Said()),
        (raw({"type": "ping"}), Said()),
        (
            b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a\nb"}}',
            Said(texts={0: "a\nb"}),
        ),
    ],
)
def test_what_an_event_adds(event: bytes, said: Said) -> None:
    assert LENS.said(event) == said


def test_an_event_says_something_else_and_is_otherwise_the_same() -> None:
    event = b'{"type": "content_block_delta", "index":2,"more":1.50, "delta":{"type":"text_delta","x": 1.0,"text":"a"}}'
    told = LENS.rewritten(event, {2: "[removed]"})
    assert told == (
        b'{"type":"content_block_delta","index":2,"more":1.50,"delta":{"type":"text_delta","x":1.0,"text":"[removed]"}}'
    )
    start = raw({"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": "Oh"}})
    assert LENS.said(LENS.rewritten(start, {1: "Ah"})) == Said(texts={1: "Ah"})


def test_an_event_that_cannot_be_edited_gives_way() -> None:
    event = b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a\nsecret"}}'
    told = LENS.rewritten(event, {0: "b"})
    assert b"secret" not in told
    assert LENS.said(told) == Said(texts={0: "b"})


def test_the_last_event_is_the_last() -> None:
    assert LENS.last(b'{"type":"message_stop"}')
    assert LENS.last(b'{ "type" : "message_stop" , "amazon-bedrock-invocationMetrics": {}}')
    assert not LENS.last(raw({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}))
    assert not LENS.last(delta({"type": "text_delta", "text": '"type":"message_stop"'}))
    assert not LENS.last(b"")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda within: st.lists(within, max_size=3) | st.dictionaries(st.text(max_size=5), within, max_size=3),
    max_leaves=5,
)
odd = st.fixed_dictionaries(
    {},
    optional={
        "type": anything | st.sampled_from(["message", "content_block_delta", "content_block_start", "message_stop"]),
        **{
            name: anything
            | st.fixed_dictionaries({}, optional={"type": st.just("text_delta"), "text": anything, "usage": anything})
            for name in ("model", "usage", "error", "delta", "message", "content_block", "index", "stop_reason")
        },
    },
)


@given(odd.map(raw) | st.binary(max_size=40), st.dictionaries(st.integers(0, 3), st.text(max_size=5), min_size=1))
@settings(deadline=None, max_examples=500)
def test_nothing_breaks_it(said: bytes, texts: dict[int, str]) -> None:
    LENS.answer(said)
    LENS.text(said)
    LENS.last(said)
    heard = LENS.said(said).texts
    told = LENS.rewritten(said, dict.fromkeys(heard, "new") or texts)
    if heard:
        assert LENS.said(told).texts == dict.fromkeys(heard, "new")
