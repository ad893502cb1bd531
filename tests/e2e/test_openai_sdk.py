"""OpenAI's own Python SDK, at its strictest, through the gateway: as if the gateway were OpenAI."""

import asyncio
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from .place import Place
from .sdk import HELLO, LIMITS, WEATHER, check_typed, options
from .upstream import (
    DONE,
    Exchange,
    Header,
    Upstream,
    completion,
    completion_of,
    delta,
    says,
    story,
    stream,
)

FORMS = ("/my-app", "/my-app/v1", "/v1", "/my-app/", "/my-app/v1/")


@pytest.fixture(params=FORMS)
def client(request: pytest.FixtureRequest, place: Place, only_key: str) -> Iterator[OpenAI]:
    with OpenAI(**options(place, request.param, only_key)) as client:
        yield client


def test_a_plain_call(client: OpenAI, upstream: Upstream) -> None:
    said = client.chat.completions.create(model="gpt-4o-mini", messages=HELLO)
    assert said.choices[0].message.content == "Hello!"
    assert said.usage is not None and said.usage.total_tokens == 11
    assert said._request_id
    sent = upstream.last()
    assert sent.json() == {"messages": HELLO, "model": "gpt-4o-mini"}
    assert sent.header("x-stainless-lang") == "python"


def test_a_streamed_call(client: OpenAI, upstream: Upstream) -> None:
    upstream.play(stream(story(["Hel", "lo", "!"])))
    with client.chat.completions.create(model="gpt-4o-mini", messages=HELLO, stream=True) as chunks:
        said = [chunk.choices[0] for chunk in chunks]
    assert "".join(choice.delta.content or "" for choice in said) == "Hello!"
    assert said[-1].finish_reason == "stop"


def test_the_list_of_models(client: OpenAI, upstream: Upstream) -> None:
    listed = {"object": "list", "data": [{"id": "gpt-4o", "object": "model", "created": 7, "owned_by": "system"}]}
    upstream.play(says(listed))
    assert [model.id for model in client.models.list()] == ["gpt-4o"]
    assert upstream.last().line == b"GET /v1/models HTTP/1.1"
    assert client.models.retrieve("gpt-4o").object == "model"
    with pytest.raises(openai.NotFoundError) as refused:
        client.models.retrieve("gpt-5")
    check_typed(refused.value, 404, "model_not_found")


# Tools.

CALL = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Rome"}'}}


def tool_story() -> list[bytes]:
    """Return the events of a stream that calls a tool, its arguments in pieces."""
    first = {**CALL, "index": 0, "function": {"name": "get_weather", "arguments": ""}}
    pieces = [{"index": 0, "function": {"arguments": piece}} for piece in ('{"city', '":"Ro', 'me"}')]
    calls = [delta(tool_calls=[piece]) for piece in [first, *pieces]]
    return [*calls, delta(finish="tool_calls"), DONE]


def test_a_tool_is_called(sdk: OpenAI, upstream: Upstream) -> None:
    upstream.play(says(completion_of("", content=None, tool_calls=[CALL])))
    said = sdk.chat.completions.create(model="gpt-4o-mini", messages=HELLO, tools=[WEATHER], tool_choice="required")
    assert said.choices[0].finish_reason == "tool_calls"
    assert [call.model_dump() for call in said.choices[0].message.tool_calls or []] == [CALL]
    assert upstream.last().json()["tools"] == [WEATHER]


def test_a_tool_is_called_in_a_stream(sdk: OpenAI, upstream: Upstream) -> None:
    upstream.play(stream(tool_story()))
    with sdk.chat.completions.create(model="m", messages=HELLO, tools=[WEATHER], stream=True) as chunks:
        calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    assert (calls[0].id, calls[0].function and calls[0].function.name) == ("call_1", "get_weather")
    assert "".join(call.function.arguments or "" for call in calls if call.function) == '{"city":"Rome"}'


def test_the_sdks_own_accumulator_reads_a_stream(sdk: OpenAI, upstream: Upstream) -> None:
    upstream.play(stream(tool_story()))
    with sdk.chat.completions.stream(model="m", messages=HELLO, tools=[WEATHER]) as events:
        for _ in events:
            pass
        said = events.get_final_completion()
    calls = said.choices[0].message.tool_calls or []
    assert [call.function.arguments for call in calls] == ['{"city":"Rome"}']


# Headers.

OURS = ("x-ag-trace-id", "x-ag-revision", "x-session-id", "server-timing", "x-selected-provider")


def check_headers(headers: Any) -> None:
    """Check that ours and the provider's are there, each once."""
    assert all(headers[name] for name in OURS)
    for limit, value in LIMITS:
        assert headers[limit.decode()] == value.decode()
    for step in ("admission", "enforcement", "forwarding", "relay"):
        assert f"{step};dur=" in headers["server-timing"]
    for name in ("set-cookie", "via", "connection", "strict-transport-security"):
        assert name not in headers


NOISE: tuple[Header, ...] = (
    (b"set-cookie", b"__cf_bm=1"),
    (b"strict-transport-security", b"max-age=1"),
    (b"via", b"1.1 x"),
    (b"x-ag-revision", b"999999"),
    (b"x-ag-trace-id", b"forged"),
)


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
def test_raw_responses_have_the_headers_of_both(sdk: OpenAI, upstream: Upstream, streamed: bool) -> None:
    upstream.play(stream(story(["Hello!"]), *LIMITS, *NOISE) if streamed else completion(*LIMITS, *NOISE))
    response = sdk.chat.completions.with_raw_response.create(model="m", messages=HELLO, stream=streamed)
    assert response.status_code == 200
    assert response.request_id == "req_upstream_1"
    check_headers(response.headers)
    assert response.headers["x-ag-revision"] != "999999"
    said = response.parse()
    if isinstance(said, ChatCompletion):
        assert said.choices[0].message.content == "Hello!"
    else:
        assert all(isinstance(chunk, ChatCompletionChunk) for chunk in said)


def test_streaming_responses(sdk: OpenAI, upstream: Upstream) -> None:
    """`with_streaming_response`: the bytes, for a plain answer and for a stream."""
    upstream.play(completion(*LIMITS))
    with sdk.chat.completions.with_streaming_response.create(model="m", messages=HELLO) as response:
        check_headers(response.headers)
        assert response.parse().choices[0].message.content == "Hello!"
    events = story(["a", "b"])
    upstream.play(stream(events, *LIMITS))
    with sdk.chat.completions.with_streaming_response.create(model="m", messages=HELLO, stream=True) as response:
        check_headers(response.headers)
        assert b"".join(response.iter_bytes()) == b"".join(events)


def test_a_request_id_is_there_when_the_provider_sends_none(sdk: OpenAI, place: Place, upstream: Upstream) -> None:
    response = sdk.chat.completions.with_raw_response.create(model="m", messages=HELLO)
    assert response.request_id == response.headers["x-ag-trace-id"]
    assert place.program.event(response.headers["x-ag-trace-id"])["status"]["code"] == 200


def test_a_session_is_kept(sdk: OpenAI, upstream: Upstream) -> None:
    for given in ("conversation-7", "x" * 256):
        response = sdk.chat.completions.with_raw_response.create(
            model="m", messages=HELLO, extra_headers={"X-Session-Id": given}
        )
        assert response.headers["x-session-id"] == given


# Without waiting.


async def _ask_async(place: Place, form: str, only_key: str) -> tuple[str, str, list[str]]:
    async with AsyncOpenAI(**options(place, form, only_key)) as client:
        plain = await client.chat.completions.create(model="m", messages=HELLO)
        async with await client.chat.completions.create(model="m", messages=HELLO, stream=True) as chunks:
            told = [chunk.choices[0].delta.content or "" async for chunk in chunks]
        models = [model.id async for model in client.models.list()]
    return plain.choices[0].message.content or "", "".join(told), models


@pytest.mark.parametrize("form", FORMS)
def test_the_async_client(place: Place, upstream: Upstream, only_key: str, form: str) -> None:

    async def script(exchange: Exchange) -> None:
        if exchange.method == b"GET":
            await says({"object": "list", "data": [{"id": "gpt-4o"}]})(exchange)
        elif exchange.json().get("stream"):
            await stream(story(["Hel", "lo!"]))(exchange)
        else:
            await completion()(exchange)

    upstream.play(script)
    assert asyncio.run(_ask_async(place, form, only_key)) == ("Hello!", "Hello!", ["gpt-4o"])
