"""What passes is counted, not decoded: only the last few kilobytes of a stream are kept, and read once, at its end."""

from collections import deque
from time import perf_counter
from typing import Final

from trustgate.contract.lens import Lens
from trustgate.contract.usage import Usage
from trustgate.relay import sse

KEPT: Final = 16 * 1024
"""Bytes of the end of a stream: finish reasons, usage and the last event are in them, in every dialect."""


class Tap:
    """Reads usage, finish reason and the end off passing bytes."""

    __slots__ = (
        "_kept",
        "_lens",
        "_tail",
        "bytes",
        "error",
        "finish_reason",
        "first_at",
        "last_seen",
        "model",
        "usage",
    )

    def __init__(self, lens: Lens) -> None:
        self._lens = lens
        self._tail: deque[bytes] = deque()
        self._kept = 0
        self.bytes = 0
        self.first_at = 0.0
        self.usage: Usage | None = None
        self.finish_reason = ""
        self.model = ""
        self.error = False
        self.last_seen = False

    def feed(self, data: bytes) -> None:
        """Count what passes."""
        if not self.bytes:
            self.first_at = perf_counter()
        size = len(data)
        self.bytes += size
        self._kept += size
        tail = self._tail
        tail.append(data)
        while self._kept - len(tail[0]) > KEPT:
            self._kept -= len(tail.popleft())

    def read_end(self) -> bool:
        """Read the end of what passed. Returns whether it is a proper one: the last event, or a finish reason."""
        for event in sse.split(b"".join(self._tail)):
            self._read(sse.data_of(event))
        self._tail.clear()
        self._kept = 0
        return self.last_seen or bool(self.finish_reason)

    def _read(self, data: bytes) -> None:
        if data == self._lens.last:
            self.last_seen = True
        elif said := self._lens.answer(data) if data else None:
            self.usage = said.usage or self.usage
            self.finish_reason = said.finish_reason or self.finish_reason
            self.model = said.model or self.model
            self.error = self.error or said.error is not None
