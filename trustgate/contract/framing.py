"""How the events of a stream stand in its bytes."""

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct


class Aligner(Protocol):
    """Cuts arriving bytes at the ends of events."""

    size: int
    """Bytes of the begun event that is held."""

    def feed(self, data: bytes) -> bytes:
        """Return the complete events that there are now; the begun one is held."""

    def take(self) -> bytes:
        """Return what is held, and hold nothing."""


class Framing(Struct, frozen=True, kw_only=True):
    """How the events of a stream stand in its bytes: as server-sent events, or as AWS's event stream.

    `split` cuts complete events apart; `event` is the name (empty where it has none) and the JSON data of one;
    `with_data` is the same event with other data; `frame` makes an event of a name and data. None of them raises.
    `mark` is what stands in every event once, so that events can be counted unread.
    """

    content_type: bytes
    aligner: Callable[[], Aligner]
    split: Callable[[bytes], list[bytes]]
    event: Callable[[bytes], tuple[str, bytes]]
    with_data: Callable[[bytes, bytes], bytes]
    frame: Callable[[str, bytes], bytes]
    mark: bytes = b"\n\n"
