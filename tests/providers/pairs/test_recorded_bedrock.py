"""What Bedrock really said and was really asked: every recorded Converse call, both ways."""

import base64
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer
from genai_prices import extract_usage
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from trustgate.providers.eventstream import EVENT_STREAM
from trustgate.providers.hub import CannotSay, Json, Losses, Moment
from trustgate.providers.lenses.bedrock import FINISH, LENS
from trustgate.providers.pairs.bedrock_to_openai import PAIR as INWARD
from trustgate.providers.pairs.openai_to_bedrock import PAIR as OUTWARD

from .bedrock_meaning import bedrock_message, hub_message, meaning

DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "provider-traffic"
MOMENT = Moment(id="0" * 32, created=1_700_000_000, model="asked-model")
ASKED: Json = {"model": "asked-model", "messages": []}
UNTRANSLATABLE = ("promptVariables", "messages.0.content.1.video.format")
"""Of the latter the recorded word is `video/mp4`, which Bedrock refused as well."""


@lru_cache
def rows() -> list[Json]:
    index = DATA / "index.jsonl"
    if not index.is_file():
        return []
    found: list[Json] = [json.loads(line) for line in index.read_text("utf-8").splitlines()]
    return [row for row in found if row["provider"] == "bedrock" and row["api"].startswith("converse")]


def recorded(row: Json) -> Json:
    found: Json = json.loads((DATA / row["file"]).read_bytes())
    return found


def parsed(part: Json) -> Any:
    """The JSON of a body, None for one that was lost in the recording."""
    body = part.get("body")
    if not isinstance(body, str):
        return body
    try:
        return json.loads(body)
    except ValueError:
        return None


def of(*, status: int | None = 200, stream: bool | None = None) -> pytest.MarkDecorator:
    wanted = [row for row in rows() if status in (None, row["status"]) and (stream is None or row["stream"] == stream)]
    return pytest.mark.parametrize("row", wanted, ids=lambda row: row["id"])


pytestmark = pytest.mark.skipif(not rows(), reason=f"the recorded traffic is not here: {DATA}")


def text_of(blocks: list[Json]) -> str:
    parts = (part for block in blocks for part in (block, *block.get("citationsContent", {}).get("content", ())))
    return "".join(part.get("text", "") for part in parts)


def tools_of(blocks: list[Json]) -> list[tuple[str, str, Any]]:
    uses = [block["toolUse"] for block in blocks if "toolUse" in block]
    return [(use["toolUseId"], use["name"], use["input"]) for use in uses]


def check_usage(said: Json, usage: Json) -> None:
    """Our count must be that of a library which knows what each provider means by its numbers."""
    counted = extract_usage(said, provider_id="aws", api_flavor="default").usage
    details = usage.get("prompt_tokens_details", {})
    assert usage["prompt_tokens"] == counted.input_tokens
    assert usage["completion_tokens"] == counted.output_tokens
    assert details.get("cached_tokens", 0) == (counted.cache_read_tokens or 0)
    assert details.get("cache_write_tokens", 0) == (counted.cache_write_tokens or 0)
    assert usage["total_tokens"] == said["usage"]["totalTokens"]


@of(stream=False)
def test_an_answer_means_the_same_to_openais_clients(row: Json) -> None:
    said = parsed(recorded(row)["response"])
    if said is None or "output" not in said:
        pytest.skip("the answer was lost in the recording")
    hub = OUTWARD.answer(said, ASKED, MOMENT)
    ChatCompletion.model_validate(hub, strict=True)
    choice, blocks = hub["choices"][0], said["output"]["message"]["content"]
    assert (choice["message"]["content"] or "") == text_of(blocks)
    calls = choice["message"].get("tool_calls", ())
    told = [(call["id"], call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls]
    assert told == tools_of(blocks)
    assert choice["finish_reason"] == FINISH[said["stopReason"]]
    thoughts = [block["reasoningContent"] for block in blocks if "reasoningContent" in block]
    assert len(choice["message"].get("thinking_blocks", ())) == len(thoughts)
    check_usage(said, hub["usage"])
    again = INWARD.answer(hub, {}, MOMENT)
    ours = again["output"]["message"]["content"]
    assert (text_of(ours), tools_of(ours)) == (text_of(blocks), tools_of(blocks))
    assert (again["stopReason"], again["usage"]["totalTokens"]) == (said["stopReason"], said["usage"]["totalTokens"])


@of(stream=False)
def test_the_lens_reads_what_the_pair_says(row: Json) -> None:
    said = parsed(recorded(row)["response"])
    if said is None or "output" not in said:
        pytest.skip("the answer was lost in the recording")
    hub = OUTWARD.answer(said, ASKED, MOMENT)
    found = LENS.answer(json.dumps(said).encode())
    assert found is not None
    assert found.usage is not None
    assert (found.usage.input, found.usage.output) == (hub["usage"]["prompt_tokens"], hub["usage"]["completion_tokens"])
    assert found.finish_reason == hub["choices"][0]["finish_reason"]
    assert LENS.text(json.dumps(said).encode()) == (hub["choices"][0]["message"]["content"] or "")


def by_botocore(raw: bytes) -> list[Json]:
    buffer: Any = EventStreamBuffer()
    buffer.add_data(raw)
    return [{message.headers[":event-type"]: json.loads(message.payload)} for message in buffer]


@of(stream=True)
def test_a_stream_means_the_same_to_openais_clients(row: Json) -> None:
    raw = base64.b64decode(recorded(row)["response"]["body_b64"])
    aligner = EVENT_STREAM.aligner()
    frames = [frame for at in range(0, len(raw), 100) for frame in EVENT_STREAM.split(aligner.feed(raw[at : at + 100]))]
    assert b"".join(frames) == raw
    stream = OUTWARD.stream(ASKED, MOMENT)
    chunks: list[Json] = []
    for name, data in map(EVENT_STREAM.event, frames):
        chunks += stream.feed(name, json.loads(data))
    assert stream.finished
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk, strict=True)
    said, told = bedrock_message(by_botocore(raw)), hub_message([*chunks, *stream.end()])
    assert told["content"] == text_of(said["content"])
    assert [(c["id"], c["name"], json.loads(c["arguments"])) for c in told["calls"]] == tools_of(said["content"])
    assert told["finish"] == FINISH[said["stopReason"]]
    check_usage(said, told["usage"])


@of(stream=True)
def test_the_lens_reads_a_stream(row: Json) -> None:
    raw = base64.b64decode(recorded(row)["response"]["body_b64"])
    events = [EVENT_STREAM.event(frame)[1] for frame in EVENT_STREAM.split(raw)]
    said = bedrock_message(by_botocore(raw))
    texts: dict[int, str] = {}
    for event in events:
        for block, text in LENS.said(event).texts.items():
            texts[block] = texts.get(block, "") + text
    blocks = [text_of([block]) for block in said["content"]]
    assert [text for text in blocks if text] == list(texts.values())
    assert [LENS.last(event) for event in events] == [*[False] * (len(events) - 1), True]
    last = LENS.answer(events[-1])
    assert last is not None
    assert last.usage is not None
    assert (last.usage.input, last.usage.output) == (said["usage"]["inputTokens"], said["usage"]["outputTokens"])


@of(status=None)
def test_a_request_means_the_same_after_its_way_to_the_hub_and_back(row: Json) -> None:
    body = parsed(recorded(row)["request"])
    if body is None:
        pytest.skip("the request is not JSON")
    losses, later = Losses(), Losses()
    try:
        hub = {**INWARD.request(body, losses), "model": row["model"]}
    except CannotSay as cannot:
        assert cannot.param in UNTRANSLATABLE
        return
    again = meaning(OUTWARD.request(hub, later))
    assert again == meaning(without(body, losses.paths))
    assert later.paths == ()


LOST = {"guardrailConfig", "performanceConfig"}


def without(body: Json, losses: tuple[str, ...]) -> Json:
    """The request without what was reported as lost, where that is a parameter."""
    assert set(losses) <= LOST | {"messages.content.guardContent"}
    said = {name: value for name, value in body.items() if name not in losses}
    if "messages.content.guardContent" in losses:
        said["messages"] = [
            {**message, "content": [_unguarded(block) for block in message["content"]]} for message in body["messages"]
        ]
    return said


def _unguarded(block: Json) -> Json:
    return {"text": block["guardContent"]["text"]["text"]} if "guardContent" in block else block


@pytest.mark.parametrize("row", [row for row in rows() if row["status"] >= 400], ids=lambda row: row["id"])
def test_the_lens_reads_errors(row: Json) -> None:
    said = parsed(recorded(row)["response"])
    found = LENS.answer(json.dumps(said).encode())
    assert found is not None
    assert found.error == {"message": said.get("message", said.get("Message"))}
    assert not found.is_answer
