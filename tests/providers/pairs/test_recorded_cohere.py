"""What Cohere really said is understood by OpenAI's SDK, and what we say in its dialect by Cohere's own."""

import base64
import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from trustgate.contract import sse
from trustgate.providers.hub import Json, Losses, Moment
from trustgate.providers.lenses.cohere import FINISH_REASONS, LENS
from trustgate.providers.pairs import cohere_embeddings_to_openai, openai_to_cohere_embeddings
from trustgate.providers.pairs.cohere_to_openai import PAIR as INWARD
from trustgate.providers.pairs.openai_to_cohere import PAIR as OUTWARD

DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "provider-traffic"
GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "cohere_to_openai"
MOMENT = Moment(id="0" * 32, created=1, model="asked-model")


class Recorded:
    """One request to Cohere's second version, and its answer."""

    def __init__(self, row: Json) -> None:
        self.id: str = row["id"]
        self.stream: bool = row["stream"]
        pair = json.loads((DATA / row["file"]).read_bytes())
        self.path: str = pair["request"]["path"]
        self.asked: Json = pair["request"]["body"]
        response = pair["response"]
        body = response.get("body", "")
        self.raw = (
            base64.b64decode(response["body_b64"])
            if "body_b64" in response
            else body.encode()
            if isinstance(body, str)
            else json.dumps(body).encode()
        )

    def events(self) -> Iterator[tuple[str, bytes]]:
        for event in sse.split(self.raw):
            yield sse.read(event)


@lru_cache
def recorded(api: str) -> list[Recorded]:
    index = DATA / "index.jsonl"
    rows = [json.loads(line) for line in index.read_text("utf-8").splitlines()] if index.is_file() else []
    pairs = [Recorded(row) for row in rows if (row["provider"], row["api"], row["status"]) == ("cohere", api, 200)]
    return [pair for pair in pairs if pair.path == f"/v2/{api}"]


here = pytest.mark.skipif(not recorded("chat"), reason=f"the recorded traffic is not here: {DATA}")


def hub_asked(pair: Recorded) -> Json:
    return INWARD.request(pair.asked, Losses())


def extracted(answer: Json) -> tuple[int | None, int | None]:
    """What those read who keep everybody's prices."""
    prices = pytest.importorskip("genai_prices", reason="genai-prices is not installed")
    usage = prices.extract_usage({"model": "command-r", **answer}, provider_id="cohere").usage
    return usage.input_tokens, usage.output_tokens


@here
@pytest.mark.parametrize("pair", [each for each in recorded("chat") if not each.stream], ids=lambda pair: pair.id)
def test_answers_are_openais(pair: Recorded) -> None:
    said = json.loads(pair.raw)
    told = ChatCompletion.model_validate(OUTWARD.answer(said, hub_asked(pair), MOMENT), strict=True)
    (choice,) = told.choices
    message = said["message"]
    content = message.get("content", [])
    assert choice.message.content == message.get("tool_plan", "") + "".join(part.get("text", "") for part in content)
    thoughts = "".join(part.get("thinking", "") for part in content)
    assert getattr(choice.message, "reasoning_content", "") == thoughts
    assert [call.model_dump() for call in choice.message.tool_calls or ()] == message.get("tool_calls", [])
    assert choice.finish_reason == FINISH_REASONS[said["finish_reason"]]
    assert told.usage is not None
    assert (told.usage.prompt_tokens, told.usage.completion_tokens) == extracted(said)
    assert told.id == said["id"]
    cited = getattr(choice.message, "citations", [])
    assert len(cited) == sum(len(citation["sources"]) for citation in message.get("citations", []))
    text = choice.message.content or ""
    spans = [text[each["start_index"] : each["end_index"]] for each in cited]
    assert spans == [citation["text"] for citation in message.get("citations", []) for _ in citation["sources"]]


@here
@pytest.mark.parametrize("pair", [each for each in recorded("chat") if each.stream], ids=lambda pair: pair.id)
def test_streams_are_openais(pair: Recorded) -> None:
    reader = OUTWARD.stream(hub_asked(pair), MOMENT)
    text, arguments, names, reasons, usages, expected = "", "", [], [], [], ""
    for name, data in pair.events():
        if data == b"[DONE]":
            break
        event = json.loads(data)
        told = event.get("delta", {}).get("message", {}) if event["type"] != "message-start" else {}
        calls = told.get("tool_calls") or {"function": {}}
        expected += told.get("tool_plan", "") + (told.get("content") or {}).get("text", "")
        expected += "".join(calls["function"].get(field, "") for field in ("name", "arguments"))
        for raw in reader.feed(name, event):
            chunk = ChatCompletionChunk.model_validate(raw, strict=True)
            usages += [chunk.usage] if chunk.usage else []
            for choice in chunk.choices:
                text += choice.delta.content or ""
                reasons += [choice.finish_reason] if choice.finish_reason else []
                for call in choice.delta.tool_calls or ():
                    assert call.function
                    names += [call.function.name] if call.function.name else []
                    arguments += (call.function.name or "") + (call.function.arguments or "")
        usage = event.get("delta", {}).get("usage")
    assert reader.finished
    assert text + arguments == expected
    assert text
    assert len(reasons) == len(usages) == 1
    assert (usages[0].prompt_tokens, usages[0].completion_tokens) == extracted({"usage": usage})


@here
@pytest.mark.parametrize("pair", recorded("chat"), ids=lambda pair: pair.id)
def test_requests_come_back(pair: Recorded) -> None:
    losses = Losses()
    again = OUTWARD.request(INWARD.request(pair.asked, losses), losses)
    expected = {name: value for name, value in pair.asked.items() if name not in ("model", "stream")}
    expected["messages"] = [
        {name: value for name, value in message.items() if value is not None} for message in pair.asked["messages"]
    ]
    assert again == expected
    assert not losses.paths


@here
@pytest.mark.parametrize("pair", recorded("chat"), ids=lambda pair: pair.id)
def test_the_lens_reads_what_the_translation_says(pair: Recorded) -> None:
    if pair.stream:
        said = [LENS.said(data) for _, data in pair.events()]
        text = "".join(each.texts.get(0, "") for each in said)
        answered = [found for _, data in pair.events() if (found := LENS.answer(data)) and found.usage]
        assert [LENS.last(data) for _, data in pair.events()][-2:] == [True, True]
        assert len(answered) == 1
        assert text
        return
    told = OUTWARD.answer(json.loads(pair.raw), {}, MOMENT)
    found = LENS.answer(pair.raw)
    assert found is not None
    assert found.is_answer
    assert found.usage is not None
    assert LENS.text(pair.raw) == (told["choices"][0]["message"]["content"] or "")
    assert found.finish_reason == told["choices"][0]["finish_reason"]
    assert (found.usage.input, found.usage.output) == (
        told["usage"]["prompt_tokens"],
        told["usage"]["completion_tokens"],
    )


@pytest.mark.skipif(not recorded("embed"), reason=f"the recorded traffic is not here: {DATA}")
def test_embeddings_are_openais() -> None:
    for pair in recorded("embed"):
        losses = Losses()
        hub = cohere_embeddings_to_openai.PAIR.request(pair.asked, losses)
        assert losses.paths == ("input_type",)
        again = openai_to_cohere_embeddings.PAIR.request(hub, losses)
        assert again["texts"] == pair.asked["texts"]
        said = json.loads(pair.raw)
        told = CreateEmbeddingResponse.model_validate(openai_to_cohere_embeddings.PAIR.answer(said, hub, MOMENT))
        assert [each.embedding for each in told.data] == said["embeddings"]["float"]
        assert told.usage.prompt_tokens == said["meta"]["billed_units"]["input_tokens"]
        back = cohere_embeddings_to_openai.PAIR.answer(told.model_dump(), pair.asked, MOMENT)
        assert back["embeddings"] == said["embeddings"]


# Cohere's own SDK.


def hearing(answer: httpx.Response) -> Any:
    """Return a client of Cohere whose every request is answered so."""
    cohere = pytest.importorskip("cohere", reason="Cohere's SDK is not installed")
    wire = httpx.Client(transport=httpx.MockTransport(lambda request: answer))
    return cohere.ClientV2(api_key="none", base_url="http://upstream", httpx_client=wire)


def goldens(what: str) -> list[Json]:
    return [json.loads(path.read_text()) for path in sorted(GOLDEN.glob(f"{what}.*.json"))]


def test_coheres_sdk_parses_answers() -> None:
    assert goldens("answer")
    for case in goldens("answer"):
        said = INWARD.answer(case["given"], case["asked"], MOMENT)
        heard = hearing(httpx.Response(200, json=said)).chat(model="m", messages=[])
        assert heard.dict(exclude_none=True) == said


def test_coheres_sdk_parses_streams() -> None:
    assert goldens("stream")
    for case in goldens("stream"):
        writer = INWARD.stream(case["asked"], MOMENT)
        events = [event for chunk in case["given"] for event in writer.feed(chunk)] + list(writer.end())
        body = b"".join(sse.frame(name, json.dumps(data).encode()) for name, data in events)
        answer = httpx.Response(200, content=body, headers={"content-type": "text/event-stream"})
        heard = list(hearing(answer).chat_stream(model="m", messages=[]))
        assert [each.type for each in heard] == [name for name, _ in events]
        for each, (_, data) in zip(heard, events, strict=True):
            if data["type"] == "message-start":
                assert each.id == data["id"]
            else:
                assert each.dict(exclude_none=True) == data
