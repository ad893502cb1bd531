"""Two hundred callers at once: every stream whole and in order; those who leave leave nothing behind."""

import asyncio
import itertools
import socket
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from .place import Place, open_place
from .program import HOST, Program, running, until
from .upstream import CHUNKED, EVENTS, JSON, Exchange, Script, Upstream, completion, delta, silent, story, stream
from .wire import Wire, chat, chat_body

CALLERS = 200
CHUNKS = 100
LEAVERS = 50
PATH = "/patient/v1/chat/completions"


class Gate:
    """Holds scripts back, on the upstream's loop, until the test lets them go on."""

    def __init__(self) -> None:
        self._open = False
        self._event = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def open(self) -> None:
        """Let them go on. For any thread."""
        self._open = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._event.set)

    async def passed(self) -> None:
        """Wait until they may."""
        self._loop = asyncio.get_running_loop()
        if not self._open:
            await self._event.wait()


def telling(first: Gate, second: Gate) -> Script:
    """A stream that says who it is for in every chunk: half of it behind the first gate, half behind the second."""
    numbers = itertools.count()

    async def script(exchange: Exchange) -> None:
        number = next(numbers)
        await exchange.head(200, EVENTS, CHUNKED)
        await first.passed()
        for at in range(CHUNKS):
            if at == CHUNKS // 2:
                await second.passed()
            await exchange.chunk(delta(f"{number}:{at} "))
            await asyncio.sleep(0)
        await exchange.chunk(b"".join(story([])[-2:]))
        await exchange.end()

    return script


class Caller:
    """One caller of a stream, reading it as it comes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.received = b""

    @classmethod
    async def ask(cls, place: Place) -> "Caller":
        """Connect and ask."""
        caller = cls(*await asyncio.open_connection(HOST, place.port))
        body = chat_body(stream=True)
        lines = [f"{name}: {value}" for name, value in place.headers.items()]
        head = [f"POST {PATH} HTTP/1.1", "host: test", "content-type: application/json", "connection: close", *lines]
        caller.writer.write("\r\n".join([*head, f"content-length: {len(body)}", "", ""]).encode() + body)
        return caller

    async def read_half(self) -> None:
        """Read until some of the first half is here."""
        while b":10 " not in self.received:
            data = await self.reader.read(65536)
            assert data, self.received
            self.received += data

    async def read_all(self) -> None:
        """Read to the end."""
        while data := await self.reader.read(65536):
            self.received += data

    def words(self) -> list[str]:
        """Return what the stream said, which must have ended cleanly."""
        head, _, body = self.received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        assert body.endswith(b"\r\n0\r\n\r\n"), body[-100:]
        assert b"data: [DONE]\n\n" in body
        said = [part.split(b'"')[0] for part in body.split(b'"content": "')[1:]]
        return [word.decode().strip() for word in said if word]

    def leave(self, *, reset: bool) -> None:
        """Close the connection, with FIN or with RST."""
        if reset:
            plug = self.writer.get_extra_info("socket")
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


def check_words(callers: Sequence[Caller]) -> None:
    """Check that each got one whole story in order, and each another one."""
    told = [caller.words() for caller in callers]
    for words in told:
        number = words[0].partition(":")[0]
        assert words == [f"{number}:{at}" for at in range(CHUNKS)]
    assert len({words[0] for words in told}) == len(callers)


def open_sockets(program: Program) -> int:
    """Return how many sockets the process has open; 0 where the system does not tell."""
    kinds = []
    folder = Path(f"/proc/{program.process.pid}/fd")
    for link in folder.iterdir() if folder.is_dir() else ():
        try:
            kinds.append(str(link.readlink()))
        except FileNotFoundError:
            continue  # closed since it was listed
    return sum(kind.startswith("socket:") for kind in kinds)


def check_nothing_is_left(place: Place, upstream: Upstream, before: int) -> None:
    """Check that no request is under way, and that only connections at rest are open."""
    until(lambda: not upstream.busy, what="the upstream's connections to be done with")
    until(lambda: place.program.metrics()["trustgate_requests_in_flight"] == 0, what="requests in flight")
    until(
        lambda: open_sockets(place.program) - len(upstream.connections) <= before + 2,
        what=f"sockets: {before} before",
    )


@pytest.fixture
def sockets(place: Place, upstream: Upstream) -> int:
    """How many sockets the program has besides those to the upstream, at rest."""
    until(lambda: not upstream.busy, what="the upstream at rest")
    return open_sockets(place.program) - len(upstream.connections)


def test_two_hundred_streams_are_whole_and_in_order(place: Place, upstream: Upstream, sockets: int) -> None:
    first, second = Gate(), Gate()
    second.open()
    upstream.play(telling(first, second))

    async def run() -> list[Caller]:
        callers = await asyncio.gather(*(Caller.ask(place) for _ in range(CALLERS)))
        await asyncio.to_thread(until, lambda: len(upstream.seen) == CALLERS, patience=30, what="all of them asked")
        assert place.program.metrics()["trustgate_requests_in_flight"] == CALLERS
        first.open()
        async with asyncio.timeout(60):
            await asyncio.gather(*(caller.read_all() for caller in callers))
        for caller in callers:
            caller.leave(reset=False)
        return callers

    check_words(asyncio.run(run()))
    check_nothing_is_left(place, upstream, sockets)


def test_fifty_who_leave_harm_nobody_and_leave_nothing(place: Place, upstream: Upstream, sockets: int) -> None:
    first, second = Gate(), Gate()
    first.open()
    upstream.play(telling(first, second))
    left = place.program.metrics().get("trustgate_client_disconnects_total", 0)

    async def run() -> tuple[list[Caller], float]:
        callers = await asyncio.gather(*(Caller.ask(place) for _ in range(CALLERS)))
        async with asyncio.timeout(60):
            await asyncio.gather(*(caller.read_half() for caller in callers))
        moment = time.monotonic()
        for at, caller in enumerate(callers[:LEAVERS]):
            caller.leave(reset=at % 2 == 0)
        await asyncio.to_thread(
            until, lambda: sum(seen.left.is_set() for seen in upstream.seen) >= LEAVERS, what="fifty calls given up"
        )
        second.open()
        async with asyncio.timeout(60):
            await asyncio.gather(*(caller.read_all() for caller in callers[LEAVERS:]))
        for caller in callers[LEAVERS:]:
            caller.leave(reset=False)
        return callers[LEAVERS:], moment

    stayed, moment = asyncio.run(run())
    check_words(stayed)
    given_up = [seen.left_at - moment for seen in upstream.seen if seen.left.is_set() and not seen.finished]
    gone = sorted(seen.left_at - moment for seen in upstream.seen if seen.left.is_set())[:LEAVERS]
    assert len(given_up) <= LEAVERS
    assert gone[-1] < 1.0, gone
    check_nothing_is_left(place, upstream, sockets)
    until(lambda: place.program.metrics()["trustgate_client_disconnects_total"] == left + LEAVERS, what="fifty counted")


def leaving(wire: Wire, how: str) -> None:
    if how == "reset":
        wire.reset()
    else:
        wire.socket.close()


@pytest.mark.parametrize("how", ["reset", "closed"])
@pytest.mark.parametrize("wait", [0.05, 0.6], ids=["soon", "late"])
def test_who_leaves_while_the_provider_is_silent_ends_the_call(
    place: Place, upstream: Upstream, how: str, wait: float
) -> None:
    """Nobody waits for a whole answer any more: the provider's connection is closed within a second."""
    upstream.play(silent)
    body, trace = chat_body(), f"{int(wait * 100):02d}{how[0].encode().hex()}".ljust(32, "7")
    with Wire(place.port) as wire:
        traceparent = f"traceparent: 00-{trace}-1111111111111111-01"
        wire.head(
            place.headers, "content-type: application/json", traceparent, f"content-length: {len(body)}", path=PATH
        )
        wire.send(body)
        until(lambda: len(upstream.seen) == 1, what="the call")
        time.sleep(wait)  # when the caller leaves is what the two cases differ in: before it is watched, and while
        moment = time.monotonic()
        leaving(wire, how)
        assert upstream.seen[0].left.wait(5)
    assert upstream.seen[0].left_at - moment < 1.0
    event = place.program.event(trace)
    assert event["client_disconnected"] is True
    assert event["response"]["complete"] is False
    assert event["request"]["stream"] is False
    until(lambda: place.program.metrics()["trustgate_requests_in_flight"] == 0, what="requests in flight")


def half_an_answer() -> Script:
    """The head and a part of a whole answer, then nothing."""

    async def script(exchange: Exchange) -> None:
        await exchange.head(200, JSON, (b"content-length", b"10000"))
        await exchange.write(b'{"id":')
        await exchange.silence()

    return script


def half_a_stream() -> Script:
    """The beginning of a stream, then nothing."""

    async def script(exchange: Exchange) -> None:
        await exchange.head(200, EVENTS, CHUNKED)
        await exchange.chunk(delta("one "))
        await exchange.silence()

    return script


@pytest.mark.parametrize("begun", [half_an_answer, half_a_stream])
def test_who_leaves_in_the_middle_of_an_answer_ends_the_call(
    place: Place, upstream: Upstream, begun: Callable[[], Script]
) -> None:
    upstream.play(begun())
    streamed = begun is half_a_stream
    body, trace = chat_body(stream=streamed), ("a" if streamed else "b") * 32
    with Wire(place.port) as wire:
        traceparent = f"traceparent: 00-{trace}-1111111111111111-01"
        wire.head(
            place.headers, "content-type: application/json", traceparent, f"content-length: {len(body)}", path=PATH
        )
        wire.send(body)
        if streamed:
            wire.until(b"one ")
        else:
            until(lambda: len(upstream.seen) == 1, what="the call")
        moment = time.monotonic()
    assert upstream.seen[0].left.wait(5)
    assert upstream.seen[0].left_at - moment < 1.0
    assert place.program.event(trace)["client_disconnected"] is True


def test_a_slow_reader_is_waited_for_and_not_filled_up(place: Place, upstream: Upstream) -> None:
    """A caller who does not read holds the provider back instead of filling the gateway's memory."""
    written = 0

    async def script(exchange: Exchange) -> None:
        nonlocal written
        await exchange.head(200, EVENTS, CHUNKED)
        event = delta("x" * 65536)
        while not exchange.gone.is_set() and written < 2000:
            if exchange.connection.transport.get_write_buffer_size() < 65536:
                await exchange.chunk(event)
                written += 1
            else:
                await asyncio.sleep(0.01)

    upstream.play(script)
    before = place.program.metrics()["process_resident_memory_bytes"]
    body = chat_body(stream=True)
    with Wire(place.port) as wire:
        wire.head(place.headers, "content-type: application/json", f"content-length: {len(body)}", path=PATH)
        wire.send(body)
        wire.until(b"xxxx")
        stuck = written
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            time.sleep(0.3)  # the upstream is stuck once nothing has been taken for as long as this
            if stuck == written:
                break
            stuck = written
        assert stuck == written < 1000  # of 64 KiB
        assert place.program.metrics()["process_resident_memory_bytes"] - before < 80 * 2**20
    until(lambda: not upstream.busy, what="the call given up")


def test_streams_and_whole_answers_do_not_mix(place: Place, upstream: Upstream) -> None:
    """Callers one after the other on few connections get each their own answer."""

    async def script(exchange: Exchange) -> None:
        word = str(exchange.json()["user"])
        if exchange.json().get("stream"):
            await stream(story([word]))(exchange)
        else:
            await completion(text=word)(exchange)

    upstream.play(script)

    def one(number: int) -> str:
        asked = {"user": f"word-{number}", "stream": number % 2 == 0}
        said = chat(
            place.port, place.headers, asked, path="/patient/v1/chat/completions"
        )  # 200 at once take their time
        good = said.whole and f'"word-{number}"' in said.body.decode()
        return "" if good else f"{number}: {said.status} {said.body.decode()[:300]}"

    async def run() -> list[str]:
        return await asyncio.gather(*(asyncio.to_thread(one, number) for number in range(200)))

    assert not [wrong for wrong in asyncio.run(run()) if wrong]


def test_a_process_at_rest_is_small_and_ends_at_once(folder: Path, upstream: Upstream) -> None:
    """No task that was left behind keeps it, and none is found unfinished at its end."""
    with running("run", folder=folder) as program, program.admin() as admin:
        place = open_place(program, admin, upstream.url)
        upstream.play(silent)
        assert chat(place.port, place.headers).status == 504
        assert program.metrics()["process_resident_memory_bytes"] < 120 * 2**20
        started = time.monotonic()
        assert program.stop() == 0
        assert time.monotonic() - started < 5
    assert "Task was destroyed" not in program.stderr
    assert "never awaited" not in program.stderr
    assert "outlived" not in program.stderr
