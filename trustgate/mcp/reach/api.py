"""An HTTP API that answers as a server of the Model Context Protocol would: its operations are tools."""

import asyncio
from collections import OrderedDict
from time import monotonic
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from trustgate.config.mcp import OpenApi
from trustgate.contract.upstream import Call, Header, Transport, Upstream
from trustgate.mcp.messages import (
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    Json,
    decode,
    encode,
    error,
    is_request,
    params,
    result,
)
from trustgate.mcp.reach.answers import Said
from trustgate.mcp.reach.description import ApiTool, BadDocument, base_of, read_document, tools_of
from trustgate.mcp.reach.requests import BadArguments, failed, request_of, result_of
from trustgate.mcp.revisions import NEWEST_WITH_SESSIONS, WITH_SESSIONS
from trustgate.mcp.servers import Away, Server, authorised, origin_of, read_up_to

FRESH: Final = 300.0
"""Seconds after which a description is fetched anew."""
MOST: Final = 1000
MOST_BYTES: Final = 16 * 1024 * 1024
OURS: Final = (b"accept", b"content-type")


class Api(Struct, frozen=True, kw_only=True):
    """A description, read: what the API is called, where it is, and its tools."""

    about: Json
    base: str
    tools: dict[str, ApiTool]


class Apis:
    """Answers for APIs. Descriptions are fetched once for all who ask, and kept for a while."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._known: OrderedDict[str, tuple[asyncio.Task[Api], float]] = OrderedDict()

    async def send(self, server: Server, call: Call) -> Upstream:
        """Answer a message. Raises Away, UpstreamFailure, CannotAuthorise."""
        if call.method != "POST":
            return Said(405 if call.method == "GET" else 200)
        message = decode(b"".join(call.body) if isinstance(call.body, tuple) else call.body)
        if not is_request(message):
            return Said(202)
        return Said(200, encode(await self._answer(server, call, message)))

    async def aclose(self) -> None:
        """Fetch nothing any more."""
        for fetching, _ in self._known.values():
            fetching.cancel()
        await asyncio.gather(*(each for each, _ in self._known.values()), return_exceptions=True)

    async def _answer(self, server: Server, call: Call, message: Json) -> Json:
        given, message_id = params(message), message["id"]
        match message["method"]:
            case "initialize":
                api = await self._api(server, call)
                wanted = given.get("protocolVersion")
                revision = wanted if wanted in WITH_SESSIONS else NEWEST_WITH_SESSIONS
                return result(message_id, {"protocolVersion": revision, "capabilities": {"tools": {}}, **api.about})
            case "ping":
                return result(message_id, {})
            case "tools/list":
                api = await self._api(server, call)
                return result(message_id, {"tools": [tool.definition for tool in api.tools.values()]})
            case "tools/call":
                api = await self._api(server, call)
                tool = api.tools.get(str(given.get("name")))
                if tool is None:
                    return error(message_id, INVALID_PARAMS, f"Unknown tool: {given.get('name')}")
                return result(message_id, await self._called(server, call, api, tool, given.get("arguments") or {}))
        return error(message_id, METHOD_NOT_FOUND, f"Method not found: {message['method']}")

    async def _called(self, server: Server, call: Call, api: Api, tool: ApiTool, arguments: Any) -> Json:
        try:
            request = request_of(tool, arguments if isinstance(arguments, dict) else {})
        except BadArguments as wrong:
            return failed(str(wrong))
        origin, path = origin_of(api.base)
        asked = replace(
            call,
            method=request.method,
            origin=origin,
            target=path.rstrip(b"/") + request.target.encode("ascii", "ignore"),
            headers=[*request.headers, *_proof(call)],
            body=request.body,
        )
        upstream = await authorised(self._transport, server, asked)
        try:
            raw = await read_up_to(server, upstream, server.most)
        finally:
            await upstream.aclose()
        media = dict(upstream.headers).get(b"content-type", b"").decode("latin-1")
        return result_of(upstream.status, media, raw)

    async def _api(self, server: Server, call: Call) -> Api:
        """Return the description of an API, fetched for all who wait for it. Raises Away, UpstreamFailure."""
        known = self._known.get(server.stamp)
        if known is not None and known[0].done() and (known[1] < monotonic() or not _well(known[0])):
            known = None
        if known is None:
            fetching = asyncio.create_task(self._fetched(server, call))
            known = self._known[server.stamp] = fetching, monotonic() + FRESH
            while len(self._known) > MOST:
                self._known.popitem(last=False)[1][0].cancel()
        return await asyncio.shield(known[0])

    async def _fetched(self, server: Server, call: Call) -> Api:
        wanted = server.api or OpenApi()
        document = wanted.document
        if not document:
            headers = [(b"accept", b"application/json, application/yaml, */*;q=0.5"), *_proof(call)]
            origin, target = origin_of(server.url)
            fetch = replace(call, method="GET", origin=origin, target=target, headers=headers, body=b"")
            upstream = await authorised(self._transport, server, fetch)
            try:
                if upstream.status != 200:
                    raise Away(f"the description of {server.name} cannot be read (status {upstream.status})")
                raw = await read_up_to(server, upstream, MOST_BYTES)
            finally:
                await upstream.aclose()
            document = await asyncio.to_thread(_read, server, raw)
        return await asyncio.to_thread(_compiled, server, document, wanted)


def _well(fetching: asyncio.Task[Api]) -> bool:
    return not fetching.cancelled() and fetching.exception() is None


def _read(server: Server, raw: bytes) -> Json:
    try:
        return read_document(raw)
    except BadDocument as wrong:
        raise _unusable(server, wrong) from None


def _compiled(server: Server, document: Json, wanted: OpenApi) -> Api:
    sent = {name.decode("latin-1") for name, _ in server.headers}
    try:
        tools = tools_of(document, wanted, sent)
        base = base_of(document, wanted, server.url)
    except BadDocument as wrong:
        raise _unusable(server, wrong) from None
    info = document.get("info")
    told = info if isinstance(info, dict) else {}
    about: Json = {
        "serverInfo": {"name": str(told.get("title") or server.name), "version": str(told.get("version") or "")}
    }
    if isinstance(told.get("description"), str):
        about["instructions"] = told["description"]
    return Api(about=about, base=base, tools=tools)


def _unusable(server: Server, wrong: BadDocument) -> Away:
    return Away(f"{server.name} cannot be used: its description is not right", detail=f"{server.name}: {wrong}")


def _proof(call: Call) -> list[Header]:
    """Return what a call says of who asks; what it says of the protocol is no API's."""
    return [pair for pair in call.headers if pair[0] not in OURS and not pair[0].startswith(b"mcp-")]
