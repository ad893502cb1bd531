"""What can go wrong with a provider, as scripts for an upstream on a real socket."""

import asyncio
import json
from collections.abc import Callable, Mapping

from tests.e2e.upstream import Exchange, Script
from tests.lifecycle.kit import CHUNK, DONE, completion, event, says

SLOW = 0.02
"""Seconds between the drops of a slow drip."""
JSON = (b"content-type", b"application/json")
EVENTS = (b"content-type", b"text/event-stream")
GOOD = "Hello from there"


def error(status: int, message: str, code: str = "", *headers: tuple[bytes, bytes]) -> Script:
    """An error as OpenAI's own service says it."""
    said = {"error": {"message": message, "type": "server_error", "param": None, "code": code or None}}
    body = json.dumps(said).encode()

    async def script(exchange: Exchange) -> None:
        await exchange.head(status, JSON, (b"content-length", b"%d" % len(body)), *headers)
        await exchange.write(body)

    return script


def _streams(exchange: Exchange) -> bool:
    return bool(exchange.json().get("stream"))


def _events() -> list[bytes]:
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
    words = [says(word) for word in ("Hello ", "from ", "there")]
    return [*words, says(None, "stop"), event(CHUNK | {"choices": [], "usage": usage}), DONE]


async def good(exchange: Exchange) -> None:
    """A good answer, in the form that is asked for."""
    if _streams(exchange):
        await exchange.head(200, EVENTS, (b"transfer-encoding", b"chunked"))
        for each in _events():
            await exchange.chunk(each)
        await exchange.end()
        return
    body = completion(GOOD)
    await exchange.head(200, JSON, (b"content-length", b"%d" % len(body)))
    await exchange.write(body)


async def reset(exchange: Exchange) -> None:
    """Gone before a byte."""
    exchange.reset()


async def reset_within(exchange: Exchange) -> None:
    """Gone in the middle of the body: of a stream behind its first event."""
    if _streams(exchange):
        await exchange.head(200, EVENTS, (b"transfer-encoding", b"chunked"))
        await exchange.chunk(_events()[0])
        await asyncio.sleep(SLOW)
    else:
        body = completion(GOOD)
        await exchange.head(200, JSON, (b"content-length", b"%d" % len(body)))
        await exchange.write(body[: len(body) // 2])
        await asyncio.sleep(SLOW)
    exchange.reset()


async def reset_at_once(exchange: Exchange) -> None:
    """Gone behind the head, before anything of the body."""
    await exchange.head(200, EVENTS if _streams(exchange) else JSON, (b"transfer-encoding", b"chunked"))
    await asyncio.sleep(SLOW)
    exchange.reset()


async def silence(exchange: Exchange) -> None:
    """Not a byte."""
    await exchange.silence()


async def stall(exchange: Exchange) -> None:
    """A beginning, and nothing more."""
    if _streams(exchange):
        await exchange.head(200, EVENTS, (b"transfer-encoding", b"chunked"))
        await exchange.chunk(_events()[0])
    else:
        await exchange.head(200, JSON, (b"content-length", b"1000"))
        await exchange.write(b'{"id":')
    await exchange.silence()


async def cut(exchange: Exchange) -> None:
    """A proper end of the connection in the middle of an event."""
    if _streams(exchange):
        await exchange.head(200, EVENTS, (b"connection", b"close"))
        await exchange.write(_events()[0] + _events()[1][:20])
    else:
        await exchange.head(200, JSON, (b"connection", b"close"))
        await exchange.write(completion(GOOD)[:40])
    exchange.close()


async def malformed(exchange: Exchange) -> None:
    """What is no answer: of a stream the very first event."""
    body = b"data: {not json\n\n" if _streams(exchange) else b"<html>busy</html>"
    await exchange.head(200, EVENTS if _streams(exchange) else JSON, (b"content-length", b"%d" % len(body)))
    await exchange.write(body)


async def error_within(exchange: Exchange) -> None:
    """A 200 with an error in it: of a stream its very first event."""
    said = {"error": {"message": "Overloaded.", "type": "server_error", "code": "overloaded", "param": None}}
    body = event(said) if _streams(exchange) else json.dumps(said).encode()
    await exchange.head(200, EVENTS if _streams(exchange) else JSON, (b"content-length", b"%d" % len(body)))
    await exchange.write(body)


async def endless(exchange: Exchange) -> None:
    """A stream without its end, and a whole answer whose last bytes are missing."""
    if _streams(exchange):
        await exchange.head(200, EVENTS, (b"transfer-encoding", b"chunked"))
        for each in _events()[:2]:
            await exchange.chunk(each)
        await exchange.end()
    else:
        body = completion(GOOD)
        await exchange.head(200, JSON, (b"content-length", b"%d" % (len(body) + 5)))
        await exchange.write(body)
        exchange.close()


async def drip(exchange: Exchange) -> None:
    """A good answer, drop by drop."""
    if _streams(exchange):
        await exchange.head(200, EVENTS, (b"transfer-encoding", b"chunked"))
        for each in _events():
            for half in (each[:7], each[7:]):
                await exchange.chunk(half)
                await asyncio.sleep(SLOW)
        await exchange.end()
        return
    body = completion(GOOD)
    await exchange.head(200, JSON, (b"content-length", b"%d" % len(body)))
    for at in range(0, len(body), 40):
        await exchange.write(body[at : at + 40])
        await asyncio.sleep(SLOW)


def once(fault: Script) -> Callable[[], Script]:
    """The fault for the first request of each model, and good answers from then on."""

    def fresh() -> Script:
        asked: set[object] = set()

        async def script(exchange: Exchange) -> None:
            model = exchange.json()["model"]
            first = model not in asked
            asked.add(model)
            await (fault if first else good)(exchange)

        return script

    return fresh


def always(fault: Script) -> Callable[[], Script]:
    """The fault for every request."""
    return lambda: fault


Fault = Callable[[], Script] | None
"""Makes an upstream's script; None is an upstream that nobody listens for."""
FAULTS: Mapping[str, Fault] = {
    "429": always(error(429, "Slow down.", "rate_limit_exceeded")),
    "429, `Retry-After: 1`": once(error(429, "Slow down.", "rate_limit_exceeded", (b"retry-after", b"1"))),
    "429, `Retry-After: 60`": always(error(429, "Slow down.", "rate_limit_exceeded", (b"retry-after", b"60"))),
    "one 500": once(error(500, "Broken.")),
    "500, lasting": always(error(500, "Broken.")),
    "503": always(error(503, "Busy.")),
    "401 (a key that is not taken)": always(error(401, "Wrong key.", "invalid_api_key")),
    "connection refused": None,
    "reset before a byte": always(reset),
    "reset behind the head": always(reset_at_once),
    "reset in the middle of the body": always(reset_within),
    "silence before the first byte": always(silence),
    "a stall in the middle": always(stall),
    "a cut in the middle": always(cut),
    "a malformed beginning": always(malformed),
    "an error in a 200": always(error_within),
    "the end is missing": always(endless),
    "400, context too long": always(error(400, "Too long.", "context_length_exceeded")),
    "400, content filter": always(error(400, "Filtered.", "content_filter")),
    "a slow drip": always(drip),
}
