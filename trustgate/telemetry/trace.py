"""W3C trace context: the caller's trace goes on through us, and a request without one starts its own."""

import re

from msgspec import Struct

from trustgate.contract.chance import random_digits

_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


class Trace(Struct, frozen=True, gc=False):
    """Ids of one request: the trace, our span in it, and the caller's span if it has one."""

    trace_id: str
    span_id: str
    parent_span_id: str = ""
    flags: str = "01"

    def traceparent(self) -> bytes:
        """Return the header that makes the provider's span a child of ours."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}".encode()


def start_trace(traceparent: bytes = b"") -> Trace:
    """Continue the caller's trace, or start one when there is none or it is not well formed."""
    parent = _parent(traceparent) if traceparent else None
    if parent is None:
        ids = random_digits(48)
        return Trace(ids[:32], ids[32:])
    return Trace(parent[0], random_digits(16), parent[1], parent[2])


def _parent(traceparent: bytes) -> tuple[str, str, str] | None:
    found = _TRACEPARENT.fullmatch(traceparent.strip())
    if not found or found[1] == b"ff" or (found[1] == b"00" and found[5]):
        return None
    trace_id, span_id, flags = (found[part].decode() for part in (2, 3, 4))
    return (trace_id, span_id, flags) if trace_id.strip("0") and span_id.strip("0") else None
