"""Several streams as one: what any of them says, as it comes."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final, TypeVar

T = TypeVar("T")
WAITING: Final = 64
"""What waits until it is taken; then whoever says more waits."""


async def merged(streams: Sequence[AsyncGenerator[T, None]]) -> AsyncGenerator[T, None]:
    """Yield what streams say until all have ended. Raises what one of them does, once the rest was said."""
    queue: asyncio.Queue[T] = asyncio.Queue(maxsize=WAITING)

    async def pump(stream: AsyncGenerator[T, None]) -> None:
        async with aclosing(stream):
            async for said in stream:
                await queue.put(said)

    pumps = [asyncio.create_task(pump(stream)) for stream in streams]
    try:
        while running := [task for task in pumps if not task.done()]:
            coming = asyncio.create_task(queue.get())
            await asyncio.wait((coming, *running), return_when=asyncio.FIRST_COMPLETED)
            if coming.done():
                yield coming.result()
            else:
                coming.cancel()
        while not queue.empty():
            yield queue.get_nowait()
        for done in pumps:
            done.result()
    finally:
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def for_ever(stream: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """Yield what a stream says, and stay open behind its end: who finds it closed would come back at once."""
    async with aclosing(stream):
        async for said in stream:
            yield said
    await asyncio.Event().wait()
