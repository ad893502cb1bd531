"""What kind of answer has come: a stream of events, other bytes that are still coming, or a whole one."""

from collections.abc import Mapping, Sequence
from typing import Final

from trustgate.contract.errors import Refused
from trustgate.contract.speech import Hearing
from trustgate.contract.upstream import Header

IGNORED: Final = "provider_ignored_stream"


def is_live(status: int, heads: Mapping[bytes, bytes], hearing: Hearing, *, stream: bool) -> bool:
    """Whether an answer is a stream. Raises Refused where it is one and none was asked for."""
    if not 200 <= status < 300 or heads.get(b"content-type") == b"application/json":
        return False
    kind = heads.get(b"content-type", b"").partition(b";")[0].strip().lower()
    events = kind == hearing.lens.framing.content_type.partition(b";")[0]
    if hearing.unbounded:
        return events or (bool(kind) and not kind.endswith(b"json"))
    if events and not stream:
        raise ignored_stream("no stream, and streamed")
    return events


def ignored_stream(what: str) -> Refused:
    """Return what a caller is told whose provider streamed against what it was asked, or did not stream."""
    return Refused(
        IGNORED,
        f"The provider was asked for {what}: check that it can do what is asked of it.",
        status=502,
        source="upstream",
    )


def has_events(headers: Sequence[Header], hearing: Hearing) -> bool:
    """Whether a live answer comes in events; what a passthrough brings may be any bytes."""
    if not hearing.unbounded:
        return True
    kind = dict(headers).get(b"content-type", b"")
    return kind.startswith(hearing.lens.framing.content_type.partition(b";")[0])
