"""What providers do wrong: a 502 or 504 that says which, a stream that never looks whole, and no secret in either."""

import asyncio
import dataclasses
import json
import socket
from collections.abc import Iterator

import pytest

from .place import PROVIDER_KEY, Place
from .program import HOST, until
from .upstream import (
    CHUNKED,
    DONE,
    EVENTS,
    JSON,
    Exchange,
    Header,
    Script,
    Upstream,
    answer,
    completion_of,
    delta,
    raw,
    says,
    silent,
    story,
    stream,
)
from .wire import Answer, chat, check_error

HTML: Header = (b"content-type", b"text/html")
PAGE = b"<html><body><h1>502 Bad Gateway</h1>nginx at 10.0.0.7</body></html>"
WHOLE = json.dumps(completion_of()).encode()
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
BEGUN = story(["one ", "two ", "three "])[:-2]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def head(length: int, status: int = 200) -> bytes:
    return b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (status, length)


async def drip(exchange: Exchange) -> None:
    """Answer a byte at a time: no pause is long, but all of it is."""
    await exchange.write(head(10_000))
    while not exchange.gone.is_set():
        await exchange.write(b" ")
        await asyncio.sleep(0.05)


async def drip_stream(exchange: Exchange) -> None:
    """Stream without an end."""
    await exchange.write(STREAM_HEAD)
    while not exchange.gone.is_set():
        await exchange.chunk(delta("drop "))
        await asyncio.sleep(0.05)


Said = tuple[int, str]
MALFORMED: Said = (502, "provider_malformed_answer")
FAILED: Said = (502, "provider_error")
LOST: Said = (502, "provider_connection_lost")
LATE: Said = (504, "provider_first_byte_timeout")
STUCK: Said = (504, "provider_idle_timeout")


@dataclasses.dataclass(frozen=True)
class Fault:
    """What the provider does, and what the caller is told; how often the provider may be asked for it."""

    name: str
    script: Script
    said: Said
    most: int = 1


TWO_LENGTHS = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}"
SWITCHED = b"HTTP/1.1 101 X\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n"
CHUNKED_HEAD = STREAM_HEAD.replace(b"text/event-stream", b"application/json")
FAULTS = (
    Fault("garbage instead of HTTP", raw(b"\x16\x03\x01 SSH-2.0-OpenSSH_9.2\r\n\r\n"), MALFORMED),
    Fault("a page instead of a status line", raw(PAGE), MALFORMED),
    Fault("a page", answer(200, PAGE, HTML), MALFORMED),
    Fault("a page with a 502", answer(502, PAGE, HTML), FAILED),
    Fault("a page with a 500", answer(500, PAGE, HTML), (500, "provider_error")),
    Fault("a 500 without a body", answer(500, b""), (500, "provider_error")),
    Fault("another server's error", says({"detail": "overloaded"}, 503), (503, "provider_error")),
    Fault("an error that is a text", says({"error": "overloaded"}, 503), (503, "provider_error")),
    Fault("an error that is null", says({"error": None}, 500), (500, "provider_error")),
    Fault("an empty 200", answer(200, b""), MALFORMED),
    Fault("no JSON", answer(200, b"OK", (b"content-type", b"text/plain")), MALFORMED),
    Fault("half of its JSON", answer(200, WHOLE[:100]), MALFORMED),
    Fault("{}", answer(200, b"{}"), MALFORMED),
    Fault("null", answer(200, b"null"), MALFORMED),
    Fault("[]", answer(200, b"[]"), MALFORMED),
    Fault("no choices", says({"id": "x", "object": "chat.completion"}), MALFORMED),
    Fault("200 000 brackets", answer(200, b"[" * 200_000), MALFORMED),
    Fault("no UTF-8", answer(200, b'{"model":"\xff","choices":[]}'), MALFORMED),
    Fault("a 2xx that is an error", says({"error": {"message": "quota", "code": "q"}}), FAILED),
    Fault("204", raw(b"HTTP/1.1 204 No Content\r\n\r\n"), MALFORMED),
    Fault("302", answer(302, b"", (b"location", b"http://10.0.0.7/login")), MALFORMED),
    Fault("304", raw(b"HTTP/1.1 304 X\r\n\r\n"), MALFORMED),
    Fault("101", raw(SWITCHED), MALFORMED),
    Fault("a head without an end", raw(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000), MALFORMED),
    Fault("two lengths", raw(TWO_LENGTHS), MALFORMED),
    Fault("half a body", raw(head(1000), WHOLE), LOST),
    Fault("half a body, reset", raw(head(1000), WHOLE, then="reset"), LOST),
    Fault("half a chunk", raw(CHUNKED_HEAD, b"500\r\n{"), LOST),
    Fault("closed before an answer", raw(), LOST, most=2),  # a kept connection may have died: then once more
    Fault("reset before an answer", raw(then="reset"), LOST, most=2),
    Fault("half a head", raw(b"HTTP/1.1 200 OK\r\ncontent-"), LOST),
    Fault("silence", silent, LATE),
    Fault("half a head, then silence", raw(b"HTTP/1.1 200", then="hold"), LATE),
    Fault("half a body, then silence", raw(head(1000), WHOLE, then="hold"), STUCK),
)


def check_failed(place: Place, upstream: Upstream, said: Answer, status: int, code: str) -> None:
    """Check that the caller is told what the provider did, and not where it is or with which key it is asked."""
    error = said.error()
    assert said.whole
    assert (said.status, error["code"]) == (status, code), error
    assert said.headers["content-type"] == "application/json"
    assert said.headers["x-ag-error-source"] == "upstream"
    check_tells_nothing(place, upstream, said)
    event = place.program.event(said.trace_id)
    assert (event["status"]["code"], event["status"]["reason"]) == (status, code)
    assert event["status"]["is_timeout"] == (status == 504)
    assert event["attempts"][-1]["provider"] == "openai"
    check_recovered(place, upstream)


def check_tells_nothing(place: Place, upstream: Upstream, said: Answer) -> None:
    """Check that nothing in the answer is the operator's business."""
    text = (said.body.decode() + json.dumps(said.headers)).replace(said.trace_id, "")  # its digits are chance
    for secret in (str(upstream.port), HOST, PROVIDER_KEY, "10.0.0.7", place.key.text):
        assert secret not in text
    assert "location" not in said.headers


def check_recovered(place: Place, upstream: Upstream) -> None:
    """Check that nothing is left over: the connection is gone, and the next request is served."""
    until(lambda: not upstream.busy, what="the upstream's connections")
    upstream.play(answer(200, WHOLE))
    assert chat(place.port, place.headers).status == 200
    assert place.program.metrics()["trustgate_requests_in_flight"] == 0


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream asked for"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_caller_is_told_which(place: Place, upstream: Upstream, fault: Fault, streamed: bool) -> None:
    upstream.play(fault.script)
    said = chat(place.port, place.headers, {"stream": streamed})
    assert 1 <= len(upstream.seen) <= fault.most
    check_failed(place, upstream, said, *fault.said)
    if fault.said in (LATE, STUCK):
        assert place.program.event(said.trace_id)["latency"]["total_ms"] >= 360


CUT = "provider_connection_lost"
UNFINISHED = "provider_incomplete_stream"
STALLED = "provider_idle_timeout"
HALF_EVENT = b'data: {"id":"chatc'
ENDLESS_HEAD = b"HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\n\r\n"
SENT = [STREAM_HEAD, *map(chunk, BEGUN)]
BROKEN: tuple[tuple[str, Script, str], ...] = (
    ("cut between two events", raw(*SENT), CUT),
    ("cut within an event", raw(*SENT, chunk(HALF_EVENT)), CUT),
    ("cut within a chunk", raw(*SENT, b"500\r\n", HALF_EVENT), CUT),
    ("reset", raw(*SENT, then="reset"), CUT),
    ("garbage for a chunk", raw(*SENT, b"zzz\r\n"), "provider_malformed_answer"),
    ("no finish and no [DONE]", stream(BEGUN), UNFINISHED),
    ("nothing at all", stream([]), UNFINISHED),
    ("only comments", stream([b": ping\n\n"] * 3), UNFINISHED),
    ("a page as a stream", stream([PAGE]), UNFINISHED),
    ("no length, then the end", raw(ENDLESS_HEAD, *BEGUN), UNFINISHED),
    ("silence in the middle", raw(*SENT, then="hold"), STALLED),
    ("silence within an event", raw(*SENT, chunk(HALF_EVENT), then="hold"), STALLED),
)


@pytest.mark.parametrize(("script", "code"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_a_broken_stream_never_looks_whole(place: Place, upstream: Upstream, script: Script, code: str) -> None:
    """What was said arrives, then an error event in the caller's dialect, and the connection does not end cleanly."""
    upstream.play(script)
    said = chat(place.port, place.headers, {"stream": True})
    assert said.status == 200
    assert not said.whole
    *before, last = said.data()
    error = json.loads(last)["error"]
    check_error(error)
    assert error["code"] == code
    assert [f"data: {event}\n\n".encode() for event in before] in ([], BEGUN)
    assert "[DONE]" not in said.body.decode()
    check_tells_nothing(place, upstream, said)
    event = place.program.event(said.trace_id)
    assert event["status"]["reason"] == code
    assert event["response"]["complete"] is False
    assert code != STALLED or event["latency"]["total_ms"] >= 360
    check_recovered(place, upstream)


WORDS = ["one ", "two ", "three "]
STORY = story(WORDS)
FINISH = STORY[-2]
NO_CHOICE = b'data: {"choices":[]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}\n\n'


def cut(data: bytes, size: int) -> list[bytes]:
    """Return the data in pieces of a size."""
    return [data[at : at + size] for at in range(0, len(data), size)]


ENDS: tuple[tuple[str, list[bytes]], ...] = (
    ("as usual", STORY),
    ("with a finish reason and no [DONE]", STORY[:-1]),
    ("with CRLF", [event.replace(b"\n", b"\r\n") for event in STORY]),
    ("with CR", [event.replace(b"\n", b"\r") for event in STORY]),
    ("with no blank line at the end", [*STORY[:-1], b"data: [DONE]"]),
    ("without blanks after the colon", [event.replace(b"data: ", b"data:") for event in STORY]),
    ("with comments between", [part for event in STORY for part in (b": keep-alive\n\n", event)]),
    ("with ten comments at the end", [*STORY, *[b": bye\n\n"] * 10]),
    ("with usage last", [*STORY[:-1], USAGE, DONE]),
    ("with ten events behind its finish", [*STORY[:-1], *[NO_CHOICE] * 10]),
    ("in one piece", [b"".join(STORY)]),
    ("byte by byte", cut(b"".join(STORY), 1)),
    ("its end byte by byte", [*STORY[:-1], *cut(DONE, 1)]),
    ("its finish in small pieces and no [DONE]", [*STORY[:-2], *cut(FINISH, 20)]),
)


@pytest.mark.parametrize("pause", [0.0, 0.001], ids=["at once", "with pauses"])
@pytest.mark.parametrize("events", [events for _, events in ENDS], ids=[name for name, _ in ENDS])
def test_a_whole_stream_arrives_as_it_was_sent(
    place: Place, upstream: Upstream, events: list[bytes], pause: float
) -> None:
    """However it is cut, and however it ends as long as it does: the same bytes and a clean end."""
    upstream.play(stream(events, pause=pause))
    asked = {"stream": True, "stream_options": {"include_usage": True}}
    said = chat(place.port, place.headers, asked, path="/patient/v1/chat/completions")
    assert said.body == b"".join(events)
    assert said.whole
    event = place.program.event(said.trace_id)
    assert event["response"]["complete"] is True
    assert event["response"]["finish_reason"] == "stop"
    assert event["response"]["bytes"] == len(said.body)
    assert "reason" not in event["status"]


def test_an_error_within_a_stream_is_passed_on_and_told_of(place: Place, upstream: Upstream) -> None:
    """The provider's own words are what the caller gets; the stream does not look whole, and the event says why."""
    words = b'data: {"error":{"message":"boom","type":"server_error","param":null,"code":"boom"}}\n\n'
    upstream.play(stream([*BEGUN, words]))
    said = chat(place.port, place.headers, {"stream": True})
    assert said.body == b"".join(BEGUN) + words
    assert not said.whole
    event = place.program.event(said.trace_id)
    assert event["response"]["complete"] is False
    assert event["status"].get("reason") == "provider_error"


def test_a_stream_that_does_not_read_as_utf8_leaves_its_event(place: Place, upstream: Upstream) -> None:
    upstream.play(stream([*STORY[:-1], b'data: {"model":"\xff","choices":[]}\n\n', DONE]))
    said = chat(place.port, place.headers, {"stream": True})
    assert said.status == 200
    place.program.event(said.trace_id)
    check_recovered(place, upstream)


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
def test_the_clock_for_all_of_it_ends_what_never_pauses(place: Place, upstream: Upstream, streamed: bool) -> None:
    upstream.play(drip_stream if streamed else drip)
    registry = place.gateway.registry(
        f"hasty-{streamed}".lower(), "openai", key="sk-x", base_url=upstream.url, timeouts={"total": "700ms"}
    )
    consumer = place.gateway.consumer(f"hasty-{streamed}".lower(), registry)
    place.gateway.attach(consumer, "auths", place.key.id)
    said = chat(place.port, place.headers, {"stream": streamed}, path=f"/hasty-{streamed}/chat/completions".lower())
    event = place.program.event(said.trace_id)
    assert event["status"]["reason"] == "provider_total_timeout"
    assert 630 <= event["latency"]["total_ms"] <= 3000
    if streamed:
        assert not said.whole
        assert json.loads(said.data()[-1])["error"]["code"] == "provider_total_timeout"
    else:
        assert (said.status, said.error()["code"]) == (504, "provider_total_timeout")
    until(lambda: not upstream.busy, what="the upstream's connections")


@pytest.fixture
def deaf() -> Iterator[int]:
    """A port that takes no connection: its backlog is full."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind((HOST, 0))
        listener.listen(0)
        port: int = listener.getsockname()[1]
        for caller in (first, second):
            caller.setblocking(False)
            caller.connect_ex((HOST, port))
        yield port


def lonely(place: Place, name: str, port: int, **timeouts: str) -> Answer:
    """Ask a registry at this port."""
    registry = place.gateway.registry(
        name, "openai", key="sk-x", base_url=f"http://{HOST}:{port}/v1", timeouts=timeouts
    )
    consumer = place.gateway.consumer(name, registry)
    place.gateway.attach(consumer, "auths", place.key.id)
    return chat(place.port, place.headers, path=f"/{name}/v1/chat/completions")


def test_a_port_where_nobody_listens(place: Place, upstream: Upstream) -> None:
    with socket.socket() as unused:
        unused.bind((HOST, 0))
        port = unused.getsockname()[1]
        said = lonely(place, "refused", port)
    check_failed(place, upstream, said, 502, "provider_unreachable")
    assert str(port) not in said.body.decode()


def test_a_host_that_does_not_take_the_connection(place: Place, upstream: Upstream, deaf: int) -> None:
    said = lonely(place, "deaf", deaf, connect="300ms")
    check_failed(place, upstream, said, 504, "provider_connect_timeout")
    assert str(deaf) not in said.body.decode()


def test_an_answer_that_is_too_large_to_carry_whole(place: Place, upstream: Upstream) -> None:
    async def endless(exchange: Exchange) -> None:
        await exchange.head(200, JSON, CHUNKED)
        while not exchange.gone.is_set():
            await exchange.chunk(b" " * 65536)

    upstream.play(endless)
    said = chat(place.port, place.headers)
    check_failed(place, upstream, said, 502, "provider_answer_too_large")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 422, 429, 500, 502, 503, 504])
def test_an_error_in_its_own_dialect_comes_back_as_it_is(place: Place, upstream: Upstream, status: int) -> None:
    """Status, body and the headers that SDKs act on."""
    body = b'{ "error": {"message": "no", "type": "some_error", "param": null, "code": "some_code"} }'
    headers: tuple[Header, ...] = (
        JSON,
        (b"retry-after", b"17"),
        (b"retry-after-ms", b"16500"),
        (b"x-should-retry", b"false"),
        (b"x-request-id", b"req_123"),
        (b"x-ratelimit-remaining-requests", b"0"),
    )
    upstream.play(answer(status, body, *headers))
    said = chat(place.port, place.headers)
    assert (said.status, said.body) == (status, body)
    assert {name: said.headers[name.decode()] for name, _ in headers} == {
        name: value.decode() for name, value in headers
    }
    assert said.headers["x-ag-error-source"] == "upstream"
    assert place.program.event(said.trace_id)["status"]["reason"] == "provider_error"


def test_an_error_of_another_server_keeps_the_headers_that_sdks_act_on(place: Place, upstream: Upstream) -> None:
    upstream.play(answer(429, PAGE, HTML, (b"retry-after", b"17"), (b"x-request-id", b"req_123")))
    said = chat(place.port, place.headers)
    assert said.status == 429
    assert said.error()["code"] == "provider_error"
    assert said.headers.get("retry-after") == "17"
    assert said.headers.get("x-request-id") == "req_123"


def test_an_answer_in_capitals_is_still_a_stream(place: Place, upstream: Upstream) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.head(200, (b"Content-Type", b"Text/Event-Stream"), CHUNKED)
        for event in STORY:
            await exchange.chunk(event)
        await exchange.end()

    upstream.play(script)
    said = chat(place.port, place.headers, {"stream": True})
    assert said.body == b"".join(STORY)


def test_a_reused_connection_that_died_costs_the_caller_nothing(place: Place, upstream: Upstream) -> None:
    async def script(exchange: Exchange) -> None:
        await answer(200, WHOLE)(exchange)
        exchange.close()

    upstream.play(script)
    assert [chat(place.port, place.headers).status for _ in range(20)] == [200] * 20


def test_interim_answers_are_skipped(place: Place, upstream: Upstream) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"
    upstream.play(raw(interim, head(len(WHOLE)), WHOLE))
    assert chat(place.port, place.headers).body == WHOLE


def test_usage_that_was_not_asked_for_is_counted_and_not_relayed(place: Place, upstream: Upstream) -> None:
    upstream.play(stream([*STORY[:-1], USAGE, DONE]))
    said = chat(place.port, place.headers, {"stream": True})
    assert said.body == b"".join(STORY)
    assert said.whole
    usage = place.program.event(said.trace_id)["usage"]
    assert usage["total_tokens"] > 0
    assert "estimated" not in usage


def test_a_stream_that_was_not_asked_for_is_refused(place: Place, upstream: Upstream) -> None:
    upstream.play(raw(b"HTTP/1.1 200 OK\r\n" + b"%s: %s\r\n\r\n" % EVENTS, *STORY))
    said = chat(place.port, place.headers)
    assert (said.status, said.error()["code"]) == (502, "provider_ignored_stream")
