"""Which conversation a request belongs to: told by a header, by a field of the body, or new."""

from collections.abc import Mapping
from time import time_ns
from typing import Final

import msgspec

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
    return (_field(body.raw, param) if param and body.raw else "") or new_session_id()


def _field(raw: bytes, param: str) -> str:
    """Read one field; whatever stands in the others is not ours to judge."""
    try:
        fields = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        named = msgspec.json.decode(fields[param], type=str) if param in fields else ""
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return ""
    return named[:LONGEST] if named.isprintable() and named.isascii() else ""


def new_session_id() -> str:
    """Return a UUID version 7 (RFC 9562): it sorts by time, and tells nothing but the time."""
    moment, chance = time_ns() // 1_000_000, random_digits(20)
    return f"{moment >> 16:08x}-{moment & 0xFFFF:04x}-7{chance[:3]}-{_VARIANT[chance[3]]}{chance[4:7]}-{chance[7:19]}"
