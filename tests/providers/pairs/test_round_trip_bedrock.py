"""What Bedrock's callers say means the same after it went inwards and outwards again; streams say what answers say.

What is normalised on the way stands in bedrock_meaning.py.
"""

import base64
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from trustgate.providers.hub import Json, Losses, Moment
from trustgate.providers.pairs.bedrock_to_openai import PAIR as INWARD
from trustgate.providers.pairs.openai_to_bedrock import PAIR as OUTWARD

from .bedrock_meaning import bedrock_message, cut, hub_message, meaning, stream_of

MOMENT = Moment(id="0" * 32, created=1, model="asked-model")
PROFILE = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/mi1dadi0g15f"
"""A model of which nothing is known: of one that is known, more is lost, and reported."""
LOST = {"guardrailConfig", "performanceConfig"}

words = st.text(min_size=1, max_size=12)
names = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
ids = st.from_regex(r"[A-Za-z0-9_.:-]{1,20}", fullmatch=True)
data = st.binary(min_size=3, max_size=9).map(lambda raw: {"bytes": base64.b64encode(raw).decode()})
texts = words.map(lambda text: {"text": text})
points = st.sampled_from([{"type": "default"}, {"type": "default", "ttl": "1h"}]).map(lambda p: {"cachePoint": p})


def sourced(kind: str, formats: list[str]) -> st.SearchStrategy[Json]:
    """Data of a format, or an object in S3 whose name ends in it."""
    words_of = st.sampled_from(formats)
    held = st.builds(lambda word, source: {kind: {"format": word, "source": source}}, words_of, data)
    stored = words_of.map(
        lambda word: {kind: {"format": word, "source": {"s3Location": {"uri": f"s3://bucket/a/b.{word}"}}}}
    )
    return held | stored


images = sourced("image", ["png", "jpeg", "gif", "webp"])
media = images | sourced("video", ["mp4", "mov", "three_gp"]) | sourced("audio", ["wav", "mp3", "x-aac"])
inputs = st.dictionaries(words, words | st.integers(-9, 9) | st.none(), max_size=2)
calls = st.builds(
    lambda identity, name, given: {"toolUse": {"toolUseId": identity, "name": name, "input": given}}, ids, names, inputs
)
results = st.builds(
    lambda identity, content, status: {"toolResult": {"toolUseId": identity, "content": content, **status}},
    ids,
    st.lists(texts | images | inputs.map(lambda given: {"json": given}), max_size=3),
    st.sampled_from([{}, {"status": "success"}, {"status": "error"}]),
)
places = st.sampled_from(
    [
        {"documentChar": {"documentIndex": 0, "start": 0, "end": 9}},
        {"documentPage": {"documentIndex": 1, "start": 1, "end": 2}},
        {"documentChunk": {"documentIndex": 2, "start": 0, "end": 1}},
        {"searchResultLocation": {"searchResultIndex": 0, "start": 0, "end": 1}},
        {"web": {"url": "https://example.com/"}},
    ]
)
citations = st.builds(
    lambda place, title, text: {**title, "sourceContent": [{"text": text}], "location": place},
    places,
    st.just({}) | words.map(lambda title: {"title": title}),
    words,
)
cited = st.builds(
    lambda text, found: {"citationsContent": {"content": [{"text": text}], "citations": found}},
    words,
    st.lists(citations, min_size=1, max_size=2),
)
thoughts = st.builds(
    lambda text, signed: {"reasoningContent": {"reasoningText": {"text": text, **signed}}},
    words,
    words.map(lambda signature: {"signature": signature}),
) | st.just({"reasoningContent": {"redactedContent": "cmVk"}})


def marked(blocks: st.SearchStrategy[Json]) -> st.SearchStrategy[list[Json]]:
    """Blocks, of which some are followed by a cache point."""
    groups = st.tuples(blocks) | st.tuples(blocks, points)
    return st.lists(groups, min_size=1, max_size=3).map(lambda found: [block for group in found for block in group])


users = st.tuples(st.lists(results, max_size=2), marked(texts | media)).map(lambda parts: [*parts[0], *parts[1]])
speeches = st.builds(
    lambda thought, said, called, point: [*thought, *said, *called, *point],
    st.lists(thoughts, max_size=2),
    st.lists(texts | cited, min_size=1, max_size=3),
    st.lists(calls, max_size=2),
    st.lists(points, max_size=1),
)
turns = st.lists(st.tuples(users, speeches), max_size=2)
conversations = st.builds(
    lambda pairs, last: [
        *(
            {"role": role, "content": blocks}
            for pair in pairs
            for role, blocks in zip(("user", "assistant"), pair, strict=True)
        ),
        {"role": "user", "content": last},
    ],
    turns,
    users,
)
schemas = st.dictionaries(names, st.sampled_from([{"type": "string"}, {"type": "integer"}]), max_size=3).map(
    lambda properties: {"type": "object", "properties": properties}
)
tools = st.builds(
    lambda name, schema, more: {"toolSpec": {"name": name, **more, "inputSchema": {"json": schema}}},
    names,
    schemas,
    st.sampled_from([{}, {"description": "What it is for."}, {"strict": True}]),
)
choices: st.SearchStrategy[Json] = st.sampled_from([{"auto": {}}, {"any": {}}, {"tool": {"name": "x"}}])
configs = st.builds(
    lambda found, choice: {"tools": found, **choice},
    marked(tools),
    st.just({}) | choices.map(lambda choice: {"toolChoice": choice}),
)
fractions = st.floats(0, 1, allow_nan=False)
requests: st.SearchStrategy[Json] = st.fixed_dictionaries(
    {"messages": conversations, "toolConfig": configs},
    optional={
        "system": marked(texts),
        "inferenceConfig": st.fixed_dictionaries(
            {"temperature": fractions},
            optional={
                "maxTokens": st.integers(1, 9999),
                "topP": fractions,
                "stopSequences": st.lists(words, min_size=1, max_size=1),
            },
        ),
        "outputConfig": schemas.map(
            lambda schema: {
                "textFormat": {
                    "type": "json_schema",
                    "structure": {"jsonSchema": {"schema": json.dumps(schema), "description": "d"}},
                }
            }
        ),
        "additionalModelRequestFields": st.fixed_dictionaries(
            {"thinking": st.just({"type": "adaptive"})}, optional={"top_k": st.integers(1, 99)}
        ),
        "serviceTier": st.sampled_from(["default", "flex", "priority"]).map(lambda tier: {"type": tier}),
        "requestMetadata": st.dictionaries(names, names, min_size=1, max_size=3),
        "guardrailConfig": st.just({"guardrailIdentifier": "x", "guardrailVersion": "DRAFT"}),
        "performanceConfig": st.just({"latency": "optimized"}),
    },
)


@settings(deadline=None)
@given(requests)
def test_a_request_means_the_same_after_its_way_to_the_hub_and_back(body: Json) -> None:
    before = json.dumps(body)
    losses, later = Losses(), Losses()
    hub = {**INWARD.request(body, losses), "model": PROFILE}
    again = OUTWARD.request(hub, later)
    assert set(losses.paths) == LOST & body.keys()
    assert later.paths == ()
    assert meaning(again) == meaning({name: value for name, value in body.items() if name not in LOST})
    assert json.dumps(body) == before


answers = st.builds(
    lambda blocks, reason, usage: {
        "output": {"message": {"role": "assistant", "content": blocks}},
        "stopReason": reason,
        "usage": usage,
    },
    st.lists(texts | calls | cited | thoughts, max_size=5),
    st.sampled_from(["end_turn", "tool_use", "max_tokens", "guardrail_intervened", "stop_sequence", "new_word"]),
    st.fixed_dictionaries(
        {"inputTokens": st.integers(0, 99), "outputTokens": st.integers(0, 99)},
        optional={"cacheReadInputTokens": st.integers(0, 99), "cacheWriteInputTokens": st.integers(0, 99)},
    ),
)


def heard(answer: Json) -> Json:
    """What a whole hub answer says, in the words in which a stream adds up."""
    choice = answer["choices"][0]
    message = choice["message"]
    calls_made = message.get("tool_calls", ())
    return {
        "content": message["content"] or "",
        "calls": [{"id": call["id"], **call["function"]} for call in calls_made],
        "thoughts": message.get("thinking_blocks", []),
        "citations": message.get("citations", []),
        "finish": choice["finish_reason"],
        "usage": answer["usage"],
    }


@settings(deadline=None)
@given(answers, st.integers(1, 5))
def test_a_stream_says_what_the_whole_answer_says(answer: Json, pieces: int) -> None:
    asked: Json = {"model": PROFILE, "messages": []}
    whole = heard(OUTWARD.answer(answer, asked, MOMENT))
    stream = OUTWARD.stream(asked, MOMENT)
    chunks = [chunk for name, event in stream_of(answer, pieces) for chunk in stream.feed(name, event)]
    assert stream.finished
    said = hub_message([*chunks, *stream.end()])
    assert said == whole
    joined = "".join(chunk["choices"][0]["delta"].get("reasoning_content", "") for chunk in chunks if chunk["choices"])
    assert joined == "".join(block.get("thinking", "") for block in whole["thoughts"])


hub_answers = st.builds(
    lambda message, reason, usage: {
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": usage,
    },
    st.fixed_dictionaries(
        {"content": st.none() | words},
        optional={
            "tool_calls": st.lists(
                st.builds(
                    lambda identity, name, given: {
                        "id": identity,
                        "type": "function",
                        "function": {"name": name, "arguments": json.dumps(given)},
                    },
                    ids,
                    names,
                    inputs,
                ),
                max_size=3,
            ),
            "thinking_blocks": st.lists(
                st.builds(lambda text, sig: {"type": "thinking", "thinking": text, "signature": sig}, words, words)
                | st.just({"type": "redacted_thinking", "data": "cmVk"}),
                max_size=2,
            ),
        },
    ),
    st.sampled_from(["stop", "length", "tool_calls", "content_filter"]),
    st.just({"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}),
)


def chunks_of(answer: Json, pieces: int) -> list[Json]:
    """The chunks in which the hub would stream a whole answer."""
    choice = answer["choices"][0]
    message = choice["message"]
    deltas: list[Json] = [{"role": "assistant", "content": ""}]
    for block in message.get("thinking_blocks", ()):
        if block["type"] == "thinking":
            said = [{**block, "thinking": piece, "signature": ""} for piece in cut(block["thinking"], pieces)]
            deltas += [{"thinking_blocks": [piece], "reasoning_content": piece["thinking"]} for piece in said]
            deltas.append({"thinking_blocks": [{**block, "thinking": ""}]})
        else:
            deltas.append({"thinking_blocks": [block]})
    deltas += [{"content": piece} for piece in cut(message["content"] or "", pieces)]
    for index, call in enumerate(message.get("tool_calls", ())):
        deltas.append({"tool_calls": [{**call, "index": index, "function": {**call["function"], "arguments": ""}}]})
        deltas += [
            {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
            for piece in cut(call["function"]["arguments"], pieces)
        ]
    spoken: list[Json] = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    spoken.append({"choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]})
    return [*spoken, {"choices": [], "usage": answer["usage"]}]


@settings(deadline=None)
@given(hub_answers, st.integers(1, 5))
def test_a_caller_hears_the_same_live_and_whole(answer: Json, pieces: int) -> None:
    asked: Json = {"messages": []}
    whole = INWARD.answer(answer, asked, MOMENT)
    stream = INWARD.stream(asked, MOMENT)
    events = [event for chunk in chunks_of(answer, pieces) for _, event in stream.feed(chunk)]
    events += [event for _, event in stream.end()]
    said: Any = bedrock_message(events)
    assert said["content"] == whole["output"]["message"]["content"]
    assert (said["stopReason"], said["usage"]) == (whole["stopReason"], whole["usage"])
    kinds = [next(iter(event)) for event in events]
    assert (kinds[0], kinds[-2:]) == ("messageStart", ["messageStop", "metadata"])
    begun = {event["contentBlockDelta"]["contentBlockIndex"] for event in events if "contentBlockDelta" in event}
    assert kinds.count("contentBlockStop") == len(begun | {*range(len(said["content"]))})
