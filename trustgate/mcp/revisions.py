"""The revisions of the protocol: with sessions up to 2025-11-25, without any since 2026-07-28."""

import base64
import re
from collections.abc import Mapping
from typing import Any, Final

from trustgate.contract.upstream import Header
from trustgate.mcp.messages import HEADER_MISMATCH, INVALID_PARAMS, UNSUPPORTED_VERSION, Json, Wrong, params

WITH_SESSIONS: Final = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
STATELESS: Final = "2026-07-28"
ALL: Final = (*WITH_SESSIONS, STATELESS)
NEWEST_WITH_SESSIONS: Final = WITH_SESSIONS[-1]

VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES_KEY: Final = "io.modelcontextprotocol/clientCapabilities"
CLIENT_KEY: Final = "io.modelcontextprotocol/clientInfo"
NAMED: Final[Mapping[str, str]] = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""Methods whose header Mcp-Name says this of their parameters."""
_PLAIN: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?|")
_WRAPPED: Final = re.compile(r"=\?base64\?(.*)\?=")


def is_stateless(headers: Mapping[bytes, bytes], message: Json | None) -> bool:
    """Say whether a caller speaks the revision without sessions: its header says so, or its message does."""
    told = headers.get(b"mcp-protocol-version", b"").decode("latin-1")
    if told:
        return told not in WITH_SESSIONS
    meta = params(message).get("_meta") if message is not None else None
    return isinstance(meta, dict) and VERSION_KEY in meta


def check_envelope(headers: Mapping[bytes, bytes], message: Json) -> None:
    """Check that what headers say of a message is what it says itself. Raises Wrong."""
    method, given = message["method"], params(message)
    meta = given.get("_meta")
    version = meta.get(VERSION_KEY) if isinstance(meta, dict) else None
    if not isinstance(version, str) or not isinstance(meta, dict) or not isinstance(meta.get(CAPABILITIES_KEY), dict):
        message_text = f"params._meta needs {VERSION_KEY} and {CAPABILITIES_KEY}."
        raise Wrong(INVALID_PARAMS, message_text, status=400)
    _same(headers, b"mcp-protocol-version", version, "MCP-Protocol-Version")
    _same(headers, b"mcp-method", method, "Mcp-Method")
    if (field := NAMED.get(method)) is not None:
        _same(headers, b"mcp-name", given.get(field), "Mcp-Name")
    if version != STATELESS:
        raise unsupported(version)


def unsupported(version: str) -> Wrong:
    """Return what is said of a revision that is not spoken."""
    data = {"supported": [STATELESS], "requested": version[:100]}
    return Wrong(UNSUPPORTED_VERSION, "Unsupported protocol version", data=data, status=400)


def envelope_headers(message: Json) -> list[Header]:
    """Return what headers say of a message."""
    found = [(b"mcp-protocol-version", STATELESS.encode()), (b"mcp-method", _said(message["method"]))]
    if (field := NAMED.get(message["method"])) is not None and isinstance(params(message).get(field), str):
        found.append((b"mcp-name", _said(params(message)[field])))
    return found


def _same(headers: Mapping[bytes, bytes], name: bytes, said: Any, shown: str) -> None:
    header = headers.get(name)
    if header is None:
        raise Wrong(HEADER_MISMATCH, f"The header {shown} is missing: it says what the body says.", status=400)
    if _meant(header.decode("latin-1")) != said:
        raise Wrong(HEADER_MISMATCH, f"The header {shown} does not say what the body says.", status=400)


def _said(text: str) -> bytes:
    """Return a text as a header value: in base64 where it would not survive."""
    if _PLAIN.fullmatch(text) and not _WRAPPED.fullmatch(text):
        return text.encode()
    return b"=?base64?" + base64.b64encode(text.encode("utf-8", "surrogatepass")) + b"?="


def _meant(value: str) -> str | None:
    wrapped = _WRAPPED.fullmatch(value)
    if wrapped is None:
        return value
    try:
        return base64.b64decode(wrapped[1], validate=True).decode()
    except ValueError:
        return None
