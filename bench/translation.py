"""What translating costs, in CPU, beside passing on: a 2 KB Anthropic request to OpenAI's chat, and each chunk back.

`python -m bench.translation` prints a table. Everything but sockets is the product's own path: the same `speak`, the
same relay, on the same bytes.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence

from trustgate.admission.operation import CHAT, MESSAGES
from trustgate.contract.context import Body, Operation
from trustgate.contract.errors import Refused
from trustgate.contract.target import Target
from trustgate.contract.upstream import Header, Origin, UpstreamFailure
from trustgate.forwarding.failures import refusal
from trustgate.providers.catalog import PROVIDERS
from trustgate.providers.speech import Asking, speak
from trustgate.providers.translate import ways_of
from trustgate.relay.streamed import Passing

ROUNDS, REQUESTS, STREAMS, CHUNKS = 9, 400, 20, 100
TOOL = {
    "name": "get_weather",
    "description": "The weather in a city, now.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def anthropic_request(*, stream: bool) -> bytes:
    """Return a request of 2 KB, as an agent sends it: a system prompt, a few turns, a tool and its result."""
    messages = [
        {"role": "user", "content": "What is the weather in Paris and in London, and what should I wear? " * 6},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "I will look that up."},
                {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Paris"}},
            ],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "18 degrees"}]},
    ]
    body = {
        "model": "m",
        "max_tokens": 1024,
        "system": "You are a helpful assistant that answers briefly. " * 21,
        "messages": messages,
        "tools": [TOOL],
        "temperature": 0.2,
        "stream": stream,
    }
    return json.dumps(body).encode()


def openai_request(*, stream: bool) -> bytes:
    """Return a request of the same size in the provider's own dialect."""
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "x" * 1950}],
        "stream": stream,
        "stream_options": {"include_usage": True},
    }
    return json.dumps(body).encode()


def chunks() -> list[bytes]:
    """Return a stream as OpenAI sends it, one event a piece."""
    usual = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}

    def event(delta: object, finish: str | None = None) -> bytes:
        choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
        return b"data: " + json.dumps(usual | {"choices": choices}).encode() + b"\n\n"

    usage = {"prompt_tokens": 9, "completion_tokens": CHUNKS, "total_tokens": CHUNKS + 9}
    told = b"data: " + json.dumps(usual | {"choices": [], "usage": usage}).encode() + b"\n\n"
    middle = [event({"content": " word"}) for _ in range(CHUNKS)]
    return [event({"role": "assistant", "content": ""}), *middle, event({}, "stop"), told, b"data: [DONE]\n\n"]


class Pieces:
    """An upstream that has its stream ready."""

    status = 200
    headers: Sequence[Header] = ((b"content-type", b"text/event-stream"),)

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = iter(pieces)

    async def chunk(self) -> bytes:
        """Return the next piece."""
        return next(self._pieces, b"")

    async def read(self) -> bytes:
        """Return the rest."""
        return b"".join(self._pieces)

    async def aclose(self) -> None:
        """Nothing is open."""


def asking(operation: Operation, raw: bytes, *, stream: bool) -> Asking:
    """Return a request as it is to be said."""
    return Asking(operation=operation, method="POST", body=Body(raw, model="m", stream=stream))


TARGET = Target(
    registry_id="r",
    provider="openai",
    dialect="openai",
    origin=Origin(scheme="https", host="api.openai.com", port=443),
    ways=ways_of(PROVIDERS["openai"].ways[:1]),
    headers=(),
)


async def _microseconds(work: Callable[[], Awaitable[object]], times: int) -> float:
    """Return the CPU of one run, the best of several rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(times):
            await work()
        best = min(best, time.process_time() - began)
    return best / times * 1e6


async def _request(operation: Operation, raw: bytes) -> float:
    async def once() -> None:
        speak(asking(operation, raw, stream=False), TARGET)

    return await _microseconds(once, REQUESTS)


async def _stream(operation: Operation, raw: bytes) -> float:
    pieces = chunks()
    spoken = speak(asking(operation, raw, stream=True), TARGET)

    def explain(failure: UpstreamFailure) -> Refused:
        return refusal(failure, "openai")

    async def once() -> None:
        live = Passing(
            Pieces(pieces),
            (),
            hearing=spoken.hearing,
            dialect=operation.dialect,
            explain=explain,
        )
        while await live.chunk():
            pass
        assert live.complete

    return await _microseconds(once, STREAMS) / len(pieces)


async def main() -> None:
    """Print the table."""
    passed, passed_chunk = (
        await _request(CHAT, openai_request(stream=False)),
        await _stream(CHAT, openai_request(stream=True)),
    )
    told, told_chunk = (
        await _request(MESSAGES, anthropic_request(stream=False)),
        await _stream(MESSAGES, anthropic_request(stream=True)),
    )
    size = len(anthropic_request(stream=False))
    print("| | passed on | Anthropic to OpenAI | more |")
    print("|---|---:|---:|---:|")
    print(f"| CPU µs, a request of {size} bytes | {passed:.1f} | {told:.1f} | {told - passed:.1f} |")
    print(f"| CPU µs, a streamed chunk | {passed_chunk:.2f} | {told_chunk:.2f} | {told_chunk - passed_chunk:.2f} |")


if __name__ == "__main__":
    asyncio.run(main())
