"""JSON-RPC as MCP has it: reading messages, and saying what is wrong with one.

https://www.jsonrpc.org/specification, https://modelcontextprotocol.io/specification
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from trustgate.contract.upstream import Header

Json = dict[str, Any]

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
DENIED: Final = -32001
RESOURCE_NOT_FOUND: Final = -32002
LIMITED: Final = -32004
UNAVAILABLE: Final = -32005
HEADER_MISMATCH: Final = -32020
UNSUPPORTED_VERSION: Final = -32022
DEEPEST: Final = 200

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()


class Wrong(Exception):
    """What a caller is told instead of an answer: a JSON-RPC error, and the HTTP status that it comes with."""

    def __init__(
        self, code: int, message: str, *, data: Any = None, status: int = 200, headers: Sequence[Header] = ()
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data
        self.status = status
        self.headers = headers


def encode(message: Any) -> bytes:
    """Return a message as it travels."""
    return _encoder.encode(message)


def decode(raw: bytes | bytearray) -> Any:
    """Return any JSON. Raises ValueError."""
    try:
        return _decoder.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from None


def read(raw: bytes | bytearray) -> Json | list[Any]:
    """Return the message that a caller sent, or the several that may be messages. Raises Wrong."""
    try:
        message = decode(raw)
    except ValueError:
        raise Wrong(PARSE_ERROR, "The body is not JSON: send one JSON-RPC message.", status=400) from None
    if isinstance(message, list):
        return message
    if not is_message(message):
        raise Wrong(INVALID_REQUEST, 'The body is no JSON-RPC 2.0 message: it needs "jsonrpc": "2.0".', status=400)
    found: Json = message
    return found


def is_message(message: Any) -> bool:
    """Say whether this is a request, a notification or a response."""
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        return False
    if "id" in message and not isinstance(message["id"], str | int) and not is_response(message):
        return False
    if "method" in message:
        return bool(message["method"]) and isinstance(message["method"], str) and _has_object(message, "params")
    return is_response(message)


def is_request(message: Json) -> bool:
    """Say whether somebody waits for an answer to it."""
    return "method" in message and "id" in message


def is_response(message: Json) -> bool:
    """Say whether it answers something."""
    return "method" not in message and "id" in message and ("result" in message or "error" in message)


def params(message: Json) -> Json:
    """Return its parameters; none are an empty object."""
    found: Json = message.get("params") or {}
    return found


def result(message_id: Any, value: Json) -> Json:
    """Return the answer to a request."""
    return {"jsonrpc": "2.0", "id": message_id, "result": value}


def error(message_id: Any, code: int, message: str, data: Any = None) -> Json:
    """Return the refusal of a request."""
    said: Json = {"code": code, "message": message}
    if data is not None:
        said["data"] = data
    return {"jsonrpc": "2.0", "id": message_id, "error": said}


def _has_object(message: Json, name: str) -> bool:
    return name not in message or isinstance(message[name], dict)
