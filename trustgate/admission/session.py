"""Which conversation a request belongs to: told by a header, by a field of the body, or new."""

from collections.abc import Mapping
from typing import Final

import msgspec

from trustgate.contract.chance import uuid7
from trustgate.contract.context import Body

LONGEST: Final = 256


def session_id(headers: Mapping[bytes, bytes], body: Body, *, header: bytes, param: str) -> str:
    """Return the session id, the empty string where sessions are switched off (`header` empty)."""
    if not header:
        return ""
    told = headers.get(header)
    if told:
        return told[:LONGEST].decode("latin-1")
    return (_field(body.raw, param) if param and body.raw else "") or uuid7()


def _field(raw: bytes | bytearray, param: str) -> str:
    """Read one field; whatever stands in the others is not ours to judge."""
    try:
        fields = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        named = msgspec.json.decode(fields[param], type=str) if param in fields else ""
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return ""
    return named[:LONGEST] if named.isprintable() and named.isascii() else ""
