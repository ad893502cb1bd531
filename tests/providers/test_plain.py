"""The hub's own dialect at both ends: OpenAI is told only what it knows, its clients hear all that they insist on."""

from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from trustgate.providers.catalog import PROVIDERS, Quirks
from trustgate.providers.hub import Losses, Moment
from trustgate.providers.plain import INWARD, outward

MOMENT = Moment(id="0" * 32, created=1_700_000_000, model="m")
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}


def told(hub: dict[str, Any], quirks: Quirks | None = None) -> tuple[dict[str, Any], tuple[str, ...]]:
    losses = Losses()
    return outward(quirks or Quirks()).request({"messages": [], **hub}, losses), losses.paths


def test_what_openai_does_not_know_is_left_out_and_told() -> None:
    thoughts = {
        "role": "assistant",
        "content": "x",
        "thinking_blocks": [{"type": "thinking"}],
        "reasoning_content": "y",
    }
    marked = {"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]}
    body, losses = told({"top_k": 5, "thinking": {"type": "enabled"}, "messages": [thoughts, marked]})
    assert body["messages"] == [
        {"role": "assistant", "content": "x"},
        {"role": "user", "content": [{"type": "text", "text": "x"}]},
    ]
    assert set(body) == {"messages"}
    assert losses == (
        *("top_k", "thinking", "messages.reasoning_content", "messages.thinking_blocks"),
        "messages.content.cache_control",
    )


def test_what_a_provider_carries_stays() -> None:
    quirks = PROVIDERS["openrouter"].quirks
    message = {"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]}
    assert told({"top_k": 5, "messages": [message]}, quirks) == ({"top_k": 5, "messages": [message]}, ())


@pytest.mark.parametrize(("ours", "name"), [(True, "max_tokens"), (False, "max_completion_tokens")])
@pytest.mark.parametrize("given", ["max_tokens", "max_completion_tokens"])
def test_the_limit_has_the_name_that_the_provider_knows(given: str, name: str, ours: bool) -> None:
    assert told({given: 7}, Quirks(max_tokens=ours)) == ({"messages": [], name: 7}, ())


def test_developers_are_systems_where_nobody_knows_them() -> None:
    message = {"role": "developer", "content": "x"}
    assert told({"messages": [message]})[0]["messages"][0]["role"] == "system"
    assert told({"messages": [message]}, Quirks(developer=True))[0]["messages"] == [message]


def test_pictures_of_tools_are_shown_behind_their_results() -> None:
    results = [
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "here"}, PICTURE]},
        {"role": "tool", "tool_call_id": "b", "content": [PICTURE]},
        {"role": "user", "content": "Go on."},
    ]
    roles = [message["role"] for message in told({"messages": results})[0]["messages"]]
    assert roles == ["tool", "tool", "user", "user"], "results stand together, or OpenAI refuses them"
    shown = told({"messages": results[:2]})[0]["messages"]
    assert [part["type"] for part in shown[2]["content"]] == ["text", "image_url", "text", "image_url"]
    assert shown[0]["content"] == [{"type": "text", "text": "here"}]


def test_an_answer_has_all_that_a_strict_client_wants() -> None:
    hub = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}]}
    answer = ChatCompletion.model_validate(INWARD.answer(hub, {}, MOMENT), strict=True)
    assert (answer.model, answer.created, answer.id) == ("m", 1_700_000_000, "chatcmpl-" + "0" * 32)


@pytest.mark.parametrize(
    ("options", "chunks"), [(None, 1), ({"include_usage": False}, 1), ({"include_usage": True}, 2)]
)
def test_usage_is_for_those_who_asked(options: object, chunks: int) -> None:
    stream = INWARD.stream({"stream_options": options}, MOMENT)
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    said = [
        event
        for chunk in (
            {"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": None}]},
            {"choices": [], "usage": usage},
        )
        for event in stream.feed(chunk)
    ]
    assert len(said) == chunks
    for _, chunk in said:
        ChatCompletionChunk.model_validate(chunk, strict=True)


def test_thoughts_have_one_name_in_the_hub() -> None:
    message = {"role": "assistant", "content": "x", "reasoning": "hm"}
    said = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    pair = outward(Quirks())
    assert pair.answer(said, {}, MOMENT)["choices"][0]["message"]["reasoning_content"] == "hm"
    stream = pair.stream({}, MOMENT)
    (chunk,) = stream.feed("", {"choices": [{"index": 0, "delta": {"reasoning": "hm"}}]})
    assert chunk["choices"][0]["delta"]["reasoning_content"] == "hm"
    assert not stream.finished
    stream.feed("", {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    assert stream.finished
