"""AWS's event stream as bytes: frames with their length before them and a checksum behind.

https://smithy.io/2.0/aws/amazon-eventstream.html — a frame is its own length and that of its headers (4 bytes each,
big-endian), a CRC32 of these, the headers, the payload, and a CRC32 of all before it. A header is the length of its
name (1 byte), the name, the type of its value (1 byte), and the value.

The data of an event is its payload under the name of the event, so that whoever sees the data alone knows what it is:
`{"contentBlockStop":{"contentBlockIndex":0}}`. An exception has an `error` with its `type` and `message` beside that.
"""

import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Final
from zlib import crc32

import msgspec
from msgspec import Struct

from trustgate.contract.framing import Framing

MAX_FRAME: Final = 16 * 1024 * 1024
"""Bytes that a frame may not reach; so the first byte of every frame is zero."""
_PRELUDE: Final = 12
_AROUND: Final = 16
"""Bytes of a frame that are neither headers nor payload."""
_prelude: Final = struct.Struct(">III").unpack_from
_lengths: Final = struct.Struct(">II").pack
_STRING: Final = 7
_FIXED: Final[Mapping[int, int]] = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Bytes of the values whose type says their length: true, false, byte, short, integer, long, timestamp, UUID."""

_Fields = dict[str, msgspec.Raw]
_fields: Final = msgspec.json.Decoder(_Fields).decode
_encode: Final = msgspec.json.Encoder().encode


def _frame_at(data: bytes, at: int) -> int:
    """Return the length of the frame that begins here, 0 while that cannot be known, -1 where none can begin."""
    if len(data) - at < _PRELUDE:
        return 0
    length, headers, check = _prelude(data, at)
    fits = headers + _AROUND <= length < MAX_FRAME
    return length if fits and crc32(data[at : at + 8]) == check else -1


def _is_sound(data: bytes, at: int, length: int) -> bool:
    """Whether the checksum behind a frame is right."""
    end = at + length
    return crc32(memoryview(data)[at : end - 4]) == int.from_bytes(data[end - 4 : end])


def split(data: bytes) -> list[bytes]:
    """Split frames. Bytes that are no whole frame are items too; behind them it goes on where a frame begins again."""
    frames: list[bytes] = []
    at = behind = 0
    while 0 <= at < len(data):
        length = _frame_at(data, at)
        if length > 0 and at + length <= len(data):
            frames += (data[behind:at], data[at : at + length]) if behind < at else (data[at : at + length],)
            at = behind = at + length
        else:
            at = data.find(b"\0", at + 1)
    return [*frames, data[behind:]] if behind < len(data) else frames


class _Head(Struct, frozen=True):
    """What the headers of a frame say. `opening` is how the data of the event begins."""

    name: str = ""
    message: str = ""
    fails: bool = False
    readable: bool = False
    opening: bytes = b""


@lru_cache(maxsize=64)
def _head(headers: bytes) -> _Head:
    said = _strings(headers)
    kind = said.get(":message-type", "")
    name = said.get({"exception": ":exception-type", "error": ":error-code"}.get(kind, ":event-type"), "")
    return _Head(
        name=name,
        message=said.get(":error-message", ""),
        fails=kind in ("exception", "error"),
        readable=bool(name) and said.get(":content-type", "application/json").startswith("application/json"),
        opening=b"{%b:" % _encode(name),
    )


def _strings(headers: bytes) -> dict[str, str]:
    """Read the headers that are strings, up to the first that cannot be read."""
    said: dict[str, str] = {}
    at = 0
    while at < len(headers):
        kind_at = at + 1 + headers[at]
        kind = headers[kind_at] if kind_at < len(headers) else -1
        start = kind_at + 1
        size = _FIXED.get(kind, -1)
        if kind in (6, _STRING):
            size, start = int.from_bytes(headers[start : start + 2]), start + 2
        if size < 0 or start + size > len(headers):
            break
        if kind == _STRING:
            name = headers[at + 1 : kind_at].decode("utf-8", "replace")
            said[name] = headers[start : start + size].decode("utf-8", "replace")
        at = start + size
    return said


def read(frame: bytes) -> tuple[str, bytes]:
    """Return the name of an event and its data: no data where the payload is not JSON, nothing for what is no frame."""
    if _frame_at(frame, 0) != len(frame) or not _is_sound(frame, 0, len(frame)):
        return "", b""
    payload_at = _payload_at(frame)
    head = _head(frame[_PRELUDE:payload_at])
    payload = frame[payload_at:-4] or b"{}"
    if head.fails:
        return head.name, _failure(head, payload)
    return head.name, b"%b%b}" % (head.opening, payload) if head.readable else b""


def _payload_at(frame: bytes) -> int:
    return _PRELUDE + int.from_bytes(frame[4:8])


def _failure(head: _Head, payload: bytes) -> bytes:
    try:
        said = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        said = None
    fields = said if isinstance(said, dict) else {}
    message = head.message or fields.get("message") or fields.get("Message")
    error = {"type": head.name, "message": message if isinstance(message, str) else ""}
    return _encode({head.name: fields or {"message": error["message"]}, "error": error})


def with_data(frame: bytes, data: bytes) -> bytes:
    """Return the event with other data; its headers stay. What is no frame stays as it is."""
    if _frame_at(frame, 0) != len(frame):
        return frame
    headers = frame[_PRELUDE : _payload_at(frame)]
    return _framed(headers, _payload(_head(headers).name, data)[0])


def frame(name: str, data: bytes) -> bytes:
    """Return an event of this name, or the exception if there is an `error` beside the payload."""
    payload, fails = _payload(name, data)
    return _framed(_headers(name, fails), payload)


def _payload(name: str, data: bytes) -> tuple[bytes, bool]:
    """Take the payload out of an event's data, and say whether it is an exception's."""
    try:
        fields = _fields(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return data, False
    payload = fields.get(name)
    return (data if payload is None else bytes(payload)), "error" in fields


@lru_cache(maxsize=64)
def _headers(name: str, fails: bool) -> bytes:
    """The headers that Bedrock sends, in its order."""
    kind, of = ("exception", ":exception-type") if fails else ("event", ":event-type")
    return _header(of, name) + _header(":content-type", "application/json") + _header(":message-type", kind)


def _header(name: str, value: str) -> bytes:
    told = value.encode()
    return bytes((len(name),)) + name.encode() + bytes((_STRING,)) + len(told).to_bytes(2) + told


def _framed(headers: bytes, payload: bytes) -> bytes:
    lengths = _lengths(len(headers) + len(payload) + _AROUND, len(headers))
    whole = b"%b%b%b%b" % (lengths, crc32(lengths).to_bytes(4), headers, payload)
    return whole + crc32(whole).to_bytes(4)


class Aligner:
    """Cuts arriving bytes at the ends of frames. What is held is looked at once, however many pieces it comes in.

    Bytes that are no frames, by their checksums or by a length of `MAX_FRAME` or more, have no end that could be waited
    for. They and all that follows are held, and `size` is at least `MAX_FRAME` at once: whoever bounds it, gives up.
    """

    __slots__ = ("_held", "_owed", "_wanted", "size")

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._owed = 0
        self._wanted = _PRELUDE
        self.size = 0

    def feed(self, data: bytes) -> bytes:
        """Return the complete events that there are now; the begun one is held."""
        if self._owed:
            return self._pay(data)
        if self.size + len(data) < self._wanted or self.size >= MAX_FRAME:
            self._held.append(data)
            self.size += len(data)
            return b""
        self._held.append(data)
        arrived = b"".join(self._held) if len(self._held) > 1 else data
        return self._cut(arrived)

    def take(self) -> bytes:
        """Return what is held, and hold nothing. The rest of a frame that was begun will pass as it comes."""
        if _PRELUDE < self._wanted < MAX_FRAME:
            self._owed = self._wanted - self.size
        held = b"".join(self._held)
        self._held, self._wanted, self.size = [], _PRELUDE, 0
        return held

    def _pay(self, data: bytes) -> bytes:
        owed, self._owed = data[: self._owed], max(0, self._owed - len(data))
        rest = data[len(owed) :]
        return owed + self.feed(rest) if rest else owed

    def _cut(self, arrived: bytes) -> bytes:
        at = 0
        while 0 < (length := _frame_at(arrived, at)) <= len(arrived) - at and _is_sound(arrived, at, length):
            at += length
        left = len(arrived) - at
        self._held = [arrived[at:]] if left else []
        is_garbage = length < 0 or 0 < length <= left
        self._wanted = MAX_FRAME if is_garbage else length or _PRELUDE
        self.size = left + MAX_FRAME if is_garbage else left
        return arrived if not left else arrived[:at]


EVENT_STREAM: Final = Framing(
    content_type=b"application/vnd.amazon.eventstream",
    aligner=Aligner,
    split=split,
    event=read,
    with_data=with_data,
    frame=frame,
)
