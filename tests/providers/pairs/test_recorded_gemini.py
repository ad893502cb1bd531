"""What Gemini really said is understood by OpenAI's SDK, and what it was really asked means the same again."""

import base64
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from trustgate.contract import sse
from trustgate.contract.usage import Usage
from trustgate.providers.hub import CannotSay, Json, Losses, Moment
from trustgate.providers.lenses.gemini import FINISH_REASONS, LENS
from trustgate.providers.pairs import gemini_embeddings_to_openai, openai_to_gemini_embeddings
from trustgate.providers.pairs.gemini_to_openai import PAIR as INWARD
from trustgate.providers.pairs.openai_to_gemini import PAIR as OUTWARD

from .gemini_meaning import Folded, normal, unsayable

DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "provider-traffic"
MOMENT = Moment(id="0" * 32, created=1, model="asked-model")
MODEL = "gemini-3-flash-preview"
NUMBERS = {1: "STOP"}
LOST = frozenset(
    (
        *("safetySettings", "labels", "toolConfig.includeServerSideToolInvocations", "generationConfig.imageConfig"),
        *("tools.googleSearch", "tools.codeExecution", "tools.fileSearch", "tools.urlContext"),
        *("toolConfig.functionCallingConfig.mode", "contents.parts.fileData.mimeType", "thinking.budget_tokens"),
        *("contents.parts.thoughtSignature", "reasoning_effort"),
    )
)


class Recorded:
    """One request to Gemini, from Google's own API or Vertex AI, and its answer."""

    def __init__(self, row: Json) -> None:
        self.id: str = row["id"]
        pair = json.loads((DATA / row["file"]).read_bytes())
        self.asked: Json = pair["request"]["body"]
        self.raw = _raw(pair["response"])
        self.stream: bool = row["api"].startswith("stream")

    def events(self) -> list[bytes]:
        """Return the data of a stream's events, also of one that came as an array."""
        if self.raw.lstrip()[:1] == b"[":
            return [json.dumps(event).encode() for event in json.loads(self.raw)]
        return [data for event in sse.split(self.raw) if (data := sse.read(event)[1])]


def _raw(response: Json) -> bytes:
    if "body_b64" in response:
        return base64.b64decode(response["body_b64"])
    body = response.get("body", "")
    return body.encode() if isinstance(body, str) else json.dumps(body, ensure_ascii=False).encode()


@lru_cache
def recorded(*apis: str) -> list[Recorded]:
    index = DATA / "index.jsonl"
    rows = [json.loads(line) for line in index.read_text("utf-8").splitlines()] if index.is_file() else []
    rows = [row for row in rows if row["provider"] in ("gemini", "vertex") and row["status"] == 200]
    return [Recorded(row) for row in rows if row["api"] in apis]


everything = recorded("generateContent", "streamGenerateContent")
here = pytest.mark.skipif(not everything, reason=f"the recorded traffic is not here: {DATA}")
answers = pytest.mark.parametrize("pair", [each for each in everything if not each.stream], ids=lambda pair: pair.id)
streams = pytest.mark.parametrize("pair", [each for each in everything if each.stream], ids=lambda pair: pair.id)


def parts_of(said: Json) -> list[Json]:
    (candidate,) = said["candidates"]
    return list((candidate.get("content") or {}).get("parts") or ())


def texts(parts: list[Json], *, thoughts: bool = False) -> str:
    return "".join(part["text"] for part in parts if "text" in part and bool(part.get("thought")) is thoughts)


def calls(parts: list[Json]) -> list[tuple[str | None, str, Any, str | None]]:
    found = [(part["functionCall"], part.get("thoughtSignature")) for part in parts if "functionCall" in part]
    return [(call.get("id"), call["name"], call["args"], signature) for call, signature in found]


def check_message(message: Json, parts: list[Json]) -> None:
    """Check that a message of the hub says what the parts say, and keeps their signatures to the byte."""
    assert (message["content"] or "") == texts(parts)
    assert message.get("reasoning_content", "") == texts(parts, thoughts=True)
    heard = [
        (
            call["id"],
            call["function"]["name"],
            json.loads(call["function"]["arguments"]),
            call.get("extra_content", {}).get("google", {}).get("thought_signature"),
        )
        for call in message.get("tool_calls") or ()
    ]
    expected = calls(parts)
    assert [call[1:] for call in heard] == [call[1:] for call in expected]
    for number, (call, said) in enumerate(zip(heard, expected, strict=True)):
        assert call[0] == (said[0] or f"call_{MOMENT.id}_{number}")
    signed = [part["thoughtSignature"] for part in parts if "text" in part and part.get("thoughtSignature")]
    assert message.get("extra_content") == ({"google": {"thought_signature": signed[-1]}} if signed else None)
    drawn = [part["inlineData"] for part in parts if "inlineData" in part]
    assert [image["image_url"]["url"] for image in message.get("images", ())] == [
        f"data:{data['mimeType']};base64,{data['data']}" for data in drawn
    ]


def check_finish(choice: Json, said: Json, parts: list[Json]) -> None:
    reason = said["candidates"][0]["finishReason"]
    word = NUMBERS.get(reason, reason)
    told = FINISH_REASONS[word]
    assert choice["native_finish_reason"] == word
    assert choice["finish_reason"] == ("tool_calls" if calls(parts) and told == "stop" else told)


def check_usage(said: Json, told: Json) -> None:
    """Check the tokens against those who keep everybody's prices."""
    prices = pytest.importorskip("genai_prices", reason="genai-prices is not installed")
    usage = {name: value for name, value in said["usageMetadata"].items() if not name.endswith("Details")}
    answer = {"modelVersion": "gemini-2.5-flash", "usageMetadata": usage}
    read = prices.extract_usage(answer, provider_id="google", api_flavor="default").usage
    assert told["prompt_tokens"] == (read.input_tokens or 0)
    assert told["completion_tokens"] == (read.output_tokens or 0)
    assert told["total_tokens"] == told["prompt_tokens"] + told["completion_tokens"]
    assert told["total_tokens"] == said["usageMetadata"].get("totalTokenCount", told["total_tokens"])
    assert told["prompt_tokens_details"]["cached_tokens"] == (read.cache_read_tokens or 0)
    assert told["completion_tokens_details"]["reasoning_tokens"] == said["usageMetadata"].get("thoughtsTokenCount", 0)


def check_citations(message: Json, said: Json) -> None:
    """Check that every citation of a page points at the very words that Google says it is for."""
    grounding = said["candidates"][0].get("groundingMetadata") or {}
    chunks = grounding.get("groundingChunks") or ()
    expected = [
        (support["segment"]["text"], chunks[at]["web"]["uri"])
        for support in grounding.get("groundingSupports") or ()
        for at in support["groundingChunkIndices"]
        if "web" in chunks[at]
    ]
    cited = [each["url_citation"] for each in message.get("annotations", ())]
    text = message["content"] or ""
    assert [(text[each["start_index"] : each["end_index"]], each["url"]) for each in cited] == expected


@here
@answers
def test_answers_are_openais(pair: Recorded) -> None:
    said = json.loads(pair.raw)
    told = OUTWARD.answer(said, {}, MOMENT)
    ChatCompletion.model_validate(told, strict=True)
    (choice,) = told["choices"]
    check_message(choice["message"], parts_of(said))
    check_finish(choice, said, parts_of(said))
    check_citations(choice["message"], said)
    check_usage(said, told["usage"])
    assert (told["id"], told["model"]) == (said["responseId"], said["modelVersion"])
    result = said["candidates"][0].get("logprobsResult", {}).get("chosenCandidates", [])
    content = (choice["logprobs"] or {}).get("content", [])
    assert [(each["token"], each["logprob"]) for each in content] == [
        (each["token"], each["logProbability"]) for each in result
    ]


@here
@streams
def test_streams_are_openais(pair: Recorded) -> None:
    reader = OUTWARD.stream({}, MOMENT)
    events = [json.loads(data) for data in pair.events()]
    chunks: list[Json] = []
    for event in events:
        assert not reader.finished
        chunks += reader.feed("", event)
    assert reader.finished
    chunks += reader.end()
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk, strict=True)
    folded = Folded(chunks)
    parts = [part for event in events for part in parts_of(event)]
    check_message(folded.messages[0], parts)
    check_finish(folded.finishes[0], events[-1], parts)
    check_citations(folded.messages[0], events[-1])
    assert folded.usage is not None
    check_usage(events[-1], folded.usage)
    assert sum(bool(chunk.get("usage")) for chunk in chunks) == 1


@here
@pytest.mark.parametrize("pair", everything, ids=lambda pair: pair.id)
def test_requests_come_back(pair: Recorded) -> None:
    losses = Losses()
    if unsayable(pair.asked):
        with pytest.raises(CannotSay, match="to Gemini alone") as refused:
            INWARD.request(pair.asked, losses)
        assert refused.value.param.startswith("contents.")
        return
    hub = INWARD.request(pair.asked, losses)
    again = OUTWARD.request({**hub, "model": MODEL}, losses)
    assert again == normal(pair.asked)
    assert set(losses.paths) <= LOST


@here
@pytest.mark.parametrize("pair", everything, ids=lambda pair: pair.id)
def test_answers_go_back_to_geminis_callers(pair: Recorded) -> None:
    """What Gemini said is, through the hub, said again so that Google's SDK reads the same in it."""
    types = pytest.importorskip("google.genai.types", reason="Google's SDK is not installed")
    if pair.stream:
        reader, writer = OUTWARD.stream({}, MOMENT), INWARD.stream({}, MOMENT)
        said = [json.loads(data) for data in pair.events()]
        chunks = [chunk for event in said for chunk in reader.feed("", event)]
        written = [event for chunk in (*chunks, *reader.end()) for event in writer.feed(chunk)]
        told = [data for _, data in (*written, *writer.end())]
    else:
        said = [json.loads(pair.raw)]
        told = [INWARD.answer(OUTWARD.answer(said[0], {}, MOMENT), {}, MOMENT)]
    heard = [types.GenerateContentResponse.model_validate(each) for each in told]
    before, after = ([part for each in these for part in parts_of(each)] for these in (said, told))
    assert (texts(after), texts(after, thoughts=True)) == (texts(before), texts(before, thoughts=True))
    assert [call[1:] for call in calls(after)] == [call[1:] for call in calls(before)]
    assert "".join(part.text or "" for each in heard for part in each.candidates[0].content.parts) == "".join(
        part.get("text", "") for part in after
    )
    counted, stated = told[-1]["usageMetadata"], said[-1]["usageMetadata"]
    assert counted["totalTokenCount"] == stated.get("totalTokenCount", counted["totalTokenCount"])
    assert counted.get("thoughtsTokenCount", 0) == stated.get("thoughtsTokenCount", 0)
    reason = said[-1]["candidates"][0]["finishReason"]
    assert told[-1]["candidates"][0]["finishReason"] == NUMBERS.get(reason, reason)


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
    folded = Folded([*(chunk for data in pair.events() for chunk in reader.feed("", json.loads(data))), *reader.end()])
    usage, text, ended = Usage(), "", False
    for data in pair.events():
        found = LENS.answer(data)
        assert found is not None
        assert found.is_answer
        assert not ended
        usage = usage.merged(found.usage) if found.usage else usage
        said = LENS.said(data)
        text += said.texts.get(0, "")
        ended = 0 in said.finished
        assert ended is bool(found.finish_reason)
        assert not LENS.last(data)
    assert ended
    assert text == (folded.messages[0]["content"] or "")
    assert folded.usage is not None
    check_lens(usage, folded.usage)


def check_lens(usage: Usage, told: Json) -> None:
    assert (usage.input, usage.output) == (told["prompt_tokens"], told["completion_tokens"])
    assert usage.cached_input == told["prompt_tokens_details"]["cached_tokens"]
    assert usage.reasoning_output == told["completion_tokens_details"]["reasoning_tokens"]


@pytest.mark.skipif(not recorded("batchEmbedContents"), reason=f"the recorded traffic is not here: {DATA}")
@pytest.mark.parametrize("pair", recorded("batchEmbedContents", "embedContent"), ids=lambda pair: pair.id)
def test_embeddings_come_back(pair: Recorded) -> None:
    losses = Losses()
    hub = gemini_embeddings_to_openai.PAIR.request(pair.asked, losses)
    assert set(losses.paths) <= {"taskType"}
    again = openai_to_gemini_embeddings.PAIR.request({**hub, "model": "gemini-embedding-001"}, losses)
    asked = pair.asked.get("requests") or [pair.asked]
    assert [each["content"]["parts"] for each in again["requests"]] == [each["content"]["parts"] for each in asked]
    sizes = [each.get("outputDimensionality") for each in asked]
    assert [each.get("outputDimensionality") for each in again["requests"]] == sizes
    said = json.loads(pair.raw)
    vectors = said.get("embeddings") or [said["embedding"]]
    told = openai_to_gemini_embeddings.PAIR.answer({**said, "embeddings": vectors}, hub, MOMENT)
    assert [each["embedding"] for each in told["data"]] == [each["values"] for each in vectors]
    assert ("usage" in told) is ("usageMetadata" in said)
    back = gemini_embeddings_to_openai.PAIR.answer(told, pair.asked, MOMENT)
    name = "embeddings" if "requests" in pair.asked else "embedding"
    assert back[name] == said[name]
    counted = back.get("usageMetadata", {}).get("promptTokenCount")
    assert counted == said.get("usageMetadata", {}).get("promptTokenCount")
