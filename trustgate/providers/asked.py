"""A request's body, and the fields of it that steer the request: which model, and whether a stream."""

import re
from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Struct

from trustgate.contract.context import Body, Operation
from trustgate.contract.errors import Refused
from trustgate.providers.dialects import peek_request
from trustgate.providers.prompts import LENSES

_BOUNDARY: Final = re.compile(rb'boundary="?([^";,\s]{1,70})"?', re.IGNORECASE)
_MODEL: Final = re.compile(
    rb'content-disposition:[^\r\n]*\bname="?model"?[^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n', re.IGNORECASE
)
_LONGEST: Final = 300


class _Object(Struct):
    """Any JSON object: decoding it checks the JSON and keeps nothing."""


_object: Final = msgspec.json.Decoder(_Object)


def read_body(raw: bytes | bytearray, operation: Operation, item: str, headers: Mapping[bytes, bytes]) -> Body:
    """Return a body with the two fields of it that steer the request; `item` is what the path names. Raises Refused."""
    if operation.model_in_path:
        _check_object(raw)
        lens = LENSES.get(operation.name)
        return Body(raw, model=item.removeprefix("models/"), stream=bool(operation.stream), lens=lens)
    match operation.body:
        case "form":
            return Body(raw, model=_form_model(raw, headers))
        case "any":
            return Body(raw, model=_any_model(raw))
        case "none":
            return Body(raw)
        case "json":
            peeked = peek_request(raw)
            return Body(raw, model=peeked.model, stream=peeked.stream, lens=LENSES.get(operation.name))


def _check_object(raw: bytes | bytearray) -> None:
    try:
        _object.decode(raw)
    except msgspec.ValidationError as error:
        raise Refused("invalid_request", "The body is not a JSON object.", status=400, retry=False) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused("invalid_json", f"The body is not valid JSON: {error}.", status=400, retry=False) from error


def _any_model(raw: bytes | bytearray) -> str:
    """A passthrough may bring anything; where it is JSON that names a model, that model has to be allowed."""
    if not raw[:64].lstrip().startswith(b"{"):
        return ""
    try:
        return peek_request(raw).model
    except Refused:
        return ""


def _form_model(raw: bytes | bytearray, headers: Mapping[bytes, bytes]) -> str:
    """Read the field `model` of a form. https://www.rfc-editor.org/rfc/rfc7578 Raises Refused for what is no form."""
    boundary = _BOUNDARY.search(headers.get(b"content-type", b""))
    if boundary is None:
        raise Refused(
            "invalid_request", "The content-type multipart/form-data lacks its boundary.", status=400, retry=False
        )
    delimiter, at = b"--" + boundary[1], 0
    while (at := raw.find(delimiter, at)) >= 0:
        at += len(delimiter)
        head = _MODEL.match(raw, at + 2)
        if head is not None:
            end = raw.find(b"\r\n" + delimiter, head.end(), head.end() + _LONGEST)
            return bytes(raw[head.end() : end]).decode("utf-8", "replace") if end >= 0 else ""
    return ""
