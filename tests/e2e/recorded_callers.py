"""Two strict callers: OpenAI's and Anthropic's own SDKs, which hear through the gateway what a provider once said.

What the SDKs do not notice is checked on the wire: the content type of a stream, and that its end is there.
"""

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import anthropic
import httpx2
import openai
from anthropic import Anthropic
from anthropic.types import Message
from openai import OpenAI
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from .place import Place
from .program import Json
from .recorded_meaning import Meaning, Said, Tokens, anthropic_tokens, arguments_of
from .recorded_pairs import Recording
from .sdk import HELLO, WEATHER

STRICT: Json = {"max_retries": 0, "timeout": 15, "_strict_response_validation": True}


@dataclasses.dataclass(kw_only=True)
class Heard:
    """The last answer as it came over the wire."""

    status: int = 0
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    body: bytes = b""

    def data(self) -> list[str]:
        """Return the data of a stream's events."""
        return [line[6:] for line in self.body.decode().splitlines() if line.startswith("data: ")]

    def names(self) -> list[str]:
        """Return the names of a stream's events."""
        return [line[7:] for line in self.body.decode().splitlines() if line.startswith("event: ")]


class _Tee(httpx2.SyncByteStream):
    def __init__(self, stream: httpx2.SyncByteStream, heard: Heard) -> None:
        self._stream, self._heard = stream, heard

    def __iter__(self) -> Iterator[bytes]:
        for part in self._stream:
            self._heard.body += part
            yield part

    def close(self) -> None:
        self._stream.close()


class Ear(httpx2.HTTPTransport):
    """A transport of real sockets that keeps what comes through it."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = Heard()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Make the call."""
        response = super().handle_request(request)
        self.heard = Heard(status=response.status_code, headers=response.headers)
        assert isinstance(response.stream, httpx2.SyncByteStream)
        return httpx2.Response(
            response.status_code,
            headers=response.headers,
            stream=_Tee(response.stream, self.heard),
            extensions=response.extensions,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Vectors:
    """Vectors, in base64 where they were asked for so, and what they cost."""

    vectors: list[Any]
    tokens: int


class Caller(Protocol):
    """Somebody who asks and hears. `word` is which of the two words for an end is meant for them."""

    name: str
    word: int
    error: type[Exception]
    ear: Ear

    def ask(self, consumer: str, recording: Recording, tools: tuple[str, ...], *, strict: bool = True) -> Meaning:
        """Ask for an answer and read all of it. Raises the SDK's errors."""

    def check_stream(self, recording: Recording) -> None:
        """Check what the SDK would not have noticed in the last stream."""

    def reason(self, error: Exception) -> tuple[int, str]:
        """Return status and message of an error that the SDK raised."""


def tool(name: str) -> Json:
    """Return a tool of OpenAI's of that name."""
    return {"type": "function", "function": {**WEATHER["function"], "name": name}}


class OpenAICaller:
    """OpenAI's chat."""

    name = "openai"
    word = 0
    error = openai.APIError

    def __init__(self, place: Place) -> None:
        self._root = place.program.url("proxy")
        self.ear = Ear()
        self.client = httpx2.Client(transport=self.ear, trust_env=False)
        self._options: Json = {"default_headers": place.headers, "http_client": self.client, **STRICT}

    def at(self, consumer: str, **more: Any) -> OpenAI:
        """Return the SDK for a consumer. A copy of another (`with_options`) would not be strict."""
        url = f"{self._root}/{consumer}/v1"
        return OpenAI(**{"api_key": "unused", "base_url": url, **self._options, **more})

    def ask(self, consumer: str, recording: Recording, tools: tuple[str, ...], *, strict: bool = True) -> Meaning:
        """Ask for a chat completion."""
        more: Json = {"tools": [tool(name) for name in tools]} if tools else {}
        if recording.live:
            more |= {"stream": True, "stream_options": {"include_usage": True}}
        completions = self.at(consumer, _strict_response_validation=strict).chat.completions
        said: Any = completions.create(model=recording.model or "a-model", messages=HELLO, **more)
        if not recording.live:
            return _whole(said)
        with said:
            return _pieced(list(said))

    def embed(self, consumer: str, recording: Recording, texts: list[str], encoding: Any = None) -> Vectors:
        """Ask for vectors. The SDK at its strictest takes lists of numbers alone, not the base64 that it asks for."""
        more: Json = {"encoding_format": encoding} if encoding else {}
        embeddings = self.at(consumer, _strict_response_validation=encoding == "float").embeddings
        said = embeddings.create(model=recording.model or "a-model", input=texts, **more)
        assert isinstance(said, CreateEmbeddingResponse)
        return Vectors(vectors=[each.embedding for each in said.data], tokens=getattr(said.usage, "prompt_tokens", 0))

    def check_stream(self, recording: Recording) -> None:
        """Check that a stream is one, and ends as OpenAI's do, unless the provider's own chat ended otherwise."""
        heard = self.ear.heard
        assert heard.headers["content-type"].startswith("text/event-stream")
        assert heard.data().count("[DONE]") == (recording.api != "chat" or b"[DONE]" in recording.body)
        assert heard.data().index("[DONE]") == len(heard.data()) - 1 if "[DONE]" in heard.data() else True

    def reason(self, error: Exception) -> tuple[int, str]:
        """Return status and message; an error within a stream has no status."""
        assert isinstance(error, openai.APIError)
        assert isinstance(error.body, dict)
        return getattr(error, "status_code", 200), error.body["message"]


def _whole(answer: ChatCompletion) -> Meaning:
    assert isinstance(answer, ChatCompletion)
    assert [choice.index for choice in answer.choices] == sorted(choice.index for choice in answer.choices)
    return Meaning(choices=tuple(_said(choice) for choice in answer.choices), tokens=_counted(answer.usage))


def _said(choice: Any) -> Said:
    message = choice.message
    calls = [(call.function if call.type == "function" else call.custom) for call in message.tool_calls or ()]
    calls += [message.function_call] if message.function_call and message.function_call.name else []
    return Said(
        text=choice.message.content or "",
        refusal=choice.message.refusal or "",
        thoughts=_thoughts(choice.message),
        calls=tuple((call.name, _input(call)) for call in calls),
        finish=(choice.finish_reason, ""),
    )


def _input(call: Any) -> Any:
    return arguments_of(call.arguments if hasattr(call, "arguments") else call.input)


def _thoughts(message: Any) -> str:
    """Return the thoughts, which stand in a field that OpenAI does not have."""
    return getattr(message, "reasoning_content", None) or getattr(message, "reasoning", None) or ""


def _counted(usage: Any) -> Tokens | None:
    if usage is None:
        return None
    details = usage.prompt_tokens_details
    cached = (details.cached_tokens or 0) if details else 0
    return Tokens(input=usage.prompt_tokens, output=usage.completion_tokens, cached=cached)


def _pieced(chunks: list[ChatCompletionChunk]) -> Meaning:
    heard: dict[int, list[Any]] = {}
    for chunk in chunks:
        assert isinstance(chunk, ChatCompletionChunk)
        for choice in chunk.choices:
            heard.setdefault(choice.index, []).append(choice)
    stating = [chunk.usage for chunk in chunks if chunk.usage]
    return Meaning(
        choices=tuple(_joined(heard[index]) for index in sorted(heard)),
        tokens=_counted(stating[-1] if stating else None),
    )


def _joined(choices: list[Any]) -> Said:
    deltas = [choice.delta for choice in choices]
    calls: dict[int, list[str]] = {}
    for piece in (call for delta in deltas for call in delta.tool_calls or ()):
        entry = calls.setdefault(piece.index, ["", ""])
        if piece.function:  # some say the name with each piece
            entry[0] = piece.function.name or entry[0]
            entry[1] += piece.function.arguments or ""
    ends = [choice.finish_reason for choice in choices if choice.finish_reason]
    return Said(
        text="".join(delta.content or "" for delta in deltas),
        refusal="".join(delta.refusal or "" for delta in deltas),
        thoughts="".join(_thoughts(delta) for delta in deltas),
        calls=tuple((name, arguments_of(arguments)) for name, arguments in calls.values()),
        finish=(ends[-1], "") if ends else None,
    )


class AnthropicCaller:
    """Anthropic's messages."""

    name = "anthropic"
    word = 1
    error = anthropic.APIError

    def __init__(self, place: Place) -> None:
        self._root = place.program.url("proxy")
        self.ear = Ear()
        self.client = httpx2.Client(transport=self.ear, trust_env=False)
        self._options: Json = {"default_headers": place.headers, "http_client": self.client, **STRICT}

    def ask(self, consumer: str, recording: Recording, tools: tuple[str, ...], *, strict: bool = True) -> Meaning:
        """Ask for a message."""
        options = {**self._options, "_strict_response_validation": strict}
        messages = Anthropic(api_key="unused", base_url=f"{self._root}/{consumer}", **options).messages
        asked: Json = {"model": recording.model or "a-model", "max_tokens": 4096, "messages": HELLO}
        if tools:
            schema = WEATHER["function"]["parameters"]
            asked["tools"] = [{"name": name, "input_schema": schema} for name in tools]
        if not recording.live:
            return _message(messages.create(**asked), {})
        with messages.stream(**asked) as stream:
            deltas = [event.usage.to_dict() for event in stream if event.type == "message_delta"]
            return _message(stream.get_final_message(), deltas[-1])

    def check_stream(self, recording: Recording) -> None:
        """Check that a stream is one, names its events, and has the beginning and the end of a message once."""
        heard = self.ear.heard
        assert heard.headers["content-type"].startswith("text/event-stream")
        names = heard.names()
        assert names == [json.loads(data)["type"] for data in heard.data()]
        assert (names[0], names[-2:]) == ("message_start", ["message_delta", "message_stop"])
        assert [names.count(name) for name in (names[0], *names[-2:])] == [1, 1, 1]

    def reason(self, error: Exception) -> tuple[int, str]:
        """Return status and message; an error within a stream has the status of its beginning."""
        assert isinstance(error, anthropic.APIError)
        assert isinstance(error.body, dict)
        assert error.body["type"] == "error"
        return getattr(error, "status_code", 200), error.body["error"]["message"]


def _message(message: Message, last: Mapping[str, Any]) -> Meaning:
    """`last` is the usage at the end of a stream, of which the SDK itself keeps the counts that it knows."""
    assert isinstance(message, Message)
    usage = {**message.usage.to_dict(), **{name: value for name, value in last.items() if value is not None}}
    return Meaning(
        choices=(
            Said(
                text="".join(block.text for block in message.content if block.type == "text"),
                thoughts="".join(block.thinking for block in message.content if block.type == "thinking"),
                calls=tuple((block.name, block.input) for block in message.content if block.type == "tool_use"),
                finish=("", message.stop_reason or ""),
            ),
        ),
        tokens=anthropic_tokens(usage),
    )


@contextlib.contextmanager
def callers(place: Place) -> Iterator[Mapping[str, Caller]]:
    """Open both."""
    opened: Mapping[str, Any] = {"openai": OpenAICaller(place), "anthropic": AnthropicCaller(place)}
    try:
        yield opened
    finally:
        for caller in opened.values():
            caller.client.close()
