"""Answers calls to `echo://`: the pace, the clocks and the failures. What is said comes from `chat`.

A target tells this transport its registry's options in a header of the call, `x-echo-options`, whose value is the JSON
of `EchoOptions`; it never leaves the process. A request's own `metadata` goes before it: `echo.latency` and
`echo.chunk_interval` are durations, `echo.failure` is one of `EchoFailure`.
"""

import asyncio
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Literal, get_args

import msgspec
from msgspec import Struct

from trustgate.contract.policy import seconds
from trustgate.contract.upstream import Call, Clocks, FailureKind, Header, Upstream, UpstreamFailure, pieces, read_out
from trustgate.providers.catalog import EchoFailure, EchoOptions
from trustgate.providers.echo.asked import Asked, read_request
from trustgate.providers.echo.chat import DONE, write_completion, write_events
from trustgate.providers.echo.faults import Fault, rate_limited, server_error, unknown_url, wrong_method, wrong_value

OPTIONS_HEADER = b"x-echo-options"
PATH = b"/chat/completions"
JSON = b"application/json"
EVENTS = b"text/event-stream; charset=utf-8"
GARBAGE = b"<html><body>It works!</body></html>"
FOREVER = float("inf")
PLENTY: tuple[Header, ...] = (
    (b"x-ratelimit-limit-requests", b"10000"),
    (b"x-ratelimit-remaining-requests", b"9999"),
    (b"x-ratelimit-reset-requests", b"6ms"),
)

Ending = Literal["end", "lost", "stall"]


class Behaviour(Struct, frozen=True, kw_only=True):
    """How one call is answered; times in seconds."""

    latency: float = 0.0
    chunk_interval: float = 0.0
    failure: EchoFailure = ""


class Script(Struct, frozen=True, kw_only=True):
    """An answer as it will happen: head, then chunks with a pause between them, then the ending."""

    status: int
    headers: tuple[Header, ...]
    chunks: Iterable[bytes]
    ending: Ending = "end"


class Clock:
    """The clocks of one call. Waiting ends in an UpstreamFailure when one of them runs out first."""

    def __init__(self, clocks: Clocks) -> None:
        self.clocks = clocks
        self._deadline = time.monotonic() + clocks.total

    async def wait(self, pause: float, *, limit: float, kind: FailureKind) -> None:
        """Wait for `pause` seconds. Raises UpstreamFailure after `limit`, or when the total is used up."""
        left = self._deadline - time.monotonic()
        allowed = min(limit, left)
        if pause <= allowed:
            # a pause of nothing still lets others run, as reading from a socket would
            return await asyncio.sleep(pause)
        await asyncio.sleep(max(0.0, allowed))
        if left < limit:
            raise UpstreamFailure("total_timeout", f"no complete answer within {self.clocks.total:g} s")
        raise UpstreamFailure(kind, f"nothing arrived within {limit:g} s")


class EchoUpstream:
    """An answer under way."""

    def __init__(self, script: Script, clock: Clock, interval: float) -> None:
        self.status = script.status
        self.headers: Sequence[Header] = script.headers
        self._chunks: Iterator[bytes] = iter(script.chunks)
        self._ending = script.ending
        self._clock = clock
        self._interval = interval
        self._pause = 0.0

    async def read(self) -> bytes:
        """Read what is left of the body. Raises UpstreamFailure when it breaks off or a clock runs out."""
        return await read_out(self)

    async def chunk(self) -> bytes:
        """Return the next chunk, `b""` at a proper end. Raises UpstreamFailure otherwise."""
        await self._clock.wait(self._pause, limit=self._clock.clocks.idle, kind="idle_timeout")
        self._pause = self._interval
        chunk = next(self._chunks, b"")
        return chunk or await self._end()

    async def aclose(self) -> None:
        """Forget what has not been read."""
        self._chunks = iter(())
        self._ending = "end"

    async def _end(self) -> bytes:
        if self._ending == "stall":
            await self._clock.wait(FOREVER, limit=self._clock.clocks.idle, kind="idle_timeout")
        if self._ending == "lost":
            raise UpstreamFailure("connection_lost", "echo was told to break off")
        return b""


class EchoTransport:
    """A transport whose every origin is the echo model."""

    async def send(self, call: Call) -> Upstream:
        """Answer the call's head after its latency. Raises UpstreamFailure."""
        clock = Clock(call.clocks)
        try:
            asked, behaviour = _read(call)
            if behaviour.failure == "refused":
                raise UpstreamFailure("connect_failed", "echo was told to refuse the connection")
            script = write_script(asked, behaviour.failure)
        except Fault as fault:
            behaviour = Behaviour()
            script = _script(fault.status, JSON, [fault.body()], headers=fault.headers)
        latency = FOREVER if behaviour.failure == "silence" else behaviour.latency
        await clock.wait(latency, limit=call.clocks.first_byte, kind="first_byte_timeout")
        return EchoUpstream(script, clock, behaviour.chunk_interval)

    async def aclose(self) -> None:
        """Nothing is held."""


def options_header(options: EchoOptions) -> Header:
    """Return the header that carries a registry's options to this transport."""
    return OPTIONS_HEADER, msgspec.json.encode(options)


def write_script(asked: Asked, failure: EchoFailure) -> Script:
    """Return how the answer will happen. Raises Fault where the failure is an answer."""
    if failure == "error_500":
        raise server_error()
    if failure == "rate_limited":
        raise rate_limited()
    kind = EVENTS if asked.stream else JSON
    chunks = [GARBAGE] if failure == "garbage" else _chunks(asked)
    return _script(200, kind, *_fail(chunks, failure), headers=PLENTY)


def _read(call: Call) -> tuple[Asked, Behaviour]:
    path = call.target.partition(b"?")[0]
    if not path.endswith(PATH):
        raise unknown_url(call.method, path.decode("latin-1"))
    if call.method != "POST":
        raise wrong_method(call.method, path.decode("latin-1"))
    asked = read_request(b"".join(pieces(call.body)))
    return asked, _behaviour(_options(call.headers), asked.metadata)


def _options(headers: Sequence[Header]) -> bytes:
    return next((value for name, value in headers if name.lower() == OPTIONS_HEADER), b"{}")


@lru_cache(maxsize=256)
def _configured(options: bytes) -> Behaviour:
    read = msgspec.json.decode(options, type=EchoOptions)
    return Behaviour(latency=seconds(read.latency), chunk_interval=seconds(read.chunk_interval), failure=read.failure)


def _behaviour(options: bytes, metadata: Mapping[str, str]) -> Behaviour:
    behaviour = _configured(options)
    if not any(name.startswith("echo.") for name in metadata):
        return behaviour
    return Behaviour(
        latency=_asked_duration(metadata, "echo.latency", behaviour.latency),
        chunk_interval=_asked_duration(metadata, "echo.chunk_interval", behaviour.chunk_interval),
        failure=_asked_failure(metadata, behaviour.failure),
    )


def _asked_duration(metadata: Mapping[str, str], name: str, default: float) -> float:
    if name not in metadata:
        return default
    try:
        return seconds(metadata[name])
    except ValueError as error:
        raise Fault(f"Invalid 'metadata.{name}': {error}.", param=f"metadata.{name}", code="invalid_value") from error


def _asked_failure(metadata: Mapping[str, str], default: EchoFailure) -> EchoFailure:
    asked = metadata.get("echo.failure", default)
    for failure in get_args(EchoFailure):
        if asked == failure:
            known: EchoFailure = failure
            return known
    raise wrong_value("metadata.echo.failure", asked, get_args(EchoFailure))


def _chunks(asked: Asked) -> Iterable[bytes]:
    answer_id = f"chatcmpl-{os.urandom(12).hex()}"
    created = int(time.time())
    if asked.stream:
        return write_events(asked, answer_id=answer_id, created=created)
    return [write_completion(asked, answer_id=answer_id, created=created)]


def _fail(chunks: Iterable[bytes], failure: EchoFailure) -> tuple[Iterable[bytes], Ending]:
    """Turn a whole answer into one that breaks, at a place that is the same every time."""
    match failure:
        case "half":
            return _halve(list(chunks), torn=True), "lost"
        case "broken_stream":
            return _halve(list(chunks), torn=False), "lost"
        case "stall":
            return _halve(list(chunks), torn=False), "stall"
        case "missing_done":
            return _unfinished(list(chunks)), "end"
        case _:
            return chunks, "end"


def _halve(chunks: Sequence[bytes], *, torn: bool) -> Sequence[bytes]:
    """Keep the first half: between two chunks, or `torn` in the middle of one, which is all that a whole body has."""
    middle = len(chunks) // 2
    if torn or not middle:
        return [*chunks[:middle], chunks[middle][: len(chunks[middle]) // 2]]
    return chunks[:middle]


def _unfinished(chunks: Sequence[bytes]) -> Sequence[bytes]:
    """Leave out everything from the first finish reason on; a whole body has no finish of its own to leave out."""
    if chunks[-1] != DONE:
        return chunks
    return [chunk for chunk in chunks if b'"finish_reason":null' in chunk]


def _script(
    status: int, kind: bytes, chunks: Iterable[bytes], ending: Ending = "end", *, headers: Sequence[Header] = ()
) -> Script:
    known = isinstance(chunks, list) and kind == JSON and ending == "end"
    length = ((b"content-length", b"%d" % sum(map(len, chunks))),) if known else ()
    usual = (
        (b"content-type", kind),
        (b"x-request-id", b"req_" + os.urandom(12).hex().encode()),
        (b"openai-processing-ms", b"1"),
        (b"openai-version", b"2020-10-01"),
    )
    return Script(status=status, headers=(*usual, *length, *headers), chunks=chunks, ending=ending)
