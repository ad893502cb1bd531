"""One HTTP request to the MCP plane: who asks, what, of which server; and what comes back."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Any, Final, Protocol

from trustgate.admission.plan import charge
from trustgate.config.snapshot import Snapshot, Tenant
from trustgate.config.watch import Fresh
from trustgate.contract.errors import Refused
from trustgate.contract.ports import Cache, StateUnavailable
from trustgate.contract.upstream import Header
from trustgate.mcp import finding
from trustgate.mcp.admission import METADATA, Doors, bearer, enter, metadata
from trustgate.mcp.asker import Asker
from trustgate.mcp.asking import JSON, Asking, Reply, refusal, whole
from trustgate.mcp.batches import check_batch, drop, together
from trustgate.mcp.composing import Composer
from trustgate.mcp.house import House
from trustgate.mcp.listening import Listener
from trustgate.mcp.meeting import Meeting, in_time
from trustgate.mcp.messages import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    LIMITED,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    UNAVAILABLE,
    Wrong,
    encode,
    error,
    is_request,
    is_response,
    params,
    read,
    result,
)
from trustgate.mcp.pinning import Pins
from trustgate.mcp.policing import Police
from trustgate.mcp.relaying import Relay, unmarked
from trustgate.mcp.revisions import (
    ALL,
    NEWEST_WITH_SESSIONS,
    STATELESS,
    WITH_SESSIONS,
    check_envelope,
    is_stateless,
    unsupported,
)
from trustgate.mcp.servers import Away, Server
from trustgate.mcp.sessions import Session, Sessions, Up
from trustgate.mcp.speaking import Speaker
from trustgate.mcp.subscribing import Subscriber
from trustgate.parts import Parts
from trustgate.storage.definitions import Definitions
from trustgate.underway import CallerLeft

SESSION: Final = b"mcp-session-id"
TOO_MANY: Final = 429
STALE: Final = "The gateway has not been able to read its configuration for longer than it may serve an old one."
FAULT: Final = "The gateway failed at this request. Its trace id says which one."
MOST_BYTES: Final = 8 * 1024 * 1024
MOST_HELLO: Final = 64 * 1024
log = logging.getLogger("trustgate.mcp")


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

    def __init__(
        self,
        parts: Parts,
        speaker: Speaker,
        *,
        cache: Cache,
        definitions: Definitions,
        doors: Doors,
        police: Police,
    ) -> None:
        self._parts = parts
        self._doors = doors
        self._police = police
        self._speaker = speaker
        self._sessions = Sessions(cache)
        self._meeting = Meeting(speaker, self._sessions)
        self.pins = Pins(definitions, self._meeting)
        self._composer = Composer(self._meeting, cache, self.pins)
        self._relay = Relay(self._meeting, cache)
        subscriber = Subscriber(self._meeting, self._composer)
        self._asker = Asker(
            self._meeting, self._composer, self._relay, self._sessions, pins=self.pins, subscriber=subscriber
        )
        self._listener = Listener(self._meeting, self._relay, subscriber)
        self._watched: Fresh | None = None
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

    def refuse_unless(self, watched: Fresh, refuses: bool) -> None:
        """Refuse requests while nobody knows whether the configuration is the newest, where that is wanted."""
        self._watched = watched if refuses else None

    async def settled(self) -> None:
        """Return once every policy has heard of the requests that have ended."""
        await self._police.settled()

    async def aclose(self) -> None:
        """Let go of the servers, once nobody asks any more."""
        await self.settled()
        await self._speaker.aclose()

    async def handle(self, arrival: Arrival) -> Reply:
        """Answer. Raises only what `arrival.read` does of a caller who left."""
        asking = self._police.begin(dict(arrival.headers), arrival)
        return await self._accounted(asking, self._handle(asking, arrival))

    async def _accounted(self, asking: Asking, answering: Awaitable[Reply]) -> Reply:
        """Return the answer, or what is said where there is none, and close the account."""
        try:
            reply = await answering
        except (asyncio.CancelledError, CallerLeft):
            self._police.left(asking)
            raise
        except (Wrong, Refused, Away, StateUnavailable) as error:
            reply = _refused(asking, _wrong(error))
        except Exception:  # a fault of ours: the caller gets a clean answer and the event still leaves
            log.exception("request %s failed", asking.account.trace.trace_id)
            reply = _refused(asking, Wrong(INTERNAL_ERROR, FAULT, status=500))
        return self._police.end(asking, reply)

    async def _handle(self, asking: Asking, arrival: Arrival) -> Reply:
        snapshot, headers = self._snapshot, asking.headers
        if self._watched is not None and not self._watched.fresh:
            raise Wrong(UNAVAILABLE, STALE, status=503, headers=((b"retry-after", b"1"),))
        self._doors.check(headers, snapshot)
        if arrival.path == METADATA or arrival.path.startswith(METADATA + "/"):
            return Reply(headers=(JSON,), body=encode(metadata(arrival.path, arrival.base)))
        admitted = enter(snapshot, headers, arrival.path, arrival.base, self._parts.base_domain)
        asking.caller = asking.account.record.caller = admitted.caller
        asking.bearer = bearer(headers)
        asking.house = self._house(admitted.tenant, admitted.consumer.id)
        asking.account.record.admitted_at = perf_counter()
        match arrival.method:
            case "POST":
                return await self._posted(asking, arrival)
            case "GET" if not is_stateless(headers, None):
                _check_accept(headers, (b"text/event-stream",))
                asking.session = await self._session(asking)
                return await self._listener.listen(asking, self._police.listening(asking))
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
        message = read(asking.raw)
        if isinstance(message, list):
            return await self._several(asking, message, arrival)
        asking.message = message
        self._police.read(asking)
        asking.stateless = is_stateless(asking.headers, message)
        if asking.stateless:
            return await self._stateless(asking)
        if message.get("method") == "initialize" and is_request(message):
            return await self._initialize(asking)
        asking.session = await self._session(asking)
        return await self._one(asking)

    async def _one(self, asking: Asking) -> Reply:
        """Answer one message of a session."""
        if is_response(asking.message):
            return await self._answered(asking)
        if not is_request(asking.message):
            return await self._notified(asking)
        return await self._judged(asking)

    async def _several(self, asking: Asking, messages: list[Any], arrival: Arrival) -> Reply:
        """Answer a batch: every message of it is judged, counted and told of as if it had come by itself."""
        asking.batch = True
        if is_stateless(asking.headers, None):
            check_batch(messages, STATELESS)
        session = asking.session = await self._session(asking)
        parts = []
        for message in check_batch(messages, session.revision):
            part = self._police.begin(asking.headers, arrival, beside=asking)
            part.caller = part.account.record.caller = asking.caller
            part.house, part.bearer, part.session = asking.house, asking.bearer, session
            part.message, part.raw = message, encode(message)
            self._police.read(part)
            parts.append(part)
        answering = [asyncio.ensure_future(self._accounted(part, self._one(part))) for part in parts]
        try:
            return together(await asyncio.gather(*answering))
        except asyncio.CancelledError:
            for each in answering:
                if not each.cancelled() and (events := each.result().events) is not None:
                    await drop(events)
            raise

    async def _judged(self, asking: Asking) -> Reply:
        """Find where a request goes, have policies judge it, and ask. What an agent calls by way of `call_tool` is
        judged as what it is."""
        message = asking.message
        called = params(message).get("name") if message["method"] == "tools/call" else None
        if asking.house.searches and called == finding.CALL:
            asking.become(finding.unwrapped(message))
        if message["method"] != "ping":
            await self._charge(asking)
        await self._asker.find(asking)
        return await self._police.judged(asking, self._asker.ask)

    async def _charge(self, asking: Asking) -> None:
        """Count a request against what its tenant bought. Raises Refused."""
        gateway = asking.house.gateway
        if gateway.entitlements is None:
            return
        try:
            await charge(self._parts.services.limiter, gateway.id, gateway.entitlements)
        except StateUnavailable:
            log.warning("the plan of gateway %s cannot be counted: the request was let through", gateway.id)

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
        ups = await self._each(asking, lambda server: self._meeting.greet(asking, server, revision, hello))
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

    async def _discovered(self, asking: Asking) -> Reply:
        ups = await self._each(asking, lambda server: self._meeting.up(asking, server))
        said = await self._composer.met(asking, ups)
        kept = {"ttlMs": 0, "cacheScope": "private", "resultType": "complete"}
        return whole(result(asking.id, {"supportedVersions": list(ALL), **kept, **said}))

    async def _each(self, asking: Asking, ask: Callable[[Server], Awaitable[Up]]) -> dict[str, Up | Exception]:
        """Ask all servers at once who they are; each has its time."""
        servers = asking.house.servers
        found = await asyncio.gather(*(in_time(server, ask) for server in servers.values()))
        return dict(zip(servers, found, strict=True))

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
        """The caller answers what a server asked. One that a policy refuses is answered in its place."""
        try:
            await self._police.answered(asking)
        except Wrong as wrong:
            asking.failure = wrong.code
            asking.become(error(asking.message["id"], wrong.code, wrong.message))
        if await self._relay.hear(asking):
            return Reply(status=202)
        server, message = asking.house.transparent, asking.message
        if server is None and (found := unmarked(message["id"])) is not None:
            server, message = asking.house.servers.get(found[0]), {**message, "id": found[1]}
        if server is not None:  # else nobody waits for it
            await in_time(server, lambda it: self._meeting.tell(asking, it, message))
        return Reply(status=202)

    async def _notified(self, asking: Asking) -> Reply:
        """Every server that the session has met hears of it; one that is away does not."""

        async def tell(server: Server) -> None:
            await self._meeting.tell(asking, server, asking.message)

        await asyncio.gather(*(in_time(server, tell) for server in asking.met()))
        return Reply(status=202)

    async def _delete(self, asking: Asking) -> Reply:
        session = asking.session = await self._session(asking)

        async def part(server: Server) -> None:
            await self._meeting.end(asking, server, session.ups[server.registry_id])

        await asyncio.gather(*(in_time(server, part) for server in asking.met()))
        await self._sessions.end(asking.caller, session)
        return Reply(status=200)


def _refused(asking: Asking, wrong: Wrong) -> Reply:
    asking.failure = wrong.code
    if isinstance(wrong.data, dict):
        asking.account.record.reason = str(wrong.data.get("code", ""))
    return refusal(wrong, asking.id)


def _wrong(error: Wrong | Refused | Away | StateUnavailable) -> Wrong:
    """Return what a caller is told of an error."""
    match error:
        case Wrong():
            return error
        case Refused():
            limited = error.status == TOO_MANY
            status = 200 if limited else error.status
            code = LIMITED if limited else INVALID_REQUEST
            return Wrong(code, error.message, data={"code": error.code}, status=status, headers=error.headers)
        case Away():
            return Wrong(INTERNAL_ERROR, str(error))
        case StateUnavailable():
            return Wrong(UNAVAILABLE, "Sessions cannot be kept at the moment. Try again later.", status=503)


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
