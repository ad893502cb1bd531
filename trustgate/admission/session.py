"""Which conversation a request belongs to: told by a header, by a field of the body, or new."""

import os
from collections.abc import Mapping
from time import time_ns
from typing import Final

from trustgate.contract.context import Body

LONGEST: Final = 256


def session_id(headers: Mapping[bytes, bytes], body: Body, *, header: bytes, param: str) -> str:
    """Return the session id, the empty string where sessions are switched off (`header` empty)."""
    if not header:
        return ""
    told = headers.get(header)
    if told:
        return told[:LONGEST].decode("latin-1")
    if param and body.raw:
        named = body.json().get(param)
        if isinstance(named, str) and named.isprintable() and named.isascii():
            return named[:LONGEST]
    return new_session_id()


def new_session_id() -> str:
    """Return a UUID version 7 (RFC 9562): it sorts by time, and tells nothing but the time."""
    value = time_ns() // 1_000_000 << 80 | int.from_bytes(os.urandom(10))
    text = f"{value & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
