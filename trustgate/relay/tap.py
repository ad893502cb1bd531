"""What passes is counted, not decoded: only a stream's beginning and end are kept, and read once, when it has ended."""

from collections import deque
from time import perf_counter
from typing import Final

from trustgate.contract.lens import Lens
from trustgate.contract.usage import Usage

HEAD: Final = 8 * 1024
"""Bytes of the beginning of a stream: where a dialect tells the model and the tokens of the request first."""


class Tap:
    """Reads usage, finish reason and the end off passing bytes."""

    __slots__ = (
        "_head",
        "_kept",
        "_lens",
        "_mark",
        "_most",
        "_tail",
        "bytes",
        "error",
        "events",
        "finish_reason",
        "first_at",
        "last_seen",
        "model",
        "service_tier",
        "usage",
    )

    def __init__(self, lens: Lens) -> None:
        self._lens = lens
        self._mark = lens.framing.mark
        self._most = lens.tail
        self._head = b""
        self._tail: deque[bytes] = deque()
        self._kept = 0
        self.bytes = self.events = 0
        self.first_at = 0.0
        self.usage: Usage | None = None
        self.finish_reason = ""
        self.model = self.service_tier = ""
        self.error = False
        self.last_seen = False

    def feed(self, data: bytes) -> None:
        """Count what passes."""
        if not self.bytes:
            self.first_at = perf_counter()
        size = len(data)
        self.bytes += size
        self.events += data.count(self._mark)
        self._kept += size
        tail = self._tail
        tail.append(data)
        while self._kept - len(tail[0]) > self._most:
            self._drop(tail.popleft())

    def read_end(self) -> bool:
        """Read the ends of what passed, once. Returns whether it ended properly: by a last event or a finish reason."""
        framing = self._lens.framing
        for part in self._parts():
            for event in framing.split(part):
                self._read(framing.event(event)[1])
        return self.last_seen or (self._lens.finish_ends and bool(self.finish_reason))

    def said(self) -> tuple[str, float]:
        """Return a sample of the text that passed, and how many times as much of it there was.

        Only the ends of a long stream were kept. What surrounds the text is much the same in every event, so what is
        left of all bytes without it is text.
        """
        framing = self._lens.framing
        events = [event for part in self._parts() for event in framing.split(part)]
        text = "".join(said for event in events for said in self._lens.said(framing.event(event)[1]).texts.values())
        size = len(text.encode())
        if not size:
            return "", 0.0
        around = (sum(map(len, events)) - size) / len(events)
        return text, max(1.0, (self.bytes - around * max(self.events, len(events))) / size)

    def _parts(self) -> tuple[bytes, bytes]:
        return self._head, b"".join(self._tail)

    def _drop(self, data: bytes) -> None:
        self._kept -= len(data)
        if len(self._head) < HEAD:
            self._head += data[: HEAD - len(self._head)]

    def _read(self, data: bytes) -> None:
        if self._lens.last(data):
            self.last_seen = True
        if said := self._lens.answer(data) if data else None:
            if said.usage:
                self.usage = self.usage.merged(said.usage) if self.usage else said.usage
            self.finish_reason = said.finish_reason or self.finish_reason
            self.model = said.model or self.model
            self.service_tier = said.service_tier or self.service_tier
            self.error = self.error or said.error is not None
