"""Looking into bodies without changing them: what is read, what is refused, and what stays exactly as it was."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustgate.contract.errors import Refused
from trustgate.contract.lens import Answered, Said
from trustgate.contract.usage import Usage
from trustgate.providers.dialects import Asked, lens_of, peek_request, with_model
from trustgate.providers.lenses.openai import answer_text, event_said, peek_answer, with_delta_text

DEEP = b"[" * 100_000

values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
fields = st.dictionaries(st.text(max_size=6).filter(lambda name: name not in ("model", "stream")), values, max_size=5)


def refused(raw: bytes) -> Refused:
    with pytest.raises(Refused) as told:
        peek_request(raw)
    assert (told.value.status, told.value.retry) == (400, False)
    return told.value


# Requests.


@pytest.mark.parametrize(
    ("raw", "asked"),
    [
        (b'{"model":"m","stream":true}', Asked("m", True)),
        (b'{"model":"m","stream":false}', Asked("m", False)),
        (b'{"stream":null,"model":null}', Asked("", False)),
        (b"{}", Asked("", False)),
        (b' \n{ "model" : "m" }\n ', Asked("m", False)),
        (b'{"model":"\\u00fcn\\"i"}', Asked('ün"i', False)),
        ('{"model":"ü😀"}'.encode(), Asked("ü😀", False)),
        (b'{"model":"first","model":"last"}', Asked("last", False)),
        (b'{"messages":[{"model":"inner","stream":true}],"model":"m"}', Asked("m", False)),
        (b'{"MODEL":"loud","model":"m"}', Asked("m", False)),
    ],
)
def test_a_request_is_peeked_at(raw: bytes, asked: Asked) -> None:
    assert peek_request(raw) == asked


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        (b'{"model":5}', "model"),
        (b'{"model":["m"]}', "model"),
        (b'{"model":{}}', "model"),
        (b'{"stream":"true"}', "stream"),
        (b'{"stream":1}', "stream"),
        (b"[]", None),
        (b'"model"', None),
        (b"null", None),
        (b"5", None),
    ],
)
def test_a_wrong_type_is_told_by_name(raw: bytes, param: str | None) -> None:
    told = refused(raw)
    assert (told.code, told.param) == ("invalid_request", param)
    assert told.message.startswith("The body is not accepted: Expected ")


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b" ", b"{", b'{"model":"m"', b'{"model":"m"}}', b'{"model":"m"} x', b"{'model':'m'}", b'{"model":}'),
        *(b"\xef\xbb\xbf{}", b"\xff\xfe{\x00}\x00", b"model=m", b'{"model":"a\nb"}', b'{"x":01}', b'{"x":nul}'),
        *(b'{"model":"\xff"}', b'{"model":"\xc3"}', b'{"model":"\xed\xa0\x80"}', b'{"model":"\\ud800"}'),
    ],
)
def test_what_is_no_json(raw: bytes) -> None:
    assert refused(raw).code == "invalid_json"


@pytest.mark.parametrize(
    "raw", [DEEP, b'{"x":' + DEEP, b'{"x":' * 50_000, b'{"model":' + DEEP, b'{"messages":[' + DEEP + b"]}"]
)
def test_a_nesting_bomb_is_refused(raw: bytes) -> None:
    assert refused(raw).code in {"invalid_json", "invalid_request"}


@given(fields, st.text(), st.booleans())
@settings(deadline=None, max_examples=100)
def test_whatever_else_is_in_it_means_nothing(others: dict[str, Any], model: str, stream: bool) -> None:
    raw = json.dumps({**others, "model": model, "stream": stream}, ensure_ascii=False).encode("utf-8", "ignore")
    assert peek_request(raw) == Asked(model.encode("utf-8", "ignore").decode(), stream)


# Another model.


@given(fields, st.booleans(), st.sampled_from(((",", ":"), (", ", ": "), (" , ", " : "))))
@settings(deadline=None, max_examples=100)
def test_another_model_and_every_other_value_as_the_very_bytes(
    others: dict[str, Any], named: bool, separators: tuple[str, str]
) -> None:
    before = {**others, "model": "old"} if named else others
    raw = json.dumps(before, separators=separators).encode()
    changed = with_model(raw, "new")
    was, now = (msgspec.json.decode(each, type=dict[str, msgspec.Raw]) for each in (raw, changed))
    assert now.pop("model") == msgspec.Raw(b'"new"')
    was.pop("model", None)
    assert {name: bytes(value) for name, value in now.items()} == {name: bytes(value) for name, value in was.items()}
    assert list(now) == list(was)


@pytest.mark.parametrize(
    "rest",
    [
        b'"temperature":1.0',
        b'"temperature":1e400',
        b'"seed":123456789012345678901234567890',
        b'"messages":[ {"content" : "\\u00fc \\/"} ]',
        b'"x":"\xff"',
    ],
)
def test_numbers_escapes_and_blanks_are_not_touched(rest: bytes) -> None:
    assert with_model(b'{"model":"old",' + rest + b"}", "new") == b'{"model":"new",' + rest + b"}"


def test_a_model_that_is_named_twice_is_named_once_afterwards() -> None:
    assert with_model(b'{"model":"a","x":1,"model":"b"}', 'q"uote').count(b"model") == 1


# Answers.


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b'{"choices":[]}', Answered(is_answer=True)),
        (
            b'{"model":"m","choices":[{"finish_reason":"stop"}]}',
            Answered(model="m", finish_reason="stop", is_answer=True),
        ),
        (
            b'{"choices":[{"finish_reason":null},{"finish_reason":"length"},{"finish_reason":"stop"}]}',
            Answered(finish_reason="length", is_answer=True),
        ),
        (b'{"error":{"message":"no"}}', Answered(error={"message": "no"})),
        (b'{"error":"no"}', Answered(error="no")),
        (b"{}", Answered()),
        (b'{"model":null,"choices":null,"usage":null,"error":null}', Answered()),
        (
            b'{"usage":{"prompt_tokens":9,"completion_tokens":8,"total_tokens":17,'
            b'"prompt_tokens_details":{"cached_tokens":7},"completion_tokens_details":{"reasoning_tokens":6}}}',
            Answered(usage=Usage(input=9, output=8, cached_input=7, reasoning_output=6)),
        ),
        (
            b'{"usage":{"prompt_tokens":9,"completion_tokens":null,"prompt_tokens_details":null,'
            b'"completion_tokens_details":{"reasoning_tokens":null,"audio_tokens":1}}}',
            Answered(usage=Usage(input=9)),
        ),
    ],
)
def test_an_answer_is_peeked_at(raw: bytes, said: Answered) -> None:
    assert peek_answer(raw) == said


@pytest.mark.parametrize(
    ("count", "read"),
    [
        (b"12.0", 12),
        (b'"12"', 12),
        (b"-5", 0),
        (b"-5.5", 0),
        (b"1e999", 0),
        (b"[]", 0),
        (b"null", 0),
    ],
)
def test_odd_counts_of_tokens_are_read_as_far_as_they_mean_anything(count: bytes, read: int) -> None:
    """A provider's number goes into budgets and metrics: never below zero, and never a reason to lose the answer."""
    said = peek_answer(b'{"choices":[],"usage":{"prompt_tokens":' + count + b',"completion_tokens":1}}')
    assert said is not None
    assert said.is_answer
    assert said.usage == Usage(input=read, output=1)


GARBAGE = (
    b"",
    b"null",
    b"[]",
    b"5",
    b'"x"',
    b"<html>",
    b"{",
    b'{"model":"\xff"}',
    DEEP,
    b'{"error":' + DEEP,
    b'{"x":' * 50_000,
)


@pytest.mark.parametrize("raw", GARBAGE, ids=lambda raw: repr(raw[:20]))
def test_garbage_is_nothing_in_every_lens(raw: bytes) -> None:
    lens = lens_of("chat_completions")
    assert lens.answer(raw) is None
    assert lens.text(raw) == ""
    assert lens.said(raw) == Said()


@given(st.binary(max_size=60) | values.map(lambda value: json.dumps(value).encode()))
@settings(deadline=None, max_examples=300)
def test_no_lens_ever_raises(raw: bytes) -> None:
    lens = lens_of("chat_completions")
    lens.answer(raw)
    lens.text(raw)
    lens.said(raw)


# Text.


def message(content: object) -> dict[str, object]:
    return {"message": {"role": "assistant", "content": content}}


@pytest.mark.parametrize(
    ("choices", "text"),
    [
        ([message("Hi")], "Hi"),
        ([message("one"), message("two")], "one\ntwo"),
        ([message(None)], ""),
        ([message([{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}])], "ab"),
        ([message([{"text": 5}, "x", None])], ""),
        ([{"index": 0}], ""),
        ([], ""),
    ],
)
def test_what_a_whole_answer_says(choices: object, text: str) -> None:
    assert answer_text(json.dumps({"choices": choices}).encode()) == text


def delta(content: object, index: int | None = 0) -> dict[str, object]:
    made: dict[str, object] = {"delta": {"content": content}}
    return made if index is None else {"index": index, **made}


@pytest.mark.parametrize(
    ("choices", "texts"),
    [
        ([delta("Hi")], {0: "Hi"}),
        ([delta("Hi", None)], {0: "Hi"}),
        ([delta("a", 1), delta("b", 0)], {1: "a", 0: "b"}),
        ([delta("")], {}),
        ([delta(None)], {}),
        ([{"index": 0, "delta": {"tool_calls": []}}], {}),
        ([{"index": 0}], {}),
        ([{"index": 0, "delta": None, "finish_reason": "stop"}], {}),
        ([delta([{"type": "text", "text": "part"}])], {0: "part"}),
        ([], {}),
    ],
)
def test_what_an_event_adds(choices: object, texts: dict[int, str]) -> None:
    assert event_said(json.dumps({"choices": choices}).encode()).texts == texts


def test_an_event_says_something_else_and_is_otherwise_the_same() -> None:
    event = {
        "id": "x",
        "n": 1.5,
        "choices": [
            {"index": 0, "delta": {"content": "old", "role": "assistant"}, "logprobs": None},
            {"index": 1, "delta": {"content": "kept"}},
            {"delta": {"content": "x", "refusal": None}, "index": 2},
        ],
    }
    changed = json.loads(with_delta_text(json.dumps(event).encode(), {0: "new", 2: 'ü"\n'}))
    event["choices"][0]["delta"]["content"] = "new"  # type: ignore[index]
    event["choices"][2]["delta"]["content"] = 'ü"\n'  # type: ignore[index]
    assert changed == event


@given(st.text(), st.text())
@settings(deadline=None, max_examples=100)
def test_what_an_event_is_made_to_say_it_says(old: str, new: str) -> None:
    raw = json.dumps({"choices": [delta(old)]}).encode()
    if event_said(raw).texts:
        assert event_said(with_delta_text(raw, {0: new})).texts == ({0: new} if new else {})
