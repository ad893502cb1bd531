"""The gateway anybody would write first: Starlette and httpx as they come. `BENCH_UPSTREAM` names the upstream."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

HOP_BY_HOP = ("host", "connection", "content-length", "transfer-encoding")
CLIENT = httpx.AsyncClient(
    base_url=os.environ["BENCH_UPSTREAM"],
    timeout=httpx.Timeout(60.0),
    limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
)


async def forward(request: Request) -> Response:
    """Forward anything, and carry the answer back as it arrives when it is a stream."""
    headers = [(name, value) for name, value in request.headers.raw if name.decode() not in HOP_BY_HOP]
    call = CLIENT.build_request(request.method, request.url.path, headers=headers, content=await request.body())
    answer = await CLIENT.send(call, stream=True)
    kind = {"content-type": answer.headers["content-type"]}
    if kind["content-type"].startswith("text/event-stream"):
        closing = BackgroundTask(answer.aclose)
        return StreamingResponse(answer.aiter_raw(), answer.status_code, kind, background=closing)
    return Response(await answer.aread(), answer.status_code, kind)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Close the client with the server."""
    async with CLIENT:
        yield


app = Starlette(routes=[Route("/{path:path}", forward, methods=["GET", "POST"])], lifespan=lifespan)
