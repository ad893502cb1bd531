"""Anthropic's own SDK, at its strictest, understands our answers and streams as what the hub said."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustgate.contract.sse import SSE
from trustgate.providers.hub import Json, Moment
from trustgate.providers.pairs.anthropic_to_openai import PAIR as INWARD

anthropic: Any = pytest.importorskip("anthropic", reason="Anthropic's SDK is not installed")
wire: Any = pytest.importorskip("httpx2", reason="Anthropic's SDK is of another time")

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "anthropic_to_openai"
MOMENT = Moment(id="0" * 32, created=1, model="asked-model")
ASKED: Json = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}


def hearing(body: bytes, kind: str) -> Any:
    """Return a client whose every request is answered so."""
    reply = wire.Response(200, content=body, headers={"content-type": kind})
    client = wire.Client(transport=wire.MockTransport(lambda request: reply))
    return anthropic.Anthropic(
        api_key="none", base_url="http://upstream", http_client=client, _strict_response_validation=True
    )


def heard_whole(said: Json) -> Any:
    return hearing(json.dumps(said).encode(), "application/json").messages.create(**ASKED)


def heard_live(events: Sequence[tuple[str, Json]]) -> Any:
    """Return what the SDK puts together of a stream."""
    body = b"".join(SSE.frame(name, json.dumps(data).encode()) for name, data in events)
    with hearing(body, "text/event-stream").messages.stream(**ASKED) as stream:
        return stream.get_final_message()


def written(chunks: Sequence[Json]) -> list[tuple[str, Json]]:
    writer = INWARD.stream(ASKED, MOMENT)
    return [*(event for chunk in chunks for event in writer.feed(chunk)), *writer.end()]


def goldens(what: str) -> list[Any]:
    return [pytest.param(json.loads(path.read_text()), id=path.stem) for path in sorted(GOLDEN.glob(f"{what}.*.json"))]


def told(message: Any) -> Json:
    """Return what a message of the SDK says, as it would be sent."""
    found: Json = message.to_dict()
    if found.get("stop_details") is None:
        found.pop("stop_details", None)
    for block in found["content"]:
        block.pop("parsed_output", None)
    return found


@pytest.mark.parametrize("case", goldens("answer"))
def test_it_takes_answers(case: Json) -> None:
    said = INWARD.answer(case["given"], case["asked"], MOMENT)
    anthropic.types.Message.model_validate(said, strict=True)
    assert told(heard_whole(said)) == said


@pytest.mark.parametrize("case", goldens("stream"))
def test_it_takes_streams(case: Json) -> None:
    events = written(case["given"])
    check_order(events)
    message = told(heard_live(events))
    anthropic.types.Message.model_validate(message, strict=True)
    stop = next(data for name, data in events if name == "message_delta")
    assert message["stop_reason"] == stop["delta"]["stop_reason"]
    assert {name: message["usage"][name] for name in stop["usage"]} == stop["usage"]
    said = [choice["delta"] for chunk in case["given"] for choice in chunk["choices"] if not choice.get("index")]
    texts = [delta.get("content") or delta.get("refusal") or "" for delta in said]
    assert "".join(block.get("text", "") for block in message["content"]) == "".join(texts)
    names = [call["function"]["name"] for delta in said for call in delta.get("tool_calls", ()) if "type" in call]
    assert [block["name"] for block in message["content"] if block["type"] == "tool_use"] == names


def check_order(events: Sequence[tuple[str, Json]]) -> None:
    """Check that a message begins and ends, and that its blocks follow one another."""
    assert [name for name, data in events if data["type"] != name] == []
    kinds = [name for name, _ in events]
    assert (kinds[0], kinds[-2:]) == ("message_start", ["message_delta", "message_stop"])
    assert kinds.count("message_start") == kinds.count("message_delta") == kinds.count("message_stop") == 1
    begun, ended = -1, -1
    for name, data in events:
        if name == "content_block_start":
            assert data["index"] == begun + 1 == ended + 1, "a block begins before the last one has ended"
            begun += 1
        elif name == "content_block_stop":
            assert data["index"] == begun == ended + 1
            ended += 1
        elif name == "content_block_delta":
            assert 0 <= data["index"] <= begun
    assert begun == ended


# What the hub says in one piece, and what it says in many.

words = st.text(min_size=1, max_size=12)
names = st.from_regex(r"[A-Za-z0-9_-]{1,8}", fullmatch=True)
thoughts = st.one_of(
    st.builds(
        lambda text, signature: {"type": "thinking", "thinking": text, "signature": signature},
        st.text(max_size=12),
        names,
    ),
    st.builds(lambda data: {"type": "redacted_thinking", "data": data}, names),
)
calls = st.builds(
    lambda name, inputs: {"type": "function", "function": {"name": name, "arguments": json.dumps(inputs)}},
    names,
    st.dictionaries(names, words | st.integers(), max_size=2),
)
messages = st.fixed_dictionaries(
    {"role": st.just("assistant")},
    optional={
        "content": words,
        "thinking_blocks": st.lists(thoughts, min_size=1, max_size=3),
        "refusal": words,
        "tool_calls": st.lists(calls, min_size=1, max_size=3).map(
            lambda found: [{"id": f"call_{at}", **call} for at, call in enumerate(found)]
        ),
    },
)
usages = st.builds(
    lambda cached, wrote, new, said, thought: {
        "prompt_tokens": cached + wrote + new,
        "completion_tokens": said + thought,
        "total_tokens": cached + wrote + new + said + thought,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": wrote},
        "completion_tokens_details": {"reasoning_tokens": thought},
    },
    *[st.integers(0, 99)] * 5,
)
reasons = st.sampled_from(["stop", "length", "tool_calls", "content_filter"])


def pieces(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def deltas(message: Json, size: int) -> list[Json]:
    """Return what a stream says of a message, in pieces of a size."""
    said: list[Json] = [{"role": "assistant", "content": ""}]
    for block in message.get("thinking_blocks", ()):
        if block["type"] == "thinking":
            for piece in pieces(block["thinking"], size):
                said.append({"reasoning_content": piece, "thinking_blocks": [{"type": "thinking", "thinking": piece}]})
        last = {**block, "thinking": ""} if block["type"] == "thinking" else block
        said.append({"thinking_blocks": [last]})
    for name in ("content", "refusal"):
        said += [{name: piece} for piece in pieces(message.get(name, ""), size)]
    for index, call in enumerate(message.get("tool_calls", ())):
        function = {"name": call["function"]["name"], "arguments": ""}
        said.append({"tool_calls": [{**call, "index": index, "function": function}]})
        for piece in pieces(call["function"]["arguments"], size):
            said.append({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    return said


@given(messages, usages, reasons, st.integers(1, 20))
@settings(deadline=None, max_examples=100)
def test_a_stream_is_put_together_to_the_whole_answer(message: Json, usage: Json, reason: str, size: int) -> None:
    base = {"id": "chatcmpl-1", "model": "gpt"}
    whole = {**base, "choices": [{"index": 0, "message": message, "finish_reason": reason}], "usage": usage}
    chunks = [
        {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas(message, size)
    ]
    chunks.append({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    events = written([*chunks, {**base, "choices": [], "usage": usage}])
    check_order(events)
    expected = INWARD.answer(whole, ASKED, MOMENT)
    if "content" in message and "refusal" in message:  # a stream cannot tell where the one ends and the other begins
        first, second = (block for block in expected["content"] if block["type"] == "text")
        expected["content"] = [block for block in expected["content"] if block is not second]
        first["text"] += second["text"]
    assert told(heard_live(events)) == expected
