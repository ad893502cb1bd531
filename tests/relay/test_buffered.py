"""Whole answers: how much is read, and what is an answer, an error, or neither."""

import json
from typing import Any

import pytest

from trustgate.contract.errors import Refused
from trustgate.contract.upstream import Header, UpstreamFailure
from trustgate.contract.usage import Usage
from trustgate.relay.buffered import judge, read_bounded

from .kit import LENS, Scripted

ANSWER: dict[str, Any] = {
    "id": "chatcmpl-1",
    "model": "m-1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
}
ERROR = {"error": {"message": "Bad key.", "type": "invalid_request_error", "param": None, "code": "invalid_api_key"}}


def raw(fields: object) -> bytes:
    return json.dumps(fields).encode()


def refused(status: int, body: bytes) -> Refused:
    with pytest.raises(Refused) as told:
        judge(status, body, LENS)
    assert told.value.source == "upstream"
    return told.value


# What an answer is.


@pytest.mark.parametrize("status", [200, 201, 302])
def test_an_answer_says_what_it_used(status: int) -> None:
    said = judge(status, raw(ANSWER), LENS)
    assert said is not None
    assert (said.model, said.finish_reason, said.usage) == ("m-1", "stop", Usage(input=9, output=2))


@pytest.mark.parametrize(
    "change",
    [
        {"usage": None},
        {"model": None},
        {"choices": []},
        {"choices": [{}]},
        {"choices": [{"finish_reason": None}]},
        {"extra": {"deep": [1, 2, {"x": None}]}},
        {"usage": {"prompt_tokens": None, "completion_tokens": 2}},
        {"error": None},
        {"usage": {"prompt_tokens": 12.0, "completion_tokens": 2}},
        {"usage": {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": []}},
        {"usage": "unknown"},
        {"choices": [{"finish_reason": 1}]},
        {"model": 7},
    ],
    ids=lambda change: json.dumps(change)[:60],
)
def test_an_answer_is_one_even_if_its_account_is_odd(change: dict[str, Any]) -> None:
    """What cannot be read of usage and model is not known; the answer was paid for and is the caller's."""
    said = judge(200, raw({**ANSWER, **change}), LENS)
    assert said is not None
    assert said.is_answer


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
def test_an_error_of_the_dialect_goes_on_as_it_is(status: int) -> None:
    assert judge(status, raw(ERROR), LENS) is None


@pytest.mark.parametrize("status", [400, 429, 503])
def test_an_error_in_other_words_is_said_in_the_dialects(status: int) -> None:
    with pytest.raises(Refused, match="short") as told:
        judge(status, raw({"error": "short"}), LENS)
    assert (told.value.status, told.value.code, told.value.source) == (status, "provider_error", "upstream")


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"", "sent an empty body"),
        (b"<html>It works!</html>", "sent a body that is not an answer in its dialect"),
        (b'{"choices":[', "sent a body that is not an answer in its dialect"),
        (b"{}", "sent a body that is not an answer in its dialect"),
        (b"[]", "sent a body that is not an answer in its dialect"),
        (b'"choices"', "sent a body that is not an answer in its dialect"),
        (b'{"choices":null}', "sent a body that is not an answer in its dialect"),
        (b"\xff\xfe", "sent a body that is not an answer in its dialect"),
        (b'{"choices":[],"model":"\xff"}', "sent a body that is not an answer in its dialect"),
        (b"[" * 100_000, "sent a body that is not an answer in its dialect"),
    ],
    ids=lambda value: repr(value[:24]),
)
@pytest.mark.parametrize("status", [200, 204, 301])
def test_a_success_that_is_no_answer(status: int, body: bytes, what: str) -> None:
    told = refused(status, body)
    assert (told.code, told.status, told.retry) == ("provider_malformed_answer", 502, None)
    assert told.message == f"The provider said {status} and {what}."


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ({"message": "Out of luck."}, "Out of luck."),
        ("Out of luck.", "Out of luck."),
        ({"code": 5}, "no message"),
        ({"message": "x" * 900}, "x" * 500),
    ],
)
def test_a_success_that_is_an_error(error: object, message: str) -> None:
    told = refused(200, raw({"error": error}))
    assert (told.code, told.status) == ("provider_error", 502)
    assert told.message == f"The provider said 200 but answered with an error: {message}"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>Bad Gateway</html>", "it sent no readable error"),
        (b"", "it sent no readable error"),
        (b"[" * 100_000, "it sent no readable error"),
        (b'"\xff"', "it sent no readable error"),
        (b'{"message":"no such route"}', "no such route"),
        (b'{"detail":"Not Found"}', "Not Found"),
        (b'{"msg":"busy"}', "busy"),
        (b'{"detail":[{"loc":["body"]}]}', "no message"),
        (b'{"error":null}', "no message"),
        (b'"plain"', "plain"),
    ],
    ids=lambda value: repr(value[:24]),
)
@pytest.mark.parametrize("status", [404, 500, 503])
def test_a_failure_in_other_words(status: int, body: bytes, message: str) -> None:
    told = refused(status, body)
    assert (told.code, told.status) == ("provider_error", status)
    assert told.message == f"The provider failed with status {status}: {message}"


# How much is read.


@pytest.mark.anyio
@pytest.mark.parametrize("limit", [10, 11, 1000])
@pytest.mark.parametrize("length", [b"10", b"", b"ten", b"-1", b"10, 10"])
async def test_an_answer_within_the_limit_is_read(limit: int, length: bytes) -> None:
    assert await read_bounded(Scripted([b"12345", b"67890"]), headers(length), limit) == b"1234567890"


def headers(length: bytes) -> dict[bytes, bytes]:
    return dict([_length(length)]) if length else {}


def _length(length: bytes) -> Header:
    return b"content-length", length


@pytest.mark.anyio
async def test_one_that_says_it_is_too_large_is_not_read_at_all() -> None:
    upstream = Scripted([b"x" * 10] * 100)
    with pytest.raises(Refused) as told:
        await read_bounded(upstream, headers(b"1000"), 999)
    assert (told.value.code, told.value.status, told.value.source) == ("provider_answer_too_large", 502, "upstream")
    assert "999 bytes" in told.value.message
    assert upstream.fed == b""


@pytest.mark.anyio
async def test_one_that_does_not_say_is_read_to_the_limit() -> None:
    upstream = Scripted([b"x" * 10] * 100)
    with pytest.raises(Refused, match="ask for a stream"):
        await read_bounded(upstream, {}, 35)
    assert len(upstream.fed) == 40


@pytest.mark.anyio
@pytest.mark.parametrize("length", [b"100", b""])
async def test_one_that_breaks_off_says_so(length: bytes) -> None:
    with pytest.raises(UpstreamFailure):
        await read_bounded(Scripted([b"x"], UpstreamFailure("connection_lost", "")), headers(length), 1000)
