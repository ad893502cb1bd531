"""Large payloads stay where they are: in the caller's bytes.

An image of 20 MB is one long string of base64 in the request. Before a body is parsed, such strings give way to short
stand-ins; a translation moves the stand-ins about; when the new body is written, views of the caller's bytes take their
places again. So nothing large is ever decoded, encoded or copied.
"""

import re
from typing import Any, Final

import msgspec

from trustgate.contract.upstream import Payload

LARGE: Final = 64 * 1024
"""Bytes from which a string is worth a stand-in. Bodies shorter than this are not even looked through."""
_PREFIX: Final = re.compile(rb"data:[^,\"\\]{0,200};base64,")
_FOREIGN: Final = (b",", b":", b"[", b"{", b" ", b"\\", b"-", b"_")
"""Bytes that are never in base64, and one of which is always in JSON between two strings. The last two are in base64 of
the address alphabet, which Google's SDK sends and nobody else takes: that is left for the translation to put right."""
_STAND_IN: Final = "~payload.{}.{}~"
_FOUND: Final = re.compile(rb"~payload\.([0-9a-f]{32})\.(\d+)~")

Slots = tuple[memoryview, ...]


class Lifted:
    """A body without its payloads, and the payloads. `mark` keeps a caller from naming a stand-in of their own."""

    __slots__ = ("mark", "raw", "slots")

    def __init__(self, raw: bytes | bytearray, slots: Slots, mark: str) -> None:
        self.raw = raw
        self.slots = slots
        self.mark = mark

    def lower(self, body: Any) -> Payload:
        """Write a body, with the payloads where their stand-ins are."""
        return self.fill(msgspec.json.encode(body))

    def fill(self, written: bytes) -> Payload:
        """Put the payloads into a written body."""
        if not self.slots:
            return written
        parts: list[bytes | memoryview] = []
        view, at = memoryview(written), 0
        for found in _FOUND.finditer(written):
            if found[1].decode() == self.mark:
                parts += (view[at : found.start()], self.slots[int(found[2])])
                at = found.end()
        parts.append(view[at:])
        return tuple(parts)


def lift(raw: bytes | bytearray, mark: str) -> Lifted:
    """Take the payloads out of a body. `mark` is 32 hex digits that nobody can guess, such as a fresh random id."""
    if len(raw) < LARGE:
        return Lifted(raw, (), mark)
    view, at = memoryview(raw), 0
    parts: list[bytes | memoryview] = []
    slots: list[memoryview] = []
    for start, end in _payloads(raw):
        parts += (view[at:start], _STAND_IN.format(mark, len(slots)).encode())
        slots.append(view[start:end])
        at = end
    if not slots:
        return Lifted(raw, (), mark)
    return Lifted(b"".join((*parts, view[at:])), tuple(slots), mark)


def _payloads(raw: bytes | bytearray) -> list[tuple[int, int]]:
    found, at = [], raw.find(b'"')
    while at >= 0:
        end = raw.find(b'"', at + 1)
        if end < 0:
            break
        if end - at > LARGE:
            start = _start(raw, at + 1)
            if end - start > LARGE and all(raw.find(byte, start, end) < 0 for byte in _FOREIGN):
                found.append((start, end))
        at = end
    return found


def _start(raw: bytes | bytearray, at: int) -> int:
    """Skip what stands before the data in a data URL."""
    prefix = _PREFIX.match(raw, at)
    return prefix.end() if prefix else at
