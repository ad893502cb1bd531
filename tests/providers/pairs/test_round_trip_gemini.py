"""What Gemini's callers say means the same after it went inwards and outwards again; streams say what answers say.

What is normalised on the way, beside the losses that are reported, is stated in gemini_meaning.py.
"""

import json
from itertools import groupby
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from trustgate.providers.hub import CannotSay, Json, Losses, Moment
from trustgate.providers.pairs import gemini_embeddings_to_openai, openai_to_gemini_embeddings
from trustgate.providers.pairs.gemini_to_openai import PAIR as INWARD
from trustgate.providers.pairs.openai_to_gemini import PAIR as OUTWARD

from .gemini_meaning import Folded, closed, json_schema, normal

MOMENT = Moment(id="0" * 32, created=1, model="asked-model")
MODEL = "gemini-3-flash-preview"
MODELS = (MODEL, "gemini-4-argon", "gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.0-flash", "gemma-3", "of-our-own")

texts = st.text(max_size=12)
words = st.text(min_size=1, max_size=12)
names = st.from_regex(r"[a-z][a-z0-9]{0,7}", fullmatch=True)
values: st.SearchStrategy[Any] = (
    words | st.integers(-(2**40), 2**40) | st.booleans() | st.dictionaries(names, words, max_size=2)
)
objects = st.dictionaries(names | st.sampled_from(["snake_case", "output", "error"]), values, max_size=2)
signatures = st.sampled_from([{}, {}, {"thoughtSignature": "EswBCskB/+=="}, {"thoughtSignature": "EswBCskB_-AA"}])


def parts(strategy: st.SearchStrategy[Json], signed: st.SearchStrategy[Json] = signatures) -> st.SearchStrategy[Json]:
    return st.builds(lambda part, signature: {**part, **signature}, strategy, signed)


said = st.fixed_dictionaries({"text": texts})
blobs = st.sampled_from(
    [
        {"inlineData": {"mimeType": "image/png", "data": "iVBORw0K"}},
        {"inline_data": {"mime_type": "image/webp", "data": "_9j_4AA-"}},
    ]
)
media = blobs | st.sampled_from(
    [
        {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}},
        {"inlineData": {"mimeType": "application/pdf", "data": "AAAA"}},
        {"inlineData": {"mimeType": "video/mp4", "data": "AAAA"}},
        {"fileData": {"mimeType": "image/png", "fileUri": "https://example.com/a.png"}},
        {"file_data": {"file_uri": "https://example.com/b.pdf"}},
        {"fileData": {"fileUri": "https://www.youtube.com/watch?v=abc"}},
        {"fileData": {"mimeType": "video/mp4", "fileUri": "gs://bucket/film"}},
    ]
)
calls = st.builds(
    lambda name, more: {"functionCall": {"name": name, **more}},
    names,
    st.fixed_dictionaries({}, optional={"args": objects}),
)
thoughts = st.builds(lambda text: {"text": text, "thought": True}, texts)
users = st.builds(
    lambda content, role: {"parts": content, **role},
    st.lists(said | media, min_size=1, max_size=3),
    st.sampled_from([{"role": "user"}, {}, {"role": "USER"}]),
)
drawn = parts(blobs)
models = st.lists(parts(said) | parts(thoughts) | parts(calls) | drawn, min_size=1, max_size=5)


@st.composite
def turns(draw: st.DrawFn) -> list[Json]:
    """What the model says, and the results of what it calls: by id, or by name and in the order of the calls."""
    content, has_ids = draw(models), draw(st.booleans())
    results = []
    for at, part in enumerate(content):
        if call := part.get("functionCall"):
            identity = {"id": f"c{at}"} if has_ids else {}
            content[at] = {**part, "functionCall": {**call, **identity}}
            shown = draw(st.lists(media, max_size=2))
            more = {"response": draw(objects), **({"parts": shown} if shown else {})}
            results.append({"functionResponse": {"name": call["name"], **identity, **more}})
    cut = draw(st.integers(0, len(content)))
    told: list[Json] = [{"role": "model", "parts": each} for each in (content[:cut], content[cut:]) if each]
    if results:
        told.append(
            {"role": draw(st.sampled_from(["user", "function"])), "parts": results + draw(st.lists(said, max_size=1))}
        )
    return told


contents = (
    st.lists(users.map(lambda user: [user]) | turns(), min_size=1, max_size=4)
    .map(lambda found: [each for several in found for each in several])
    .filter(lambda found: any(part.get("text") != "" for content in found for part in content["parts"]))
)
json_schemas = st.dictionaries(names, st.sampled_from([{"type": "string"}, {"type": "integer"}]), max_size=3).flatmap(
    lambda found: st.fixed_dictionaries(
        {"type": st.just("object"), "properties": st.just(found)},
        optional={"required": st.just(sorted(found)), "additionalProperties": st.just(False)},
    )
)
googles = st.sampled_from(
    [
        {"type": "OBJECT", "properties": {"b": {"type": "STRING", "nullable": True}, "a": {"type": "INTEGER"}}},
        {"type": "ARRAY", "items": {"type": "STRING"}, "minItems": "1"},
        {
            "type": "OBJECT",
            "properties": {"b": {"type": "STRING"}, "a": {"type": "NUMBER"}},
            "propertyOrdering": ["a", "b"],
        },
    ]
)
functions = st.builds(
    lambda function, schema: {**function, **schema},
    st.fixed_dictionaries({"name": names}, optional={"description": texts}),
    json_schemas.map(lambda schema: {"parametersJsonSchema": schema})
    | googles.map(lambda schema: {"parameters": schema})
    | st.just({}),
)
tools: st.SearchStrategy[Json] = st.builds(
    lambda found: {"functionDeclarations": found}, st.lists(functions, min_size=1, max_size=2)
) | st.just({"googleSearch": {}})
callings = st.fixed_dictionaries(
    {"mode": st.sampled_from(["AUTO", "ANY", "NONE", "VALIDATED"])},
    optional={"allowedFunctionNames": st.lists(names, min_size=1, max_size=2)},
)
thinking: st.SearchStrategy[Json] = st.one_of(
    st.fixed_dictionaries({"thinkingBudget": st.integers(-1, 30_000)}),
    st.fixed_dictionaries({"thinkingLevel": st.sampled_from(["MINIMAL", "LOW", "MEDIUM", "HIGH"])}),
    st.just({}),
)
configs = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.floats(0, 2),
        "topP": st.floats(0, 1),
        "topK": st.integers(1, 100),
        "maxOutputTokens": st.integers(1, 64_000),
        "stopSequences": st.lists(words, min_size=1, max_size=3),
        "seed": st.integers(0, 99),
        "candidateCount": st.just(1),
        "responseLogprobs": st.booleans(),
        "logprobs": st.integers(1, 20),
        "responseModalities": st.sampled_from([["TEXT"], ["TEXT", "IMAGE"]]),
        "thinkingConfig": st.builds(
            lambda found, shown: {**found, **shown}, thinking, st.sampled_from([{}, {"includeThoughts": True}])
        ),
        "mediaResolution": st.just("MEDIA_RESOLUTION_LOW"),
    },
)
formats: st.SearchStrategy[Json] = st.one_of(
    st.just({}),
    st.just({"responseMimeType": "application/json"}),
    json_schemas.map(lambda schema: {"responseMimeType": "application/json", "responseJsonSchema": schema}),
    googles.map(lambda schema: {"responseMimeType": "application/json", "responseSchema": schema}),
)
requests: st.SearchStrategy[Json] = st.fixed_dictionaries(
    {"contents": contents},
    optional={
        "systemInstruction": st.lists(said, min_size=1, max_size=2).map(lambda found: {"parts": found}),
        "tools": st.lists(tools, min_size=1, max_size=2),
        "toolConfig": callings.map(lambda calling: {"functionCallingConfig": calling}),
        "generationConfig": st.builds(lambda config, format_: {**config, **format_}, configs, formats),
        "safetySettings": st.just([{"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "BLOCK_NONE"}]),
        "serviceTier": st.sampled_from(["standard", "flex", "priority", "unspecified"]),
        "labels": st.just({"team": "a"}),
    },
)


def camel(part: Json, name: str) -> Json:
    snake = {"inlineData": "inline_data", "fileData": "file_data"}
    found: Json = part.get(name) or part.get(snake[name]) or {}
    return found


def lost(asked: Json) -> set[str]:
    """Return the losses that are to be reported for a request."""
    config = asked.get("generationConfig", {})
    found: set[str] = {name for name in ("safetySettings", "labels") if name in asked}
    found |= {"generationConfig.mediaResolution"} if "mediaResolution" in config else set()
    found |= {"tools.googleSearch"} if {"googleSearch": {}} in asked.get("tools", ()) else set()
    return found | _lost_of_validation(asked) | _lost_thinking(config) | _lost_of_contents(asked["contents"])


def _lost_of_validation(asked: Json) -> set[str]:
    mode = asked.get("toolConfig", {}).get("functionCallingConfig", {}).get("mode")
    declared = [each for tool in asked.get("tools", ()) for each in tool.get("functionDeclarations", ())]
    schemas = [each.get("parametersJsonSchema") or json_schema(each.get("parameters")) for each in declared]
    is_open = any(schema is not None and not closed(schema) for schema in schemas)
    return {"toolConfig.functionCallingConfig.mode"} if mode == "VALIDATED" and is_open else set()


def _lost_thinking(config: Json) -> set[str]:
    found = config.get("thinkingConfig", {})
    budget = found.get("thinkingBudget")
    if budget is None or budget < 0:
        return set()
    return {"reasoning_effort"} if budget == 0 else {"thinking.budget_tokens"}


def _lost_of_contents(contents: list[Json]) -> set[str]:
    found = set()
    for _, turn in groupby(contents, lambda content: content.get("role") == "model"):
        several = list(turn)
        own = [part for content in several for part in content["parts"]]
        shown = [each for part in own for each in part.get("functionResponse", {}).get("parts", ())]
        if any(camel(part, "fileData").get("fileUri") == "gs://bucket/film" for part in (*own, *shown)):
            found.add("contents.parts.fileData.mimeType")
        signed = [part for part in own if part.get("thoughtSignature")]
        if len([part for part in signed if "text" in part and not part.get("thought")]) > 1:
            found.add("contents.parts.thoughtSignature")
        if any(part.get("thought") for part in signed):
            found.add("messages.thinking_blocks.signature")
    return found


@given(requests)
@settings(deadline=None, max_examples=400)
def test_a_request_comes_back_up_to_its_losses(asked: Json) -> None:
    before, losses = json.dumps(asked), Losses()
    hub = {**INWARD.request(asked, losses), "model": MODEL}
    told_hub = json.dumps(hub)
    again = OUTWARD.request(hub, losses)
    assert again == normal(asked)
    assert (json.dumps(asked), json.dumps(hub)) == (before, told_hub), "a translation changed what it was given"
    assert set(losses.paths) == lost(asked)


# Answers and streams.

usages = st.fixed_dictionaries(
    {"promptTokenCount": st.integers(0, 99)},
    optional={
        "candidatesTokenCount": st.integers(0, 99),
        "thoughtsTokenCount": st.integers(0, 99),
        "cachedContentTokenCount": st.integers(0, 99),
        "toolUsePromptTokenCount": st.integers(0, 99),
        "serviceTier": st.sampled_from(["standard", "flex", "priority"]),
    },
)
reasons = st.sampled_from(["STOP", "MAX_TOKENS", "SAFETY", "MALFORMED_FUNCTION_CALL", "OTHER", "BRAND_NEW", 1])
answered = st.lists(
    parts(said)
    | thoughts
    | parts(calls)
    | parts(st.just({"inlineData": {"mimeType": "image/png", "data": "iVBORw0K"}}))
    | st.just({"executableCode": {"language": "PYTHON", "code": "print(1)"}}),
    max_size=5,
)
candidates = st.builds(
    lambda content, reason: {"content": {"parts": content, "role": "model"}, "finishReason": reason}, answered, reasons
)
answers = st.builds(
    lambda found, usage: {
        "candidates": [{**candidate, "index": index} for index, candidate in enumerate(found)],
        "usageMetadata": usage,
        "modelVersion": "gemini-3-flash",
        "responseId": "abc",
    },
    st.lists(candidates, min_size=1, max_size=2),
    usages,
)


def pieces(part: Json, size: int) -> list[Json]:
    """Cut the text of a part; the signature stands behind the last piece."""
    if "text" not in part:
        return [part]
    cut = [{**part, "text": part["text"][at : at + size]} for at in range(0, len(part["text"]), size)] or [part]
    bare = [{name: value for name, value in each.items() if name != "thoughtSignature"} for each in cut[:-1]]
    return [*bare, cut[-1]]


def events(answer: Json, size: int) -> list[Json]:
    """Return the events of a stream that says the same as a whole answer, in pieces of a size."""
    named = {name: answer[name] for name in ("modelVersion", "responseId")}
    told: list[Json] = []
    for candidate in answer["candidates"]:
        for part in candidate["content"]["parts"]:
            for piece in pieces(part, size):
                content = {"parts": [piece], "role": "model"}
                told.append({"candidates": [{"content": content, "index": candidate["index"]}], **named})
    for candidate in answer["candidates"]:
        told.append({"candidates": [{name: candidate[name] for name in ("finishReason", "index")}], **named})
    return [*told, {"usageMetadata": answer["usageMetadata"], **named}]


@given(answers, st.integers(1, 20))
@settings(deadline=None, max_examples=300)
def test_a_stream_says_what_the_whole_answer_says(answer: Json, size: int) -> None:
    told = OUTWARD.answer(answer, {}, MOMENT)
    ChatCompletion.model_validate(told, strict=True)
    reader = OUTWARD.stream({}, MOMENT)
    chunks = [chunk for event in events(answer, size) for chunk in reader.feed("", event)]
    assert reader.finished
    chunks += reader.end()
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk, strict=True)
    folded = Folded(chunks)
    assert folded.messages == {choice["index"]: choice["message"] for choice in told["choices"]}
    names_ = ("finish_reason", "native_finish_reason")
    assert folded.finishes == {
        choice["index"]: {name: choice[name] for name in names_ if name in choice} for choice in told["choices"]
    }
    assert (folded.usage, folded.tier) == (told["usage"], told.get("service_tier"))


@given(answers, st.integers(1, 20))
@settings(deadline=None, max_examples=200)
def test_a_stream_tells_geminis_callers_what_the_answer_does(answer: Json, size: int) -> None:
    whole = INWARD.answer(OUTWARD.answer(answer, {}, MOMENT), {}, MOMENT)
    reader, writer = OUTWARD.stream({}, MOMENT), INWARD.stream({}, MOMENT)
    chunks = [chunk for event in events(answer, size) for chunk in reader.feed("", event)]
    written = [data for chunk in (*chunks, *reader.end()) for _, data in writer.feed(chunk)]
    told = [*written, *(data for _, data in writer.end())]
    for expected in whole["candidates"]:
        own = [each for event in told for each in event["candidates"] if each["index"] == expected["index"]]
        assert [each["finishReason"] for each in own if "finishReason" in each] == [expected["finishReason"]]
        said_parts = [part for each in own for part in each["content"]["parts"]]
        for is_thought in (False, True):
            assert _text(said_parts, is_thought) == _text(expected["content"]["parts"], is_thought)
        for name in ("functionCall", "inlineData"):
            kept = [part for part in expected["content"]["parts"] if name in part]
            assert [part for part in said_parts if name in part] == kept
    assert [event["usageMetadata"] for event in told if "usageMetadata" in event] == [whole["usageMetadata"]]


def _text(found: list[Json], is_thought: bool) -> str:
    return "".join(part["text"] for part in found if "text" in part and bool(part.get("thought")) is is_thought)


# Whatever comes.

anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda within: st.lists(within, max_size=3) | st.dictionaries(st.text(max_size=5), within, max_size=3),
    max_leaves=6,
)


def spoilt(value: Any, path: list[int], other: Any) -> Any:
    """Return a document with something else somewhere in it: `path` chooses the way down."""
    if not path or not isinstance(value, dict | list) or not value:
        return other
    if isinstance(value, list):
        at = path[0] % len(value)
        return [*value[:at], spoilt(value[at], path[1:], other), *value[at + 1 :]]
    name = sorted(value)[path[0] % len(value)]
    return {**value, name: spoilt(value[name], path[1:], other)}


paths = st.lists(st.integers(0, 9), min_size=1, max_size=8)


@given(requests, paths, anything)
@settings(deadline=None, max_examples=500)
def test_odd_requests_are_refused_and_nothing_else(asked: Json, path: list[int], value: Any) -> None:
    try:
        hub = INWARD.request(spoilt(asked, path, value), Losses())
        OUTWARD.request({**hub, "model": MODEL}, Losses())
    except CannotSay as refused:
        assert refused.param


@given(requests, paths, anything, st.sampled_from(MODELS))
@settings(deadline=None, max_examples=500)
def test_odd_hub_requests_are_refused_and_nothing_else(asked: Json, path: list[int], value: Any, model: str) -> None:
    hub = INWARD.request(asked, Losses())
    try:
        OUTWARD.request({**spoilt(hub, path, value), "model": model}, Losses())
    except CannotSay as refused:
        assert refused.param


@given(answers, paths, anything, st.integers(1, 20))
@settings(deadline=None, max_examples=500)
def test_odd_answers_and_events_break_nothing(answer: Json, path: list[int], value: Any, size: int) -> None:
    odd = spoilt(answer, path, value)
    hub = OUTWARD.answer(odd if isinstance(odd, dict) else answer, {}, MOMENT)
    ChatCompletion.model_validate(hub, strict=True)
    odd_hub = spoilt(hub, path, value)
    INWARD.answer(odd_hub if isinstance(odd_hub, dict) else hub, {}, MOMENT)
    reader, writer = OUTWARD.stream({}, MOMENT), INWARD.stream({}, MOMENT)
    for event in spoilt(events(answer, size), path, value) or ():
        for chunk in reader.feed("", event) if isinstance(event, dict) else ():
            ChatCompletionChunk.model_validate(chunk, strict=True)
            odd_chunk = spoilt(chunk, path[1:], value)
            writer.feed(odd_chunk if isinstance(odd_chunk, dict) else chunk)
    for chunk in reader.end():
        writer.feed(chunk)
    assert len(writer.end()) == 1


embeddings: st.SearchStrategy[Json] = st.one_of(
    st.fixed_dictionaries(
        {"content": st.lists(said, min_size=1, max_size=2).map(lambda found: {"parts": found})},
        optional={"outputDimensionality": st.integers(1, 999), "taskType": st.just("CLUSTERING")},
    ),
    st.lists(said.map(lambda part: {"content": {"parts": [part]}}), min_size=1, max_size=3).map(
        lambda found: {"requests": found}
    ),
)


@given(embeddings, paths, anything)
@settings(deadline=None, max_examples=300)
def test_odd_embeddings_are_refused_and_nothing_else(asked: Json, path: list[int], value: Any) -> None:
    for odd in (asked, spoilt(asked, path, value)):
        if not isinstance(odd, dict):
            continue
        try:
            hub = {**gemini_embeddings_to_openai.PAIR.request(odd, Losses()), "model": "m"}
            openai_to_gemini_embeddings.PAIR.request(hub, Losses())
            openai_to_gemini_embeddings.PAIR.request(spoilt(hub, path, value), Losses())
        except CannotSay as refused:
            assert refused.param
            assert odd is not asked or path
    answer = {"embeddings": [{"values": [0.5, 1]}], "usageMetadata": {"promptTokenCount": 2}}
    odd = spoilt(answer, path, value)
    hub = openai_to_gemini_embeddings.PAIR.answer(odd, {"encoding_format": "base64"}, MOMENT)
    gemini_embeddings_to_openai.PAIR.answer(spoilt(hub, path, value), asked, MOMENT)
