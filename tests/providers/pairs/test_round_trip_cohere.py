"""What Cohere's callers say means the same after it went inwards and outwards again; streams say what answers say.

What is normalised on the way, beside the losses that are reported: model and stream are set by whoever calls; the
thoughts of a message stand first, as one; text beside calls of tools becomes their plan; `k` 0, `logprobs` false and
`strict_tools` false, which are what Cohere does anyway, are left out; documents are read out as text.
"""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from trustgate.providers.hub import CannotSay, Json, Losses, Moment
from trustgate.providers.pairs.cohere_to_openai import PAIR as INWARD
from trustgate.providers.pairs.openai_to_cohere import PAIR as OUTWARD

MOMENT = Moment(id="0" * 32, created=1, model="asked-model")
LOST = ("safety_mode", "priority", "citation_options")

words = st.text(min_size=1, max_size=12)
names = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
texts = words.map(lambda text: {"type": "text", "text": text})
thoughts = words.map(lambda text: {"type": "thinking", "thinking": text})
images = st.builds(
    lambda url, more: {"type": "image_url", "image_url": {"url": url, **more}},
    st.sampled_from(["https://example.com/a.png", "data:image/png;base64,AAAA", "data:image/jpeg;base64,BBBB"]),
    st.sampled_from([{}, {"detail": "low"}, {"detail": "auto"}]),
)
calls = st.builds(
    lambda identity, name, arguments: {
        "id": identity,
        "type": "function",
        "function": {"name": name, "arguments": json.dumps(arguments)},
    },
    names,
    names,
    st.dictionaries(names, words, max_size=2),
)
users = st.builds(
    lambda content: {"role": "user", "content": content}, words | st.lists(texts | images, min_size=1, max_size=3)
)
systems = st.builds(
    lambda content: {"role": "system", "content": content}, words | st.lists(texts, min_size=1, max_size=2)
)
speeches = st.builds(
    lambda content: {"role": "assistant", "content": content},
    words | st.lists(texts | thoughts, min_size=1, max_size=4),
)
callings = st.builds(
    lambda plan, called, content, cited: {"role": "assistant", "tool_calls": called, **plan, **content, **cited},
    st.just({}) | words.map(lambda text: {"tool_plan": text}),
    st.lists(calls, min_size=1, max_size=3),
    st.just({}) | st.just({"content": None}) | st.lists(thoughts | texts, max_size=2).map(lambda c: {"content": c}),
    st.just({}) | st.just({"citations": [{"start": 0, "end": 1, "text": "x", "sources": []}]}),
)
results = st.builds(
    lambda identity, content: {"role": "tool", "tool_call_id": identity, "content": content},
    names,
    words | st.lists(texts, min_size=1, max_size=2),
)
schemas = st.dictionaries(names, st.sampled_from([{"type": "string"}, {"type": "integer"}]), max_size=3).map(
    lambda properties: {"type": "object", "properties": properties, "required": sorted(properties)}
)
tools = st.builds(
    lambda name, more, parameters: {"type": "function", "function": {"name": name, **more, "parameters": parameters}},
    names,
    st.just({}) | words.map(lambda text: {"description": text}),
    schemas,
)
fractions = st.floats(0, 1, allow_nan=False)
requests: st.SearchStrategy[Json] = st.fixed_dictionaries(
    {"messages": st.lists(users | systems | speeches | callings | results, min_size=1, max_size=5)},
    optional={
        "tools": st.lists(tools, min_size=1, max_size=3),
        "strict_tools": st.booleans(),
        "tool_choice": st.sampled_from(["REQUIRED", "NONE"]),
        "response_format": st.sampled_from([{"type": "text"}, {"type": "json_object"}])
        | schemas.map(lambda schema: {"type": "json_object", "json_schema": schema}),
        "max_tokens": st.integers(1, 9999),
        "stop_sequences": st.lists(words, min_size=1, max_size=5),
        "temperature": st.floats(0, 2, allow_nan=False),
        "seed": st.integers(0, 2**64 - 1),
        "frequency_penalty": fractions,
        "presence_penalty": fractions,
        "k": st.integers(0, 500),
        "p": st.floats(0.01, 0.99, allow_nan=False),
        "logprobs": st.booleans(),
        "thinking": st.sampled_from(
            [{"type": "enabled"}, {"type": "disabled"}, {"type": "enabled", "token_budget": 500}]
        ),
        "safety_mode": st.just("STRICT"),
        "priority": st.integers(0, 9),
        "citation_options": st.sampled_from([{"mode": "FAST"}, {"mode": "OFF"}]),
    },
)


def normal(said: Json) -> Json:
    """State what comes back of a request."""
    told = {name: value for name, value in said.items() if name not in LOST}
    told["messages"] = [normal_message(message) for message in said["messages"]]
    for name in ("k", "logprobs", "strict_tools"):
        if not told.get(name):
            told.pop(name, None)
    if not said.get("tools"):
        told.pop("strict_tools", None)
    return told


def normal_message(message: Json) -> Json:
    if message["role"] != "assistant":
        return message
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    thought = "".join(part["thinking"] for part in parts if part["type"] == "thinking")
    first = [{"type": "thinking", "thinking": thought}] if thought else []
    said = [part for part in parts if part["type"] == "text"]
    if not message.get("tool_calls"):
        return {"role": "assistant", "content": content if isinstance(content, str) else [*first, *said] or ""}
    plan = message.get("tool_plan", "") + "".join(part["text"] for part in said)
    told: Json = {"role": "assistant", "tool_calls": message["tool_calls"]}
    return {**told, **({"content": first} if first else {}), **({"tool_plan": plan} if plan else {})}


@given(requests)
@settings(deadline=None, max_examples=300)
def test_a_request_comes_back_up_to_its_losses(said: Json) -> None:
    before, losses = json.dumps(said), Losses()
    hub = INWARD.request({"model": "m", "stream": True, **said}, losses)
    given_hub = json.dumps(hub)
    again = OUTWARD.request(hub, losses)
    assert again == normal(said)
    assert (json.dumps(said), json.dumps(hub)) == (before, given_hub), "a translation changed what it was given"
    lost = {name for name in LOST if name in said and said[name] != {"mode": "OFF"}}
    if any(message.get("citations") for message in said["messages"]):
        lost.add("messages.citations")
    assert set(losses.paths) == lost
    assert OUTWARD.request(INWARD.request(again, Losses()), Losses()) == again


# Answers and streams.

citations = st.builds(
    lambda start, size, sources: {
        "start": start,
        "end": start + size,
        "text": "x" * size,
        "type": "TEXT_CONTENT",
        "sources": sources,
    },
    st.integers(0, 5),
    st.integers(1, 3),
    st.lists(
        st.builds(
            lambda identity, text: {"type": "document", "id": identity, "document": {"id": identity, "text": text}},
            names,
            words,
        ),
        max_size=2,
    ),
)
answers = st.builds(
    lambda plan, content, called, cited, word, usage: {
        "id": "an-id",
        "message": {
            "role": "assistant",
            **({"tool_plan": plan} if plan else {}),
            **({"content": content} if content else {}),
            **({"tool_calls": called} if called else {}),
            **({"citations": cited} if cited else {}),
        },
        "finish_reason": word,
        "usage": {
            "billed_units": {"input_tokens": usage, "output_tokens": usage + 1},
            "tokens": {"input_tokens": usage + 9, "output_tokens": usage + 9},
        },
    },
    st.just("") | words,
    st.lists(texts | thoughts, max_size=3),
    st.lists(calls, max_size=3),
    st.lists(citations, max_size=2),
    st.sampled_from(["COMPLETE", "STOP_SEQUENCE", "MAX_TOKENS", "TOOL_CALL", "TIMEOUT"]),
    st.integers(0, 9999),
)


def pieces(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def event(kind: str, index: int | None, message: Json) -> Json:
    return {"type": kind, **({} if index is None else {"index": index}), "delta": {"message": message}}


def events_of(answer: Json, size: int) -> list[Json]:
    """Return the events that Cohere would send for this answer, in pieces of this many characters."""
    message = answer["message"]
    events = [{**event("message-start", None, {"role": "assistant"}), "id": answer["id"]}]
    events += [
        event("tool-plan-delta", None, {"tool_plan": each}) for each in pieces(message.get("tool_plan", ""), size)
    ]
    for index, block in enumerate(message.get("content", [])):
        kind = block["type"]
        events.append(event("content-start", index, {"content": {"type": kind, kind: ""}}))
        events += [event("content-delta", index, {"content": {kind: each}}) for each in pieces(block[kind], size)]
        events.append({"type": "content-end", "index": index})
    for index, citation in enumerate(message.get("citations", [])):
        events += [
            event("citation-start", index, {"citations": citation}),
            {"type": "citation-end", "index": index},
        ]
    for index, call in enumerate(message.get("tool_calls", [])):
        bare = {**call, "function": {**call["function"], "arguments": ""}}
        events.append(event("tool-call-start", index, {"tool_calls": bare}))
        for each in pieces(call["function"]["arguments"], size):
            events.append(event("tool-call-delta", index, {"tool_calls": {"function": {"arguments": each}}}))
        events.append({"type": "tool-call-end", "index": index})
    end = {"finish_reason": answer["finish_reason"], "usage": answer["usage"]}
    return [*events, {"type": "message-end", "delta": end}]


def heard(events: list[Json], asked: Json) -> Json:
    """Return the answer that a client of OpenAI puts together from a stream."""
    reader = OUTWARD.stream(asked, MOMENT)
    message: Json = {"role": "assistant", "content": "", "refusal": None}
    choice: Json = {"index": 0, "message": message}
    answer: Json = {"choices": [choice]}
    for each in events:
        assert not reader.finished
        for chunk in reader.feed(each["type"], each):
            answer.update({name: chunk[name] for name in ("id", "created", "model", "usage") if name in chunk})
            for told in chunk["choices"]:
                add(message, told["delta"])
                choice.update({name: value for name, value in told.items() if name not in ("index", "delta")})
    assert reader.finished
    assert not reader.end()
    if not message["content"] and "tool_calls" in message:
        message["content"] = None
    return answer


def add(message: Json, delta: Json) -> None:
    for name in ("content", "reasoning_content"):
        if name in delta:
            message[name] = message.get(name, "") + delta[name]
    if "citations" in delta:
        message.setdefault("citations", []).extend(delta["citations"])
    for call in delta.get("tool_calls", ()):
        told = message.setdefault("tool_calls", [])
        if call["index"] == len(told):
            told.append({**call, "function": dict(call["function"])})
            del told[-1]["index"]
        else:
            told[call["index"]]["function"]["arguments"] += call["function"]["arguments"]


@given(answers, st.integers(1, 7), st.sampled_from([{}, {"stop": "x"}, {"stop": ["x", "y"]}]))
@settings(deadline=None, max_examples=300)
def test_a_stream_says_what_the_answer_says(answer: Json, size: int, asked: Json) -> None:
    whole = OUTWARD.answer(answer, asked, MOMENT)
    del whole["object"]
    assert heard(events_of(answer, size), asked) == whole


@given(answers)
@settings(deadline=None, max_examples=200)
def test_an_answer_comes_back(answer: Json) -> None:
    """Thoughts as one, all text as one, and as the plan where there are calls; each source is a citation of its own."""
    again = INWARD.answer(OUTWARD.answer(answer, {}, MOMENT), {}, MOMENT)
    message = answer["message"]
    content = message.get("content", [])
    text = message.get("tool_plan", "") + "".join(part.get("text", "") for part in content)
    thought = "".join(part.get("thinking", "") for part in content)
    expected: list[Any] = [{"type": "thinking", "thinking": thought}] if thought else []
    if not message.get("tool_calls"):
        expected.append({"type": "text", "text": text})
    assert again["message"].get("content", []) == expected
    assert again["message"].get("tool_plan", "") == (text if message.get("tool_calls") else "")
    assert again["message"].get("tool_calls", []) == message.get("tool_calls", [])
    assert (again["id"], again["finish_reason"]) == (answer["id"], answer["finish_reason"])
    assert again["usage"]["billed_units"] == answer["usage"]["billed_units"]
    sources = [source for citation in message.get("citations", []) for source in citation["sources"]]
    assert [each["sources"] for each in again["message"].get("citations", [])] == [[source] for source in sources]


def test_citations_point_into_all_that_was_said() -> None:
    """Cohere counts from the beginning of a block, the hub from that of the content."""
    source = {"type": "document", "id": "doc:0", "document": {"snippet": "x"}}
    cited = [
        {"start": 0, "end": 3, "text": "two", "content_index": 2, "sources": [source]},
        {"start": 0, "end": 3, "text": "one", "content_index": 0, "sources": [source]},
        {"start": 2, "end": 6, "text": "plan", "type": "PLAN", "sources": [source]},
        {"start": 0, "end": 1, "text": "h", "type": "THINKING_CONTENT", "content_index": 1, "sources": [source]},
    ]
    content = [
        {"type": "text", "text": "one "},
        {"type": "thinking", "thinking": "hm"},
        {"type": "text", "text": "two"},
    ]
    message = {"tool_plan": "A plan. ", "content": content, "citations": cited}
    answer = {"id": "an-id", "message": message, "finish_reason": "COMPLETE", "usage": {}}
    whole = OUTWARD.answer(answer, {}, MOMENT)["choices"][0]["message"]
    assert whole["content"] == "A plan. one two"
    spans = [whole["content"][each["start_index"] : each["end_index"]] for each in whole["citations"]]
    assert spans == ["two", "one", "plan"]
    assert heard(events_of(answer, 2), {})["choices"][0]["message"] == whole
    again = INWARD.answer({"choices": [{"message": whole}]}, {}, MOMENT)["message"]
    assert [each["text"] for each in again["citations"]] == spans
    assert {again["content"][each["content_index"]]["type"] for each in again["citations"]} == {"text"}


values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3) | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["message", "content", "delta", "type", "text", "tool_calls", "function", "citations"]),
            inner,
        )
        | st.dictionaries(
            st.sampled_from(["sources", "start", "end", "usage", "billed_units", "choices", "index"]), inner
        )
    ),
    max_leaves=10,
)
kinds = st.sampled_from(["message-start", "content-delta", "tool-call-start", "tool-call-delta", "citation-start"])


@given(st.dictionaries(st.sampled_from(["id", "message", "usage", "finish_reason", "logprobs", "choices"]), values))
@settings(deadline=None, max_examples=300)
def test_no_answer_is_too_odd(said: Json) -> None:
    OUTWARD.answer(said, {}, MOMENT)
    INWARD.answer(said, {"logprobs": True}, MOMENT)


@given(st.lists(st.tuples(kinds | st.just("message-end"), values, values), max_size=4))
@settings(deadline=None, max_examples=300)
def test_no_event_is_too_odd(events: list[tuple[str, Any, Any]]) -> None:
    reader, writer = OUTWARD.stream({}, MOMENT), INWARD.stream({"logprobs": True}, MOMENT)
    for kind, delta, index in events:
        reader.feed(kind, {"type": kind, "delta": delta, "index": index})
        reader.feed(kind, {"type": kind, "delta": {"message": delta}, "logprobs": index})
        writer.feed({"choices": [{"delta": delta, "finish_reason": index}], "usage": index})
    reader.end()
    writer.end()


odd: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.text(max_size=3)
    | st.sampled_from(["user", "assistant", "tool"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["role", "content", "type", "text", "tool_calls", "function", "id"]), inner)
        | st.dictionaries(st.sampled_from(["image_url", "url", "thinking_blocks", "thinking", "tool_plan"]), inner)
    ),
    max_leaves=10,
)
odd_messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "tool", "system"])},
        optional={"content": odd, "tool_calls": odd, "thinking_blocks": odd, "tool_plan": odd, "tool_call_id": odd},
    ),
    max_size=3,
)
odd_requests = st.dictionaries(
    st.sampled_from(
        [
            *("messages", "tools", "tool_choice", "stop", "top_p", "seed", "response_format", "thinking", "n"),
            *("documents", "citation_options", "p", "k", "stop_sequences", "strict_tools", "reasoning_effort"),
        ]
    ),
    odd,
)


@given(odd_requests, odd_messages | odd)
@settings(deadline=None, max_examples=500)
def test_a_request_is_translated_or_refused(said: Json, messages: Any) -> None:
    for pair in (OUTWARD, INWARD):
        try:
            pair.request({**said, "messages": messages}, Losses())
        except CannotSay as refused:
            assert refused.param
            assert refused.message
