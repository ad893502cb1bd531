"""What we say in Gemini's dialect is understood by Google's own SDK, and what that asks for is understood by us."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from trustgate.contract import sse
from trustgate.providers.hub import Json, Losses, Moment
from trustgate.providers.pairs.gemini_embeddings_to_openai import PAIR as EMBEDDINGS
from trustgate.providers.pairs.gemini_to_openai import PAIR

genai = pytest.importorskip("google.genai", reason="Google's SDK is not installed")
types = genai.types

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
MOMENT = Moment(id="0" * 32, created=1, model="asked-model")
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def goldens(pair: str, what: str) -> list[Any]:
    return [pytest.param(json.loads(path.read_text()), id=path.stem) for path in (GOLDEN / pair).glob(f"{what}.*.json")]


def strict(said: Json) -> Any:
    """Return an answer as the SDK reads it, which knows every one of its fields."""
    return types.GenerateContentResponse.model_validate(said)


@pytest.mark.parametrize("case", goldens("gemini_to_openai", "answer"))
def test_answers_are_googles(case: Json) -> None:
    heard = strict(PAIR.answer(case["given"], case["asked"], MOMENT))
    assert len(heard.candidates) == len(case["gives"]["candidates"])
    for candidate, said in zip(heard.candidates, case["gives"]["candidates"], strict=True):
        assert candidate.finish_reason.value == said["finishReason"]
        calls = [part.function_call.name for part in candidate.content.parts if part.function_call]
        assert calls == [part["functionCall"]["name"] for part in said["content"]["parts"] if "functionCall" in part]


@pytest.mark.parametrize("case", goldens("gemini_to_openai", "stream"))
def test_streams_are_googles(case: Json) -> None:
    writer = PAIR.stream(case["asked"], MOMENT)
    events = [data for chunk in case["given"] for _, data in writer.feed(chunk)] + [data for _, data in writer.end()]
    reasons = [
        candidate.finish_reason for event in events for candidate in strict(event).candidates if candidate.finish_reason
    ]
    assert len(reasons) == len({candidate["index"] for event in events for candidate in event["candidates"]})


@pytest.mark.parametrize("case", goldens("gemini_embeddings_to_openai", "answer"))
def test_embeddings_are_googles(case: Json) -> None:
    said = EMBEDDINGS.answer(case["given"], case["asked"], MOMENT)
    told = said.get("embeddings") or [said["embedding"]] if "embedding" in said else said["embeddings"]
    heard = types.EmbedContentResponse.model_validate({"embeddings": told})
    assert [each.values for each in heard.embeddings] == [each["values"] for each in told]


class Gateway:
    """Answers the SDK: translates what it asks, notes it, and says the same hub answer each time."""

    def __init__(self, message: Json) -> None:
        self.message = message
        self.asked: list[Json] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        said = json.loads(request.content)
        losses = Losses()
        self.asked.append(PAIR.request(said, losses))
        assert not losses.paths
        if "streamGenerateContent" in request.url.path:
            return httpx.Response(200, content=self._stream(said), headers={"content-type": "text/event-stream"})
        choice = {"index": 0, "message": {"role": "assistant", **self.message}, "finish_reason": "stop"}
        return httpx.Response(200, json=PAIR.answer({"choices": [choice], "usage": USAGE}, said, MOMENT))

    def _stream(self, said: Json) -> bytes:
        writer = PAIR.stream(said, MOMENT)
        calls = [{"index": at, **call} for at, call in enumerate(self.message.get("tool_calls") or ())]
        delta = {**self.message, "tool_calls": calls}
        chunks: list[Json] = [
            {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
            {"choices": [], "usage": USAGE},
        ]
        events = [event for chunk in chunks for event in writer.feed(chunk)] + list(writer.end())
        return b"".join(sse.frame(name, json.dumps(data).encode()) for name, data in events)

    def client(self) -> Any:
        options = types.HttpOptions(
            base_url="http://upstream", client_args={"transport": httpx.MockTransport(self), "trust_env": False}
        )
        return genai.Client(api_key="none", http_options=options)


@pytest.mark.parametrize("streamed", [False, True])
def test_the_sdk_keeps_a_conversation_with_signed_thoughts_and_calls(streamed: bool) -> None:
    """The history that the SDK sends back has all that a Claude, say, must find again in it."""
    call = {"id": "toolu_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Paris"}'}}
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "ErQC/Claudes+w=="}
    gateway = Gateway({"content": "I look.", "thinking_blocks": [thought], "tool_calls": [call]})
    client = gateway.client()
    function = types.FunctionDeclaration(name="get_weather", parameters_json_schema={"type": "object"})
    config = types.GenerateContentConfig(
        system_instruction="Be kind.",
        tools=[types.Tool(function_declarations=[function])],
        thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_budget=2000),
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )
    chat = client.chats.create(model="claude", config=config)
    picture = types.Part.from_bytes(data=b"\xff\xfb\xf0>>>", mime_type="image/png")
    question = ["Weather?", picture]
    heard = list(chat.send_message_stream(question)) if streamed else [chat.send_message(question)]
    (said,) = [each for answer in heard for each in answer.function_calls or ()]
    assert (said.id, said.name, said.args) == ("toolu_1", "get_weather", {"city": "Paris"})
    assert heard[-1].usage_metadata.total_token_count == 15
    response = types.Part(
        function_response=types.FunctionResponse(id=said.id, name=said.name, response={"output": "20"})
    )
    list(chat.send_message_stream(response)) if streamed else chat.send_message(response)
    system, user, model, result = gateway.asked[-1]["messages"]
    assert system == {"role": "system", "content": "Be kind."}
    assert user["content"][1] == {"type": "image_url", "image_url": {"url": "data:image/png;base64,//vwPj4+"}}
    assert model["content"] == "I look."
    assert model["thinking_blocks"] == [thought]
    assert model["tool_calls"] == [call]
    assert result == {"role": "tool", "tool_call_id": "toolu_1", "content": "20"}
    assert gateway.asked[-1]["thinking"] == {"type": "enabled", "budget_tokens": 2000}
