"""A stream as one JSON array: how Gemini answers a stream for which nobody said `alt=sse`."""

from trustgate.contract.framing import Framing


class JsonArray:
    """Puts the events of a stream into an array, each as soon as it is there. Only a proper end closes it."""

    __slots__ = ("_begun", "_framing")

    def __init__(self, framing: Framing) -> None:
        self._framing = framing
        self._begun = False

    def feed(self, events: bytes) -> bytes:
        """Return the data of complete events as elements of the array."""
        parts: list[bytes] = []
        for event in self._framing.split(events):
            if data := self._framing.event(event)[1]:
                parts += (b",\r\n" if self._begun else b"[", data)
                self._begun = True
        return b"".join(parts)

    def end(self) -> bytes:
        """Return the end of the array."""
        return b"]" if self._begun else b"[]"
