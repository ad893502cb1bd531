"""What was really said in Responses is understood by OpenAI's SDK as chat, and what we say in it by the same SDK."""

import base64
import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from genai_prices import extract_usage
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response

from trustgate.contract import sse
from trustgate.providers.hub import CannotSay, Json, Losses, Moment
from trustgate.providers.lenses.completions import LENS as COMPLETIONS
from trustgate.providers.lenses.openai_responses import LENS
from trustgate.providers.pairs import completions_to_openai
from trustgate.providers.pairs.openai_to_responses import PAIR as OUTWARD
from trustgate.providers.pairs.openai_to_responses.thoughts import texts_of
from trustgate.providers.pairs.responses_to_openai import PAIR as INWARD

DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "provider-traffic"
GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "responses_to_openai"
MOMENT = Moment(id="0" * 32, created=1, model="asked-model")
REFUSED = ("background", "previous_response_id", "conversation", "input.")
"""What nobody but the one who answered before can be asked: its state, and items and pictures by their ids."""


class Recorded:
    """One request, and its answer."""

    def __init__(self, row: Json) -> None:
        self.id: str = row["id"]
        self.provider: str = row["provider"]
        self.stream: bool = row["stream"]
        self.status: int = row["status"]
        pair = json.loads((DATA / row["file"]).read_bytes())
        self.path: str = pair["request"]["path"]
        self.asked: Any = pair["request"]["body"]
        response = pair["response"]
        body = response.get("body", "")
        whole = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.raw = base64.b64decode(response["body_b64"]) if "body_b64" in response else whole

    def events(self) -> Iterator[tuple[str, bytes]]:
        for event in sse.split(self.raw):
            name, data = sse.read(event)
            if data not in (b"", b"[DONE]"):
                yield name, data


@lru_cache
def recorded(api: str) -> list[Recorded]:
    index = DATA / "index.jsonl"
    rows = [json.loads(line) for line in index.read_text("utf-8").splitlines()] if index.is_file() else []
    pairs = [Recorded(row) for row in rows if row["api"] == api]
    return [pair for pair in pairs if pair.path.endswith(f"/{api}") and isinstance(pair.asked, dict)]


def of(api: str, *, stream: bool | None = None, status: int | None = 200) -> pytest.MarkDecorator:
    found = [pair for pair in recorded(api) if stream in (None, pair.stream) and status in (None, pair.status)]
    return pytest.mark.parametrize("pair", found, ids=lambda pair: pair.id)


here = pytest.mark.skipif(not recorded("responses"), reason=f"the recorded traffic is not here: {DATA}")


def hub_asked(pair: Recorded) -> Json:
    try:
        return {**INWARD.request(pair.asked, Losses()), "model": pair.asked["model"]}
    except CannotSay:
        return {"model": pair.asked["model"], "messages": []}


def answer_of(pair: Recorded) -> Json:
    said: Json = json.loads(pair.raw)
    if said["status"] == "queued":
        pytest.skip("an answer in the background, which has not been given yet")
    return said


def text_of(said: Json) -> str:
    messages = [item for item in said["output"] if item["type"] == "message"]
    return "".join(part["text"] for item in messages for part in item["content"] if part["type"] == "output_text")


def calls_of(said: Json) -> list[tuple[str, str, str]]:
    calls = [item for item in said["output"] if item["type"] == "function_call"]
    return [(call["call_id"], call["name"], call["arguments"]) for call in calls]


def finish_of(said: Json) -> str:
    reason = (said.get("incomplete_details") or {}).get("reason")
    if reason == "max_output_tokens":
        return "length"
    return "tool_calls" if calls_of(said) else "stop"


def check_usage(usage: Any, said: Json) -> None:
    """Our count must be that of those who keep everybody's prices."""
    if said["usage"] is None:
        assert usage is None
        return
    counted = extract_usage({**said, "model": "gpt-5"}, provider_id="openai", api_flavor="responses").usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (counted.input_tokens, counted.output_tokens)
    assert usage.prompt_tokens_details.cached_tokens == (counted.cache_read_tokens or 0)
    assert usage.prompt_tokens_details.cache_write_tokens == (counted.cache_write_tokens or 0)
    assert usage.completion_tokens_details.reasoning_tokens == (counted.output_reasoning_tokens or 0)
    assert usage.total_tokens == said["usage"]["total_tokens"]


@here
@of("responses", stream=False)
def test_answers_are_chats(pair: Recorded) -> None:
    said = answer_of(pair)
    hub = OUTWARD.answer(said, hub_asked(pair), MOMENT)
    told = ChatCompletion.model_validate(hub, strict=True)
    (choice,) = told.choices
    message = hub["choices"][0]["message"]
    assert (choice.message.content or "") == text_of(said)
    calls = [(call["id"], *call["function"].values()) for call in message.get("tool_calls", ())]
    assert calls == calls_of(said)
    assert choice.finish_reason == finish_of(said)
    thoughts = ["\n\n".join(texts_of(item)[0]) for item in said["output"] if item["type"] == "reasoning"]
    assert [block["thinking"] for block in message.get("thinking_blocks", ())] == thoughts
    assert (told.id, told.model) == (said["id"], said["model"])
    check_usage(told.usage, said)
    spans = [each.url_citation for each in choice.message.annotations or ()]
    assert all(0 <= span.start_index <= span.end_index <= len(text_of(said)) for span in spans)


@here
@of("responses", stream=False)
def test_answers_come_back(pair: Recorded) -> None:
    said = answer_of(pair)
    again = INWARD.answer(OUTWARD.answer(said, hub_asked(pair), MOMENT), pair.asked, MOMENT)
    Response.model_validate(again, strict=True)
    assert (text_of(again), calls_of(again)) == (text_of(said), calls_of(said))
    assert again["status"] == ("completed" if said["status"] == "complete" else said["status"])
    for name in ("input_tokens", "output_tokens", "total_tokens") if said["usage"] else ():
        assert again["usage"][name] == said["usage"][name]


@here
@of("responses", stream=True)
def test_streams_are_chats(pair: Recorded) -> None:
    reader = OUTWARD.stream(hub_asked(pair), MOMENT)
    text, reasons, usages = "", [], []
    arguments: dict[int, list[str]] = {}
    last: Json = {}
    for name, data in pair.events():
        last = json.loads(data)
        for raw in reader.feed(name, last):
            chunk = ChatCompletionChunk.model_validate(raw, strict=True)
            usages += [chunk.usage] if chunk.usage else []
            for choice in chunk.choices:
                text += choice.delta.content or ""
                reasons += [choice.finish_reason] if choice.finish_reason else []
                for call in choice.delta.tool_calls or ():
                    assert call.function
                    if call.id and call.function.name:
                        arguments[call.index] = [call.id, call.function.name, ""]
                    arguments[call.index][2] += call.function.arguments or ""
    assert reader.finished
    said = last["response"]
    assert text == text_of(said)
    assert [tuple(arguments[index]) for index in sorted(arguments)] == calls_of(said)
    assert reasons == [finish_of(said)]
    assert len(usages) == 1
    check_usage(usages[0], said)


@here
@of("responses", stream=True)
def test_streams_come_back(pair: Recorded) -> None:
    """What a provider streamed goes to a caller of Responses again, through the SDK that checks every event."""
    asked = hub_asked(pair)
    reader, writer = OUTWARD.stream(asked, MOMENT), INWARD.stream(pair.asked, MOMENT)
    chunks = [chunk for name, data in pair.events() for chunk in reader.feed(name, json.loads(data))]
    events = [event for chunk in chunks for event in writer.feed(chunk)] + list(writer.end())
    said = json.loads(list(pair.events())[-1][1])["response"]
    told = streamed(events).model_dump()
    assert (text_of(told), calls_of(told)) == (text_of(said), calls_of(said))


def kept(item: Json) -> bool:
    """Whether an item can be said to others.

    Not what OpenAI's own tools did, no thoughts without their seal, and no message in which a model said nothing.
    """
    kind = item.get("type", "message")
    if kind == "reasoning":
        return bool(item.get("encrypted_content") or texts_of(item)[1])
    return kind in ("message", "function_call", "function_call_output") and item.get("content") != ""


def meaning(item: Json) -> tuple[Any, ...]:
    kind = item.get("type", "message")
    if kind == "reasoning":
        return kind, item.get("encrypted_content") or None, *texts_of(item)
    if kind == "function_call":
        return kind, item["call_id"], item["name"], item["arguments"]
    content = item["output"] if kind == "function_call_output" else item["content"]
    parts = [{"text": content}] if isinstance(content, str) else content
    return kind, item.get("role") or item["call_id"], [[value_of(part), part.get("filename")] for part in parts]


def value_of(part: Json) -> Any:
    return next(
        part[name] for name in ("text", "refusal", "image_url", "file_data", "file_url", "file_id") if name in part
    )


@here
@of("responses", status=None)
def test_requests_come_back(pair: Recorded) -> None:
    losses = Losses()
    try:
        hub = INWARD.request(pair.asked, losses)
    except CannotSay as refused:
        assert refused.param.startswith(REFUSED)
        return
    again = OUTWARD.request(hub, losses)
    given = pair.asked["input"]
    items = [{"role": "user", "content": given}] if isinstance(given, str) else [item for item in given if kept(item)]
    told = again["input"]
    if "instructions" in again and "instructions" not in pair.asked:
        told = [{"role": "system", "content": again["instructions"]}, *told]
    elif pair.asked.get("instructions") is not None and "instructions" not in again:
        items = [{"role": "system", "content": pair.asked["instructions"]}, *items]
    assert list(map(meaning, told)) == list(map(meaning, items))
    for name in ("temperature", "top_p", "max_output_tokens", "service_tier"):
        assert again.get(name) == pair.asked.get(name)
    wanted = (pair.asked.get("text") or {}).get("format")
    assert again.get("text", {}).get("format") == wanted
    tools = [tool for tool in pair.asked.get("tools") or () if tool["type"] == "function"]
    names = {tool["name"]: tool for tool in again.get("tools", ())}
    for tool in tools:
        assert names[tool["name"]]["parameters"] == tool["parameters"]
        assert names[tool["name"]].get("description") == (tool.get("description"))


@here
@of("responses", stream=False)
def test_the_lens_reads_answers(pair: Recorded) -> None:
    said = answer_of(pair)
    found = LENS.answer(pair.raw)
    assert found is not None
    assert found.is_answer
    assert found.error is None
    assert (found.model, found.finish_reason) == (said["model"], finish_of(said))
    assert LENS.text(pair.raw) == text_of(said)
    counted = extract_usage({**said, "model": "gpt-5"}, provider_id="openai", api_flavor="responses").usage
    assert found.usage is not None
    assert (found.usage.input, found.usage.output) == (counted.input_tokens, counted.output_tokens)
    assert (found.usage.cached_input, found.usage.cache_write) == (
        counted.cache_read_tokens or 0,
        counted.cache_write_tokens or 0,
    )


@here
@of("responses", stream=True)
def test_the_lens_reads_streams(pair: Recorded) -> None:
    events = [data for _, data in pair.events()]
    assert [LENS.last(data) for data in events] == [False] * (len(events) - 1) + [True]
    said = json.loads(events[-1])["response"]
    answered = [found for data in events if (found := LENS.answer(data)) and found.usage]
    assert len(answered) == 1
    assert answered[0].finish_reason == finish_of(said)
    pieces = "".join(text for data in events for number, text in LENS.said(data).texts.items() if number < 10**9)
    assert pieces == text_of(said)


@here
@of("responses", status=400, stream=False)
def test_the_lens_reads_errors(pair: Recorded) -> None:
    found = LENS.answer(pair.raw)
    assert found is not None
    assert not found.is_answer
    assert found.error["message"]


# The SDK hears what we say.


def streamed(events: list[tuple[str, Json]]) -> Response:
    """Return what the SDK puts together from a stream; it checks every event."""
    body = b"".join(sse.frame(name, json.dumps(data).encode()) for name, data in events)
    answer = httpx2.Response(200, content=body, headers={"content-type": "text/event-stream"})
    with client(answer).responses.stream(model="m", input="Hi") as stream:
        heard = list(stream)
    assert [event.type for event in heard] == [name for name, _ in events]
    assert [event.sequence_number for event in heard] == [data["sequence_number"] for _, data in events]
    ended = heard[-1]
    assert ended.type in ("response.completed", "response.incomplete")
    return ended.response


def client(answer: httpx2.Response) -> openai.OpenAI:
    """Return a client whose every request is answered so, and that accepts nothing that is not exactly documented."""
    wire = openai.DefaultHttpxClient(transport=httpx2.MockTransport(lambda request: answer))
    return openai.OpenAI(
        api_key="none", base_url="http://up", http_client=wire, max_retries=0, _strict_response_validation=True
    )


def goldens(what: str) -> list[Path]:
    return sorted(GOLDEN.glob(f"{what}.*.json"))


@pytest.mark.parametrize("path", goldens("stream"), ids=lambda path: path.stem)
def test_the_sdk_hears_our_streams(path: Path) -> None:
    case = json.loads(path.read_text())
    writer = INWARD.stream(case["asked"], MOMENT)
    events = [event for chunk in case["given"] for event in writer.feed(chunk)] + list(writer.end())
    told = events[-1][1]["response"]
    Response.model_validate(told, strict=True)
    heard = streamed(events)
    assert heard.output_text == text_of(told)
    assert [item.type for item in heard.output] == [item["type"] for item in told["output"]]


@pytest.mark.parametrize("path", goldens("answer"), ids=lambda path: path.stem)
def test_the_sdk_hears_our_answers(path: Path) -> None:
    case = json.loads(path.read_text())
    said = INWARD.answer(case["given"], case["asked"], MOMENT)
    heard = client(httpx2.Response(200, json=said)).responses.create(model="m", input="Hi")
    assert heard.model_dump(mode="json", exclude_unset=True, by_alias=True) == said


def test_the_sdk_hears_a_schema() -> None:
    """Its helper for typed answers reads the text of the one message."""
    writer = INWARD.stream({"input": "Hi"}, MOMENT)
    chunks: list[Json] = [{"choices": [{"delta": {"content": '{"a":'}}]}, {"choices": [{"delta": {"content": "1}"}}]}]
    events = [event for chunk in chunks for event in writer.feed(chunk)] + list(writer.end())
    assert json.loads(streamed(events).output_text) == {"a": 1}


# Completions.

completions = pytest.mark.skipif(not recorded("completions"), reason=f"the recorded traffic is not here: {DATA}")


@completions
@of("completions")
def test_completions_are_asked_of_chat(pair: Recorded) -> None:
    losses = Losses()
    prompt = pair.asked["prompt"]
    try:
        hub = completions_to_openai.PAIR.request(pair.asked, losses)
    except CannotSay as refused:
        assert refused.param == ("suffix" if pair.asked.get("suffix") else "prompt")
        assert pair.asked.get("suffix") or isinstance(prompt, list)
        return
    assert hub["messages"] == [{"role": "user", "content": prompt if isinstance(prompt, str) else prompt[0]}]
    assert hub.get("max_completion_tokens") == pair.asked.get("max_tokens")
    assert losses.paths == ()


@completions
@of("completions", stream=False)
def test_the_lens_reads_completions(pair: Recorded) -> None:
    said = json.loads(pair.raw)
    found = COMPLETIONS.answer(pair.raw)
    assert found is not None
    assert found.is_answer
    assert COMPLETIONS.text(pair.raw) == "\n".join(choice["text"] for choice in said["choices"])
    if "usage" in said:
        assert found.usage is not None
        assert found.usage.input == said["usage"]["prompt_tokens"]
        assert found.finish_reason == next(choice["finish_reason"] for choice in said["choices"])


@completions
@of("completions", stream=False)
def test_completions_are_said_as_they_were(pair: Recorded) -> None:
    """An answer of completions, put into chat's words by hand, is the same answer again."""
    said = json.loads(pair.raw)
    if pair.provider != "openai":
        pytest.skip("not as OpenAI has it")
    choices = [{**choice, "message": {"content": choice["text"]}, "logprobs": None} for choice in said["choices"]]
    told = completions_to_openai.PAIR.answer({**said, "choices": choices}, pair.asked, MOMENT)
    heard = Completion.model_validate(told, strict=True)
    assert [choice.text for choice in heard.choices] == [choice["text"] for choice in said["choices"]]
    assert [choice.finish_reason for choice in heard.choices] == [choice["finish_reason"] for choice in said["choices"]]
    assert (heard.id, heard.model, heard.created) == (said["id"], said["model"], said["created"])


@completions
@of("completions", stream=True)
def test_streams_of_completions_are_said_as_they_were(pair: Recorded) -> None:
    if pair.provider != "openai":
        pytest.skip("not as OpenAI has it")
    writer = completions_to_openai.PAIR.stream(pair.asked, MOMENT)
    for _, data in pair.events():
        said = json.loads(data)
        choices = [{**choice, "delta": {"content": choice["text"]}} for choice in said["choices"]]
        events = writer.feed({**said, "choices": choices})
        expected = {name: value for name, value in said.items() if name != "usage"}
        texts = [each for each in expected["choices"] if each["text"] or each["finish_reason"]]
        usage = said.get("usage")
        assert len(events) == bool(texts) + bool(usage)
        for _, told in events:
            assert {name: value for name, value in told.items() if name not in ("usage", "choices")} == {
                name: value for name, value in expected.items() if name != "choices"
            }
            assert told["choices"] == (texts if told["choices"] else [])
        assert COMPLETIONS.said(data).texts == {each["index"]: each["text"] for each in said["choices"] if each["text"]}
    assert not writer.end()
