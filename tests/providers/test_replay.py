"""An answer in its other form says the same, or has none: every golden answer as a stream and back, every golden stream
as a whole.

What is compared is the hub's answer, so that nothing counts but what the model said, why it ended and what it used.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from trustgate.contract.prompt import Unreadable
from trustgate.contract.usage import Usage
from trustgate.providers.catalog import Quirks
from trustgate.providers.dialects import lens_of
from trustgate.providers.hub import Losses, Moment
from trustgate.providers.replay import answer_of, chunks_of, replay
from trustgate.providers.translate import outward

GOLDEN = Path(__file__).parents[1] / "golden"
MOMENT = Moment(id="0123456789abcdef0123456789abcdef", created=1_700_000_000, model="asked-model")
OPERATIONS = {
    "anthropic": "messages",
    "gemini": "generate_content",
    "responses": "responses",
    "bedrock": "converse",
    "cohere": "cohere_chat",
}
CASES = [(name, path) for name in OPERATIONS for path in sorted((GOLDEN / f"openai_to_{name}").glob("*.json"))]
ANSWERS = [case for case in CASES if case[1].name.startswith("answer.")]
STREAMS = [case for case in CASES if case[1].name.startswith("stream.")]
LOST = {
    "id": "a stream that was never sent has none of its own",
    "created": "nor a time",
    "object": "which form it has",
    "system_fingerprint": "is OpenAI's alone",
}


LOSING = {
    "anthropic/answer.citations": "a stream cannot say where a cited text begins",
    "anthropic/answer.server_tools": "the same",
    "anthropic/stream.odd": "it has no end",
    "bedrock/answer.citations": "a stream cannot say where a cited text begins",
    "cohere/answer.error": "a stream that fails has no finish reason",
    "cohere/answer.logprobs": "not said to callers",
    "cohere/stream.error": "it has no end",
    "responses/answer.logprobs": "not said to a caller who has not asked for them",
    "responses/answer.odd": "sealed thoughts",
    "responses/answer.reasoning": "sealed thoughts",
    "responses/answer.reasoning_content": "sealed thoughts",
    "responses/stream.failed": "it has no end",
    "responses/stream.reasoning": "sealed thoughts",
    "responses/stream.reasoning_content": "sealed thoughts",
    "responses/stream.whole_items": "sealed thoughts",
}
"""What has no other form, and why."""


def named(cases: list[tuple[str, Path]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name, path", cases, ids=[f"{name}/{path.stem}" for name, path in cases])


def asked_of(name: str, case: dict[str, Any]) -> Any:
    hub = dict(case["asked"])
    hub["messages"] = hub.get("messages") or [{"role": "user", "content": "Hello!"}]
    return outward(OPERATIONS[name], Quirks()).request(hub, Losses())


def meaning(answer: Any) -> Any:
    """What an answer of the hub says. Made up ids of calls, and a vendor's own word for an end, are not said."""
    usage = answer.get("usage") or {}
    told = [usage.get(name) or 0 for name in ("prompt_tokens", "completion_tokens")]
    return [*told, *(meant(choice) for choice in answer.get("choices") or ())]


def meant(choice: Any) -> Any:
    message = choice["message"]
    calls = [call.get("function") or call["custom"] for call in message.get("tool_calls") or ()]
    thoughts = [(block.get("thinking"), block.get("signature")) for block in message.get("thinking_blocks") or ()]
    return {
        "said": (message.get("content") or "") + (message.get("refusal") or ""),
        "calls": [(call["name"], json.loads(call.get("arguments") or "{}"), call.get("input")) for call in calls],
        "thoughts": [thought for thought in thoughts if any(thought)] or message.get("reasoning_content"),
        "citations": message.get("citations"),
        "ended": choice.get("finish_reason"),
    }


def framed(operation: str, events: list[Any]) -> bytes:
    frame = lens_of(operation).framing.frame
    return b"".join(frame(name if isinstance(name, str) else "", json.dumps(data).encode()) for name, data in events)


def whole_hub(name: str, case: dict[str, Any], answer: Any) -> Any:
    return outward(OPERATIONS[name], Quirks()).answer(answer, case["asked"], MOMENT)


@named(ANSWERS)
def test_a_whole_answer_as_a_stream_says_the_same(name: str, path: Path) -> None:
    case = json.loads(path.read_text())
    operation, asked, given = OPERATIONS[name], asked_of(name, case), json.dumps(case["given"]).encode()
    if f"{name}/{path.stem}" in LOSING:
        with pytest.raises(Unreadable):
            replay(operation, asked, given, None, streamed=False)
        return
    stream = replay(operation, asked, given, None, streamed=False)
    again = json.loads(replay(operation, asked, stream, None, streamed=True))
    before, after = whole_hub(name, case, case["given"]), whole_hub(name, case, again)
    assert meaning(after) == meaning(before)


@named(STREAMS)
def test_a_stream_as_a_whole_answer_says_the_same(name: str, path: Path) -> None:
    case = json.loads(path.read_text())
    operation, asked = OPERATIONS[name], asked_of(name, case)
    if f"{name}/{path.stem}" in LOSING:
        with pytest.raises(Unreadable):
            replay(operation, asked, framed(operation, case["given"]), None, streamed=True)
        return
    said = answer_of([chunk for chunks in (*case["gives"], case["end"]) for chunk in chunks])
    whole = json.loads(replay(operation, asked, framed(operation, case["given"]), None, streamed=True))
    assert meaning(whole_hub(name, case, whole)) == meaning(said)


ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 7,
    "model": "m-1",
    "choices": [
        {
            "index": at,
            "message": {
                "role": "assistant",
                "content": None,
                "reasoning_content": "Let me see. " * 9,
                "tool_calls": [
                    {"id": f"c{n}", "type": "function", "function": {"name": f"f{n}", "arguments": '{"a": 1}'}}
                    for n in range(3)
                ],
            },
            "finish_reason": "tool_calls",
        }
        for at in range(2)
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
}


def test_chunks_say_an_answer_and_nothing_else() -> None:
    assert answer_of(chunks_of(ANSWER)) == ANSWER


def test_usage_is_said_to_those_who_ask_for_it() -> None:
    raw = json.dumps(ANSWER).encode()
    asked = {"model": "m-1", "messages": [{"role": "user", "content": "Hello!"}]}
    with_usage = asked | {"stream_options": {"include_usage": True}}
    assert b'"prompt_tokens":3' in replay("chat_completions", with_usage, raw, None, streamed=False)
    silent = replay("chat_completions", asked, raw, None, streamed=False)
    assert b"prompt_tokens" not in silent
    assert silent.endswith(b"data: [DONE]\n\n")
    whole = json.loads(replay("chat_completions", asked, silent, Usage(input=3, output=4), streamed=True))
    assert whole == ANSWER


@pytest.mark.parametrize(
    ("operation", "raw"),
    [
        ("completions", b"{}"),
        ("embeddings", b"{}"),
        ("chat_completions", b"[]"),
        ("chat_completions", b"{"),
        ("chat_completions", b"{}"),
        ("messages", b"\xff"),
        ("generate_content", b"[" * 100_000),
    ],
)
def test_what_has_no_other_form_is_refused(operation: str, raw: bytes) -> None:
    with pytest.raises(Unreadable):
        replay(operation, {"model": "m", "messages": []}, raw, None, streamed=False)
