"""What a policy answers with. A value, never an exception: an exception is a surprise, and `on_error` decides."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from trustgate.contract.upstream import Header


class Proceed(Struct, frozen=True, kw_only=True):
    """Go on. `body` replaces the request's (or answer's); `headers` go to the caller, `details` to the event."""

    body: bytes | bytearray | None = None
    headers: Sequence[Header] = ()
    details: Mapping[str, Any] | None = None


class Answer(Struct, frozen=True, kw_only=True):
    """Answer the caller here; no provider is asked."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: Sequence[Header] = ()
    details: Mapping[str, Any] | None = None


class Deny(Struct, frozen=True, kw_only=True):
    """Refuse. `retry_after` (seconds) is when asking again can succeed: `throttle` waits for it instead of refusing."""

    code: str
    message: str
    status: int = 403
    param: str | None = None
    retry_after: float | None = None
    retry: bool | None = None
    headers: Sequence[Header] = ()
    details: Mapping[str, Any] | None = None


class Rewrite(Struct, frozen=True, kw_only=True):
    """Replace the unreleased text of a live stream with this."""

    text: str
    details: Mapping[str, Any] | None = None


Verdict = Proceed | Answer | Deny | None
"""None means `Proceed()`."""

ChunkVerdict = Rewrite | Deny | None
"""None keeps the text as it is."""
