"""One request to the MCP plane, and what has been learnt of it so far. And what becomes of it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from trustgate.contract.context import Caller
from trustgate.contract.upstream import Header
from trustgate.mcp.house import House
from trustgate.mcp.messages import Json, Wrong, encode, error
from trustgate.mcp.servers import Server
from trustgate.mcp.sessions import Session

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
    events: AsyncIterator[bytes] | None = None


class Asking:
    """One request. `session` is None for callers who speak the revision without any; `answered_in` is how long the
    server took (seconds), `failure` the code of the error that came of it; `tokens_saved` is about what a model is
    spared where it does not see all tools."""

    __slots__ = (
        "answered_in",
        "bearer",
        "caller",
        "failure",
        "headers",
        "house",
        "message",
        "raw",
        "rewritten",
        "session",
        "stateless",
        "targets",
        "tokens_saved",
        "tool",
    )

    def __init__(self, headers: Mapping[bytes, bytes]) -> None:
        self.headers = headers
        self.message: Json = {}
        self.raw = b""
        self.rewritten = False
        self.caller: Caller
        self.house: House
        self.session: Session | None = None
        self.stateless = False
        self.bearer = ""
        self.targets: list[Server] = []
        self.answered_in = 0.0
        self.failure = 0
        self.tokens_saved = 0
        self.tool = ""

    def become(self, message: Json) -> None:
        """Be another message from here on: what the caller sent is not what a server is sent."""
        self.message, self.raw, self.rewritten = message, encode(message), True

    @property
    def id(self) -> Any:
        """The id of its message, or None."""
        return self.message.get("id") if "method" in self.message else None

    @property
    def owner(self) -> str:
        """Under what servers are met for it: its session, or who without one shares theirs with it."""
        return self.session.id if self.session is not None else f"shared:{self.caller.auth_id}"


def whole(message: Json, *, status: int = 200, headers: Sequence[Header] = ()) -> Reply:
    """Return a message as a whole body."""
    return Reply(status=status, headers=(JSON, *headers), body=encode(message))


def refusal(wrong: Wrong, message_id: Any) -> Reply:
    """Return a refusal as a caller reads it."""
    return whole(error(message_id, wrong.code, wrong.message, wrong.data), status=wrong.status, headers=wrong.headers)
