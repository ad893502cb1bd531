"""Which conversation a request belongs to: told by a header, by a field of the body, or new."""

from collections.abc import Mapping
from time import time_ns
from typing import Final

from trustgate.contract.chance import random_digits
from trustgate.contract.context import Body

LONGEST: Final = 256
_VARIANT: Final = {digit: "89ab"[at % 4] for at, digit in enumerate("0123456789abcdef")}


def session_id(headers: Mapping[bytes, bytes], body: Body, *, header: bytes, param: str) -> str:
    """Return the session id, the empty string where sessions are switched off (`header` empty)."""
    if not header:
        return ""
    told = headers.get(header)
    if told:
        return told[:LONGEST].decode("latin-1")
    if param and body.raw:
        named = body.json().get(param)
        if named and isinstance(named, str) and named.isprintable() and named.isascii():
            return named[:LONGEST]
    return new_session_id()


def new_session_id() -> str:
    """Return a UUID version 7 (RFC 9562): it sorts by time, and tells nothing but the time."""
    moment, chance = time_ns() // 1_000_000, random_digits(20)
    return f"{moment >> 16:08x}-{moment & 0xFFFF:04x}-7{chance[:3]}-{_VARIANT[chance[3]]}{chance[4:7]}-{chance[7:19]}"
