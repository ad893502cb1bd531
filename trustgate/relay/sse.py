"""Server-sent events as bytes: where one ends, and what its data is. https://html.spec.whatwg.org/#server-sent-events"""

from typing import Final

ENDS: Final = (b"\n\n", b"\r\n\r\n", b"\r\r")


def last_end(data: bytes) -> int:
    """Return the position behind the last complete event, 0 when there is none."""
    return max(at + len(end) if (at := data.rfind(end)) >= 0 else 0 for end in ENDS)


def split(data: bytes) -> list[bytes]:
    """Split complete events, each with the blank line that ends it. A rest without one is the last item."""
    events: list[bytes] = []
    while data:
        cuts = [at + len(end) for end in ENDS if (at := data.find(end)) >= 0]
        cut = min(cuts, default=len(data))
        events.append(data[:cut])
        data = data[cut:]
    return events


def data_of(event: bytes) -> bytes:
    """Return the data of one event, its lines joined; empty for a comment."""
    lines = event.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return b"\n".join(line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:"))


def with_data(event: bytes, data: bytes) -> bytes:
    """Return the event with other data; its other fields stay."""
    lines = event.replace(b"\r\n", b"\n").replace(b"\r", b"\n").rstrip(b"\n").split(b"\n")
    kept = [line for line in lines if not line.startswith(b"data:")]
    return b"\n".join([*kept, b"data: " + data]) + b"\n\n"
