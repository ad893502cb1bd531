"""Looking into answers and events of OpenAI's older completions without changing them."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustgate.contract.lens import Said
from trustgate.contract.usage import Usage
from trustgate.providers.hub import Json
from trustgate.providers.lenses.completions import LENS

DEEP = b"[" * 100_000


def raw(value: object) -> bytes:
    return json.dumps(value).encode()


def choice(text: object, index: object = 0, reason: object = None) -> Json:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": reason}


def event(*choices: object, **fields: Any) -> bytes:
    return raw({"object": "text_completion", "model": "m", "choices": list(choices), **fields})


def test_what_an_answer_says_of_itself() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    found = LENS.answer(event(choice("a", reason="length"), usage=usage))
    assert found is not None
    assert (found.model, found.finish_reason, found.usage) == ("m", "length", Usage(input=3, output=2))
    assert found.is_answer
    failed = LENS.answer(raw({"error": {"message": "no"}}))
    assert failed is not None
    assert (failed.is_answer, failed.error) == (False, {"message": "no"})


def test_what_a_whole_answer_says() -> None:
    assert LENS.text(event(choice("a"), choice("b", 1))) == "a\nb"
    assert LENS.text(event(choice(None))) == ""


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (event(choice("a")), Said(texts={0: "a"})),
        (event(choice("a"), choice("b", 1, "stop")), Said(texts={0: "a", 1: "b"}, finished=frozenset((1,)))),
        (event(choice("a"), choice("b")), Said(texts={0: "ab"})),
        (event(choice("", reason="length")), Said(finished=frozenset((0,)))),
        (event(), Said()),
        (event(choice(5), None, choice("b", "x")), Said(texts={0: "b"})),
        (b'{"choices":[{"text":"line\nbreak"}]}', Said(texts={0: "line\nbreak"})),
    ],
)
def test_what_an_event_says(data: bytes, said: Said) -> None:
    assert LENS.said(data) == said


def test_only_the_texts_of_an_event_change() -> None:
    said = {**choice("a"), "logprobs": {"tokens": ["a"]}}
    data = event(said, choice("b", 1), choice("c", 1), usage={"x": 1.50})
    told = json.loads(LENS.rewritten(data, {0: "y", 1: "z"}))
    assert told == {**json.loads(data), "choices": [choice("y"), choice("z", 1), choice("", 1)]}
    assert b'"usage":{"x": 1.5}' in LENS.rewritten(data, {0: "y"})
    assert json.loads(LENS.rewritten(data, {1: "z"}))["choices"][0] == said


def test_what_cannot_be_edited_gives_way() -> None:
    for data in (b"torn {", event(choice("a", "x")), raw({"choices": 5}), raw({})):
        told = json.loads(LENS.rewritten(data, {0: "y"}))
        assert told == {"object": "text_completion", "choices": [choice("y")]}


def test_the_last_event() -> None:
    assert LENS.last(b"[DONE]")
    assert not LENS.last(event(choice("[DONE]", reason="stop")))
    assert LENS.finish_ends


@pytest.mark.parametrize("data", [b"", b"no json", b"[]", b"5", b"null", DEEP, b'{"choices":' + DEEP, b"\xff\xfe"])
def test_nothing_raises(data: bytes) -> None:
    found = LENS.answer(data)
    assert found is None or not found.is_answer
    assert LENS.text(data) == ""
    assert LENS.said(data) == Said()
    assert LENS.last(data) is False
    assert LENS.rewritten(data, {0: "x"})


values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e300, 1e300) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["text", "index", "finish_reason", "logprobs"]), inner)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["choices", "usage", "model", "error"]), values))
@settings(deadline=None, max_examples=200)
def test_nothing_is_too_odd(fields: Json) -> None:
    data = raw(fields)
    assert LENS.answer(data) is not None
    LENS.text(data)
    said = LENS.said(data)
    LENS.rewritten(data, dict.fromkeys(said.texts, "*"))
