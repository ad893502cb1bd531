"""Looking into Cohere's answers and events without changing them."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustgate.contract.lens import Said
from trustgate.contract.usage import Usage
from trustgate.providers.lenses.cohere import LENS

DEEP = b"[" * 100_000
BILLED = {"billed_units": {"input_tokens": 3.0, "output_tokens": 2}, "tokens": {"input_tokens": 9}, "cached_tokens": 8}


def raw(value: object) -> bytes:
    return json.dumps(value).encode()


def whole(**fields: Any) -> bytes:
    return raw({"id": "x", "message": {"role": "assistant", "content": [{"type": "text", "text": "Hi"}]}, **fields})


def delta(message: object, kind: str = "content-delta") -> bytes:
    return raw({"type": kind, "index": 0, "delta": {"message": message}})


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("COMPLETE", "stop"),
        ("STOP_SEQUENCE", "stop"),
        ("MAX_TOKENS", "length"),
        ("TOOL_CALL", "tool_calls"),
        ("ERROR", "length"),
        ("TIMEOUT", "length"),
        ("NEW", "NEW"),
        (None, ""),
        ([], ""),
    ],
)
def test_why_it_stopped(word: object, reason: str) -> None:
    for said in (whole(finish_reason=word), raw({"type": "message-end", "delta": {"finish_reason": word}})):
        found = LENS.answer(said)
        assert found is not None
        assert found.finish_reason == reason
        assert found.is_answer
        assert found.error is None


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        (BILLED, Usage(input=3, output=2)),
        (
            {"tokens": {"input_tokens": 9, "output_tokens": 4}, "cached_tokens": 8},
            Usage(input=9, output=4, cached_input=8),
        ),
        ({"tokens": {"input_tokens": 9}, "cached_tokens": 99}, Usage(input=9, cached_input=9)),
        ({"billed_units": {"search_units": 1}, "tokens": {"input_tokens": 9}}, Usage(input=9)),
        ({"billed_units": None, "tokens": None}, Usage()),
        ({"billed_units": {"input_tokens": "3", "output_tokens": -2}}, Usage()),
        ({}, Usage()),
        ([], None),
        (None, None),
    ],
)
def test_what_it_used(usage: object, read: Usage | None) -> None:
    for said in (whole(usage=usage), raw({"type": "message-end", "delta": {"usage": usage}})):
        found = LENS.answer(said)
        assert found is not None
        assert found.usage == read


def test_numbers_beyond_all_numbers_are_none() -> None:
    found = LENS.answer(b'{"message":{},"usage":{"billed_units":{"input_tokens":1e308,"output_tokens":1}}}')
    assert found is not None
    assert found.usage is not None
    assert found.usage.output == 1


@pytest.mark.parametrize(
    ("said", "error", "is_answer"),
    [
        (raw({"id": "x", "message": "invalid api token"}), {"id": "x", "message": "invalid api token"}, False),
        (raw({"type": "error", "message": "no", "code": "c"}), {"type": "error", "message": "no", "code": "c"}, False),
        (raw({"error": {"message": "no"}}), {"message": "no"}, False),
        (raw({"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "broke"}}), "broke", True),
        (raw({"type": "content-end", "index": 0}), None, True),
        (raw({}), None, False),
        (raw({"message": None, "usage": None, "delta": None}), None, False),
    ],
)
def test_what_is_an_answer_and_what_an_error(said: bytes, error: object, is_answer: bool) -> None:
    found = LENS.answer(said)
    assert found is not None
    assert (found.error, found.is_answer) == (error, is_answer)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "ab"),
        ({"content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "b"}]}, "b"),
        ({"tool_plan": "I will ", "content": [{"type": "text", "text": "go"}]}, "I will go"),
        ({"content": "plain"}, "plain"),
        ({"tool_plan": 5, "content": [None, {"text": 5}]}, ""),
        ({}, ""),
        ("an error", ""),
    ],
)
def test_what_a_whole_answer_says(message: object, text: str) -> None:
    assert LENS.text(raw({"message": message})) == text


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (delta({"content": {"text": "Hi"}}), Said(texts={0: "Hi"})),
        (delta({"content": {"type": "text", "text": ""}}, "content-start"), Said()),
        (delta({"content": {"thinking": "hm"}}), Said()),
        (delta({"tool_plan": "I will"}, "tool-plan-delta"), Said(texts={0: "I will"})),
        (delta({"role": "assistant", "content": [], "tool_plan": ""}, "message-start"), Said()),
        (delta({"tool_calls": {"function": {"arguments": "{}"}}}, "tool-call-delta"), Said()),
        (delta(None), Said()),
        (raw({"type": "content-end", "index": 0}), Said()),
        (raw({"type": "message-end", "delta": {}}), Said(finished=frozenset((0,)))),
    ],
)
def test_what_an_event_adds(event: bytes, said: Said) -> None:
    assert LENS.said(event) == said


def test_an_event_says_something_else_and_is_otherwise_the_same() -> None:
    event = (
        b'{"type":"content-delta","index":1,"delta":{"message":{"content":{"text":"old","x":1.50}}},"logprobs":[ 1.0 ]}'
    )
    assert LENS.rewritten(event, {0: 'n"ew'}) == event.replace(b'"old"', b'"n\\"ew"')
    assert LENS.rewritten(event, {}) == event
    plan = delta({"tool_plan": "old"}, "tool-plan-delta")
    assert json.loads(LENS.rewritten(plan, {0: "new"})) == json.loads(plan.replace(b"old", b"new"))


@given(st.text(min_size=1), st.text(), st.booleans(), st.booleans())
@settings(deadline=None, max_examples=100)
def test_what_an_event_is_made_to_say_it_says(old: str, new: str, plans: bool, speaks: bool) -> None:
    message = {**({"tool_plan": old} if plans else {}), **({"content": {"text": old}} if speaks else {})}
    event = delta(message)
    if LENS.said(event).texts:
        assert LENS.said(LENS.rewritten(event, {0: new})).texts == ({0: new} if new else {})


def test_an_event_that_cannot_be_edited_gives_way() -> None:
    loose = b'{"type":"content-delta","delta":{"message":{"content":{"text":"a\nb"}}}}'
    assert LENS.said(loose).texts == {0: "a\nb"}
    assert LENS.said(LENS.rewritten(loose, {0: "c"})).texts == {0: "c"}


def test_which_event_is_the_last() -> None:
    assert LENS.last(b'{"type":"message-end"}')
    assert LENS.last(b"[DONE]")
    assert not LENS.last(delta({"content": {"text": '"type":"message-end"'}}))
    assert not LENS.last(b'message-end{"')
    assert not LENS.last(b"")


GARBAGE = (b"", b"null", b"[]", b"5", b'"x"', b"<html>", b"{", DEEP, b'{"message":' + DEEP, b'{"x":' * 50_000)


@pytest.mark.parametrize("said", GARBAGE, ids=lambda said: repr(said[:20]))
def test_garbage_is_nothing(said: bytes) -> None:
    assert LENS.answer(said) is None
    assert LENS.text(said) == ""
    assert LENS.said(said) == Said()
    assert not LENS.last(said)


values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just("message-end"),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["type", "delta", "message", "content", "text", "tool_plan"]), inner)
        | st.dictionaries(st.sampled_from(["usage", "tokens", "billed_units", "input_tokens", "error"]), inner)
    ),
    max_leaves=8,
)


@given(st.binary(max_size=60) | values.map(lambda value: json.dumps(value).encode()))
@settings(deadline=None, max_examples=500)
def test_the_lens_never_raises(said: bytes) -> None:
    LENS.answer(said)
    LENS.text(said)
    LENS.said(said)
    LENS.last(said)
    LENS.rewritten(said, {0: "x"})
