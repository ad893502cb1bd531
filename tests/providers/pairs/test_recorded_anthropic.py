"""What Anthropic really said is understood by OpenAI's SDK, and what it was really asked means the same again."""

import base64
import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from trustgate.contract import sse
from trustgate.contract.usage import Usage
from trustgate.providers.hub import CannotSay, Json, Losses, Moment
from trustgate.providers.lenses.anthropic import FINISH_REASONS, LENS
from trustgate.providers.pairs.anthropic_to_openai import PAIR as INWARD
from trustgate.providers.pairs.openai_to_anthropic import PAIR as OUTWARD

from .anthropic_meaning import Folded, normal, unsayable

DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "provider-traffic"
MOMENT = Moment(id="0" * 32, created=1, model="asked-model")


class Recorded:
    """One request to Messages, and its answer."""

    def __init__(self, row: Json) -> None:
        self.id: str = row["id"]
        self.stream: bool = row["stream"]
        pair = json.loads((DATA / row["file"]).read_bytes())
        self.asked: Json = pair["request"]["body"]
        self.raw = _raw(pair["response"])

    def events(self) -> Iterator[tuple[str, Json]]:
        """Return the events of a stream."""
        for event in sse.split(self.raw):
            name, data = sse.read(event)
            yield name, json.loads(data)


def _raw(response: Json) -> bytes:
    if "body_b64" in response:
        return base64.b64decode(response["body_b64"])
    body = response.get("body", "")
    return body.encode() if isinstance(body, str) else json.dumps(body, ensure_ascii=False).encode()


@lru_cache
def recorded() -> list[Recorded]:
    index = DATA / "index.jsonl"
    rows = [json.loads(line) for line in index.read_text("utf-8").splitlines()] if index.is_file() else []
    wanted = ("anthropic", "messages", 200)
    pairs = [Recorded(row) for row in rows if (row["provider"], row["api"], row["status"]) == wanted]
    return [pair for pair in pairs if pair.raw and isinstance(pair.asked, dict)]


here = pytest.mark.skipif(not recorded(), reason=f"the recorded traffic is not here: {DATA}")
answers = pytest.mark.parametrize("pair", [each for each in recorded() if not each.stream], ids=lambda pair: pair.id)
streams = pytest.mark.parametrize("pair", [each for each in recorded() if each.stream], ids=lambda pair: pair.id)


def texts(said: Json) -> str:
    return "".join(block["text"] for block in said["content"] if block["type"] == "text")


def calls(said: Json) -> list[tuple[str, str, Any]]:
    return [(block["id"], block["name"], block["input"]) for block in said["content"] if block["type"] == "tool_use"]


def heard_calls(message: Json) -> list[tuple[str, str, Any]]:
    return [
        (call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))
        for call in message.get("tool_calls") or ()
    ]


def check_usage(usage: Json, told: Json) -> None:
    """Check the tokens against those who keep everybody's prices (and overlook what it took to compact)."""
    if any(each["type"] == "compaction" for each in usage.get("iterations") or ()):
        assert told["prompt_tokens"] > usage["input_tokens"]
        return
    prices = pytest.importorskip("genai_prices", reason="genai-prices is not installed")
    read = prices.extract_usage({"model": "claude-sonnet-4-5", "usage": usage}, provider_id="anthropic").usage
    details = told["prompt_tokens_details"]
    assert told["prompt_tokens"] == (read.input_tokens or 0)
    assert told["completion_tokens"] == (read.output_tokens or 0)
    assert told["total_tokens"] == told["prompt_tokens"] + told["completion_tokens"]
    assert (details["cached_tokens"], details["cache_write_tokens"]) == (
        read.cache_read_tokens or 0,
        read.cache_write_tokens or 0,
    )


@here
@answers
def test_answers_are_openais(pair: Recorded) -> None:
    said = json.loads(pair.raw)
    told = OUTWARD.answer(said, pair.asked, MOMENT)
    ChatCompletion.model_validate(told, strict=True)
    (choice,) = told["choices"]
    assert (choice["message"]["content"] or "") == texts(said)
    assert heard_calls(choice["message"]) == calls(said)
    assert choice["native_finish_reason"] == said["stop_reason"]
    assert choice["finish_reason"] == FINISH_REASONS[said["stop_reason"]]
    thoughts = [block for block in said["content"] if "thinking" in block["type"]]
    assert choice["message"].get("thinking_blocks", []) == thoughts
    cited = choice["message"].get("citations", [])
    spans = [choice["message"]["content"][each["start_index"] : each["end_index"]] for each in cited]
    assert spans == [block["text"] for block in said["content"] for _ in block.get("citations") or ()]
    check_usage(said["usage"], told["usage"])


@here
@streams
def test_streams_are_openais(pair: Recorded) -> None:
    reader = OUTWARD.stream(pair.asked, MOMENT)
    events = list(pair.events())
    chunks = [chunk for name, data in events for chunk in reader.feed(name, data)]
    assert reader.finished
    chunks += reader.end()
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk, strict=True)
    whole = assembled(events)
    told, folded = OUTWARD.answer(whole, pair.asked, MOMENT), Folded(chunks)
    message = told["choices"][0]["message"]
    assert (folded.message["content"] or "") == texts(whole)
    assert heard_calls(folded.message) == calls(whole)
    assert {**folded.message, "tool_calls": None} == {**message, "tool_calls": None}
    assert folded.finish.get("native_finish_reason") == whole["stop_reason"]
    assert folded.usage == told["usage"]
    assert folded.usage is not None
    check_usage(whole["usage"], folded.usage)


def assembled(events: list[tuple[str, Json]]) -> Json:
    """Return the whole message that a stream says, put together as the documentation of streaming tells."""
    message: Json = {}
    inputs: dict[int, str] = {}
    for _, data in events:
        match data["type"]:
            case "message_start":
                message = json.loads(json.dumps(data["message"]))
            case "content_block_start":
                message["content"].append(json.loads(json.dumps(data["content_block"])))
            case "content_block_delta":
                _assemble(message["content"][data["index"]], data["delta"], inputs, data["index"])
            case "content_block_stop" if inputs.get(data["index"]):
                message["content"][data["index"]]["input"] = json.loads(inputs[data["index"]])
            case "message_delta":
                message.update({name: value for name, value in data["delta"].items() if value is not None})
                message["usage"].update(data["usage"])
    return message


def _assemble(block: Json, delta: Json, inputs: dict[int, str], index: int) -> None:
    match delta["type"]:
        case "text_delta":
            block["text"] += delta["text"]
        case "thinking_delta":
            block["thinking"] += delta["thinking"]
        case "signature_delta":
            block["signature"] = delta["signature"]
        case "citations_delta":
            block["citations"] = [*(block.get("citations") or ()), delta["citation"]]
        case "input_json_delta":
            inputs[index] = inputs.get(index, "") + delta["partial_json"]


@here
@pytest.mark.parametrize("pair", recorded(), ids=lambda pair: pair.id)
def test_requests_come_back(pair: Recorded) -> None:
    losses = Losses()
    if unsayable(pair.asked):
        with pytest.raises(CannotSay, match="to Anthropic alone") as refused:
            INWARD.request(pair.asked, losses)
        assert refused.value.param.startswith("messages.")
        return
    hub = INWARD.request(pair.asked, losses)
    again = OUTWARD.request({**hub, "model": "a-name-of-our-own"}, losses)
    expected = normal(pair.asked)
    expected.setdefault("max_tokens", again["max_tokens"])
    assert again == expected


@here
@answers
def test_the_lens_reads_what_the_translation_says(pair: Recorded) -> None:
    told = OUTWARD.answer(json.loads(pair.raw), {}, MOMENT)
    found = LENS.answer(pair.raw)
    assert found is not None
    assert found.usage is not None
    assert found.is_answer
    assert found.error is None
    assert LENS.text(pair.raw) == (told["choices"][0]["message"]["content"] or "")
    assert (found.model, found.finish_reason) == (told["model"], told["choices"][0]["finish_reason"])
    check_lens(found.usage, told["usage"])


@here
@streams
def test_the_lens_reads_what_the_translated_stream_says(pair: Recorded) -> None:
    reader = OUTWARD.stream({}, MOMENT)
    folded = Folded([*(chunk for name, data in pair.events() for chunk in reader.feed(name, data)), *reader.end()])
    usage, text, reason, last = Usage(), "", "", False
    for event in sse.split(pair.raw):
        data = sse.read(event)[1]
        found = LENS.answer(data)
        assert found is not None
        assert found.is_answer
        usage = usage.merged(found.usage) if found.usage else usage
        reason = found.finish_reason or reason
        text += "".join(LENS.said(data).texts.values())
        last = LENS.last(data)
    assert last
    assert text == (folded.message["content"] or "")
    assert reason == folded.finish.get("finish_reason", "")
    assert folded.usage is not None
    check_lens(usage, folded.usage)


def check_lens(usage: Usage, told: Json) -> None:
    assert (usage.input, usage.output) == (told["prompt_tokens"], told["completion_tokens"])
    details = told["prompt_tokens_details"]
    assert (usage.cached_input, usage.cache_write) == (details["cached_tokens"], details["cache_write_tokens"])
    assert usage.reasoning_output == told["completion_tokens_details"]["reasoning_tokens"]
