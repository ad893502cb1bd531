"""What a policy sees of a request. Everything is frozen: learning more makes a new context."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

Dialect = Literal["openai"]
Stage = Literal["pre_request", "pre_response", "on_chunk", "post_response"]


class Operation(Struct, frozen=True, kw_only=True):
    """What is asked: its name, the dialect that it is asked in, its HTTP method, and whether it reads a JSON body."""

    name: str
    dialect: Dialect
    method: str
    reads_body: bool


class Caller(Struct, frozen=True, kw_only=True):
    """Who is asking. Ids and names; never a secret."""

    gateway_id: str
    gateway_slug: str
    tenant_id: str
    consumer_id: str
    consumer_slug: str
    consumer_name: str
    auth_id: str
    auth_name: str


class Body:
    """The caller's bytes, with the JSON in them parsed at most once and only if somebody looks."""

    __slots__ = ("_json", "model", "raw", "stream")

    def __init__(self, raw: bytes, *, model: str = "", stream: bool = False) -> None:
        self.raw = raw
        self.model = model
        self.stream = stream
        self._json: Any = None

    def json(self) -> Any:
        """Return the parsed body. Treat it as read-only: it is shared by every policy of the request."""
        if self._json is None:
            self._json = msgspec.json.decode(self.raw)
        return self._json


class RequestContext(Struct, frozen=True, kw_only=True):
    """One admitted request: `id` is its trace id, `started` monotonic seconds; header names are lower case."""

    id: str
    started: float
    caller: Caller
    operation: Operation
    path: str
    headers: Mapping[bytes, bytes]
    body: Body
    session_id: str = ""
    client_ip: str = ""

    def header(self, name: str) -> str:
        """Return a request header, or the empty string."""
        return self.headers.get(name.lower().encode("latin-1"), b"").decode("latin-1")


class AnswerView(Struct, frozen=True, kw_only=True):
    """An answer as response policies see it: whole, in the caller's dialect. `text` joins what the model said."""

    status: int
    body: bytes
    text: str
    streamed: bool = False


class Chunk(Struct, frozen=True, kw_only=True):
    """The part of a live stream that has not been released yet: `text` of one choice, and whether more can follow."""

    text: str
    choice: int
    final: bool
