"""Leaving in good order: not ready at once, what is under way finishes within its grace, and events are written."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from .place import Place, open_place
from .program import Json, Program, running, until
from .upstream import CHUNKED, EVENTS, Exchange, Script, Upstream, completion, delta, silent, story
from .wire import Wire, chat, chat_body

PATH = "/patient/v1/chat/completions"
Start = Callable[..., Place]


@pytest.fixture
def start(folder: Path, upstream: Upstream) -> Iterator[Start]:
    """Starts programs with a gateway in them; each must end in good order."""
    programs: list[Program] = []

    def started(**variables: str) -> Place:
        programs.append(Program("run", folder=folder, variables=variables).start())
        with programs[-1].admin() as admin:
            return open_place(programs[-1], admin, upstream.url)

    yield started
    for program in programs:
        program.stop()
        assert "Traceback" not in program.stderr, program.stderr
        assert "Task was destroyed" not in program.stderr


class Held:
    """A stream that has begun and goes on when it is told to."""

    def __init__(self, *, endless: bool = False) -> None:
        self.ending = False
        self.endless = endless

    def script(self) -> Script:
        """Return the script: a word every 20 ms until the end is called for."""

        async def script(exchange: Exchange) -> None:
            await exchange.head(200, EVENTS, CHUNKED)
            while (self.endless or not self.ending) and not exchange.gone.is_set():
                await exchange.chunk(delta("word "))
                await asyncio.sleep(0.02)
            for event in story([])[1:]:
                await exchange.chunk(event)
            await exchange.end()

        return script


def ask_for_stream(place: Place, trace: str) -> Wire:
    """Ask for a stream and read its beginning."""
    wire = Wire(place.port)
    body = chat_body(stream=True)
    lines = ["content-type: application/json", f"traceparent: 00-{trace}-1111111111111111-01"]
    wire.head(place.headers, *lines, f"content-length: {len(body)}", path=PATH)
    wire.send(body)
    assert b"word " in wire.until(b"word ")
    return wire


def event_of(place: Place, trace: str) -> Json:
    """Return the one event of a trace that is written when the program has ended."""
    [event] = [event for event in place.program.events() if event["trace_id"] == trace]
    return event


def is_leaving(program: Program, plane: str) -> bool:
    return program.readiness(plane) == 503


def ends_cleanly(received: bytes) -> bool:
    return received.endswith(b"\r\n0\r\n\r\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_running_streams_finish(start: Start, upstream: Upstream, number: signal.Signals) -> None:
    """Readiness drops at once on every plane, the streams end whole, their events are written, and the code is 0."""
    place, held = start(), Held()
    upstream.play(held.script())
    wires = [ask_for_stream(place, f"{at + 1:032x}") for at in range(10)]
    place.program.signal(number)
    moment = time.monotonic()
    for plane in place.program.names:
        until(partial(is_leaving, place.program, plane), patience=3, what="not ready")
    assert time.monotonic() - moment < 1.0
    told = httpx.get(place.program.url("proxy", "/readyz"), trust_env=False).json()
    assert (told["status"], told["dependencies"]["process"]) == ("not_ready", "draining")
    assert httpx.get(place.program.url("proxy", "/healthz"), trust_env=False).status_code == 200
    held.ending = True
    for wire in wires:
        wire.until(b"\r\n0\r\n\r\n")
        assert ends_cleanly(wire.received)
        assert b"data: [DONE]\n\n" in wire.received
        wire.socket.close()
    assert place.program.wait() == 0
    for at in range(10):
        event = event_of(place, f"{at + 1:032x}")
        assert event["response"]["complete"] is True
        assert event["response"]["finish_reason"] == "stop"
        assert "client_disconnected" not in event


def test_new_requests_are_served_while_it_leaves(start: Start, upstream: Upstream) -> None:
    """A balancer needs a moment to hear of it: until the last stream has ended, nobody is turned away."""
    place, held = start(), Held()
    upstream.play(held.script())
    wire = ask_for_stream(place, "1" * 32)
    place.program.signal()
    until(partial(is_leaving, place.program, "proxy"), patience=3, what="not ready")
    upstream.script = completion()
    assert chat(place.port, place.headers).status == 200
    held.ending = True
    wire.until(b"\r\n0\r\n\r\n")
    wire.socket.close()
    assert place.program.wait() == 0


def test_a_stream_without_an_end_is_cut_when_its_grace_is_over(start: Start, upstream: Upstream) -> None:
    """It does not look whole to its caller, its event is there and says so, and the provider is not left generating."""
    place = start(SERVER_SHUTDOWN_GRACE="500ms")
    upstream.play(Held(endless=True).script())
    wire = ask_for_stream(place, "2" * 32)
    place.program.signal()
    moment = time.monotonic()
    received = wire.rest()
    assert 0.4 < time.monotonic() - moment < 4
    assert not ends_cleanly(received)
    assert b"[DONE]" not in received
    wire.socket.close()
    assert place.program.wait() == 0
    assert time.monotonic() - moment < 6
    event = event_of(place, "2" * 32)
    assert event["response"]["complete"] is False
    assert event["status"]["code"] == 200
    assert "client_disconnected" not in event  # the caller was still there
    assert upstream.seen[0].left.wait(3)
    assert "outlived" in place.program.stderr


def test_a_call_without_an_answer_is_cut_when_its_grace_is_over(start: Start, upstream: Upstream) -> None:
    place = start(SERVER_SHUTDOWN_GRACE="300ms")
    upstream.play(silent)
    body, trace = chat_body(), "3" * 32
    with Wire(place.port) as wire:
        lines = ["content-type: application/json", f"traceparent: 00-{trace}-1111111111111111-01"]
        wire.head(place.headers, *lines, f"content-length: {len(body)}", path=PATH)
        wire.send(body)
        until(lambda: len(upstream.seen) == 1, what="the call")
        place.program.signal()
        received = wire.rest()
    assert not received.startswith(b"HTTP/1.1 200")
    assert place.program.wait() == 0
    event = event_of(place, trace)
    assert event["response"]["complete"] is False
    assert "client_disconnected" not in event  # the caller was still there
    assert upstream.seen[0].left.wait(3)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_second_signal_hurries(start: Start, upstream: Upstream, number: signal.Signals) -> None:
    place = start(SERVER_SHUTDOWN_GRACE="5m")
    upstream.play(Held(endless=True).script())
    wire = ask_for_stream(place, "4" * 32)
    place.program.signal()
    until(partial(is_leaving, place.program, "proxy"), patience=3, what="not ready")
    time.sleep(0.2)  # nothing is to happen in this time: there is no event to wait for
    assert place.program.process.poll() is None
    moment = time.monotonic()
    place.program.signal(number)
    assert place.program.wait() == 0
    assert time.monotonic() - moment < 4
    assert not ends_cleanly(wire.rest())
    wire.socket.close()
    assert event_of(place, "4" * 32)["response"]["complete"] is False


def test_at_rest_it_leaves_at_once(start: Start, upstream: Upstream) -> None:
    """Connections that are kept open, on either side, do not hold it up; the last events are written."""
    place = start()
    with httpx.Client(trust_env=False) as client, Wire(place.port):
        headers = {"content-type": "application/json", **place.headers}
        said = client.post(place.program.url("proxy", PATH), content=chat_body(), headers=headers)
        assert said.status_code == 200
        place.program.signal()
        moment = time.monotonic()
        assert place.program.wait() == 0
    assert time.monotonic() - moment < 3
    assert event_of(place, said.headers["x-ag-trace-id"])["status"]["code"] == 200


def test_a_slow_body_does_not_hold_it_up_for_ever(start: Start, upstream: Upstream) -> None:
    place = start(SERVER_SHUTDOWN_GRACE="300ms")
    with Wire(place.port) as wire:
        wire.head(place.headers, "content-type: application/json", "content-length: 1000")
        wire.send(b"{")
        until(lambda: place.program.metrics()["trustgate_requests_in_flight"] == 1, what="the request")
        place.program.signal()
        assert place.program.wait() == 0


def test_a_hundred_events_just_before_the_end_are_written(start: Start, upstream: Upstream) -> None:
    place = start()
    traces = [chat(place.port, place.headers).trace_id for _ in range(100)]
    assert place.program.stop() == 0
    assert {event["trace_id"] for event in place.program.events()} == set(traces)


def test_what_was_made_is_there_after_a_restart(folder: Path, upstream: Upstream) -> None:
    with running("run", folder=folder) as program, program.admin() as admin:
        place = open_place(program, admin, upstream.url)
        before = chat(place.port, place.headers)
    with running("run", folder=folder, secret=program.secret) as again:
        after = chat(again.ports["proxy"], place.headers)
    assert (before.status, after.status) == (200, 200)
    assert before.headers["x-ag-revision"] == after.headers["x-ag-revision"]
