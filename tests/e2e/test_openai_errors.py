"""What goes wrong is one of the SDK's own errors, with everything in it, and retried when it may help."""

from typing import Any

import openai
import pytest
from openai import OpenAI

from .place import Place
from .program import until
from .sdk import HELLO, LIMITS, call, check_typed, options
from .upstream import (
    Script,
    Upstream,
    answer,
    raw,
    says,
    silent,
    story,
)
from .wire import check_error

both = pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])


@both
def test_a_wrong_key(place: Place, upstream: Upstream, streamed: bool) -> None:
    with (
        OpenAI(**{**options(place, "/v1"), "api_key": "ag_" + "x" * 43}) as client,
        pytest.raises(openai.AuthenticationError) as refused,
    ):
        call(client, streamed=streamed)
    check_typed(refused.value, 401, "invalid_api_key")
    assert not upstream.seen


@both
def test_an_unknown_consumer(place: Place, streamed: bool) -> None:
    with OpenAI(**options(place, "/nobody/v1")) as client, pytest.raises(openai.NotFoundError) as refused:
        call(client, streamed=streamed)
    check_typed(refused.value, 404, "consumer_not_found")


@both
def test_a_key_that_is_not_attached(place: Place, only_key: str, streamed: bool) -> None:
    with (
        OpenAI(**{**options(place, "/echo-app/v1"), "default_headers": {}, "api_key": only_key}) as client,
        pytest.raises(openai.PermissionDeniedError) as refused,
    ):
        call(client, streamed=streamed)
    check_typed(refused.value, 403, "forbidden")


def test_a_body_that_is_too_large(sdk: OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        call(sdk, extra_body={"padding": "x" * (32 * 1024 * 1024)})
    check_typed(refused.value, 413, "request_too_large")


def limited(place: Place, name: str, **settings: object) -> None:
    """Make a consumer of the upstream under a rate limit; its name is its slug."""
    consumer = place.gateway.consumer(name, place.registry)
    place.gateway.attach(consumer, "auths", place.key.id)
    place.gateway.policy("rate_limiter", consumer, **settings)


def hits(place: Place, slug: str) -> int:
    """Return how many requests of a consumer have left an event, once those under way have."""
    place.program.metrics()  # which settles the queue
    return sum(event["consumer"].get("slug") == slug for event in place.program.events() if "consumer" in event)


def test_a_rate_limit(place: Place, upstream: Upstream) -> None:
    limited(place, "limited", limit=2, window="30s")
    with OpenAI(**options(place, "/limited/v1")) as client:
        for left in ("1", "0"):
            response = client.chat.completions.with_raw_response.create(model="m", messages=HELLO)
            assert response.headers["x-ratelimit-consumer-remaining"] == left
        with pytest.raises(openai.RateLimitError) as refused:
            call(client)
    check_typed(refused.value, 429, "rate_limit_exceeded")
    headers = refused.value.response.headers
    assert 1 <= int(headers["retry-after"]) <= 31  # the window, counted to its next slot
    assert 1 <= int(headers["retry-after-ms"]) <= 31_000
    assert headers["x-ag-error-source"] == "gateway"
    assert headers["x-ratelimit-consumer-limit"] == "2"
    assert len(upstream.seen) == 2


def test_the_sdk_does_not_wait_for_a_limit_that_is_far_away(place: Place, upstream: Upstream) -> None:
    """Told not to retry it does not: one call is one request, though it may try twice more."""
    limited(place, "hourly", limit=1, window="1h", retry_after="90s")
    with OpenAI(**{**options(place, "/hourly/v1"), "max_retries": 2}) as client:
        call(client)
        with pytest.raises(openai.RateLimitError) as refused:
            call(client)
    assert refused.value.response.headers["x-should-retry"] == "false"
    until(lambda: hits(place, "hourly") == 2, what="two requests")
    assert len(upstream.seen) == 1


def test_the_sdk_waits_for_a_limit_that_is_near(place: Place, upstream: Upstream) -> None:
    limited(place, "brisk", limit=1, window="1s")
    with OpenAI(**{**options(place, "/brisk/v1"), "max_retries": 2}) as client:
        call(client)
        assert call(client) is not None
    assert len(upstream.seen) == 2
    until(lambda: hits(place, "brisk") >= 3, what="a request that was refused, and one more")


def test_what_cannot_get_better_is_not_tried_again(place: Place, upstream: Upstream) -> None:
    """A wrong key, an unknown model, nobody to ask: `x-should-retry: false`, even where the status says otherwise."""
    consumer = place.gateway.consumer("nothing")
    place.gateway.attach(consumer, "auths", place.key.id)
    client = OpenAI(**{**options(place, "/nothing/v1"), "max_retries": 2})
    with client, pytest.raises(openai.InternalServerError) as refused:
        call(client)
    check_typed(refused.value, 503, "no_backend_available")
    until(lambda: hits(place, "nothing") == 1, what="one request")


@both
def test_a_failing_provider_is_asked_again_as_often_as_the_sdk_says(
    place: Place, upstream: Upstream, streamed: bool
) -> None:
    """Retries are the SDK's alone: three tries are three calls, and the provider is told which is which."""
    upstream.play(answer(503, b'{"error":{"message":"busy"}}', (b"retry-after-ms", b"5")))
    with (
        OpenAI(**{**options(place, "/my-app/v1"), "max_retries": 2}) as client,
        pytest.raises(openai.InternalServerError),
    ):
        call(client, streamed=streamed)
    assert [seen.header("x-stainless-retry-count") for seen in upstream.seen] == ["0", "1", "2"]


def test_a_provider_that_says_no_more_is_obeyed(place: Place, upstream: Upstream) -> None:
    upstream.play(answer(503, b'{"error":{"message":"busy"}}', (b"x-should-retry", b"false")))
    with (
        OpenAI(**{**options(place, "/my-app/v1"), "max_retries": 2}) as client,
        pytest.raises(openai.InternalServerError),
    ):
        call(client)
    assert len(upstream.seen) == 1


def of_openai(status: int, kind: str, code: str | None) -> Script:
    """An error as OpenAI writes it."""
    error = {"message": "The provider says no.", "type": kind, "param": None, "code": code}
    return says({"error": error}, status, *LIMITS)


@both
@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ((400, "invalid_request_error", "context_length_exceeded"), openai.BadRequestError),
        ((401, "invalid_request_error", "invalid_api_key"), openai.AuthenticationError),
        ((403, "permission_error", "unsupported_country"), openai.PermissionDeniedError),
        ((404, "invalid_request_error", "model_not_found"), openai.NotFoundError),
        ((409, "conflict", "conflict"), openai.ConflictError),
        ((422, "invalid_request_error", "x"), openai.UnprocessableEntityError),
        ((429, "insufficient_quota", "insufficient_quota"), openai.RateLimitError),
        ((500, "server_error", None), openai.InternalServerError),
        ((503, "server_error", "overloaded"), openai.InternalServerError),
    ],
)
def test_the_providers_errors_are_the_sdks_errors(
    sdk: OpenAI, upstream: Upstream, said: tuple[int, str, str | None], expected: Any, streamed: bool
) -> None:
    status, kind, code = said
    upstream.play(of_openai(status, kind, code))
    with pytest.raises(expected) as raised:
        call(sdk, streamed=streamed)
    error = raised.value
    assert type(error) is expected
    assert (error.status_code, error.type, error.code, error.param) == (status, kind, code, None)
    assert error.body == {"message": "The provider says no.", "type": kind, "param": None, "code": code}
    assert error.request_id == "req_upstream_1"
    assert error.response.headers["x-ag-error-source"] == "upstream"
    assert error.response.headers["x-ratelimit-remaining-requests"] == "9999"


def test_the_wait_that_a_provider_asks_for(sdk: OpenAI, upstream: Upstream) -> None:
    upstream.play(says({"error": {"message": "slow down"}}, 429, (b"retry-after", b"21")))
    with pytest.raises(openai.RateLimitError) as raised:
        call(sdk)
    assert raised.value.response.headers["retry-after"] == "21"


@both
@pytest.mark.parametrize(
    ("script", "said"),
    [
        (raw(b"nonsense\r\n\r\n"), (502, "provider_malformed_answer")),
        (answer(502, b"<html>"), (502, "provider_error")),
        (answer(200, b"{}"), (502, "provider_malformed_answer")),
        (raw(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{"), (502, "provider_connection_lost")),
        (silent, (504, "provider_first_byte_timeout")),
    ],
    ids=["garbage", "a page", "{}", "half", "silence"],
)
def test_a_provider_that_misbehaves(
    sdk: OpenAI, upstream: Upstream, script: Script, said: tuple[int, str], streamed: bool
) -> None:
    upstream.play(script)
    with pytest.raises(openai.InternalServerError) as raised:
        call(sdk, streamed=streamed)
    check_typed(raised.value, *said)


def test_a_broken_stream_raises_while_it_is_read(sdk: OpenAI, upstream: Upstream) -> None:
    upstream.play(raw(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n", *story(["a", "b"])[:-2]))
    said: list[str] = []
    with pytest.raises(openai.APIError) as raised:
        for chunk in sdk.chat.completions.create(model="m", messages=HELLO, stream=True):
            said.append(chunk.choices[0].delta.content or "")
    assert "".join(said) == "ab"
    assert isinstance(raised.value.body, dict)
    check_error(raised.value.body)
    assert raised.value.code == "provider_incomplete_stream"
