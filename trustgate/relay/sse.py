"""Server-sent events as bytes: where one ends, and what its data is. https://html.spec.whatwg.org/#server-sent-events"""

import re
from typing import Final

_LINE_END: Final = rb"(?>\r\n|\n|\r)"
_END: Final = re.compile(_LINE_END + _LINE_END)
"""An empty line. A line may end in any of three ways, and two that follow one another need not agree."""


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


def with_data(event: bytes, data: bytes) -> bytes:
    """Return the event with other data; its other fields stay."""
    lines = event.replace(b"\r\n", b"\n").replace(b"\r", b"\n").rstrip(b"\n").split(b"\n")
    kept = [line for line in lines if not line.startswith(b"data:")]
    return b"\n".join([*kept, b"data: " + data]) + b"\n\n"
