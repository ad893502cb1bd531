"""Bodies that are wrong, too large or not JSON: a clear no in OpenAI's shape, before anybody is asked."""

import contextlib
import dataclasses
from collections.abc import Iterator

import pytest

from .place import Place
from .refusals import CHAT, JSON, bearer, check_alive, check_refused
from .upstream import Upstream
from .wire import Wire, ask, chat, chat_body

LIMIT = 32 * 1024 * 1024


@dataclasses.dataclass(frozen=True)
class Bad:
    """One bad body and what is said of it."""

    name: str
    body: bytes
    code: str = "invalid_json"
    param: str | None = None


BODIES = (
    Bad("empty", b""),
    Bad("not JSON", b"{"),
    Bad("half a text", b'{"model":"gpt'),
    Bad("two values", b'{"model":"m"} {}'),
    Bad("a form", b"model=gpt-4o&messages=hello"),
    Bad("null", b"null", "invalid_request"),
    Bad("an array", b"[]", "invalid_request"),
    Bad("a text", b'"model"', "invalid_request"),
    Bad("a number for the model", b'{"model":5,"messages":[]}', "invalid_request", "model"),
    Bad("an object for the model", b'{"model":{},"messages":[]}', "invalid_request", "model"),
    Bad("a text for stream", b'{"model":"m","stream":"yes"}', "invalid_request", "stream"),
    Bad("a number for stream", b'{"model":"m","stream":1}', "invalid_request", "stream"),
    Bad("100 000 brackets", b'{"model":"m","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    Bad("100 000 open brackets", b"[" * 100_000, "invalid_request"),
    Bad("100 000 objects", b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    Bad("no UTF-8 in the model", b'{"model":"gpt-\xff","messages":[]}'),
    Bad("half a surrogate", b'{"model":"\\ud800","messages":[]}'),
    Bad("UTF-16", '{"model":"m","messages":[]}'.encode("utf-16")),
)


@pytest.mark.parametrize("bad", BODIES, ids=lambda bad: bad.name)
def test_a_bad_body_is_refused_before_anybody_is_asked(place: Place, upstream: Upstream, bad: Bad) -> None:
    answer = chat(place.port, place.headers, bad.body)
    check_refused(place, answer, 400, bad.code)
    assert answer.error()["param"] == bad.param
    assert not upstream.seen
    check_alive(place, upstream)


@pytest.mark.parametrize(
    "body",
    [b'{"model":"m","messages":[{"role":"user","content":"\xff\xfe"}]}', b'{"model":"m","\xff":[]}'],
    ids=["in a text", "in a key"],
)
def test_no_utf8_where_nobody_looks_is_refused_or_passed_on(place: Place, upstream: Upstream, body: bytes) -> None:
    """Either they are refused here, or the provider gets the very bytes to judge; never a fault of ours."""
    answer = chat(place.port, place.headers, body)
    if answer.status == 200:
        assert upstream.last().body == body
    else:
        check_refused(place, answer, 400, "invalid_json")


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("content-type", "text/plain", "unsupported_media_type"),
        ("content-type", "application/x-www-form-urlencoded", "unsupported_media_type"),
        ("content-type", "multipart/form-data; boundary=x", "unsupported_media_type"),
        ("content-type", "application/xml", "unsupported_media_type"),
        ("content-encoding", "gzip", "unsupported_content_encoding"),
        ("content-encoding", "br", "unsupported_content_encoding"),
        ("content-encoding", "identity, gzip", "unsupported_content_encoding"),
    ],
)
def test_only_plain_json_is_read(place: Place, upstream: Upstream, name: str, value: str, code: str) -> None:
    answer = ask(place.port, "POST", CHAT, {**JSON, **place.headers, name: value}, chat_body())
    check_refused(place, answer, 415, code)
    assert not upstream.seen
    check_alive(place, upstream)


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.x+json"]
)
def test_json_by_its_other_names_is_read(place: Place, upstream: Upstream, kind: str) -> None:
    answer = ask(place.port, "POST", CHAT, {**place.headers, "content-type": kind}, chat_body())
    assert answer.status == 200


# Sizes.


def pieces(count: int) -> Iterator[bytes]:
    return (b" " * 65536 for _ in range(count))


@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "chunked"])
def test_a_body_that_is_too_large_is_refused_and_the_limit_is_named(
    place: Place, upstream: Upstream, chunked: bool
) -> None:
    size = LIMIT // 65536 + 4
    body = pieces(size) if chunked else b" " * (65536 * size)
    answer = ask(place.port, "POST", CHAT, {**JSON, **place.headers}, body, chunked=chunked)
    check_refused(place, answer, 413, "request_too_large")
    assert str(LIMIT) in answer.error()["message"]
    assert not upstream.seen
    check_alive(place, upstream)


def test_a_body_of_just_the_limit_is_taken(place: Place, upstream: Upstream) -> None:
    body = chat_body().ljust(LIMIT)
    assert chat(place.port, place.headers, body, path="/patient/v1/chat/completions").status == 200
    assert upstream.last().body == body


def test_a_length_that_is_too_large_is_refused_without_waiting_for_the_body(place: Place) -> None:
    with Wire(place.port, timeout=3) as wire:
        wire.head(place.headers, "content-type: application/json", f"content-length: {LIMIT + 1}")
        wire.send(b"{")
        assert b" 413 " in wire.until(b"request_too_large")


def test_an_endless_body_is_refused_without_being_read_to_its_end(place: Place, upstream: Upstream) -> None:
    with Wire(place.port) as wire:
        wire.head(place.headers, "content-type: application/json", "transfer-encoding: chunked")
        with contextlib.suppress(ConnectionError):
            for piece in pieces(LIMIT // 65536 + 4):
                wire.send(b"10000\r\n", piece, b"\r\n")
        assert b" 413 " in wire.until(b"request_too_large")
    check_alive(place, upstream)


@pytest.mark.parametrize("size", [33_000, 200_000, 400_000])
def test_headers_that_are_too_large_are_refused_and_the_limit_is_named(
    place: Place, upstream: Upstream, size: int
) -> None:
    answer = chat(place.port, place.headers, x_big="a" * size)
    check_refused(place, answer, 431, "headers_too_large")
    assert "32768" in answer.error()["message"]
    assert not upstream.seen
    check_alive(place, upstream)


@pytest.mark.parametrize(
    "lines",
    [["x-big: " + "a" * 2_000_000], [f"x-{n}: 1" for n in range(5_000)], ["x-" + "n" * 100_000 + ": 1"] * 9],
    ids=["one of 2 MB", "5 000 of them", "long names"],
)
def test_headers_beyond_what_the_server_reads_end_the_connection(
    place: Place, upstream: Upstream, lines: list[str]
) -> None:
    with Wire(place.port) as wire:
        with contextlib.suppress(ConnectionError):
            wire.head(place.headers, *lines, "content-type: application/json", "content-length: 2")
        assert wire.rest()[:13] in (b"HTTP/1.1 431 ", b"")
    check_alive(place, upstream)


# A session in the body.


@pytest.fixture
def talkative(place: Place) -> Iterator[str]:
    """The path of a gateway whose sessions are named in the body."""
    gateway = place.admin.gateway(session_config={"enabled": True, "body_param_name": "session"})
    registry = gateway.registry("echo", "echo")
    key = gateway.key(gateway.consumer("talk", registry))
    yield key.text


@pytest.mark.parametrize(
    ("body", "session"),
    [
        (b'{"model":"m","session":"mine","messages":[]}', "mine"),
        (b'{"model":"m","session":5,"messages":[]}', None),
        (b'{"model":"m","session":"mine","messages":["\xff"]}', None),
        (b'{"model":"m","session":"mine","messages":[],"n":' + b"1" * 5000 + b"}", None),
        (b'{"model":"m","session":"mine","messages":[],"n":1e999}', None),
    ],
    ids=["a text", "a number", "no UTF-8 elsewhere", "a huge number elsewhere", "a number out of range elsewhere"],
)
def test_a_session_in_the_body_is_read_or_left(place: Place, talkative: str, body: bytes, session: str | None) -> None:
    """What cannot be read for the session's sake is no fault of ours: the provider judges the body."""
    answer = ask(place.port, "POST", "/talk/v1/chat/completions", {**JSON, **bearer(talkative)}, body)
    assert answer.status == 400, answer.body
    assert answer.headers["x-ag-error-source"] in ("gateway", "upstream")
    assert session is None or answer.headers["x-session-id"] == session
