"""The official OpenAI SDK on top of the echo transport, and calls made by hand."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import msgspec
import openai
import pytest

from trustgate.contract.upstream import Call, Clocks, Header, Origin, Upstream, UpstreamFailure
from trustgate.providers.echo import EchoTransport

ORIGIN = Origin(scheme="echo", host="echo", port=0)
MakeCall = Callable[..., Call]


def make_call(body: Any, *headers: Header, clocks: Clocks | None = None, **given: Any) -> Call:
    """Return a chat completion call; a body that is not bytes is written as JSON."""
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    fields = {"method": "POST", "target": b"/chat/completions", **given}
    return Call(origin=ORIGIN, headers=headers, body=raw, clocks=clocks or Clocks(), **fields)


def ask(text: str, **given: Any) -> dict[str, Any]:
    """Return a request with one user message."""
    return {"model": "echo-1", "messages": [{"role": "user", "content": text}], **given}


def events(body: bytes) -> list[Any]:
    """Return the data of a whole event stream; its last line must be the end."""
    *chunks, done, rest = body.split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    return [msgspec.json.decode(chunk.removeprefix(b"data: ")) for chunk in chunks]


class _Body(httpx2.AsyncByteStream):
    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while chunk := await self._upstream.chunk():
                yield chunk
        except UpstreamFailure as failure:
            raise httpx2.ReadError(failure.detail) from failure

    async def aclose(self) -> None:
        await self._upstream.aclose()


class EchoForHttpx(httpx2.AsyncBaseTransport):
    """Carries what the SDK sends to the echo transport, and its answer back."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        call = make_call(await request.aread(), target=request.url.raw_path, method=request.method)
        try:
            upstream = await EchoTransport().send(call)
        except UpstreamFailure as failure:
            raise httpx2.ConnectError(failure.detail) from failure
        return httpx2.Response(upstream.status, headers=list(upstream.headers), stream=_Body(upstream))


@pytest.fixture
async def client() -> AsyncIterator[openai.AsyncOpenAI]:
    """A client that accepts nothing that is not exactly as OpenAI documents it, and never retries."""
    http = openai.DefaultAsyncHttpxClient(transport=EchoForHttpx())
    made = openai.AsyncOpenAI(
        api_key="none",
        base_url="http://echo/v1",
        http_client=http,
        max_retries=0,
        _strict_response_validation=True,
    )
    async with made:
        yield made
