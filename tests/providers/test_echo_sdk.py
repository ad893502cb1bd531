"""The echo model through the official SDK, which validates every answer strictly."""

import enum
from typing import Any

import openai
import pydantic
import pytest
from openai.types.chat import ChatCompletionChunk

pytestmark = pytest.mark.anyio

USER: list[Any] = [{"role": "user", "content": "hello, you there"}]


def tool(name: str, **properties: Any) -> Any:
    schema = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    return {"type": "function", "function": {"name": name, "parameters": schema}}


TOOLS = [
    tool("get_weather", city={"type": "string"}, unit={"enum": ["c", "f"]}),
    tool("get_time", zone={"type": "string"}),
]


async def test_it_says_what_was_said(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="echo-1", messages=USER)
    assert answer.model == "echo-1"
    assert answer.choices[0].message.content == "You said: hello, you there"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 5
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 5


async def test_parts_of_a_message_are_read_and_the_last_user_message_counts(client: openai.AsyncOpenAI) -> None:
    parts: Any = [{"type": "text", "text": "look at"}, {"type": "image_url", "image_url": {"url": "https://x/y.png"}}]
    messages: list[Any] = [
        {"role": "developer", "content": "be brief"},
        *USER,
        {"role": "assistant", "content": "yes"},
        {"role": "user", "content": [*parts, {"type": "text", "text": "this"}]},
    ]
    answer = await client.chat.completions.create(model="echo-1", messages=messages)
    assert answer.choices[0].message.content == "You said: look at this"


async def collect(stream: openai.AsyncStream[ChatCompletionChunk]) -> list[ChatCompletionChunk]:
    return [chunk async for chunk in stream]


async def test_a_stream_says_the_same(client: openai.AsyncOpenAI) -> None:
    chunks = await collect(await client.chat.completions.create(model="echo-1", messages=USER, stream=True))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "You said: hello, you there"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason] == ["stop"]
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert {chunk.usage for chunk in chunks} == {None}
    assert len({chunk.id for chunk in chunks}) == 1
    assert len(chunks) == 1 + 5 + 1


async def test_usage_comes_last_if_asked_for(client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model="echo-1", messages=USER)
    chunks = await collect(
        await client.chat.completions.create(
            model="echo-1", messages=USER, stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert {chunk.usage for chunk in chunks[:-1]} == {None}


async def test_several_choices(client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model="echo-1", messages=USER, n=3)
    assert [choice.index for choice in whole.choices] == [0, 1, 2]
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 15
    chunks = await collect(await client.chat.completions.create(model="echo-1", messages=USER, n=3, stream=True))
    texts = ["", "", ""]
    for chunk in chunks:
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert texts == ["You said: hello, you there"] * 3


async def test_a_stop_word_and_a_limit_end_it_early(client: openai.AsyncOpenAI) -> None:
    stopped = await client.chat.completions.create(model="echo-1", messages=USER, stop=["there", ","])
    assert stopped.choices[0].message.content == "You said: hello"
    assert stopped.choices[0].finish_reason == "stop"
    cut = await client.chat.completions.create(model="echo-1", messages=USER, max_completion_tokens=3)
    assert cut.choices[0].message.content == "You said: hello,"
    assert cut.choices[0].finish_reason == "length"
    assert cut.usage is not None
    assert cut.usage.completion_tokens == 3
    just = await client.chat.completions.create(model="echo-1", messages=USER, max_tokens=5)
    assert just.choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    ("text", "given", "called"),
    [
        ("hello", {}, []),
        ("use get_weather please", {}, ["get_weather"]),
        ("get_time, then get_weather", {}, ["get_weather", "get_time"]),
        ("get_time, then get_weather", {"parallel_tool_calls": False}, ["get_weather"]),
        ("neither my_get_weather nor get_weather-2", {}, []),
        ("get_weather", {"tool_choice": "none"}, []),
        ("hello", {"tool_choice": "required"}, ["get_weather"]),
        ("get_time", {"tool_choice": "required"}, ["get_time"]),
        ("hello", {"tool_choice": {"type": "function", "function": {"name": "get_time"}}}, ["get_time"]),
        (
            "get_weather",
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {
                        "mode": "required",
                        "tools": [{"type": "function", "function": {"name": "get_time"}}],
                    },
                }
            },
            ["get_time"],
        ),
    ],
)
async def test_tools_are_called_when_they_must_be_or_are_named(
    client: openai.AsyncOpenAI, text: str, given: dict[str, Any], called: list[str]
) -> None:
    messages: list[Any] = [{"role": "user", "content": text}]
    answer = await client.chat.completions.create(model="echo-1", messages=messages, tools=TOOLS, **given)
    choice = answer.choices[0]
    calls = [call for call in choice.message.tool_calls or [] if call.type == "function"]
    assert [call.function.name for call in calls] == called
    assert choice.finish_reason == ("tool_calls" if called else "stop")
    assert (choice.message.content is None) == bool(called)
    chunks = await collect(
        await client.chat.completions.create(model="echo-1", messages=messages, tools=TOOLS, stream=True, **given)
    )
    assert streamed_calls(chunks) == [(call.function.name, call.function.arguments) for call in calls]


def streamed_calls(chunks: list[ChatCompletionChunk]) -> list[tuple[str, str]]:
    calls: dict[int, list[str]] = {}
    for chunk in chunks:
        for part in chunk.choices[0].delta.tool_calls or []:
            assert part.function is not None
            entry = calls.setdefault(part.index, [part.function.name or "", ""])
            assert (part.id is not None) == (entry[1] == "" and part.function.arguments == "")
            entry[1] += part.function.arguments or ""
    return [(name, arguments) for _, (name, arguments) in sorted(calls.items())]


async def test_arguments_fit_their_schema_and_a_result_is_quoted(client: openai.AsyncOpenAI) -> None:
    messages: list[Any] = [{"role": "user", "content": "get_weather and get_time"}]
    answer = await client.chat.completions.create(model="echo-1", messages=messages, tools=TOOLS)
    calls = answer.choices[0].message.tool_calls or []
    assert len({call.id for call in calls}) == 2
    weather = calls[0]
    assert weather.type == "function"
    assert weather.function.arguments == '{"city":"text","unit":"c"}'
    messages.append(answer.choices[0].message.model_dump(exclude_none=True))
    messages += [{"role": "tool", "tool_call_id": call.id, "content": f"result of {call.id}"} for call in calls]
    told = await client.chat.completions.create(model="echo-1", messages=messages, tools=TOOLS)
    quoted = " / ".join(f"result of {call.id}" for call in calls)
    assert told.choices[0].message.content == f"The tools said: {quoted}"
    assert told.choices[0].finish_reason == "stop"


class Unit(enum.Enum):
    CELSIUS = "c"
    FAHRENHEIT = "f"


class Place(pydantic.BaseModel):
    name: str = pydantic.Field(min_length=6, max_length=8)
    height: float = pydantic.Field(gt=0, lt=1)
    nearby: list["Place"]


class Weather(pydantic.BaseModel):
    place: Place
    unit: Unit
    degrees: int = pydantic.Field(ge=-80, le=60, multiple_of=7)
    wind: float | None
    days: list[str] = pydantic.Field(min_length=2)
    certain: bool


async def test_an_answer_in_a_form_can_be_parsed(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.parse(model="echo-1", messages=USER, response_format=Weather)
    weather = answer.choices[0].message.parsed
    assert weather is not None
    assert weather.degrees % 7 == 0
    assert len(weather.days) >= 2


async def test_an_answer_as_any_object(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model="echo-1", messages=USER, response_format={"type": "json_object"}
    )
    assert answer.choices[0].message.content == '{"echo":"hello, you there"}'


async def test_headers_can_be_read(client: openai.AsyncOpenAI) -> None:
    raw = await client.chat.completions.with_raw_response.create(model="echo-1", messages=USER)
    assert raw.headers["x-request-id"].startswith("req_")
    assert raw.headers["content-type"] == "application/json"
    assert raw.headers["x-ratelimit-remaining-requests"] == "9999"
    assert raw.parse().choices[0].message.content == "You said: hello, you there"


@pytest.mark.parametrize(
    ("failure", "raised"),
    [
        ("error_500", openai.InternalServerError),
        ("rate_limited", openai.RateLimitError),
        ("refused", openai.APIConnectionError),
        ("half", openai.APIConnectionError),
    ],
)
async def test_the_sdk_raises_its_own_errors(
    client: openai.AsyncOpenAI, failure: str, raised: type[openai.APIError]
) -> None:
    with pytest.raises(raised):
        await client.chat.completions.create(model="echo-1", messages=USER, metadata={"echo.failure": failure})


async def test_a_rate_limit_says_when_to_come_back(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        await client.chat.completions.create(model="echo-1", messages=USER, metadata={"echo.failure": "rate_limited"})
    assert caught.value.code == "rate_limit_exceeded"
    assert caught.value.response.headers["retry-after"] == "1"
    assert caught.value.response.headers["x-ratelimit-remaining-requests"] == "0"


async def test_a_wrong_request_is_a_bad_request(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model="echo-1", messages=[])
    assert (caught.value.param, caught.value.code) == ("messages", "empty_array")
