"""What Bedrock's answers and events say of themselves, also where they are odd."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trustgate.contract.usage import Usage
from trustgate.providers.eventstream import EVENT_STREAM
from trustgate.providers.lenses.bedrock import LENS

NAMES = (
    *("output", "message", "content", "text", "usage", "inputTokens", "stopReason", "messageStop", "metadata"),
    *("contentBlockDelta", "contentBlockStop", "contentBlockIndex", "delta", "error", "citationsContent"),
)
odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(NAMES),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def raw(said: Any) -> bytes:
    return json.dumps(said).encode()


def answer(**fields: Any) -> bytes:
    message = {"role": "assistant", "content": [{"text": "Hallo"}]}
    return raw({"output": {"message": message}, "stopReason": "end_turn", **fields})


def test_an_answer_tells_its_usage_with_the_cache_and_why_it_ended() -> None:
    usage = {"inputTokens": 10, "outputTokens": 5, "cacheReadInputTokens": 100, "cacheWriteInputTokens": 1000}
    said = LENS.answer(answer(usage=usage))
    assert said is not None
    assert said.usage == Usage(input=1110, output=5, cached_input=100)
    assert (said.finish_reason, said.is_answer, said.error) == ("stop", True, None)


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("tool_use", "tool_calls"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
        ("malformed_tool_use", "stop"),
        ("brand_new", "brand_new"),
    ],
)
def test_reasons_are_openais_words(word: str, reason: str) -> None:
    for said in (answer(stopReason=word), raw({"messageStop": {"stopReason": word}})):
        found = LENS.answer(said)
        assert found is not None
        assert found.finish_reason == reason


@pytest.mark.parametrize("name", ["message", "Message"])
def test_an_error_is_a_message_under_either_name(name: str) -> None:
    said = LENS.answer(raw({name: "Your region is not enabled."}))
    assert said is not None
    assert (said.error, said.is_answer) == ({"message": "Your region is not enabled."}, False)


def test_an_exception_event_is_an_error() -> None:
    data = {"throttlingException": {"message": "x"}, "error": {"type": "throttlingException", "message": "x"}}
    name, read = EVENT_STREAM.event(EVENT_STREAM.frame("throttlingException", raw(data)))
    said = LENS.answer(read)
    assert said is not None
    assert (name, said.error) == ("throttlingException", data["error"])
    assert not LENS.last(read)


def test_the_last_event_has_the_usage() -> None:
    event = EVENT_STREAM.frame("metadata", raw({"metadata": {"usage": {"inputTokens": 3, "outputTokens": 4}}}))
    data = EVENT_STREAM.event(event)[1]
    said = LENS.answer(data)
    assert said is not None
    assert said.usage == Usage(input=3, output=4)
    assert LENS.last(data)
    assert not LENS.last(raw({"messageStop": {"stopReason": "end_turn"}}))


def test_the_text_of_an_answer_has_what_is_cited_and_no_thoughts() -> None:
    content = [
        {"reasoningContent": {"reasoningText": {"text": "Hm."}}},
        {"text": "Eins, "},
        {"citationsContent": {"content": [{"text": "zwei, "}], "citations": [{"sourceContent": [{"text": "no"}]}]}},
        {"toolUse": {"toolUseId": "1", "name": "x", "input": {"text": "no"}}},
        {"text": "drei."},
    ]
    assert LENS.text(raw({"output": {"message": {"content": content}}})) == "Eins, zwei, drei."


def test_events_say_text_by_block() -> None:
    said = LENS.said(raw({"contentBlockDelta": {"delta": {"text": "a"}, "contentBlockIndex": 3, "p": "abc"}}))
    assert (said.texts, said.finished) == ({3: "a"}, frozenset())
    assert LENS.said(raw({"contentBlockStop": {"contentBlockIndex": 3}})).finished == {3}
    for delta in ({"toolUse": {"input": "x"}}, {"reasoningContent": {"text": "x"}}, {"text": ""}, {}, None):
        assert not LENS.said(raw({"contentBlockDelta": {"delta": delta, "contentBlockIndex": 0}})).texts


def test_odd_events_are_read_as_far_as_a_client_could() -> None:
    said = LENS.said(b'{"contentBlockDelta":{"delta":{"text":"a\xff\n"},"contentBlockIndex":"x"}}')
    assert said.texts == {0: "a�\n"}


def test_an_event_says_something_else_and_keeps_the_rest() -> None:
    event = b'{"contentBlockDelta":{"contentBlockIndex":2,"delta":{"text":"geheim"},"p":"abc"}}'
    said = LENS.rewritten(event, {2: "***"})
    assert said == b'{"contentBlockDelta":{"contentBlockIndex":2,"delta":{"text":"***"},"p":"abc"}}'
    assert json.loads(LENS.rewritten(b"{", {2: "***"})) == {
        "contentBlockDelta": {"contentBlockIndex": 2, "delta": {"text": "***"}}
    }


@pytest.mark.parametrize(
    "usage",
    [{"inputTokens": 2.0, "outputTokens": "x"}, {"inputTokens": 2, "outputTokens": [1]}, {"inputTokens": 2.5}],
)
def test_odd_usage_is_read_as_far_as_it_can_be(usage: Any) -> None:
    for said in (answer(usage=usage), raw({"metadata": {"usage": usage}})):
        found = LENS.answer(said)
        assert found is not None
        assert found.is_answer
        assert found.usage == Usage(input=2)


@given(odd)
def test_nothing_is_too_odd(said: Any) -> None:
    data = raw(said)
    found = LENS.answer(data)
    assert found is None or isinstance(said, dict)
    LENS.text(data)
    texts = LENS.said(data).texts
    LENS.last(data)
    if texts:
        assert LENS.said(LENS.rewritten(data, dict.fromkeys(texts, "!"))).texts == dict.fromkeys(texts, "!")


@given(st.binary(max_size=60))
def test_no_bytes_raise(data: bytes) -> None:
    LENS.answer(data)
    LENS.text(data)
    LENS.said(data)
    LENS.rewritten(data, {0: "x"})
