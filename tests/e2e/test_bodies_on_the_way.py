"""Bodies on their way: slow ones, announced ones, ones that nobody waits for, and connections used again."""

import contextlib
import time

import pytest

from .place import Place
from .refusals import CHAT, JSON, check_alive
from .upstream import Exchange, Upstream, completion
from .wire import Wire, ask, chat_body


@pytest.mark.parametrize("pause", [0.15, 0.6], ids=["some at a time", "with long pauses"])
def test_a_body_that_arrives_slowly_is_read_whole(place: Place, upstream: Upstream, pause: float) -> None:
    body = chat_body(user="x" * 200)
    with Wire(place.port) as wire:
        wire.head(place.headers, "content-type: application/json", f"content-length: {len(body)}")
        third = len(body) // 3
        for part in (body[:third], body[third : 2 * third], body[2 * third :]):
            wire.socket.settimeout(pause)
            with pytest.raises(TimeoutError):
                wire.socket.recv(1)  # nothing is said before the body is here
            wire.socket.settimeout(3)
            wire.send(part)
        assert wire.until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    assert upstream.last().body == body


def test_a_caller_who_waits_to_be_told_to_continue_is_told_so(place: Place, upstream: Upstream) -> None:
    body = chat_body()
    with Wire(place.port, timeout=5) as wire:
        wire.head(
            place.headers,
            "content-type: application/json",
            "expect: 100-continue",
            "connection: close",
            f"content-length: {len(body)}",
        )
        assert wire.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.send(body)
        assert b"HTTP/1.1 200 OK" in wire.rest()
    assert upstream.last().body == body


def test_a_caller_who_leaves_in_the_middle_of_the_body_leaves_an_event(place: Place, upstream: Upstream) -> None:
    trace = "5" * 32
    with Wire(place.port) as wire:
        wire.head(
            place.headers,
            "content-type: application/json",
            f"traceparent: 00-{trace}-1111111111111111-01",
            "content-length: 1000",
        )
        wire.send(b'{"model":')
    event = place.program.event(trace)
    assert event["client_disconnected"] is True
    assert event["consumer"]["slug"] == "my-app"
    assert not upstream.seen
    check_alive(place, upstream)


@pytest.mark.parametrize(
    ("form", "size"),
    [("a wrong key", 1_000), ("a wrong key", 1_000_000), ("an unknown consumer", 100_000), ("a wrong type", 100_000)],
)
def test_a_refusal_that_comes_early_leaves_a_connection_to_count_on(place: Place, form: str, size: int) -> None:
    """Before the body is here, a caller may be refused. The connection is of use afterwards, or says that it closes.

    Otherwise a client keeps it, and loses its next request, which may be a good one, on a connection that is gone.
    """
    key = {"x-ag-api-key": "ag_" + "x" * 43} if form == "a wrong key" else place.headers
    path = "/nobody/v1/chat/completions" if form == "an unknown consumer" else CHAT
    kind = "text/plain" if form == "a wrong type" else "application/json"
    body = chat_body(user="x" * size)
    with Wire(place.port) as wire:
        wire.head(key, f"content-type: {kind}", f"content-length: {len(body)}", path=path)
        wire.send(body[: size // 2])
        wire.socket.settimeout(0.3)
        with contextlib.suppress(TimeoutError):
            wire.until(b'"code":')
        time.sleep(0.1)  # a caller is no faster than that; by now a connection that closes has been closed
        wire.socket.settimeout(10)
        with contextlib.suppress(ConnectionError):
            wire.send(body[size // 2 :])
        refused = wire.until(b'"code":')
        assert refused[:12] in (b"HTTP/1.1 401", b"HTTP/1.1 404", b"HTTP/1.1 415")
        if b"connection: close" not in refused.partition(b"\r\n\r\n")[0].lower():
            wire.received = b""
            wire.head(place.headers, "content-type: application/json", f"content-length: {len(chat_body())}")
            wire.send(chat_body())
            assert b"HTTP/1.1 200" in wire.until(b"chatcmpl-1")


def test_requests_that_are_sent_ahead_are_answered_in_order(place: Place, upstream: Upstream) -> None:
    """HTTP/1.1 pipelining: on one connection, each answer is that of its request."""

    async def script(exchange: Exchange) -> None:
        await completion(text=str(exchange.json()["user"]))(exchange)

    upstream.play(script)
    bodies = [chat_body(user=f"number {number}") for number in range(5)]
    with Wire(place.port) as wire:
        for body in bodies:
            wire.head(place.headers, "content-type: application/json", f"content-length: {len(body)}")
            wire.send(body)
        said = wire.until(b"number 4").decode()
    places = [said.index(f"number {number}") for number in range(5)]
    assert places == sorted(places)


def test_a_body_without_a_length_is_read(place: Place, upstream: Upstream) -> None:
    body = chat_body()
    headers = {**JSON, **place.headers}
    answer = ask(place.port, "POST", CHAT, headers, iter([body[:5], body[5:40], body[40:]]), chunked=True)
    assert answer.status == 200
    assert upstream.last().body == body
