"""Looking into answers and events of Responses without changing them."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustgate.contract.lens import Said
from trustgate.contract.usage import Usage
from trustgate.providers.hub import Json, Moment
from trustgate.providers.lenses.openai_responses import LENS
from trustgate.providers.pairs.responses_to_openai import PAIR

DEEP = b"[" * 100_000
AGAIN = 1_000_000_000
MOMENT = Moment(id="0" * 32, created=1, model="m")
MESSAGE = {"type": "message", "content": [{"type": "output_text", "text": "a"}, {"type": "output_text", "text": "b"}]}
CALL = {"type": "function_call", "name": "f"}


def raw(value: object) -> bytes:
    return json.dumps(value).encode()


def whole(*output: Any, **fields: Any) -> bytes:
    return raw({"object": "response", "status": "completed", "model": "m", "output": list(output), **fields})


def ending(response: object, kind: str = "response.completed") -> bytes:
    return raw({"type": kind, "response": response, "sequence_number": 9})


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "stop"),
        ({"status": "complete"}, "stop"),
        ({"output": [CALL]}, "tool_calls"),
        ({"output": [MESSAGE, {"type": "custom_tool_call"}]}, "tool_calls"),
        ({"output": [CALL], "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter"),
        ({"status": "incomplete", "incomplete_details": {"reason": "steered"}}, "steered"),
        ({"status": "incomplete", "incomplete_details": None}, "length"),
        ({"status": "failed", "error": {"message": "no"}}, ""),
        ({"status": "queued"}, ""),
        ({"output": "odd"}, "stop"),
        ({"output": [None, CALL]}, "tool_calls"),
    ],
)
def test_why_it_stopped(fields: Json, reason: str) -> None:
    response = {"object": "response", "status": "completed", "output": [], **fields}
    for said in (raw(response), ending(response)):
        found = LENS.answer(said)
        assert found is not None
        assert found.finish_reason == reason
    begun = LENS.answer(ending(response, "response.in_progress"))
    assert begun is not None
    assert begun.finish_reason == ""


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        (
            {
                "input_tokens": 36,
                "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
                "output_tokens": 87,
                "output_tokens_details": {"reasoning_tokens": 7},
            },
            Usage(input=36, output=87, cached_input=4, cache_write=2, reasoning_output=7),
        ),
        ({"input_tokens": "x", "input_tokens_details": [], "output_tokens": -2.5}, Usage()),
        ({"input_tokens": 1e308}, Usage(input=int(1e308))),
        ({}, Usage()),
        ([], None),
        (None, None),
    ],
)
def test_what_it_used(usage: object, read: Usage | None) -> None:
    for said in (whole(usage=usage), ending({"usage": usage})):
        found = LENS.answer(said)
        assert found is not None
        assert found.usage == read


@pytest.mark.parametrize(
    ("said", "error", "is_answer"),
    [
        (whole(), None, True),
        (whole(status="failed", error={"message": "no"}), {"message": "no"}, False),
        (raw({"error": {"message": "no"}}), {"message": "no"}, False),
        (ending({"status": "failed", "error": {"message": "no"}}, "response.failed"), {"message": "no"}, True),
        (raw({"type": "error", "message": "no"}), {"type": "error", "message": "no"}, False),
        (ending({"status": "in_progress", "error": None}, "response.created"), None, True),
        (ending(None, "response.new"), None, True),
        (ending(5, "response.new"), None, True),
        (raw({"object": "list", "data": []}), None, False),
        (raw({}), None, False),
    ],
)
def test_what_is_an_answer_and_what_an_error(said: bytes, error: object, is_answer: bool) -> None:
    found = LENS.answer(said)
    assert found is not None
    assert (found.error, found.is_answer) == (error, is_answer)


def test_model_and_tier() -> None:
    for said in (whole(service_tier="flex"), ending({"model": "m", "service_tier": "flex"}, "response.created")):
        found = LENS.answer(said)
        assert found is not None
        assert (found.model, found.service_tier) == ("m", "flex")
    odd = LENS.answer(whole(model=5, service_tier=[]))
    assert odd is not None
    assert (odd.model, odd.service_tier) == ("", "")


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ([MESSAGE, CALL, {"type": "reasoning", "summary": [{"text": "x"}]}, MESSAGE], "abab"),
        ([{"type": "message", "content": "plain"}], "plain"),
        ([{"type": "message", "content": [None, {"type": "refusal", "refusal": "no"}, {"type": "output_text"}]}], ""),
        ([None, 5], ""),
        ("odd", ""),
    ],
)
def test_what_a_whole_answer_says(output: object, text: str) -> None:
    assert LENS.text(whole(output=output)) == text


PLACE = {"output_index": 2, "content_index": 1}


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"type": "response.output_text.delta", **PLACE, "delta": "x"}, Said(texts={2001: "x"})),
        ({"type": "response.output_text.delta", "delta": ""}, Said()),
        ({"type": "response.output_text.delta", "delta": 5}, Said()),
        ({"type": "response.output_text.delta", "output_index": "x", "delta": "x"}, Said(texts={0: "x"})),
        (
            {"type": "response.output_text.done", **PLACE, "text": "x"},
            Said(texts={2001 + AGAIN: "x"}, finished=frozenset((2001, 2001 + AGAIN))),
        ),
        ({"type": "response.output_text.done", **PLACE, "text": ""}, Said(finished=frozenset((2001,)))),
        (
            {"type": "response.content_part.done", **PLACE, "part": {"type": "output_text", "text": "x"}},
            Said(texts={2001 + 2 * AGAIN: "x"}, finished=frozenset((2001 + 2 * AGAIN,))),
        ),
        ({"type": "response.content_part.added", **PLACE, "part": {"type": "output_text", "text": ""}}, Said()),
        (
            {"type": "response.output_item.done", "output_index": 3, "item": MESSAGE},
            Said(
                texts={3000 + 3 * AGAIN: "a", 3001 + 3 * AGAIN: "b"},
                finished=frozenset((3000 + 3 * AGAIN, 3001 + 3 * AGAIN)),
            ),
        ),
        ({"type": "response.output_item.done", "item": CALL}, Said()),
        (
            {"type": "response.completed", "response": {"output": [CALL, MESSAGE]}},
            Said(
                texts={1000 + 4 * AGAIN: "a", 1001 + 4 * AGAIN: "b"},
                finished=frozenset((1000 + 4 * AGAIN, 1001 + 4 * AGAIN)),
            ),
        ),
        ({"type": "response.reasoning_summary_text.delta", "delta": "x"}, Said()),
        ({"type": "response.refusal.delta", "delta": "x"}, Said()),
        ({"type": "response.created", "response": {"output": []}}, Said()),
    ],
)
def test_what_an_event_says(event: Json, said: Said) -> None:
    assert LENS.said(raw(event)) == said


def test_only_the_text_of_an_event_changes() -> None:
    event = {"type": "response.output_text.delta", **PLACE, "delta": "x", "logprobs": [{"token": "x"}], "new": 1.5}
    told = json.loads(LENS.rewritten(raw(event), {2001: "y"}))
    assert told == {**event, "delta": "y", "logprobs": []}
    item = {"type": "response.output_item.done", "output_index": 0, "item": {**MESSAGE, "id": "msg_1"}}
    told = json.loads(LENS.rewritten(raw(item), {3 * AGAIN + 1: "y"}))
    assert [part["text"] for part in told["item"]["content"]] == ["a", "y"]
    assert told["item"]["id"] == "msg_1"


def goldens() -> list[Path]:
    folder = Path(__file__).resolve().parents[2] / "golden" / "responses_to_openai"
    return sorted(folder.glob("stream.*.json"))


@pytest.mark.parametrize("path", goldens(), ids=lambda path: path.stem)
def test_no_repetition_of_a_text_passes_unread(path: Path) -> None:
    """Whoever rewrites what is said of every text has rewritten all of the stream."""
    case = json.loads(path.read_text())
    writer = PAIR.stream(case["asked"], MOMENT)
    events = [event for chunk in case["given"] for _, event in writer.feed(chunk)] + [each for _, each in writer.end()]
    pieces: dict[int, str] = {}
    for event in events:
        for number, text in LENS.said(raw(event)).texts.items():
            pieces[number] = pieces.get(number, "") + text
    secrets = {text for number, text in pieces.items() if number < AGAIN}
    assert all(text == pieces[number % AGAIN] for number, text in pieces.items())
    for event in events:
        said = LENS.said(raw(event))
        told = json.loads(LENS.rewritten(raw(event), dict.fromkeys(said.texts, "*")))
        assert not secrets & set(strings(told["response"]["output"] if "response" in told else told))


def strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for each in inner for text in strings(each)]


@pytest.mark.parametrize("data", [b"", b"no json", b"[]", b"5", b"null", DEEP, b'{"type":' + DEEP, b"\xff\xfe", b"{}"])
def test_nothing_raises(data: bytes) -> None:
    found = LENS.answer(data)
    assert found is None or not found.is_answer
    assert LENS.text(data) == ""
    assert LENS.said(data) == Said()
    assert LENS.last(data) is False
    assert isinstance(LENS.rewritten(data, {2001: "x"}), bytes)


def test_what_cannot_be_edited_gives_way() -> None:
    said = {"output_index": 2, "content_index": 1, "logprobs": []}
    told = json.loads(LENS.rewritten(b"torn {", {2001: "x"}))
    assert told == {"type": "response.output_text.delta", "delta": "x", **said}
    told = json.loads(LENS.rewritten(b"torn {", {2001 + AGAIN: "x"}))
    assert told == {"type": "response.output_text.done", "text": "x", **said}


def test_text_that_only_lenient_readers_read_is_read() -> None:
    odd = b'{"type":"response.output_text.delta","delta":"line\nbreak \xff"}'
    assert LENS.said(odd).texts == {0: "line\nbreak \N{REPLACEMENT CHARACTER}"}
    assert json.loads(LENS.rewritten(odd, {0: "y"}))["delta"] == "y"


@pytest.mark.parametrize(
    ("event", "is_last"),
    [
        ({"type": "response.completed", "response": {}}, True),
        ({"response": {"output": []}, "type": "response.incomplete"}, True),
        ({"type": "response.failed"}, True),
        ({"type": "response.created"}, False),
        ({"type": "response.output_text.delta", "delta": '"response.completed"'}, False),
        ({"type": "response.output_text.delta", "delta": "x", "note": "response.completed"}, False),
        ({"type": "error"}, False),
    ],
)
def test_the_last_event(event: Json, is_last: bool) -> None:
    assert LENS.last(raw(event)) is is_last
    assert LENS.last(json.dumps(event, separators=(",", ":")).encode()) is is_last


values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e300, 1e300) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["type", "text", "content", "item", "part", "output", "response", "delta"]), inner
        )
    ),
    max_leaves=12,
)


@given(
    st.sampled_from(["response.output_text.delta", "response.output_item.done", "response.completed", "error", None]),
    st.dictionaries(
        st.sampled_from(
            [
                *("object", "model", "status", "usage", "incomplete_details", "error", "output", "response", "item"),
                *("part", "delta", "text", "output_index", "content_index", "service_tier"),
            ]
        ),
        values,
    ),
)
@settings(deadline=None, max_examples=300)
def test_nothing_is_too_odd(kind: str | None, fields: Json) -> None:
    data = raw({"type": kind, **fields})
    assert LENS.answer(data) is not None
    LENS.text(data)
    LENS.last(data)
    said = LENS.said(data)
    LENS.rewritten(data, dict.fromkeys(said.texts, "*"))
