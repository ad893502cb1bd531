"""The built-in provider, by OpenAI's SDK: it answers like a model, and fails in every way it can be told to."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI

from .place import Place
from .program import Json
from .sdk import HELLO, WEATHER, call, check_typed, options
from .wire import check_error

both = pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])


@pytest.fixture
def echo(place: Place) -> Iterator[OpenAI]:
    with OpenAI(**options(place, "/echo-app/v1")) as client:
        yield client


def fails(how: str) -> Json:
    return {"extra_body": {"metadata": {"echo.failure": how}}}


@both
def test_the_echo_answers(echo: OpenAI, streamed: bool) -> None:
    call(echo, model="echo-1", streamed=streamed)
    said = call(echo, model="echo-1")
    assert said is not None and "Hello!" in (said.choices[0].message.content or "")
    assert said.usage is not None and said.usage.total_tokens > 0


def test_the_echo_lists_its_model(echo: OpenAI) -> None:
    assert [model.id for model in echo.models.list()] == ["echo-1"]


def test_the_echo_is_asked_when_no_model_is_named(place: Place, echo: OpenAI) -> None:
    response = echo.chat.completions.with_raw_response.create(model="auto", messages=HELLO)
    assert response.parse().model == "echo-1"
    event = place.program.event(response.headers["x-ag-trace-id"])
    assert (event["request"]["requested_model"], event["request"]["model"]) == ("auto", "echo-1")


@both
def test_the_echo_calls_a_tool(echo: OpenAI, streamed: bool) -> None:
    if streamed:
        with echo.chat.completions.stream(
            model="echo-1", messages=HELLO, tools=[WEATHER], tool_choice="required"
        ) as events:
            said: Any = events.until_done().get_final_completion()
    else:
        said = call(echo, model="echo-1", tools=[WEATHER], tool_choice="required")
    [made] = said.choices[0].message.tool_calls
    assert made.function.name == "get_weather"
    assert set(json.loads(made.function.arguments)) == {"city"}


def test_the_echo_counts_a_stream_when_asked_to(echo: OpenAI) -> None:
    with echo.chat.completions.create(
        model="echo-1", messages=HELLO, stream=True, stream_options={"include_usage": True}
    ) as chunks:
        *_, last = list(chunks)
    assert last.choices == [] and last.usage is not None and last.usage.total_tokens > 0


@both
@pytest.mark.parametrize(
    ("how", "status", "code"),
    [("refused", 502, "provider_unreachable"), ("silence", 504, "provider_first_byte_timeout")],
)
def test_the_echo_fails_before_it_answers(echo: OpenAI, how: str, status: int, code: str, streamed: bool) -> None:
    with pytest.raises(openai.InternalServerError) as raised:
        call(echo, model="echo-1", streamed=streamed, **fails(how))
    check_typed(raised.value, status, code)


@both
def test_the_echo_has_a_rate_limit(echo: OpenAI, streamed: bool) -> None:
    with pytest.raises(openai.RateLimitError) as raised:
        call(echo, model="echo-1", streamed=streamed, **fails("rate_limited"))
    check_typed(raised.value, 429, "rate_limit_exceeded")
    assert raised.value.response.headers["retry-after"] == "1"
    assert raised.value.response.headers["x-ratelimit-remaining-requests"] == "0"


@both
def test_the_echo_fails_with_a_500(echo: OpenAI, streamed: bool) -> None:
    with pytest.raises(openai.InternalServerError) as raised:
        call(echo, model="echo-1", streamed=streamed, **fails("error_500"))
    assert (raised.value.status_code, raised.value.type, raised.value.code) == (500, "server_error", None)


@pytest.mark.parametrize(
    ("how", "status", "code"),
    [
        ("garbage", 502, "provider_malformed_answer"),
        ("half", 502, "provider_connection_lost"),
        ("broken_stream", 502, "provider_connection_lost"),
        ("stall", 504, "provider_idle_timeout"),
    ],
)
def test_the_echo_breaks_a_plain_answer(echo: OpenAI, how: str, status: int, code: str) -> None:
    with pytest.raises(openai.InternalServerError) as raised:
        call(echo, model="echo-1", **fails(how))
    check_typed(raised.value, status, code)


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("garbage", "provider_incomplete_stream"),
        ("half", "provider_connection_lost"),
        ("broken_stream", "provider_connection_lost"),
        ("missing_done", "provider_incomplete_stream"),
        ("stall", "provider_idle_timeout"),
    ],
)
def test_the_echo_breaks_a_stream(echo: OpenAI, how: str, code: str) -> None:
    with pytest.raises(openai.APIError) as raised:
        call(echo, model="echo-1", streamed=True, **fails(how))
    assert isinstance(raised.value.body, dict)
    check_error(raised.value.body)
    assert raised.value.code == code
