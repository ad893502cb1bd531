"""However odd a caller's request, it is said or refused with a path; however odd an answer, something is made of it."""

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustgate.providers.hub import CannotSay, Inward, Json, Losses, Moment, Outward
from trustgate.providers.pairs.bedrock_to_openai import PAIR as INWARD
from trustgate.providers.pairs.openai_to_bedrock import PAIR as OUTWARD
from trustgate.providers.pairs.openai_to_bedrock.family import Family, family_of

GOLDEN = Path(__file__).parents[2] / "golden"
MOMENT = Moment(id="0" * 32, created=1, model="asked-model")
ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, -1, 1.5, "", "x", [], [None], [{}], {}, {"type": {}}, {"x": []}]
)
SEEDS = st.integers(0, 10**9)


@lru_cache
def cases(pair: str, what: str) -> list[Json]:
    return [json.loads(path.read_text("utf-8")) for path in sorted((GOLDEN / pair).glob(f"{what}.*.json"))]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def spoilt(value: Any, seed: int, odd: Any) -> Any:
    """Return a copy in which one value, anywhere, is another."""
    copy: Any = json.loads(json.dumps(value))
    found = list(places(copy))
    if not found:
        return copy
    *path, last = found[seed % len(found)]
    within = copy
    for key in path:
        within = within[key]
    within[last] = odd
    return copy


@pytest.mark.parametrize(("pair", "name"), [(OUTWARD, "openai_to_bedrock"), (INWARD, "bedrock_to_openai")])
@settings(deadline=None, max_examples=800)
@given(which=SEEDS, seed=SEEDS, odd=ODD)
def test_a_request_is_said_or_refused(pair: Outward | Inward, name: str, which: int, seed: int, odd: Any) -> None:
    asked = cases(name, "request")
    body = spoilt(asked[which % len(asked)]["given"], seed, odd)
    try:
        pair.request(body, Losses())
    except CannotSay as cannot:
        assert cannot.param.split(".")[0] in body or cannot.param == "messages"
        assert cannot.message


@settings(deadline=None, max_examples=800)
@given(which=SEEDS, seed=SEEDS, odd=ODD)
def test_an_answer_of_any_kind_is_heard(which: int, seed: int, odd: Any) -> None:
    said = cases("openai_to_bedrock", "answer")
    answer = spoilt(said[which % len(said)]["given"], seed, odd)
    told = OUTWARD.answer(answer, {"model": "m", "stop": odd}, MOMENT)
    assert told["choices"][0]["finish_reason"] in ("stop", "length", "tool_calls", "content_filter")
    assert INWARD.answer(told, {}, MOMENT)["stopReason"]


@settings(deadline=None, max_examples=800)
@given(which=SEEDS, seed=SEEDS, odd=ODD)
def test_a_hub_answer_of_any_kind_is_told(which: int, seed: int, odd: Any) -> None:
    said = cases("bedrock_to_openai", "answer")
    told = INWARD.answer(spoilt(said[which % len(said)]["given"], seed, odd), {}, MOMENT)
    assert told.keys() >= {"output", "stopReason", "usage", "metrics"}


@pytest.mark.parametrize("name", ["openai_to_bedrock", "bedrock_to_openai"])
@settings(deadline=None, max_examples=800)
@given(which=SEEDS, seed=SEEDS, odd=ODD)
def test_events_of_any_kind_are_read(name: str, which: int, seed: int, odd: Any) -> None:
    said = cases(name, "stream")
    events = said[which % len(said)]["given"]
    if name == "openai_to_bedrock":
        reader = OUTWARD.stream({"model": "m", "stop": odd}, MOMENT)
        for event, data in events:
            reader.feed(event, spoilt(data, seed, odd))
        reader.end()
    else:
        writer = INWARD.stream({"messages": []}, MOMENT)
        for chunk in events:
            writer.feed(spoilt(chunk, seed, odd))
        assert writer.end()


@pytest.mark.parametrize(
    ("model", "thinks"),
    [
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "budget"),
        ("anthropic.claude-sonnet-4-20250514-v1:0", "budget"),
        ("us.anthropic.claude-sonnet-5", "adaptive"),
        ("us.anthropic.claude-opus-4-8", "adaptive"),
        ("us.anthropic.claude-3-7-sonnet-20250219-v1:0", "budget"),
        ("anthropic.claude-3-haiku-20240307-v1:0", "no"),
        ("anthropic.claude-v2", "no"),
        ("anthropic.claude-instant-v1", "no"),
        ("arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-3-5-sonnet-20240620-v1:0", "no"),
    ],
)
def test_what_a_claude_takes_is_in_its_id(model: str, thinks: str) -> None:
    claude = family_of(model).claude
    assert claude is not None
    assert claude.thinks == thinks


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("arn:aws:bedrock:us-east-1:1:default-prompt-router/anthropic.claude:1", Family(is_opaque=True)),
        ("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/mi1dadi0g15f", Family(is_opaque=True)),
        ("us.amazon.nova-pro-v1:0", Family(nova=1)),
        ("us.amazon.nova-2-lite-v1:0", Family(nova=2)),
        ("openai.gpt-oss-120b-1:0", Family(thinks_by="reasoning_effort")),
        ("qwen.qwen3-32b-v1:0", Family(thinks_by="reasoning_config")),
        ("zai.glm-4.7-flash", Family()),
        ("", Family(is_opaque=True)),
    ],
)
def test_the_family_of_a_model_is_in_its_id(model: str, family: Family) -> None:
    assert family_of(model) == family
