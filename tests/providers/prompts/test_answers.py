"""Policies read what an answer says, thinks and calls, in every dialect, and change what they mean to and no more."""

import json
from typing import Any

import pytest
from anthropic.types import Message
from google.genai.types import GenerateContentResponse
from openai.types.chat import ChatCompletion
from openai.types.responses import Response
from pydantic import BaseModel, ValidationError

from tests.providers.prompts.corpus import answers, at
from trustgate import Unreadable
from trustgate.providers.answers import STREAMS, WHOLE, answer_lens

CASES = [pytest.param(operation, json.dumps(answer).encode(), id=name) for operation, name, answer in answers()]
CALLS = [
    pytest.param(operation, json.dumps(answer).encode(), id=name)
    for operation, name, answer in answers()
    if WHOLE[operation]().read(json.dumps(answer).encode()).calls
]
STRICT: dict[str, type[BaseModel]] = {
    "chat_completions": ChatCompletion,
    "responses": Response,
    "messages": Message,
    "generate_content": GenerateContentResponse,
}


@pytest.mark.parametrize(("operation", "raw"), CASES)
def test_every_piece_can_be_changed_in_its_place_and_nothing_else_changes(operation: str, raw: bytes) -> None:
    lens, answer = WHOLE[operation](), json.loads(raw)
    parts = lens.read(raw)
    for piece in parts.pieces:
        assert str(at(answer, piece.path)) == piece.text
        assert piece.role == ("tool" if piece.kind == "tool_result" else "assistant")
    marked = lens.with_texts(raw, {piece.path: f"#{index}" for index, piece in enumerate(parts.pieces)})
    again = lens.read(marked)
    assert [piece.text for piece in again.pieces] == [f"#{index}" for index in range(len(parts.pieces))]
    back = lens.with_texts(marked, {piece.path: at(answer, piece.path) for piece in parts.pieces})
    assert json.loads(back) == answer


def faults(operation: str, raw: bytes) -> int:
    """How many faults the vendor's own types find: not every answer that is tested with has all that it should."""
    answer = json.loads(raw)
    if operation == "responses":
        answer = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": [], **answer}
    try:
        STRICT[operation].model_validate(answer)
    except ValidationError as error:
        return error.error_count()
    return 0


@pytest.mark.parametrize(("operation", "raw"), CALLS)
def test_calls_go_and_a_note_stands_in_their_place(operation: str, raw: bytes) -> None:
    lens = WHOLE[operation]()
    calls = lens.read(raw).calls
    assert lens.without_calls(raw, lambda call: False, lambda call: "") == raw
    none = lens.without_calls(raw, lambda call: True, lambda call: f"{call.name} may not run")
    left = lens.read(none)
    assert left.calls == ()
    said = "\n".join(piece.text for piece in left.pieces)
    assert all(f"{call.name} may not run" in said for call in calls)
    if operation in STRICT and not faults(operation, raw):
        assert faults(operation, none) == 0


@pytest.mark.parametrize(("operation", "raw"), CALLS)
def test_the_other_calls_stay(operation: str, raw: bytes) -> None:
    lens = WHOLE[operation]()
    calls = lens.read(raw).calls
    if len(calls) < 2:
        return
    left = lens.read(lens.without_calls(raw, lambda call: call.id == calls[0].id, lambda call: "No."))
    assert [(call.id, call.name, call.arguments) for call in left.calls] == [
        (call.id, call.name, call.arguments) for call in calls if call.id != calls[0].id
    ]


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"choices": 1}', b'{"choices": [1]}', b"[" * 5000, b"\xff"])
def test_what_is_no_answer_cannot_be_read(raw: bytes) -> None:
    with pytest.raises(Unreadable):
        WHOLE["chat_completions"]().read(raw)


def event(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def delta(text: str, index: int = 0) -> bytes:
    return event({"choices": [{"index": index, "delta": {"content": text}, "finish_reason": None}], "x": 1.0})


def test_a_held_stream_says_other_words() -> None:
    lens = STREAMS["chat_completions"]()
    raw = delta("Hel") + delta("x", 1) + delta("lo") + event({"choices": [], "usage": {}}) + b"data: [DONE]\n\n"
    assert [(piece.choice, piece.text) for piece in lens.read(raw).pieces] == [(0, "Hello"), (1, "x")]
    changed = lens.with_texts(raw, {(0,): "Goodbye"})
    assert [(piece.choice, piece.text) for piece in lens.read(changed).pieces] == [(0, "Goodbye"), (1, "x")]
    assert changed.endswith(event({"choices": [], "usage": {}}) + b"data: [DONE]\n\n")
    with pytest.raises(Unreadable):
        lens.without_calls(raw, lambda call: True, lambda call: "")


def test_answers_of_other_operations_are_not_read() -> None:
    assert answer_lens("embeddings", streamed=False) is None
