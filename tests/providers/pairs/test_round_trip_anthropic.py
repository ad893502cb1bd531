"""What Anthropic's callers say means the same after it went inwards and outwards again; streams say what answers say.

What is normalised on the way, beside the losses that are reported, is stated in anthropic_meaning.py.
"""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from trustgate.providers.hub import CannotSay, Json, Losses, Moment
from trustgate.providers.pairs.anthropic_to_openai import PAIR as INWARD
from trustgate.providers.pairs.openai_to_anthropic import PAIR as OUTWARD

from .anthropic_meaning import LOST, Folded, normal

MOMENT = Moment(id="0" * 32, created=1, model="asked-model")
MODEL = "a-name-of-our-own"

words = st.text(min_size=1, max_size=12).filter(lambda text: bool(text.strip()))
names = st.from_regex(r"[A-Za-z0-9_-]{1,8}", fullmatch=True)
inputs = st.dictionaries(names, words | st.integers() | st.none(), max_size=2)
marks = st.sampled_from(
    [{}, {}, {"cache_control": {"type": "ephemeral"}}, {"cache_control": {"type": "ephemeral", "ttl": "1h"}}]
)


def blocks(kind: str, marked: st.SearchStrategy[Json] = marks, **fields: Any) -> st.SearchStrategy[Json]:
    return st.builds(lambda told, mark: {"type": kind, **told, **mark}, st.fixed_dictionaries(fields), marked)


citations = st.one_of(
    st.fixed_dictionaries(
        {
            "type": st.just("char_location"),
            "cited_text": words,
            "document_index": st.integers(0, 9),
            "document_title": st.none() | words,
            "start_char_index": st.integers(0, 9),
            "end_char_index": st.integers(0, 9),
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("web_search_result_location"),
            "cited_text": words,
            "url": words,
            "title": st.none() | words,
            "encrypted_index": words,
        }
    ),
)
texts = blocks("text", text=words)
cited = blocks("text", text=words, citations=st.lists(citations, min_size=1, max_size=2))
images = blocks(
    "image",
    source=st.sampled_from(
        [
            {"type": "base64", "media_type": "image/png", "data": "AAAA"},
            {"type": "url", "url": "https://example.com/a.png"},
        ]
    ),
)
documents = st.builds(
    lambda block, more: {**block, **more},
    blocks(
        "document",
        source=st.sampled_from(
            [
                {"type": "base64", "media_type": "application/pdf", "data": "AAAA"},
                {"type": "url", "url": "https://example.com/a.pdf"},
                {"type": "file", "file_id": "file_1"},
            ]
        )
        | words.map(lambda text: {"type": "text", "media_type": "text/plain", "data": text}),
    ),
    st.fixed_dictionaries({}, optional={"title": words, "context": words, "citations": st.just({"enabled": True})}),
)
results = st.builds(
    lambda block, more: {**block, **more},
    blocks("tool_result", tool_use_id=names),
    st.fixed_dictionaries(
        {}, optional={"content": words | st.lists(texts | images | documents, max_size=2), "is_error": st.booleans()}
    ),
)
thoughts = st.one_of(
    blocks("thinking", st.just({}), thinking=st.text(max_size=9), signature=names),
    blocks("redacted_thinking", st.just({}), data=names),
)
calls = blocks("tool_use", id=names, name=names, input=inputs)
messages = st.one_of(
    st.builds(
        lambda content: {"role": "user", "content": content},
        words | st.lists(texts | images | documents | results, min_size=1, max_size=4),
    ),
    st.builds(
        lambda content: {"role": "assistant", "content": content},
        words | st.lists(texts | cited | thoughts | calls, min_size=1, max_size=4),
    ),
    st.builds(lambda content: {"role": "system", "content": content}, words | st.lists(texts, min_size=1, max_size=2)),
)
schemas = st.dictionaries(names, st.sampled_from([{"type": "string"}, {"type": "integer"}]), max_size=3).map(
    lambda found: {"type": "object", "properties": found, "required": sorted(found), "additionalProperties": False}
)
tools = st.builds(
    lambda tool, mark: {**tool, **mark},
    st.fixed_dictionaries(
        {"name": names, "input_schema": schemas},
        optional={"description": words, "strict": st.booleans(), "type": st.just("custom")},
    ),
    marks,
)
server_tools = st.just({"type": "web_search_20250305", "name": "web_search"})
choices = st.one_of(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["auto", "any"])}, optional={"disable_parallel_tool_use": st.booleans()}
    ),
    st.sampled_from([{"type": "none"}, {"type": "tool", "name": "web_search"}]),
)
sampling = st.fixed_dictionaries(
    {}, optional={"temperature": st.floats(0, 1), "top_p": st.floats(0, 1), "top_k": st.integers(0, 500)}
)
thinking = st.sampled_from([{"type": "enabled", "budget_tokens": 2000}, {"type": "adaptive"}, {"type": "disabled"}])
requests: st.SearchStrategy[Json] = st.builds(
    lambda said, how: {**said, **how},
    st.fixed_dictionaries(
        {
            "max_tokens": st.integers(1, 64_000),
            "messages": st.lists(messages, min_size=1, max_size=5).filter(
                lambda found: any(message["role"] != "system" for message in found)
            ),
        },
        optional={
            "system": words | st.lists(texts, min_size=1, max_size=2),
            "tools": st.lists(tools | server_tools, min_size=1, max_size=3),
            "tool_choice": choices,
            "stop_sequences": st.lists(words, min_size=1, max_size=3),
            "metadata": words.map(lambda text: {"user_id": text}),
            "service_tier": st.sampled_from(["auto", "standard_only"]),
            "output_config": schemas.map(lambda schema: {"format": {"type": "json_schema", "schema": schema}}),
            "container": words,
            "inference_geo": st.just("us"),
        },
    ),
    sampling | thinking.map(lambda found: {"thinking": found}),
)


def lost(said: Json, *, tools_left: bool) -> set[str]:
    """Return the losses that are to be reported for a request."""
    found = {name for name in LOST if name in said}
    if any(tool.get("type") not in (None, "custom") for tool in said.get("tools", ())):
        found.add("tools.web_search_20250305")
    choice = said.get("tool_choice")
    if choice and said.get("tools"):
        named = choice["type"] == "tool" and all(
            tool["name"] != choice["name"] or "input_schema" not in tool for tool in said["tools"]
        )
        if not tools_left or named:
            found.add("tool_choice")
    return found


@given(requests)
@settings(deadline=None, max_examples=300)
def test_a_request_comes_back_up_to_its_losses(said: Json) -> None:
    before, losses = json.dumps(said), Losses()
    hub = {**INWARD.request({**said, "stream": True}, losses), "model": MODEL}
    given_hub = json.dumps(hub)
    again = OUTWARD.request(hub, losses)
    assert again == normal(said)
    assert (json.dumps(said), json.dumps(hub)) == (before, given_hub), "a translation changed what it was given"
    assert set(losses.paths) == lost(said, tools_left="tools" in hub)
    repeated = OUTWARD.request({**INWARD.request(again, Losses()), "model": MODEL}, Losses())
    assert repeated == again


# Answers and streams.

usages = st.fixed_dictionaries(
    {"input_tokens": st.integers(0, 99), "output_tokens": st.integers(0, 99)},
    optional={
        "cache_creation_input_tokens": st.integers(0, 99),
        "cache_read_input_tokens": st.integers(0, 99),
        "output_tokens_details": st.integers(0, 9).map(lambda count: {"thinking_tokens": count}),
        "service_tier": st.sampled_from(["standard", "priority", "batch"]),
    },
)
unmarked: st.SearchStrategy[Json] = st.just({})
said_blocks = st.one_of(
    blocks("text", unmarked, text=words),
    blocks("text", unmarked, text=words, citations=st.lists(citations, min_size=1, max_size=2)),
    thoughts,
    blocks("tool_use", unmarked, id=names, name=names, input=inputs),
    blocks("server_tool_use", unmarked, id=names, name=st.just("web_search"), input=inputs),
    blocks("web_search_tool_result", unmarked, tool_use_id=names, content=st.just([])),
)
reasons = st.sampled_from(["end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal"])
answers = st.builds(
    lambda content, usage, reason, stop: {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": content,
        "stop_reason": reason,
        "stop_sequence": stop if reason == "stop_sequence" else None,
        "usage": usage,
    },
    st.lists(said_blocks, max_size=5),
    usages,
    reasons,
    words,
)


def pieces(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def events(said: Json, size: int) -> list[Json]:
    """Return the events of a stream that says the same as a whole answer, in pieces of a size."""
    told: list[Json] = [{"type": "message_start", "message": {**said, "content": [], "stop_reason": None}}]
    for index, block in enumerate(said["content"]):
        begun, deltas = begin(block, size)
        told.append({"type": "content_block_start", "index": index, "content_block": begun})
        told += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        told.append({"type": "content_block_stop", "index": index})
    stop = {name: said[name] for name in ("stop_reason", "stop_sequence")}
    told.append({"type": "message_delta", "delta": stop, "usage": said["usage"]})
    return [*told, {"type": "message_stop"}]


def begin(block: Json, size: int) -> tuple[Json, list[Json]]:
    match block["type"]:
        case "text":
            said = [{"type": "text_delta", "text": piece} for piece in pieces(block["text"], size)]
            cites = [{"type": "citations_delta", "citation": each} for each in block.get("citations", ())]
            return {"type": "text", "text": ""}, [*cites, *said]
        case "thinking":
            thought = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"], size)]
            signed = {"type": "signature_delta", "signature": block["signature"]}
            return {"type": "thinking", "thinking": "", "signature": ""}, [*thought, signed]
        case "tool_use" | "server_tool_use":
            written = json.dumps(block["input"]) if block["input"] else ""
            given = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces(written, size)]
            return {**block, "input": {}}, given
        case _:
            return block, []


def parsed(message: Json) -> Json:
    """Return a message whose arguments are values: they may be written in more than one way."""
    found = [
        {**call, "function": {**call["function"], "arguments": json.loads(call["function"]["arguments"])}}
        for call in message.get("tool_calls", ())
    ]
    return {**message, "tool_calls": found}


@given(answers, st.integers(1, 20))
@settings(deadline=None, max_examples=300)
def test_a_stream_says_what_the_whole_answer_says(said: Json, size: int) -> None:
    told = OUTWARD.answer(said, {}, MOMENT)
    reader = OUTWARD.stream({}, MOMENT)
    chunks = [chunk for event in events(said, size) for chunk in reader.feed(event["type"], event)]
    assert reader.finished
    folded = Folded([*chunks, *reader.end()])
    (choice,) = told["choices"]
    assert parsed(folded.message) == parsed(choice["message"])
    assert folded.finish == {name: choice[name] for name in choice if name not in ("index", "message", "logprobs")}
    assert (folded.usage, folded.tier) == (told["usage"], told.get("service_tier"))


# Whatever comes.

anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda within: st.lists(within, max_size=3) | st.dictionaries(st.text(max_size=5), within, max_size=3),
    max_leaves=6,
)


def spoilt(said: Any, path: list[int], value: Any) -> Any:
    """Return a document with something else somewhere in it: `path` chooses the way down."""
    if not path or not isinstance(said, dict | list) or not said:
        return value
    if isinstance(said, list):
        at = path[0] % len(said)
        return [*said[:at], spoilt(said[at], path[1:], value), *said[at + 1 :]]
    name = sorted(said)[path[0] % len(said)]
    return {**said, name: spoilt(said[name], path[1:], value)}


paths = st.lists(st.integers(0, 9), min_size=1, max_size=7)


@given(requests, paths, anything)
@settings(deadline=None, max_examples=500)
def test_odd_requests_are_refused_and_nothing_else(said: Json, path: list[int], value: Any) -> None:
    try:
        hub = INWARD.request(spoilt(said, path, value), Losses())
        OUTWARD.request({**hub, "model": MODEL}, Losses())
    except CannotSay as refused:
        assert refused.param


@given(requests, paths, anything, st.sampled_from([MODEL, "claude-sonnet-4-5", "claude-opus-4-6", "claude-opus-5-5"]))
@settings(deadline=None, max_examples=500)
def test_odd_hub_requests_are_refused_and_nothing_else(said: Json, path: list[int], value: Any, model: str) -> None:
    hub = {**INWARD.request(said, Losses()), "model": model}
    try:
        OUTWARD.request(spoilt(hub, path, value), Losses())
    except CannotSay as refused:
        assert refused.param


@given(answers, paths, anything, st.integers(1, 20))
@settings(deadline=None, max_examples=500)
def test_odd_answers_and_events_break_nothing(said: Json, path: list[int], value: Any, size: int) -> None:
    odd = spoilt(said, path, value)
    hub = OUTWARD.answer(odd if isinstance(odd, dict) else said, {}, MOMENT)
    spoilt_hub = spoilt(hub, path, value)
    assert INWARD.answer(spoilt_hub if isinstance(spoilt_hub, dict) else hub, {}, MOMENT)["type"] == "message"
    reader, writer = OUTWARD.stream({}, MOMENT), INWARD.stream({}, MOMENT)
    for event in spoilt(events(said, size), path, value) or ():
        for chunk in reader.feed("", event) if isinstance(event, dict) else ():
            odd_chunk = spoilt(chunk, path[1:], value)
            writer.feed(odd_chunk if isinstance(odd_chunk, dict) else chunk)
    for chunk in reader.end():
        writer.feed(chunk)
    assert writer.end()[-1] == ("message_stop", {"type": "message_stop"})
