"""A call of a tool as a request to an API, and what the API answers as the tool's result. Pure.

https://spec.openapis.org/oas/v3.1.0#style-values
"""

import base64
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from msgspec import Struct

from trustgate.contract.upstream import Header
from trustgate.mcp.messages import Json, decode, encode
from trustgate.mcp.reach.description import FORM, ApiTool, Parameter

UNRESERVED: Final = "-._~"
_JOINED: Final[Mapping[str, str]] = {"spaceDelimited": "%20", "pipeDelimited": "%7C"}
_PICTURED: Final[Mapping[str, str]] = {"image": "image", "audio": "audio"}


class BadArguments(ValueError):
    """Arguments that make no request. The message tells an agent what to send."""


class ApiRequest(Struct, frozen=True, kw_only=True):
    """What is sent: `target` is path and query, without where the API is."""

    method: str
    target: str
    headers: list[Header]
    body: bytes


def request_of(tool: ApiTool, arguments: Json) -> ApiRequest:
    """Return the request that a call of a tool stands for. Raises BadArguments."""
    known = {parameter.argument for parameter in tool.parameters} | ({"body"} if tool.payload else set())
    if strangers := sorted(set(arguments) - known):
        raise BadArguments(f"unknown arguments: {', '.join(strangers)[:500]}; known are {', '.join(sorted(known))}")
    path, query, headers = tool.path, [], [(b"accept", b"application/json, */*;q=0.5")]
    for parameter in tool.parameters:
        value = arguments.get(parameter.argument)
        if value is None:
            if parameter.required:
                raise BadArguments(f"{parameter.argument} is required")
            continue
        match parameter.where:
            case "path":
                path = path.replace("{" + parameter.name + "}", _in_path(parameter, value))
            case "query":
                query += _in_query(parameter, value)
            case "header":
                headers.append((parameter.name.lower().encode("latin-1", "replace"), _in_header(parameter, value)))
    body, media = _body(tool, arguments)
    if media:
        headers.append((b"content-type", media.encode()))
    return ApiRequest(
        method=tool.method, target=path + ("?" + "&".join(query) if query else ""), headers=headers, body=body
    )


def result_of(status: int, media: str, raw: bytes) -> Json:
    """Return what an API answers as a tool's result; what is no success is an error of the tool."""
    content, structured = _content(media.partition(";")[0].strip().lower(), raw)
    if status >= 300:
        return {
            "content": [{"type": "text", "text": f"The API answered with status {status}."}, *content],
            "isError": True,
        }
    said: Json = {"content": content or [{"type": "text", "text": f"Done (status {status})."}]}
    if structured is not None:
        said["structuredContent"] = structured
    return said


def failed(text: str) -> Json:
    """Return the result of a call that came to nothing: an agent reads it and may do better."""
    return {"content": [{"type": "text", "text": text}], "isError": True}


def _content(media: str, raw: bytes) -> tuple[list[Json], Json | None]:
    if not raw:
        return [], None
    kind = _PICTURED.get(media.partition("/")[0])
    if kind is not None:
        return [{"type": kind, "data": base64.b64encode(raw).decode(), "mimeType": media}], None
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        blob = {
            "uri": "api:answer",
            "mimeType": media or "application/octet-stream",
            "blob": base64.b64encode(raw).decode(),
        }
        return [{"type": "resource", "resource": blob}], None
    structured: Json | None = None
    if media == "application/json" or media.endswith("+json"):
        try:
            found = decode(raw)
        except ValueError:
            found = None
        structured = found if isinstance(found, dict) else None
    return [{"type": "text", "text": text}], structured


def _plain(value: Any) -> str:
    """Return one value as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    return value if isinstance(value, str) else encode(value).decode()


def _quoted(value: Any) -> str:
    return quote(_plain(value), safe=UNRESERVED)


def _in_path(parameter: Parameter, value: Any) -> str:
    if parameter.is_json:
        return quote(encode(value).decode(), safe=UNRESERVED)
    text = _listed(value, explode=parameter.explode)
    if text in ("", ".", ".."):
        raise BadArguments(f"{parameter.argument} cannot be {text!r}: it is a part of a path")
    return text


def _in_header(parameter: Parameter, value: Any) -> bytes:
    values = value if isinstance(value, list) else [value]
    text = encode(value).decode() if parameter.is_json or isinstance(value, dict) else ",".join(map(_plain, values))
    if any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise BadArguments(f"{parameter.argument} goes into a header, which has no line breaks")
    return text.encode("utf-8")


def _in_query(parameter: Parameter, value: Any) -> list[str]:
    name = quote(parameter.name, safe=UNRESERVED + "[]")
    if parameter.is_json:
        return [f"{name}={quote(encode(value).decode(), safe=UNRESERVED)}"]
    if isinstance(value, dict) and parameter.style == "deepObject":
        return [f"{name}[{quote(str(key), safe=UNRESERVED)}]={_quoted(each)}" for key, each in value.items()]
    if isinstance(value, dict) and parameter.explode:
        return [f"{quote(str(key), safe=UNRESERVED)}={_quoted(each)}" for key, each in value.items()]
    if isinstance(value, list) and parameter.explode:
        return [f"{name}={_quoted(each)}" for each in value]
    if isinstance(value, list):
        return [f"{name}={_JOINED.get(parameter.style, ',').join(map(_quoted, value))}"]
    return [f"{name}={_listed(value, explode=False)}"]


def _listed(value: Any, *, explode: bool) -> str:
    """Return a value in the style `simple`."""
    if isinstance(value, list):
        return ",".join(map(_quoted, value))
    if isinstance(value, dict):
        between = "=" if explode else ","
        return ",".join(f"{quote(str(key), safe=UNRESERVED)}{between}{_quoted(each)}" for key, each in value.items())
    return _quoted(value)


def _body(tool: ApiTool, arguments: Json) -> tuple[bytes, str]:
    if tool.payload is None:
        return b"", ""
    if "body" not in arguments:
        if tool.payload.required:
            raise BadArguments("body is required")
        return b"", ""
    value, media = arguments["body"], tool.payload.media
    if media == FORM:
        if not isinstance(value, dict):
            raise BadArguments("body must be an object: it is sent as a form")
        pairs = [
            (key, _plain(each)) for key, many in value.items() for each in (many if isinstance(many, list) else [many])
        ]
        return urlencode(pairs).encode(), FORM
    if media.startswith("text/"):
        return _plain(value).encode(), f"{media}; charset=utf-8"
    return encode(value), "application/json" if media == "*/*" else media
