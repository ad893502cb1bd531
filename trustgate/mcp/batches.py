"""Several messages in one request, as the revisions before 2025-06-18 have it: each is a request of its own, and what
comes of them is one answer.

https://modelcontextprotocol.io/specification/2025-03-26/basic/transports#sending-messages-to-the-server
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

from trustgate.contract import sse
from trustgate.mcp.asking import EVENTS, JSON, Reply
from trustgate.mcp.merging import merged
from trustgate.mcp.messages import INVALID_REQUEST, Json, Wrong, is_message

WITH_BATCHES: Final = frozenset(("2024-11-05", "2025-03-26"))
MOST: Final = 100
"""Messages of one batch."""


def check_batch(messages: Sequence[object], revision: str) -> Sequence[Json]:
    """Return the messages of a batch. Raises Wrong for one that may not be, or holds what may not be in one."""
    if revision not in WITH_BATCHES:
        text = f"{revision or 'This revision'} has no batches: send one JSON-RPC message a request."
        raise Wrong(INVALID_REQUEST, text, status=400)
    if not messages or len(messages) > MOST:
        raise Wrong(INVALID_REQUEST, f"A batch has 1 to {MOST} messages; this one has {len(messages)}.", status=400)
    found = []
    for at, message in enumerate(messages):
        if not isinstance(message, dict) or not is_message(message):
            raise Wrong(INVALID_REQUEST, f"Message {at} of the batch is no JSON-RPC 2.0 message.", status=400)
        if message.get("method") == "initialize":
            raise Wrong(INVALID_REQUEST, "initialize is no part of a batch: send it by itself.", status=400)
        found.append(message)
    return found


def together(replies: Sequence[Reply]) -> Reply:
    """Return the one answer that several are: an array, or events where any of them comes as events."""
    bodies = [reply.body for reply in replies if reply.body]
    streams = [reply.events for reply in replies if reply.events is not None]
    if streams:
        return Reply(headers=EVENTS, events=_framed(bodies, streams))
    if not bodies:
        return Reply(status=202)
    return Reply(headers=(JSON,), body=b"[" + b",".join(bodies) + b"]")


async def drop(events: AsyncGenerator[bytes, None]) -> None:
    """Let go of events that nobody reads: what never began would not end as it should."""
    beginning = asyncio.ensure_future(anext(events, b""))
    await asyncio.sleep(0)
    beginning.cancel()
    await asyncio.gather(beginning, return_exceptions=True)
    await events.aclose()


async def _framed(
    bodies: Sequence[bytes], streams: Sequence[AsyncGenerator[bytes, None]]
) -> AsyncGenerator[bytes, None]:
    """Yield whole answers first, then what streams say as it comes."""
    for body in bodies:
        yield sse.frame("message", body)
    async with aclosing(merged(streams)) as events:
        async for raw in events:
            yield raw
