"""Server-sent events as bytes: where one ends, and what its data is. https://html.spec.whatwg.org/#server-sent-events"""

import re
from typing import Final

from trustgate.contract.framing import Framing

_LINE_END: Final = rb"(?>\r\n|\n|\r)"
_END: Final = re.compile(_LINE_END + _LINE_END)
"""An empty line. A line may end in any of three ways, and two that follow one another need not agree."""
SEAM: Final = 3
"""Bytes that the end of an event may have before a cut."""


def last_end(data: bytes) -> int:
    """Return the position behind the last complete event, 0 when there is none."""
    if data.endswith(b"\n\n"):
        return len(data)
    at = 0
    for found in _END.finditer(data):
        at = found.end()
    return at


def split(data: bytes) -> list[bytes]:
    """Split complete events, each with the blank line that ends it. A rest without one is the last item."""
    ends = [found.end() for found in _END.finditer(data)]
    starts = [0, *ends]
    if not ends or ends[-1] < len(data):
        ends.append(len(data))
    return [data[start:end] for start, end in zip(starts, ends, strict=False) if start < end]


def data_of(event: bytes) -> bytes:
    """Return the data of one event, its lines joined; empty for a comment."""
    lines = event.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return b"\n".join(line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:"))


def read(event: bytes) -> tuple[str, bytes]:
    """Return the name of one event, empty where it has none, and its data."""
    return _name_of(event), data_of(event)


def _name_of(event: bytes) -> str:
    at = 0 if event.startswith(b"event:") else event.find(b"\nevent:") + 1
    if not at and not event.startswith(b"event:"):
        return ""
    return event[at + 6 :].split(b"\n", 1)[0].strip().decode("utf-8", "replace")


def frame(name: str, data: bytes) -> bytes:
    """Return an event of this name, or of none, and this data, which has no line breaks."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data) if name else b"data: %b\n\n" % data


def with_data(event: bytes, data: bytes) -> bytes:
    """Return the event with other data; its other fields stay."""
    lines = event.replace(b"\r\n", b"\n").replace(b"\r", b"\n").rstrip(b"\n").split(b"\n")
    kept = [line for line in lines if not line.startswith(b"data:")]
    return b"\n".join([*kept, b"data: " + data]) + b"\n\n"


class Aligner:
    """Cuts arriving bytes at the ends of events. What is held is looked at once, however many pieces it comes in."""

    __slots__ = ("_held", "_seam", "size")

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._seam = b""
        self.size = 0

    def feed(self, data: bytes) -> bytes:
        """Return the complete events that there are now; the begun one is held."""
        cut = last_end(self._seam + data) - len(self._seam)
        if cut <= 0:
            return self._hold(data)
        whole = data if cut == len(data) else data[:cut]
        if self._held:
            whole = self.take() + whole
        if cut < len(data):
            self._hold(data[cut:])
        return whole

    def take(self) -> bytes:
        """Return what is held, and hold nothing."""
        held, self._held = b"".join(self._held), []
        self._seam, self.size = b"", 0
        return held

    def _hold(self, data: bytes) -> bytes:
        self._held.append(data)
        self.size += len(data)
        self._seam = (self._seam + data)[-SEAM:]
        return b""


SSE: Final = Framing(
    content_type=b"text/event-stream; charset=utf-8",
    aligner=Aligner,
    split=split,
    event=read,
    with_data=with_data,
    frame=frame,
)
