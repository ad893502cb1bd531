"""One HTTP request to the MCP plane: who asks, what, of which server; and what comes back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from time import perf_counter
from typing import Any, Final, Protocol

from trustgate.config.snapshot import Snapshot, Tenant
from trustgate.contract.errors import Refused
from trustgate.contract.ports import Cache, StateUnavailable
from trustgate.contract.upstream import Header, Transport
from trustgate.mcp import finding
from trustgate.mcp.admission import METADATA, Doors, bearer, enter, metadata
from trustgate.mcp.asking import EVENTS, JSON, Asking, Reply, refusal, whole
from trustgate.mcp.composing import LISTS, Composer
from trustgate.mcp.house import House
from trustgate.mcp.meeting import Meeting
from trustgate.mcp.messages import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    UNAVAILABLE,
    Json,
    Wrong,
    encode,
    is_request,
    is_response,
    params,
    read,
    result,
)
from trustgate.mcp.naming import Kind
from trustgate.mcp.policing import Police
from trustgate.mcp.relaying import Edit, Relay, unmarked
from trustgate.mcp.revisions import (
    ALL,
    NEWEST_WITH_SESSIONS,
    STATELESS,
    WITH_SESSIONS,
    check_envelope,
    is_stateless,
    unsupported,
)
from trustgate.mcp.servers import Away, Server, Speaker, proof
from trustgate.mcp.sessions import Session, Sessions, Up
from trustgate.parts import Parts

SESSION: Final = b"mcp-session-id"
MOST_BYTES: Final = 8 * 1024 * 1024
MOST_HELLO: Final = 64 * 1024
DAY: Final = 86_400.0
BY_NAME: Final[dict[str, Kind]] = {"tools/call": "tool", "prompts/get": "prompt"}
BY_URI: Final = ("resources/read", "resources/subscribe", "resources/unsubscribe")
GONE: Final = 404


class Arrival(Protocol):
    """An HTTP request. `base` is scheme and host; `read` raises Refused beyond a limit."""

    method: str
    path: str
    base: str
    headers: Sequence[Header]
    client_ip: str

    async def read(self, limit: int) -> bytes | bytearray:
        """Return the body."""


class Gate:
    """Answers requests of the newest snapshot."""

    def __init__(self, parts: Parts, transport: Transport, *, cache: Cache, doors: Doors, police: Police) -> None:
        self._parts = parts
        self._doors = doors
        self._police = police
        self._speaker = Speaker(transport)
        self._sessions = Sessions(cache)
        self._meeting = Meeting(self._speaker, self._sessions)
        self._composer = Composer(self._meeting, cache)
        self._relay = Relay(self._speaker, self._meeting, cache)
        self._snapshot = Snapshot()
        self._houses: dict[str, tuple[Tenant, House]] = {}

    def swap(self, snapshot: Snapshot) -> None:
        """Serve another snapshot from the next request on."""
        self._snapshot = snapshot
        self._houses = {
            id_: (tenant, house)
            for id_, (tenant, house) in self._houses.items()
            if snapshot.tenants.get(tenant.gateway.id) is tenant
        }

    async def handle(self, arrival: Arrival) -> Reply:
        """Answer. Raises only what `arrival.read` does of a caller who left."""
        asking = Asking(dict(arrival.headers))
        began = self._police.begin(asking, arrival)
        try:
            reply = await self._handle(asking, arrival)
        except Wrong as wrong:
            asking.failure = wrong.code
            reply = refusal(wrong, asking.id)
        except Refused as refused:
            reply = refusal(Wrong(INVALID_REQUEST, refused.message, status=refused.status), asking.id)
        except Away as away:
            asking.failure = INTERNAL_ERROR
            reply = refusal(Wrong(INTERNAL_ERROR, str(away)), asking.id)
        except StateUnavailable:
            text = "Sessions cannot be kept at the moment. Try again later."
            reply = refusal(Wrong(UNAVAILABLE, text, status=503), asking.id)
        except BaseException:
            self._police.left(began, asking)
            raise
        return self._police.end(began, asking, reply)

    async def _handle(self, asking: Asking, arrival: Arrival) -> Reply:
        snapshot, headers = self._snapshot, asking.headers
        self._doors.check(headers, snapshot)
        if arrival.path == METADATA or arrival.path.startswith(METADATA + "/"):
            return Reply(headers=(JSON,), body=encode(metadata(arrival.path, arrival.base)))
        admitted = enter(snapshot, headers, arrival.path, arrival.base, self._parts.base_domain)
        asking.caller, asking.bearer = admitted.caller, bearer(headers)
        asking.house = self._house(admitted.tenant, admitted.consumer.id)
        match arrival.method:
            case "POST":
                return await self._posted(asking, arrival)
            case "GET" if not is_stateless(headers, None):
                return await self._listen(asking)
            case "DELETE" if not is_stateless(headers, None):
                return await self._delete(asking)
        allow = "POST" if is_stateless(headers, None) else "GET, POST, DELETE"
        raise Wrong(
            INVALID_REQUEST,
            f"{arrival.method} is not allowed here: use {allow}.",
            status=405,
            headers=((b"allow", allow.encode()),),
        )

    def _house(self, tenant: Tenant, consumer_id: str) -> House:
        known = self._houses.get(consumer_id)
        if known is None or known[0] is not tenant:
            known = self._houses[consumer_id] = tenant, House(tenant.consumers[consumer_id], tenant, self._parts)
        return known[1]

    async def _posted(self, asking: Asking, arrival: Arrival) -> Reply:
        _check_media(asking.headers)
        asking.raw = bytes(await arrival.read(MOST_BYTES))
        message = asking.message = read(asking.raw)
        asking.stateless = is_stateless(asking.headers, message)
        if asking.stateless:
            return await self._stateless(asking)
        if message.get("method") == "initialize" and is_request(message):
            return await self._initialize(asking)
        asking.session = await self._session(asking)
        if is_response(message):
            return await self._answered(asking)
        if not is_request(message):
            return await self._notified(asking)
        return await self._judged(asking)

    async def _judged(self, asking: Asking) -> Reply:
        """Have policies judge a request, and ask. What an agent calls by way of `call_tool` is judged as what it is."""
        message = asking.message
        called = params(message).get("name") if message["method"] == "tools/call" else None
        if asking.house.searches and called == finding.CALL:
            asking.become(finding.unwrapped(message))
        return await self._police.judged(asking, self._asked)

    async def _stateless(self, asking: Asking) -> Reply:
        message = asking.message
        if is_response(message):
            raise Wrong(INVALID_REQUEST, f"Nobody asks a caller that speaks {STATELESS} anything.", status=400)
        if not is_request(message):
            told = asking.headers.get(b"mcp-protocol-version", b"").decode("latin-1")
            if told != STATELESS:
                raise unsupported(told)
            return Reply(status=202)
        check_envelope(asking.headers, message)
        if message["method"] in ("initialize", "ping", "logging/setLevel"):
            raise Wrong(METHOD_NOT_FOUND, f"{message['method']} is no method of {STATELESS}.", status=404)
        only = asking.house.transparent
        if message["method"] == "server/discover" and only is None:
            return await self._discovered(asking)
        return await self._judged(asking)

    async def _initialize(self, asking: Asking) -> Reply:
        hello = params(asking.message)
        if len(asking.raw) > MOST_HELLO:
            text = f"A client says who it is in at most {MOST_HELLO} bytes: sessions are kept."
            raise Wrong(INVALID_REQUEST, text, status=413)
        wanted = hello.get("protocolVersion")
        revision = wanted if wanted in WITH_SESSIONS else NEWEST_WITH_SESSIONS
        ups = await self._greeted(asking, revision, hello)
        only = asking.house.transparent
        if only is not None:
            up = ups[only.registry_id]
            if not isinstance(up, Up):
                raise up
            said = {**up.said, "protocolVersion": up.said.get("protocolVersion", revision)}
        else:
            said = {"protocolVersion": revision, **await self._composer.met(asking, ups)}
        met = {id_: up for id_, up in ups.items() if isinstance(up, Up)}
        session = await self._sessions.begin(asking.caller, said["protocolVersion"], hello, met)
        return whole(result(asking.id, said), headers=((SESSION, session.id.encode()),))

    async def _greeted(self, asking: Asking, revision: str, hello: Json) -> dict[str, Up | Exception]:
        """Meet all servers at once; each has its time."""

        async def greet(server: Server) -> Up | Exception:
            try:
                async with asyncio.timeout(server.discovery):
                    return await self._meeting.greet(asking, server, revision, hello)
            except (Away, Wrong) as error:
                return error
            except TimeoutError:
                return Away(f"{server.name} did not answer within {server.discovery:g} s")

        servers = asking.house.servers.values()
        found = await asyncio.gather(*(greet(server) for server in servers))
        return {server.registry_id: up for server, up in zip(servers, found, strict=True)}

    async def _discovered(self, asking: Asking) -> Reply:
        async def meet(server: Server) -> Up | Exception:
            try:
                async with asyncio.timeout(server.discovery):
                    return await self._meeting.up(asking, server)
            except (Away, Wrong) as error:
                return error
            except TimeoutError:
                return Away(f"{server.name} did not answer within {server.discovery:g} s")

        servers = asking.house.servers.values()
        found = await asyncio.gather(*(meet(server) for server in servers))
        met = dict(zip([server.registry_id for server in servers], found, strict=True))
        said = await self._composer.met(asking, met)
        return whole(result(asking.id, {"supportedVersions": list(ALL), "resultType": "complete", **_cacheable(said)}))

    async def _session(self, asking: Asking) -> Session:
        told = asking.headers.get(b"mcp-protocol-version", b"").decode("latin-1")
        if told and told not in WITH_SESSIONS:
            raise unsupported(told)
        session_id = asking.headers.get(SESSION, b"").decode("latin-1")
        if not session_id:
            raise Wrong(INVALID_REQUEST, "Mcp-Session-Id is missing: initialize first, and send it back.", status=400)
        session = await self._sessions.find(asking.caller, session_id)
        if session is None:
            raise Wrong(INVALID_REQUEST, "There is no such session: initialize again.", status=404)
        return session

    async def _answered(self, asking: Asking) -> Reply:
        """The caller answers what a server asked."""
        if await self._relay.hear(asking):
            return Reply(status=202)
        server, message = asking.house.transparent, asking.message
        if server is None:
            found = unmarked(message["id"])
            server = asking.house.servers.get(found[0]) if found else None
            if found is None or server is None:
                return Reply(status=202)  # nobody waits for it
            message = {**message, "id": found[1]}
        await self._tell((server,), asking, message)
        return Reply(status=202)

    async def _notified(self, asking: Asking) -> Reply:
        servers = self._met(asking)
        await self._tell(servers, asking, asking.message)
        return Reply(status=202)

    def _met(self, asking: Asking) -> list[Server]:
        session = asking.session
        assert session is not None, "only callers with a session have met anybody"
        return [server for id_, server in asking.house.servers.items() if id_ in session.ups]

    async def _tell(self, servers: Iterable[Server], asking: Asking, message: Json) -> None:
        """Tell servers with sessions something that needs no answer. One that is away does not hear it."""

        async def tell(server: Server) -> None:
            up = await self._meeting.up(asking, server)
            if up.revision == STATELESS:
                return
            headers = [*self._meeting.headers(up, message), *proof(server, asking.bearer)]
            incoming = await self._speaker.say(
                server, "POST", encode(message), headers=headers, within=server.discovery, whole=True
            )
            await incoming.aclose()

        await asyncio.gather(*(_ignoring_away(tell(server)) for server in servers))

    async def _asked(self, asking: Asking, edit: Edit | None) -> Reply:
        """The caller asks something of the server that has it."""
        house, method = asking.house, asking.message["method"]
        if house.transparent is not None:
            return await self._forward(asking, house.transparent, asking.message, edit, marks=False)
        if method in LISTS:
            said = await self._composer.page(asking, method)
            answer = result(asking.id, _cacheable(said) if asking.stateless else said)
            return whole(await edit(answer) if edit is not None else answer)
        if house.searches and method == "tools/call" and params(asking.message).get("name") == finding.SEARCH:
            tools, _ = await self._composer.listed(asking, "tool")
            said = finding.found(tools, params(asking.message).get("arguments"))
            answer = result(asking.id, {**said, "resultType": "complete"} if asking.stateless else said)
            return whole(await edit(answer) if edit is not None else answer)
        if method in BY_NAME:
            route = await self._composer.route(asking, BY_NAME[method], params(asking.message).get("name"))
            renamed = {**asking.message, "params": {**params(asking.message), "name": route.name}}
            return await self._forward(asking, house.servers[route.registry_id], renamed, edit, marks=True)
        if method in BY_URI:
            server = await self._composer.holder_of(asking, params(asking.message).get("uri"))
            return await self._forward(asking, server, asking.message, edit, marks=True)
        if method == "completion/complete":
            return await self._complete(asking)
        if method == "logging/setLevel":
            servers = [each for each in self._met(asking) if await self._can(asking, each, "logging")]
            await asyncio.gather(
                *(
                    _ignoring_away(
                        self._meeting.call(asking, each, method, params(asking.message), within=each.discovery)
                    )
                    for each in servers
                )
            )
            return whole(result(asking.id, {}))
        if method == "ping":
            return whole(result(asking.id, {}))
        raise Wrong(METHOD_NOT_FOUND, f"Method not found: {method}", status=404 if asking.stateless else 200)

    async def _can(self, asking: Asking, server: Server, capability: str) -> bool:
        return capability in ((await self._meeting.up(asking, server)).said.get("capabilities") or {})

    async def _complete(self, asking: Asking) -> Reply:
        message = asking.message
        ref = params(message).get("ref")
        ref = ref if isinstance(ref, dict) else {}
        if ref.get("type") == "ref/prompt":
            route = await self._composer.route(asking, "prompt", ref.get("name"))
            message = {**message, "params": {**params(message), "ref": {**ref, "name": route.name}}}
            server = asking.house.servers[route.registry_id]
        else:
            server = await self._of_template(asking, ref.get("uri"))
        return await self._forward(asking, server, message, None, marks=True)

    async def _of_template(self, asking: Asking, uri: Any) -> Server:
        try:
            route = await self._composer.route(asking, "template", uri)
            return asking.house.servers[route.registry_id]
        except Wrong:
            return await self._composer.holder_of(asking, uri)

    async def _forward(self, asking: Asking, server: Server, message: Json, edit: Edit | None, *, marks: bool) -> Reply:
        """Send a request to a server and carry its answer back. One whose session the server has forgotten, the gateway
        begins anew where it stands for several; with one server the caller is told, as it would be there."""
        asking.targets = [server]
        began = perf_counter()
        up = await self._meeting.up(asking, server)
        for again in (False, True):
            worded = self._meeting.worded(asking, up, message)
            headers = [*self._meeting.headers(up, worded), *proof(server, asking.bearer)]
            # headers that repeat arguments go with those arguments: a policy may have taken out what they say
            if up.revision == STATELESS and not asking.rewritten:
                headers += [pair for pair in asking.headers.items() if pair[0].startswith(b"mcp-param-")]
            body = asking.raw if worded is asking.message else encode(worded)
            incoming = await self._speaker.say(server, "POST", body, headers=headers, within=server.patience)
            asking.answered_in = perf_counter() - began
            if incoming.status != GONE or not up.session:
                return await self._relay.carry(asking, server, up, incoming, edit=edit, marks=marks)
            await incoming.aclose()
            if asking.session is not None and asking.house.transparent is not None:
                await self._sessions.end(asking.caller, asking.session)
                raise Wrong(INVALID_REQUEST, "There is no such session: initialize again.", status=404)
            if not again:
                up = await self._meeting.again(asking, server)
        raise Away(f"{server.name} forgets sessions as soon as they begin")

    async def _listen(self, asking: Asking) -> Reply:
        """The caller wants to hear what servers say by themselves, or the rest of what it has missed."""
        _check_accept(asking.headers, (b"text/event-stream",))
        asking.session = await self._session(asking)
        last = asking.headers.get(b"last-event-id", b"").decode("latin-1")
        only = asking.house.transparent
        if only is not None:
            up = await self._meeting.up(asking, only)
            if up.revision != STATELESS:
                incoming = await self._open(asking, only, up, last)
                if incoming.status != 200 or not incoming.streams:
                    await incoming.aclose()
                    status = incoming.status if incoming.status >= 400 else 405
                    raise Wrong(INVALID_REQUEST, f"{only.name} does not speak by itself.", status=status)
                return Reply(headers=EVENTS, events=self._relay.listen(only, incoming, marks=False))
        return Reply(headers=EVENTS, events=self._all(asking, last))

    async def _open(self, asking: Asking, server: Server, up: Up, last: str) -> Any:
        headers = [*self._meeting.headers(up, {}), *proof(server, asking.bearer)]
        if last:
            headers.append((b"last-event-id", last.encode("latin-1")))
        return await self._speaker.say(server, "GET", headers=headers, within=DAY)

    async def _all(self, asking: Asking, last: str) -> AsyncIterator[bytes]:
        """Yield what all servers say by themselves. A stream that was broken goes on where its server left it."""
        whose, _, own = last.partition(":")
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=64)

        async def hear(server: Server) -> None:
            try:
                up = await self._meeting.up(asking, server)
                if up.revision == STATELESS:
                    return
                incoming = await self._open(asking, server, up, own if server.registry_id == whose else "")
                if incoming.status != 200 or not incoming.streams:
                    await incoming.aclose()
                    return
                async for raw in self._relay.listen(server, incoming, marks=True):
                    await queue.put(raw)
            except (Away, Wrong, StateUnavailable):
                return  # the others are heard all the same

        hearing = [asyncio.create_task(hear(server)) for server in self._met(asking)]
        ended = asyncio.gather(*hearing)
        ended.add_done_callback(lambda _: queue.put_nowait(None) if not queue.full() else None)
        try:
            yield b": listening\n\n"
            while (raw := await queue.get()) is not None:
                yield raw
            await asyncio.Event().wait()  # servers that have nothing to say by themselves may be asked again later
        finally:
            for task in hearing:
                task.cancel()
            await asyncio.gather(*hearing, return_exceptions=True)

    async def _delete(self, asking: Asking) -> Reply:
        session = asking.session = await self._session(asking)

        async def part(server: Server) -> int:
            up = session.ups[server.registry_id]
            if not up.session:
                return 200
            headers = [*self._meeting.headers(up, {}), *proof(server, asking.bearer)]
            incoming = await self._speaker.say(server, "DELETE", headers=headers, within=server.discovery, whole=True)
            await incoming.aclose()
            return incoming.status

        statuses = await asyncio.gather(*(_ignoring_away(part(server)) for server in self._met(asking)))
        await self._sessions.end(asking.caller, session)
        only = asking.house.transparent is not None and statuses and statuses[0]
        return Reply(status=only if isinstance(only, int) and only in (200, 202, 204) else 200)


def _cacheable(said: Json) -> Json:
    """Return a result that says for how long it may be kept: not at all, because servers change what they have."""
    return {"ttlMs": 0, "cacheScope": "private", "resultType": "complete", **said}


async def _ignoring_away(work: Awaitable[Any]) -> Any:
    try:
        return await work
    except (Away, Wrong):
        return None


def _check_media(headers: Any) -> None:
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if kind != b"application/json":
        raise Wrong(PARSE_ERROR, "The body must be JSON: send it with content-type application/json.", status=415)
    _check_accept(headers, (b"application/json", b"text/event-stream"))


def _check_accept(headers: Any, wanted: Sequence[bytes]) -> None:
    told = headers.get(b"accept", b"*/*").lower()
    kinds = {part.partition(b";")[0].strip() for part in told.split(b",")}
    for kind in wanted:
        if not kinds & {kind, kind.partition(b"/")[0] + b"/*", b"*/*"}:
            names = " and ".join(each.decode() for each in wanted)
            raise Wrong(INVALID_REQUEST, f"Accept must have {names}.", status=406)
