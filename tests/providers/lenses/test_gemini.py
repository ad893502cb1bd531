"""What Gemini's answers and events say of themselves, also where they are odd."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustgate.contract.lens import Said
from trustgate.contract.usage import Usage
from trustgate.providers.lenses.gemini import LENS

CALL = {"functionCall": {"name": "get_weather", "args": {}}}
DEEP = b"[" * 100_000


def raw(said: Any) -> bytes:
    return json.dumps(said).encode()


def whole(*parts: Any, **fields: Any) -> bytes:
    """Return an answer with one candidate."""
    return raw({"candidates": [{"content": {"role": "model", "parts": list(parts)}, **fields}]})


def test_an_answer_tells_all_of_itself() -> None:
    usage = {
        "promptTokenCount": 100,
        "toolUsePromptTokenCount": 20,
        "cachedContentTokenCount": 60,
        "candidatesTokenCount": 30,
        "thoughtsTokenCount": 7,
        "totalTokenCount": 157,
        "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": 60},
            {"modality": "AUDIO", "tokenCount": 25},
            {"modality": "IMAGE", "tokenCount": 10},
            {"modality": "DOCUMENT", "tokenCount": 5},
        ],
        "toolUsePromptTokensDetails": [{"modality": "IMAGE", "tokenCount": 2}],
        "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 9}],
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 4}, {"modality": "AUDIO", "tokenCount": 3}],
        "serviceTier": "flex",
    }
    candidate = {"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}
    said = LENS.answer(raw({"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-3-flash"}))
    assert said is not None
    assert (said.model, said.finish_reason, said.service_tier) == ("gemini-3-flash", "stop", "flex")
    assert said.is_answer
    assert said.usage == Usage(
        input=120,
        output=37,
        cached_input=60,
        audio_input=25,
        audio_cached_input=9,
        image_input=17,
        reasoning_output=7,
        audio_output=3,
        image_output=4,
    )


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("IMAGE_SAFETY", "content_filter"),
        ("MODEL_ARMOR", "content_filter"),
        ("MALFORMED_FUNCTION_CALL", "stop"),
        ("OTHER", "stop"),
        ("BRAND_NEW", "BRAND_NEW"),
        ("FINISH_REASON_UNSPECIFIED", ""),
        (None, ""),
        ([], ""),
        (0, ""),
        (1, "stop"),
        (2, "length"),
        (3, "content_filter"),
        (9, "stop"),
    ],
)
def test_why_it_stopped(reason: object, word: str) -> None:
    found = LENS.answer(whole({"text": "Hi"}, finishReason=reason))
    assert found is not None
    assert found.finish_reason == word


def test_a_call_is_a_reason_to_stop() -> None:
    for said in (whole({"text": "Hm"}, CALL, finishReason="STOP"), whole(CALL, 5, finishReason="STOP")):
        found = LENS.answer(said)
        assert found is not None
        assert found.finish_reason == "tool_calls"
    cut = LENS.answer(whole(CALL, finishReason="MAX_TOKENS"))
    assert cut is not None
    assert cut.finish_reason == "length"


def test_a_prompt_that_is_blocked_has_an_answer() -> None:
    blocked = raw({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 9}})
    found = LENS.answer(blocked)
    assert found is not None
    assert (found.finish_reason, found.is_answer, found.usage) == ("content_filter", True, Usage(input=9))
    assert LENS.said(blocked) == Said(finished=frozenset((0,)))


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        ({"promptTokenCount": 3}, Usage(input=3)),
        (
            {"promptTokenCount": "3", "candidatesTokenCount": -2, "thoughtsTokenCount": 2.0},
            Usage(output=2, reasoning_output=2),
        ),
        ({"promptTokenCount": 3, "cachedContentTokenCount": 99}, Usage(input=3, cached_input=3)),
        ({"promptTokenCount": 10**400}, Usage()),
        ({"promptTokensDetails": [None, {"modality": 1, "tokenCount": 4}, {"modality": "AUDIO"}], "x": 1}, Usage()),
        ({"promptTokensDetails": {"modality": "AUDIO"}}, Usage()),
        ({}, None),
        ([], None),
        (None, None),
    ],
)
def test_what_it_used(usage: object, read: Usage | None) -> None:
    found = LENS.answer(raw({"candidates": [], "usageMetadata": usage}))
    assert found is None or found.usage == read


@pytest.mark.parametrize(
    ("usage", "tier"),
    [
        ({"serviceTier": "priority"}, "priority"),
        ({"trafficType": "ON_DEMAND_FLEX"}, "flex"),
        ({"trafficType": "ON_DEMAND"}, ""),
        ({"trafficType": 1, "serviceTier": 5}, ""),
    ],
)
def test_its_service_tier(usage: object, tier: str) -> None:
    found = LENS.answer(raw({"usageMetadata": usage}))
    assert found is not None
    assert found.service_tier == tier


@pytest.mark.parametrize(
    ("said", "error", "is_answer"),
    [
        ({"error": {"code": 429, "message": "Quota.", "status": "RESOURCE_EXHAUSTED"}}, True, False),
        ({"candidates": []}, False, True),
        ({"candidates": "odd"}, False, False),
        ({"candidates": [5, None]}, False, True),
        ({"usageMetadata": {"promptTokenCount": 1}}, False, True),
        ({}, False, False),
    ],
)
def test_what_is_an_answer_and_what_an_error(said: object, error: bool, is_answer: bool) -> None:
    found = LENS.answer(raw(said))
    assert found is not None
    assert (found.error is not None, found.is_answer) == (error, is_answer)


def test_the_text_of_an_answer_has_no_thoughts() -> None:
    parts = [
        {"text": "Hm.", "thought": True},
        {"text": "One, "},
        CALL,
        {"executableCode": {"code": "x"}},
        {"text": "two."},
    ]
    assert LENS.text(whole(*parts)) == "One, two."
    two = [{"content": {"parts": [{"text": text}]}} for text in ("a", "b")]
    assert LENS.text(raw({"candidates": two})) == "a\nb"
    assert LENS.text(raw({"candidates": [{"content": None}, 5]})) == ""


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (whole({"text": "Hi"}), Said(texts={0: "Hi"})),
        (whole({"text": "a"}, {"text": "no", "thought": True}, {"text": "b"}), Said(texts={0: "ab"})),
        (whole({"text": ""}, finishReason="STOP"), Said(finished=frozenset((0,)))),
        (whole({"text": "Hi"}, finishReason="MAX_TOKENS", index=1), Said(texts={1: "Hi"}, finished=frozenset((1,)))),
        (whole(CALL), Said()),
        (whole({"text": None}, {"text": "b"}), Said(texts={0: "b"})),
        (whole({"text": "a", "thought": 1}, {"text": "b"}, index="x"), Said(texts={0: "b"})),
        (raw({"usageMetadata": {}}), Said()),
    ],
)
def test_what_an_event_adds(event: bytes, said: Said) -> None:
    assert LENS.said(event) == said


def test_an_event_says_something_else_and_is_otherwise_the_same() -> None:
    event = (
        b'{"candidates":[{"content":{"parts":[{"text":"hm","thought":true},{"text":"old","thoughtSignature":"a+b/=="},'
        b'{"functionCall":{"name":"x","args":{"n":1.50}}}],"role":"model"},"index":0}],"modelVersion":"m"}'
    )
    assert LENS.rewritten(event, {0: 'n"ew'}) == event.replace(b'"old"', b'"n\\"ew"')
    assert json.loads(LENS.rewritten(event, {})) == json.loads(event)
    two = whole({"text": "a"}, {"text": "b"})
    assert LENS.said(LENS.rewritten(two, {0: "c"})).texts == {0: "c"}


def test_an_event_that_cannot_be_edited_gives_way() -> None:
    loose = b'{"candidates":[{"content":{"parts":[{"text":"a\nb"}]}}]}'
    assert LENS.said(loose).texts == {0: "a\nb"}
    assert LENS.said(LENS.rewritten(loose, {0: "c"})).texts == {0: "c"}


def test_a_stream_ends_behind_its_finish_reason() -> None:
    assert LENS.finish_ends
    assert not LENS.last(whole({"text": ""}, finishReason="STOP"))


GARBAGE = (b"", b"null", b"[]", b"5", b'"x"', b"<html>", b"{", DEEP, b'{"candidates":' + DEEP, b'{"x":' * 50_000)


@pytest.mark.parametrize("said", GARBAGE, ids=lambda said: repr(said[:20]))
def test_garbage_is_nothing(said: bytes) -> None:
    assert LENS.answer(said) is None
    assert LENS.text(said) == ""
    assert LENS.said(said) == Said()


NAMES = (
    *("candidates", "content", "parts", "text", "thought", "index", "finishReason", "usageMetadata", "functionCall"),
    *("promptFeedback", "blockReason", "promptTokenCount", "promptTokensDetails", "modelVersion", "error"),
)
odd: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)
nearly = st.builds(
    lambda parts, index, reason: {
        "candidates": [{"content": {"parts": parts}, "index": index, "finishReason": reason}]
    },
    st.lists(
        st.builds(
            lambda text, more: {"text": text, **more},
            st.text(max_size=4) | odd,
            st.just({}) | odd.map(lambda value: {"thought": value}),
        )
        | odd
    ),
    st.integers(0, 3) | odd,
    st.sampled_from(["STOP", None]) | odd,
)


@given(odd | nearly)
@settings(deadline=None, max_examples=500)
def test_nothing_is_too_odd(said: Any) -> None:
    data = raw(said)
    found = LENS.answer(data)
    assert found is None or isinstance(said, dict)
    LENS.text(data)
    texts = LENS.said(data).texts
    if texts:
        assert LENS.said(LENS.rewritten(data, dict.fromkeys(texts, "!"))).texts == dict.fromkeys(texts, "!")


@given(st.binary(max_size=60))
def test_no_bytes_raise(data: bytes) -> None:
    LENS.answer(data)
    LENS.text(data)
    LENS.said(data)
    LENS.rewritten(data, {0: "x"})
