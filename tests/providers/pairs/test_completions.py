"""Callers of OpenAI's older completions in front of a model that chats."""

import json
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import Completion

from trustgate.contract import sse
from trustgate.providers.hub import CannotSay, Json, Losses, Moment
from trustgate.providers.lenses.completions import LENS
from trustgate.providers.pairs.completions_to_openai import PAIR

MOMENT = Moment(id="0" * 32, created=1_700_000_000, model="asked-model")

words = st.text(min_size=1, max_size=9)
logprobs = st.lists(
    st.builds(
        lambda token, top: {"token": token, "logprob": -0.5, "bytes": None, "top_logprobs": top},
        words,
        st.lists(words.map(lambda token: {"token": token, "logprob": -1, "bytes": None}), max_size=2),
    ),
    min_size=1,
    max_size=3,
)
answers = st.lists(
    st.builds(
        lambda text, reason, items: {
            "message": {"role": "assistant", "content": text},
            "finish_reason": reason,
            "logprobs": {"content": items},
        },
        words,
        st.sampled_from(["stop", "length", "tool_calls", "content_filter"]),
        logprobs,
    ),
    min_size=1,
    max_size=3,
).map(lambda choices: {"choices": [{"index": at, **choice} for at, choice in enumerate(choices)]})
asked = st.fixed_dictionaries(
    {"prompt": words | words.map(lambda text: [text])}, optional={"echo": st.booleans(), "logprobs": st.integers(0, 5)}
)


@given(answers, asked)
@settings(deadline=None, max_examples=200)
def test_a_caller_hears_the_same_live_and_whole(answer: Json, said: Json) -> None:
    whole = Completion.model_validate(PAIR.answer(answer, said, MOMENT), strict=True)
    writer = PAIR.stream(said, MOMENT)
    chunks: list[Json] = [
        {"choices": [{"index": choice["index"], "delta": {"content": choice["message"]["content"]}, **of(choice)}]}
        for choice in answer["choices"]
    ]
    chunks.append({"choices": [{**choice, "logprobs": None, "delta": {}} for choice in answer["choices"]]})
    told: dict[int, Json] = {}
    for chunk in chunks:
        for _, event in writer.feed(chunk):
            assert (event["id"], event["created"], event["model"]) == (whole.id, whole.created, whole.model)
            for choice in event["choices"]:
                found = told.setdefault(choice["index"], {"text": "", "logprobs": None})
                found["text"] += choice["text"]
                found["logprobs"] = found["logprobs"] or choice["logprobs"]
                found["finish_reason"] = choice["finish_reason"]
    assert not writer.end()
    assert [told[at] for at in sorted(told)] == [
        choice.model_dump(include={"text", "logprobs", "finish_reason"}) for choice in whole.choices
    ]


def of(choice: Json) -> Json:
    return {"logprobs": choice["logprobs"], "finish_reason": None}


@given(answers, asked)
@settings(deadline=None, max_examples=100)
def test_tokens_begin_where_the_prompt_ends(answer: Json, said: Json) -> None:
    prompt = said["prompt"] if isinstance(said["prompt"], str) else said["prompt"][0]
    for given_choice, choice in zip(answer["choices"], PAIR.answer(answer, said, MOMENT)["choices"], strict=True):
        text = given_choice["message"]["content"]
        assert choice["text"] == (prompt + text if said.get("echo") else text)
        if "logprobs" not in said:
            assert choice["logprobs"] is None
            continue
        tokens = [item["token"] for item in given_choice["logprobs"]["content"]]
        places = [len(prompt) + len("".join(tokens[:at])) for at in range(len(tokens))]
        assert (choice["logprobs"]["tokens"], choice["logprobs"]["text_offset"]) == (tokens, places)


def hearing(answer: httpx2.Response, *, strict: bool) -> openai.OpenAI:
    wire = openai.DefaultHttpxClient(transport=httpx2.MockTransport(lambda request: answer))
    return openai.OpenAI(
        api_key="none", base_url="http://up", http_client=wire, max_retries=0, _strict_response_validation=strict
    )


def test_the_sdk_hears_an_answer() -> None:
    answer = {"choices": [{"message": {"content": "Rain."}, "finish_reason": "tool_calls"}]}
    said = PAIR.answer(answer, {"prompt": "Say rain"}, MOMENT)
    heard = hearing(httpx2.Response(200, json=said), strict=True).completions.create(model="m", prompt="Say rain")
    assert (heard.choices[0].text, heard.choices[0].finish_reason) == ("Rain.", "stop")


def test_the_sdk_hears_a_stream() -> None:
    """OpenAI's own streams have a finish reason of null before the last, against its types; ours are the same."""
    writer = PAIR.stream({"prompt": "Say rain", "stream_options": {"include_usage": True}}, MOMENT)
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    chunks: list[Json] = [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
        {"choices": [{"index": 0, "delta": {"content": "Ra"}}]},
        {"choices": [{"index": 0, "delta": {"content": "in."}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]},
        {"choices": [], "usage": usage},
    ]
    events = [event for chunk in chunks for event in writer.feed(chunk)]
    for _, event in events:
        choices = [{**choice, "finish_reason": choice["finish_reason"] or "stop"} for choice in event["choices"]]
        Completion.model_validate({**event, "choices": choices}, strict=True)
    body = b"".join(sse.frame(name, json.dumps(data).encode()) for name, data in events) + b"data: [DONE]\n\n"
    answer = httpx2.Response(200, content=body, headers={"content-type": "text/event-stream"})
    heard = list(hearing(answer, strict=False).completions.create(model="m", prompt="Say rain", stream=True))
    assert "".join(choice.text for chunk in heard for choice in chunk.choices) == "Rain."
    assert [choice.finish_reason for chunk in heard for choice in chunk.choices] == [None, None, "length"]
    assert [chunk.usage.total_tokens for chunk in heard if chunk.usage] == [3]
    assert "".join(LENS.said(json.dumps(event).encode()).texts.get(0, "") for _, event in events) == "Rain."


odd: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["message", "delta", "content", "logprobs", "index", "finish_reason", "top_logprobs"]),
            inner,
        )
    ),
    max_leaves=8,
)
fields = st.sampled_from(
    ["prompt", "suffix", "echo", "logprobs", "best_of", "n", "stop", "max_tokens", "stream_options"]
)


@given(st.dictionaries(fields, odd))
@settings(deadline=None, max_examples=300)
def test_a_request_is_translated_or_refused(said: Json) -> None:
    losses = Losses()
    try:
        hub = PAIR.request(said, losses)
    except CannotSay as refused:
        assert refused.param
        return
    assert isinstance(hub["messages"][0]["content"], str)
    assert "suffix" not in hub


@given(
    st.dictionaries(st.sampled_from(["choices", "usage", "id", "created", "model"]), odd), st.dictionaries(fields, odd)
)
@settings(deadline=None, max_examples=300)
def test_no_answer_is_too_odd(answer: Json, said: Json) -> None:
    PAIR.answer(answer, said, MOMENT)
    writer = PAIR.stream(said, MOMENT)
    writer.feed(answer)
    writer.end()


@pytest.mark.parametrize("prompt", [["a", "b"], [1, 2], [[1]], [], None, 5])
def test_only_one_prompt_of_text_can_be_said(prompt: object) -> None:
    with pytest.raises(CannotSay) as refused:
        PAIR.request({"prompt": prompt}, Losses())
    assert refused.value.param == "prompt"
