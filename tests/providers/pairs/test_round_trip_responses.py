"""What callers of Responses say means the same after it went inwards and outwards again; streams say what answers say.

What is normalised on the way, beside the losses that are reported: model and stream are set by whoever calls; an input
that is a text is a message of the user; every message says its type, and no item its id or status; a first message of
the system that is a text becomes the instructions; what a model said in one text is that text, and refusals stand
behind texts as one; pictures have a detail, and tools parameters and strictness; nothing is stored unless that is asked
for; without tools there is no choice among them; log probabilities are counted only where they are wanted.
"""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import Response

from trustgate.providers.hub import CannotSay, Json, Losses, Moment
from trustgate.providers.pairs.openai_to_responses import PAIR as OUTWARD
from trustgate.providers.pairs.responses_to_openai import PAIR as INWARD

MOMENT = Moment(id="0" * 32, created=1, model="asked-model")
LOGPROBS = "message.output_text.logprobs"
LOST: Json = {
    "max_tool_calls": 3,
    "truncation": "auto",
    "context_management": [{"type": "compaction"}],
}
NO_PARAMETERS: Json = {"type": "object", "properties": {}}

words = st.text(min_size=1, max_size=12)
names = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
marks = st.sampled_from([{}, {"prompt_cache_breakpoint": {"mode": "explicit"}}])
texts = st.builds(lambda text, mark: {"type": "input_text", "text": text, **mark}, words, marks)
images = st.builds(
    lambda url, more: {"type": "input_image", "image_url": url, **more},
    st.sampled_from(["https://example.com/a.png", "data:image/png;base64,AAAA"]),
    st.sampled_from([{}, {"detail": "low"}, {"detail": "auto"}]),
)
files = st.sampled_from(
    [
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"},
        {"type": "input_file", "file_id": "file-1"},
        {"type": "input_file", "file_url": "https://example.com/a.pdf"},
    ]
)
sounds = st.just({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}})
typed = st.sampled_from([{}, {"type": "message"}])
users = st.builds(
    lambda content, more: {"role": "user", "content": content, **more},
    words | st.lists(texts | images | files | sounds, min_size=1, max_size=3),
    typed,
)
systems = st.builds(
    lambda role, content: {"type": "message", "role": role, "content": content},
    st.sampled_from(["system", "developer"]),
    words | st.lists(texts, min_size=1, max_size=2),
)
said_parts = words.map(lambda text: {"type": "output_text", "text": text, "annotations": []}) | words.map(
    lambda text: {"type": "refusal", "refusal": text}
)
speeches = st.builds(
    lambda content: {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": content},
    words | st.lists(said_parts, min_size=1, max_size=3),
)
summaries = st.lists(words.map(lambda text: {"type": "summary_text", "text": text}), max_size=3)
reasonings = st.builds(
    lambda identity, summary: {"type": "reasoning", "id": identity, "summary": summary, "encrypted_content": "gAAAAA"},
    names,
    summaries,
) | st.builds(
    lambda text: {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": text}]}, words
)
functions = st.builds(
    lambda name, arguments: {"type": "function_call", "id": "fc_1", "name": name, "arguments": json.dumps(arguments)},
    names,
    st.dictionaries(names, words, max_size=2),
)
customs = st.builds(lambda name, said: {"type": "custom_tool_call", "name": name, "input": said}, names, words)
outputs = words | st.lists(texts | images | files, min_size=1, max_size=2)
calls = st.lists(st.tuples(st.none() | reasonings, functions | customs, outputs), max_size=3)
turns = st.tuples(st.lists(st.tuples(st.none() | reasonings, speeches), max_size=2), calls)


def conversation(turns: list[Any]) -> list[Json]:
    """Return the items: of a turn of the model its thoughts, messages and calls, and behind them all results."""
    items: list[Json] = []
    for number, turn in enumerate(turns):
        if isinstance(turn, dict):
            items.append(turn)
            continue
        said, called = turn
        items += [item for pair in said for item in pair if item]
        results = []
        for at, (thought, call, output) in enumerate(called):
            identity = f"call_{number}_{at}"
            items += [thought] if thought else []
            items.append({**call, "call_id": identity})
            results.append({"type": f"{call['type']}_output", "call_id": identity, "output": output})
        items += results or [{"role": "user", "content": "Go on."}]
    return items


schemas = st.dictionaries(names, st.sampled_from([{"type": "string"}, {"type": "integer"}]), max_size=3).map(
    lambda properties: {"type": "object", "properties": properties, "required": sorted(properties)}
)
tools = st.builds(
    lambda name, more, parameters, strict: {"type": "function", "name": name, **more, **parameters, **strict},
    names,
    st.just({}) | words.map(lambda text: {"description": text}),
    st.sampled_from([{}, {"parameters": None}]) | schemas.map(lambda schema: {"parameters": schema}),
    st.sampled_from([{}, {"strict": None}, {"strict": True}, {"strict": False}]),
) | st.builds(
    lambda name, form: {"type": "custom", "name": name, **form},
    names.map(lambda name: f"custom_{name}"),
    st.sampled_from([{}, {"format": {"type": "text"}}, {"format": {"type": "grammar", "syntax": "regex"}}]),
)
formats = st.sampled_from([{"type": "text"}, {"type": "json_object"}]) | st.builds(
    lambda name, schema, more: {"type": "json_schema", "name": name, "schema": schema, **more},
    names,
    schemas,
    st.sampled_from([{}, {"strict": True}, {"strict": False, "description": "x"}]),
)
requests: st.SearchStrategy[Json] = st.fixed_dictionaries(
    {"input": words | st.lists(users | systems | turns, min_size=1, max_size=4).map(conversation)},
    optional={
        "instructions": words,
        "tools": st.lists(tools, max_size=3, unique_by=lambda tool: tool["name"]),
        "tool_choice": st.sampled_from(["auto", "none", "required"]),
        "parallel_tool_calls": st.booleans(),
        "text": st.fixed_dictionaries({}, optional={"format": formats, "verbosity": st.just("low")}),
        "reasoning": st.sampled_from([{"effort": "low"}, {"effort": "high", "summary": None}]),
        "include": st.lists(st.sampled_from([LOGPROBS, "reasoning.encrypted_content"]), max_size=2, unique=True),
        "top_logprobs": st.integers(1, 20),
        "max_output_tokens": st.integers(16, 9999),
        "temperature": st.floats(0, 2, allow_nan=False),
        "top_p": st.floats(0, 1, allow_nan=False),
        "store": st.booleans(),
        "metadata": st.dictionaries(names, words, max_size=2),
        "user": words,
        "safety_identifier": words,
        "service_tier": st.sampled_from(["auto", "flex"]),
        "prompt_cache_key": words,
        "moderation": st.just({"model": "omni-moderation-latest"}),
        **{name: st.just(value) for name, value in LOST.items()},
    },
)


def normal(said: Json) -> Json:
    """State what comes back of a request."""
    told = {name: value for name, value in said.items() if name not in (*LOST, "include", "input", "reasoning", "text")}
    told["store"] = said.get("store") is True
    told["input"] = normal_input(told, said["input"])
    if LOGPROBS in said.get("include", ()):
        told["include"] = [LOGPROBS]
    else:
        told.pop("top_logprobs", None)
    if said.get("text"):
        told["text"] = said["text"]
    if "reasoning" in said:
        told["reasoning"] = {"effort": said["reasoning"]["effort"]}
    if said.get("tools"):
        told["tools"] = [normal_tool(tool) for tool in said["tools"]]
    else:
        for name in ("tools", "tool_choice", "parallel_tool_calls"):
            told.pop(name, None)
    return told


def normal_input(told: Json, given: Any) -> list[Json]:
    """Return the items, and put the instructions beside them, if they are not there."""
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": given}]
    items = [normal_item(item) for item in given]
    first = items[0]
    if "instructions" in told or len(items) < 2 or first.get("role") != "system" or isinstance(first["content"], list):
        return items
    told["instructions"] = first["content"]
    return items[1:]


def normal_item(item: Json) -> Json:
    kind = item.get("type", "message")
    told = {name: value for name, value in item.items() if name not in ("id", "status")}
    if kind == "reasoning":
        return item
    if kind == "message":
        content = item["content"]
        said = normal_said(content) if item["role"] == "assistant" else normal_parts(content)
        return {**told, "type": "message", "content": said}
    return {**told, "output": normal_parts(item["output"])} if "output" in item else told


def normal_parts(content: Any) -> Any:
    if isinstance(content, str):
        return content
    return [{"detail": "auto", **part} if part["type"] == "input_image" else part for part in content]


def normal_said(content: Any) -> Any:
    if isinstance(content, str):
        return content
    said = [{"type": "output_text", "text": part["text"]} for part in content if part["type"] == "output_text"]
    refusal = "".join(part.get("refusal", "") for part in content)
    if not refusal and len(said) == 1:
        return said[0]["text"]
    return [*said, {"type": "refusal", "refusal": refusal}] if refusal else said


def normal_tool(tool: Json) -> Json:
    if tool["type"] == "custom":
        return tool
    return {**tool, "strict": tool.get("strict") is True, "parameters": tool.get("parameters") or NO_PARAMETERS}


@given(requests)
@settings(deadline=None, max_examples=300)
def test_a_request_comes_back_up_to_its_losses(said: Json) -> None:
    before, losses = json.dumps(said), Losses()
    hub = INWARD.request({"model": "m", "stream": True, **said}, losses)
    given_hub = json.dumps(hub)
    again = OUTWARD.request(hub, losses)
    assert again == normal(said)
    assert (json.dumps(said), json.dumps(hub)) == (before, given_hub), "a translation changed what it was given"
    lost = {name for name in LOST if name in said}
    if "top_logprobs" in said and LOGPROBS not in said.get("include", ()):
        lost.add("top_logprobs")
    if said.get("tool_choice") == "required" and not said.get("tools"):
        lost.add("tool_choice")
    assert set(losses.paths) == lost
    assert OUTWARD.request(INWARD.request(again, Losses()), Losses()) == again


any_items = st.lists(
    users | speeches | reasonings | functions.map(lambda call: {**call, "call_id": "c"}) | systems,
    min_size=1,
    max_size=8,
)


def told_in(items: list[Json]) -> tuple[str, list[Any], list[str], int]:
    """Return what models and others said, the names of what was called, and how many thoughts there are."""
    spoken = [item for item in items if item.get("role") == "assistant"]
    heard = [item["content"] for item in items if item.get("role") in ("user", "system", "developer")]
    parts = [part for item in spoken for part in normal_parts(normal_said(item["content"]))]
    text = "".join(part if isinstance(part, str) else part.get("text", "") for part in parts)
    names = [item["name"] for item in items if item.get("type") == "function_call"]
    return text, heard, names, len([item for item in items if item.get("type") == "reasoning"])


@given(any_items)
@settings(deadline=None, max_examples=200)
def test_no_item_is_lost_in_any_order(items: list[Json]) -> None:
    again = OUTWARD.request(INWARD.request({"input": items}, Losses()), Losses())
    told = [normal_item(item) for item in items][1 if "instructions" in again else 0 :]
    assert told_in(again["input"]) == told_in(told)
    assert OUTWARD.request(INWARD.request(again, Losses()), Losses()) == again


# Thoughts of others, carried by a caller of Responses.

blocks = st.lists(
    st.builds(lambda text, sig: {"type": "thinking", "thinking": text, "signature": sig}, st.text(max_size=9), words)
    | words.map(lambda data: {"type": "redacted_thinking", "data": data}),
    max_size=3,
)
extras = st.sampled_from([{}, {"extra_content": {"google": {"thought_signature": "AA=="}}}])
hub_calls = st.lists(
    st.builds(
        lambda name, arguments, extra: {
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments)},
            **extra,
        },
        names,
        st.dictionaries(names, words, max_size=2),
        extras,
    ),
    max_size=3,
).map(lambda calls: [{"id": f"call_{at}", **call} for at, call in enumerate(calls)])
hub_answers = st.builds(
    lambda content, refusal, thoughts, called, extra, reason, usage: {
        "model": "a-model",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": content,
                    **({"refusal": refusal} if refusal else {}),
                    **({"thinking_blocks": thoughts} if thoughts else {}),
                    **({"tool_calls": called} if called else {}),
                    **(extra if content else {}),
                },
                "finish_reason": reason,
            }
        ],
        **({"usage": usage} if usage else {}),
    },
    st.none() | words,
    st.none() | words,
    blocks,
    hub_calls,
    extras,
    st.sampled_from(["stop", "length", "tool_calls", "content_filter"]),
    st.none()
    | st.just(
        {
            "prompt_tokens": 9,
            "completion_tokens": 2,
            "prompt_tokens_details": {"cached_tokens": 4},
            "completion_tokens_details": {"reasoning_tokens": 1},
        }
    ),
)


@given(hub_answers)
@settings(deadline=None, max_examples=300)
def test_what_others_thought_comes_back_with_the_conversation(answer: Json) -> None:
    """A caller sends back what it heard: all of it is in the hub's message again, byte for byte."""
    message = answer["choices"][0]["message"]
    heard = INWARD.answer(answer, {}, MOMENT)
    Response.model_validate(heard, strict=True)
    hub = INWARD.request({"input": [*heard["output"], {"role": "user", "content": "Go on."}]}, Losses())
    spoken = hub["messages"][:-1]
    if not heard["output"]:
        assert spoken == []
        return
    (again,) = spoken
    again.pop("reasoning_content", None)
    expected = {name: value for name, value in message.items() if name != "content" and value}
    if message.get("extra_content") and not (message.get("content") or message.get("tool_calls")):
        expected.pop("extra_content")
    nothing = None if message.get("tool_calls") or message.get("refusal") else ""
    assert again == {**expected, "content": message["content"] or nothing}


def cut(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def chunks_of(answer: Json, size: int) -> list[Json]:
    """The chunks in which the hub would stream a whole answer."""
    (choice,) = answer["choices"]
    message = choice["message"]
    deltas: list[Json] = [{"role": "assistant", "content": ""}]
    for block in message.get("thinking_blocks", ()):
        if block["type"] == "thinking":
            pieces = [{"type": "thinking", "thinking": piece} for piece in cut(block["thinking"], size)]
            deltas += [{"thinking_blocks": [piece], "reasoning_content": piece["thinking"]} for piece in pieces]
            deltas.append({"thinking_blocks": [{**block, "thinking": ""}]})
        else:
            deltas.append({"thinking_blocks": [block]})
    deltas += [{"content": piece} for piece in cut(message["content"] or "", size)]
    deltas += [{"refusal": piece} for piece in cut(message.get("refusal") or "", size)]
    for index, call in enumerate(message.get("tool_calls", ())):
        deltas.append({"tool_calls": [{**call, "index": index, "function": {**call["function"], "arguments": ""}}]})
        for piece in cut(call["function"]["arguments"], size):
            deltas.append({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    if "extra_content" in message:
        deltas.append({"extra_content": message["extra_content"]})
    chunks: list[Json] = [{"model": answer["model"], "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]})
    return [*chunks, {"choices": [], "usage": answer.get("usage")}]


@given(hub_answers, st.integers(1, 7))
@settings(deadline=None, max_examples=300)
def test_a_caller_hears_the_same_live_and_whole(answer: Json, size: int) -> None:
    asked: Json = {"input": "Hi", "instructions": "Be brief."}
    writer = INWARD.stream(asked, MOMENT)
    events = [event for chunk in chunks_of(answer, size) for event in writer.feed(chunk)] + list(writer.end())
    assert [data["sequence_number"] for _, data in events] == list(range(len(events)))
    assert all(name == data["type"] for name, data in events)
    assert [name for name, _ in events[:2]] == ["response.created", "response.in_progress"]
    whole = INWARD.answer(answer, asked, MOMENT)
    name, last = events[-1]
    assert name == f"response.{whole['status']}"
    assert last["response"] == whole
    done = {data["output_index"]: data["item"] for name, data in events if name == "response.output_item.done"}
    assert [done[at] for at in sorted(done)] == whole["output"]


# Answers and streams of a provider.

cited = st.lists(
    st.builds(
        lambda start, size: {
            "type": "url_citation",
            "start_index": start,
            "end_index": start + size,
            "url": "https://example.com",
            "title": "Example",
        },
        st.integers(0, 5),
        st.integers(1, 3),
    ),
    max_size=2,
)
answer_parts = st.builds(
    lambda text, annotations: {"type": "output_text", "text": text, "annotations": annotations}, words, cited
) | words.map(lambda text: {"type": "refusal", "refusal": text})
answer_items = st.lists(
    st.lists(answer_parts, max_size=3).map(lambda parts: {"type": "message", "role": "assistant", "content": parts})
    | reasonings
    | st.builds(lambda call, identity: {**call, "call_id": identity}, functions | customs, names)
    | st.just({"type": "web_search_call", "id": "ws_1", "status": "completed"}),
    max_size=5,
)
answers = st.builds(
    lambda output, ending, usage: {
        "id": "resp_1",
        "created_at": 1741476542,
        "model": "gpt-5",
        "output": output,
        **ending,
        **({"usage": usage} if usage else {}),
    },
    answer_items,
    st.sampled_from(
        [
            {"status": "completed", "incomplete_details": None},
            {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
            {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}},
            {"status": "incomplete", "incomplete_details": {"reason": "steered"}, "service_tier": "flex"},
        ]
    ),
    st.none()
    | st.builds(
        lambda count: {"input_tokens": count, "output_tokens": 2, "output_tokens_details": {"reasoning_tokens": 1}},
        st.integers(0, 9999),
    ),
)


def events_of(answer: Json, size: int) -> list[Json]:
    """Return the events that OpenAI would send for this answer, in pieces of this many characters."""
    events: list[Json] = [{"type": "response.created", "response": {**answer, "output": [], "usage": None}}]
    for output, item in enumerate(answer["output"]):
        bare = {**item, **{name: "" for name in ("arguments", "input") if name in item}}
        events.append({"type": "response.output_item.added", "output_index": output, "item": bare})
        events += [{**event, "output_index": output} for event in pieces_of(item, size)]
        events.append({"type": "response.output_item.done", "output_index": output, "item": item})
    return [*events, {"type": f"response.{answer['status']}", "response": answer}]


def pieces_of(item: Json, size: int) -> list[Json]:
    def deltas(kind: str, text: str, **place: int) -> list[Json]:
        return [{"type": kind, "delta": piece, **place} for piece in cut(text, size)]

    events: list[Json] = []
    for at, part in enumerate(item.get("content", ()) if item["type"] == "message" else ()):
        kind = part["type"]
        events += deltas(f"response.{kind}.delta", part.get("text") or part["refusal"], content_index=at)
        for annotation in part.get("annotations", ()):
            events.append(
                {"type": "response.output_text.annotation.added", "content_index": at, "annotation": annotation}
            )
    for at, part in enumerate(item.get("summary", ())):
        events += deltas("response.reasoning_summary_text.delta", part["text"], summary_index=at)
    for at, part in enumerate(item.get("content", ()) if item["type"] == "reasoning" else ()):
        events += deltas("response.reasoning_text.delta", part["text"], content_index=at)
    events += deltas("response.function_call_arguments.delta", item.get("arguments", ""))
    return events + deltas("response.custom_tool_call_input.delta", item.get("input", ""))


def heard(events: list[Json]) -> Json:
    """Return the answer that a client of OpenAI's chat puts together from a stream."""
    reader = OUTWARD.stream({}, MOMENT)
    message: Json = {"role": "assistant", "content": "", "refusal": ""}
    choice: Json = {"index": 0, "message": message, "logprobs": None}
    answer: Json = {"object": "chat.completion", "choices": [choice]}
    for each in events:
        assert not reader.finished
        for chunk in reader.feed(each["type"], each):
            names = ("id", "created", "model", "usage", "service_tier")
            answer.update({name: chunk[name] for name in names if name in chunk})
            for told in chunk["choices"]:
                add(message, told["delta"])
                choice.update({name: value for name, value in told.items() if name not in ("index", "delta")})
    assert reader.finished
    assert not reader.end()
    message["refusal"] = message["refusal"] or None
    if not message["content"] and ("tool_calls" in message or message["refusal"]):
        message["content"] = None
    return answer


def add(message: Json, delta: Json) -> None:
    for name in ("content", "refusal", "reasoning_content"):
        if name in delta:
            message[name] = message.get(name, "") + delta[name]
    if "annotations" in delta:
        message.setdefault("annotations", []).extend(delta["annotations"])
    for block in delta.get("thinking_blocks", ()):
        add_thought(message.setdefault("thinking_blocks", []), block)
    for call in delta.get("tool_calls", ()):
        told = message.setdefault("tool_calls", [])
        kind = call.get("type", "function")
        if call["index"] == len(told):
            told.append({"id": call["id"], "type": kind, kind: dict(call[kind])})
        else:
            field = "arguments" if kind == "function" else "input"
            told[call["index"]][kind][field] += call[kind][field]


def add_thought(blocks: list[Json], block: Json) -> None:
    if not blocks or "signature" in blocks[-1]:
        blocks.append({"type": "thinking", "thinking": ""})
    blocks[-1]["thinking"] += block["thinking"]
    blocks[-1].update({name: value for name, value in block.items() if name == "signature"})


@given(answers, st.integers(1, 7))
@settings(deadline=None, max_examples=400)
def test_a_stream_says_what_the_answer_says(answer: Json, size: int) -> None:
    assert heard(events_of(answer, size)) == OUTWARD.answer(answer, {}, MOMENT)


@given(answers)
@settings(deadline=None, max_examples=200)
def test_a_stream_of_whole_items_says_what_the_answer_says(answer: Json) -> None:
    kinds = ("response.created", "response.output_item.done", f"response.{answer['status']}")
    events = [event for event in events_of(answer, 9) if event["type"] in kinds]
    assert heard(events) == OUTWARD.answer(answer, {}, MOMENT)


@given(answers)
@settings(deadline=None, max_examples=200)
def test_an_answer_goes_back_to_its_provider(answer: Json) -> None:
    """A caller of chat sends back the message it heard: the provider hears its own items, in their order."""
    message = OUTWARD.answer(answer, {}, MOMENT)["choices"][0]["message"]
    message.pop("annotations", None)
    calls = [call["id"] for call in message.get("tool_calls", ())]
    again = OUTWARD.request({"messages": [{"role": "user", "content": "Hi"}, message]}, Losses())["input"][1:]
    thoughts = [item for item in answer["output"] if item["type"] == "reasoning"]
    assert [item for item in again if item["type"] == "reasoning"] == thoughts
    assert [item["call_id"] for item in again if "call_id" in item] == calls
    if message["refusal"]:
        return
    kinds = [
        item["type"] for item in answer["output"] if item["type"] != "message" and item["type"] != "web_search_call"
    ]
    if not message["content"]:
        assert [item["type"] for item in again] == kinds
    spoken = "".join(item["content"] for item in again if item["type"] == "message")
    assert spoken == (message["content"] or "")


# Whatever else is said.

values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3) | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["type", "text", "content", "summary", "item", "delta", "part", "response", "output"]),
            inner,
        )
        | st.dictionaries(
            st.sampled_from(["message", "tool_calls", "function", "thinking_blocks", "signature", "annotations"]), inner
        )
    ),
    max_leaves=10,
)
kinds = st.sampled_from(
    [
        *("response.created", "response.output_item.added", "response.output_item.done", "response.output_text.delta"),
        *("response.reasoning_summary_text.delta", "response.reasoning_text.delta", "response.refusal.delta"),
        *("response.function_call_arguments.delta", "response.output_text.annotation.added", "response.completed"),
    ]
)
item_kinds = st.sampled_from(["message", "reasoning", "function_call", "custom_tool_call", "mcp_call", ""])
odd_items = st.builds(
    lambda kind, fields: {"type": kind, **fields},
    item_kinds,
    st.dictionaries(
        st.sampled_from(["content", "summary", "encrypted_content", "call_id", "name", "arguments", "input"]), values
    ),
)


@given(
    st.dictionaries(st.sampled_from(["id", "usage", "status", "created_at", "incomplete_details", "choices"]), values),
    st.lists(odd_items | values, max_size=3) | values,
)
@settings(deadline=None, max_examples=300)
def test_no_answer_is_too_odd(said: Json, output: Any) -> None:
    OUTWARD.answer({**said, "output": output}, {}, MOMENT)
    Response.model_validate(INWARD.answer(said, {}, MOMENT), strict=True)
    INWARD.answer({**said, "choices": [{"message": output, "finish_reason": said.get("status")}]}, {}, MOMENT)


@given(st.lists(st.tuples(kinds, odd_items | values, values, values), max_size=5))
@settings(deadline=None, max_examples=300)
def test_no_event_is_too_odd(events: list[tuple[str, Any, Any, Any]]) -> None:
    reader, writer = OUTWARD.stream({}, MOMENT), INWARD.stream({"include": [LOGPROBS]}, MOMENT)
    for kind, item, delta, index in events:
        fields = {"item": item, "delta": delta, "response": item, "annotation": delta, "logprobs": item}
        reader.feed(kind, {"type": kind, **fields, "output_index": index, "summary_index": index})
        writer.feed({"choices": [{"delta": delta, "finish_reason": index, "logprobs": item}], "usage": index})
    reader.end()
    writer.end()


odd: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.text(max_size=3)
    | st.sampled_from(["user", "function", "text"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["role", "content", "type", "text", "tool_calls", "function", "id"]), inner)
        | st.dictionaries(st.sampled_from(["image_url", "url", "file", "thinking_blocks", "signature", "name"]), inner)
    ),
    max_leaves=10,
)
odd_messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "tool", "system"])},
        optional={"content": odd, "tool_calls": odd, "thinking_blocks": odd, "refusal": odd, "tool_call_id": odd},
    ),
    max_size=3,
)
asked_items = st.lists(
    st.builds(
        lambda kind, fields: {"type": kind, **fields},
        item_kinds | st.sampled_from(["function_call_output", "additional_tools", "item_reference"]),
        st.dictionaries(
            st.sampled_from(
                ["role", "content", "summary", "encrypted_content", "call_id", "name", "arguments", "output", "tools"]
            ),
            odd,
        ),
    ),
    max_size=3,
)
odd_requests = st.dictionaries(
    st.sampled_from(
        [
            *("tools", "tool_choice", "response_format", "thinking", "reasoning_effort", "max_tokens", "n", "model"),
            *("text", "reasoning", "include", "instructions", "metadata", "store", "truncation", "temperature"),
            *("web_search_options", "top_logprobs", "parallel_tool_calls", "previous_response_id", "background"),
        ]
    ),
    odd,
)


@given(odd_requests, odd_messages | odd, asked_items | odd)
@settings(deadline=None, max_examples=500)
def test_a_request_is_translated_or_refused(said: Json, messages: Any, items: Any) -> None:
    for pair in (OUTWARD, INWARD):
        try:
            pair.request({**said, "messages": messages, "input": items}, Losses())
        except CannotSay as refused:
            assert refused.param
            assert refused.message
