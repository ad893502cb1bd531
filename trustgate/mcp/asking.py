"""One request to the MCP plane, and what becomes of it."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from trustgate.contract.context import Caller, RequestContext
from trustgate.contract.upstream import Header
from trustgate.enforcement.trail import Trail
from trustgate.mcp.house import House
from trustgate.mcp.messages import Json, Wrong, encode, error, params
from trustgate.mcp.revisions import STATELESS
from trustgate.mcp.servers import Server
from trustgate.mcp.sessions import Session
from trustgate.telemetry.record import Record
from trustgate.telemetry.trace import Trace

JSON: Final = (b"content-type", b"application/json")
EVENTS: Final = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)


class Reply(Struct, frozen=True, kw_only=True):
    """What a caller is sent: a whole body, or events as they come."""

    status: int = 200
    headers: Sequence[Header] = ()
    body: bytes = b""
    events: AsyncGenerator[bytes, None] | None = None


class Way(Struct, frozen=True, kw_only=True):
    """Where a request goes: to which server, under which name there (empty: its own), and whether ids that the server
    chooses are marked. `names` says where in its parameters the name stands, if that is not at their top."""

    server: Server
    name: str = ""
    marks: bool = False
    names: str = ""

    def reworded(self, message: Json) -> Json:
        """Return a message with the name that the server knows."""
        if not self.name:
            return message
        given = params(message)
        named = {**given[self.names], "name": self.name} if self.names else self.name
        return {**message, "params": {**given, self.names or "name": named}}


class Account(Struct):
    """The account of one request: what is told of it at the end, and what its policies said."""

    record: Record
    trace: Trace
    trail: Trail
    ctx: RequestContext | None = None


class Asking:
    """One request, and what has been learnt of it so far.

    `session` is None for callers who speak the revision without any, `own` names sessions at servers that one of those
    has for itself, `way` for what no single server answers. `asked`
    says whether a server was, `answered_in` how long it took (seconds), `failure` which error came of it (its code),
    `tokens_saved` about what a model is spared where it does not see all tools, `changed_tools` which are not what was
    accepted (their servers' names for them). A `batch` is told of by its messages.
    """

    __slots__ = (
        "account",
        "answered_in",
        "asked",
        "batch",
        "bearer",
        "caller",
        "changed_tools",
        "failure",
        "headers",
        "house",
        "message",
        "own",
        "raw",
        "rewritten",
        "session",
        "stateless",
        "tokens_saved",
        "tool_error",
        "way",
    )

    def __init__(self, headers: Mapping[bytes, bytes], account: Account) -> None:
        self.headers = headers
        self.account = account
        self.message: Json = {}
        self.raw = b""
        self.rewritten = False
        self.batch = False
        self.caller: Caller
        self.house: House
        self.session: Session | None = None
        self.own = ""
        self.stateless = False
        self.bearer = ""
        self.way: Way | None = None
        self.asked = False
        self.answered_in = 0.0
        self.failure = 0
        self.tokens_saved = 0
        self.tool_error = False
        self.changed_tools: tuple[str, ...] = ()

    def become(self, message: Json) -> None:
        """Be another message from here on: what the caller sent is not what a server is sent."""
        self.message, self.raw, self.rewritten = message, encode(message), True

    def repeated(self, revision: str) -> list[Header]:
        """Return the headers that repeat arguments, for a server that reads them: none where a policy has rewritten
        those, which may have been to take out what the headers say."""
        if revision != STATELESS or self.rewritten:
            return []
        return [pair for pair in self.headers.items() if pair[0].startswith(b"mcp-param-")]

    def met(self) -> list[Server]:
        """Return the servers that its session has met; without a session there are none."""
        ups = self.session.ups if self.session is not None else {}
        return [server for id_, server in self.house.servers.items() if id_ in ups]

    @property
    def id(self) -> Any:
        """The id of its message, or None."""
        return self.message.get("id") if "method" in self.message else None

    @property
    def owner(self) -> str:
        """Under what servers are met for it: its session, or who without one shares theirs with it."""
        return self.session.id if self.session is not None else self.own or f"shared:{self.caller.auth_id}"


def whole(message: Json, *, status: int = 200, headers: Sequence[Header] = ()) -> Reply:
    """Return a message as a whole body."""
    return Reply(status=status, headers=(JSON, *headers), body=encode(message))


def refusal(wrong: Wrong, message_id: Any) -> Reply:
    """Return a refusal as a caller reads it."""
    return whole(error(message_id, wrong.code, wrong.message, wrong.data), status=wrong.status, headers=wrong.headers)
