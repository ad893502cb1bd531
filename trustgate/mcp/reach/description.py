"""An OpenAPI 3 description as tools: one for each operation. Pure: a document in, tools out.

https://spec.openapis.org/oas/v3.1.0
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, Literal
from urllib.parse import urljoin, urlsplit

import msgspec
from msgspec import Struct

from trustgate.config.mcp import OpenApi
from trustgate.mcp.messages import Json
from trustgate.mcp.reach.schemas import BadReference, Schemas, resolved

METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
SAFE: Final = frozenset(("get", "head", "options", "trace"))
REPEATABLE: Final = SAFE | {"put", "delete"}
LONGEST_NAME: Final = 64
MOST_TOOLS: Final = 2000
MOST_PARTS: Final = 2_000_000
OF_CONTENT: Final = frozenset(("accept", "content-type", "authorization"))
OF_CONNECTION: Final = frozenset(
    ("connection", "content-length", "cookie", "host", "te", "transfer-encoding", "upgrade")
)
UNSENT: Final = OF_CONTENT | OF_CONNECTION | {"proxy-authorization"}
"""Headers that are no parameters: by the rules of OpenAPI the first, and those that are not an agent's to set."""
FORM: Final = "application/x-www-form-urlencoded"
_STRANGE: Final = re.compile(r"[^A-Za-z0-9_-]+")
Where = Literal["path", "query", "header"]


class BadDocument(ValueError):
    """A description that cannot be served from. The message says what is wrong with it."""


class Parameter(Struct, frozen=True, kw_only=True):
    """One parameter: the argument that holds it, where it goes and under which name, how a value of many is written."""

    argument: str
    name: str
    where: Where
    style: str
    explode: bool
    required: bool
    is_json: bool = False


class Place(Struct, frozen=True, kw_only=True):
    """Where an operation stands in a description, and what its path says of all that stand there."""

    path: str
    method: str
    item: Json
    operation: Json


class Payload(Struct, frozen=True, kw_only=True):
    """What goes in a body: as what, and whether there has to be one. The argument is `body`."""

    media: str
    required: bool


class ApiTool(Struct, frozen=True, kw_only=True):
    """One operation: how agents see it, and how it is called."""

    definition: Json
    method: str
    path: str
    parameters: Sequence[Parameter]
    payload: Payload | None


def read_document(raw: bytes) -> Json:
    """Return a description, written in JSON or YAML. Raises BadDocument."""
    try:
        found: Any = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = _yaml(raw)
    if not isinstance(found, dict):
        raise BadDocument("the description is no object: it has to be an OpenAPI 3 document in JSON or YAML")
    return found


def tools_of(document: Json, wanted: OpenApi, sent: Collection[str] = ()) -> dict[str, ApiTool]:
    """Return the tools of a description by name, those that are wanted. Raises BadDocument.

    `sent` are headers that the registry sends (in lower case): no agent needs to know them, and none can.
    """
    version = document.get("openapi")
    if not isinstance(version, str) or not version.startswith("3."):
        raise BadDocument('the description has no "openapi": "3.…": only OpenAPI 3 is read')
    paths = document.get("paths")
    if not isinstance(paths, dict):
        raise BadDocument("the description has no paths")
    found: dict[str, ApiTool] = {}
    for place in _operations(paths):
        if not _is_wanted(place, wanted):
            continue
        name = _free(_name(place), found)
        try:
            found[name] = _tool(document, name, place, {*UNSENT, *sent})
        except BadReference as error:
            raise BadDocument(f"{place.method.upper()} {place.path}: {error}") from None
        if len(found) > MOST_TOOLS:
            raise BadDocument(f"the description has more than {MOST_TOOLS} operations: choose some of them")
    if not found:
        raise BadDocument("no operation of the description is wanted: look at tags, paths and operations")
    return found


def base_of(document: Json, wanted: OpenApi, came_from: str) -> str:
    """Return where the API is, without a slash at its end. Raises BadDocument.

    A description that was fetched cannot send secrets anywhere but to where it came from.
    """
    if wanted.base_url:
        return wanted.base_url.rstrip("/")
    servers = document.get("servers")
    first = servers[0] if isinstance(servers, list) and servers and isinstance(servers[0], dict) else {}
    base = str(first.get("url") or "/")
    variables = first.get("variables")
    for name, variable in (variables if isinstance(variables, dict) else {}).items():
        base = base.replace("{" + name + "}", str((variable if isinstance(variable, dict) else {}).get("default", "")))
    base = urljoin(came_from, base) if came_from else base
    url = urlsplit(base)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise BadDocument("the description does not say where the API is: give base_url")
    if came_from and (url.scheme, url.netloc) != urlsplit(came_from)[:2]:
        raise BadDocument(f"the description says that the API is at {url.netloc}, which is not where it came from: "
                          "give base_url if that is right")  # fmt: skip
    return base.rstrip("/")


def _yaml(raw: bytes) -> Any:
    import yaml  # noqa: PLC0415 - most descriptions are JSON

    try:
        found = yaml.load(raw, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        raise BadDocument("the description is neither JSON nor YAML") from None
    _check_size(found)
    return found


def _check_size(found: Any) -> None:
    """Check that what few lines of YAML say is no more than it seems: aliases may repeat a thing without an end."""
    waiting, seen = [found], 0
    while waiting:
        each = waiting.pop()
        seen += 1
        if seen > MOST_PARTS:
            raise BadDocument(f"the description has more than {MOST_PARTS} parts")
        if isinstance(each, dict):
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each


def _operations(paths: Mapping[str, Any]) -> Iterator[Place]:
    for path, item in paths.items():
        if not isinstance(item, dict) or not path.startswith("/"):
            continue
        for method in METHODS:
            if isinstance(operation := item.get(method), dict):
                yield Place(path=path, method=method, item=item, operation=operation)


def _is_wanted(place: Place, wanted: OpenApi) -> bool:
    path, operation = place.path, place.operation
    if not (wanted.tags or wanted.paths or wanted.operations):
        return True
    tags = operation.get("tags")
    if set(wanted.tags) & set(tags if isinstance(tags, list) else ()):
        return True
    if operation.get("operationId") in wanted.operations:
        return True
    return any(path == each or (each.endswith("*") and path.startswith(each[:-1])) for each in wanted.paths)


def _name(place: Place) -> str:
    method, path, told = place.method, place.path, place.operation.get("operationId")
    name = _STRANGE.sub("_", told if isinstance(told, str) and told else f"{method}_{path.strip('/')}").strip("_")
    return name[:LONGEST_NAME] or method


def _free(name: str, taken: Mapping[str, object]) -> str:
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name[: LONGEST_NAME - 4]}_{number}"
    return free


def _tool(document: Json, name: str, place: Place, unsent: Collection[str]) -> ApiTool:
    path, method, item, operation = place.path, place.method, place.item, place.operation
    schemas = Schemas(document)
    properties: Json = {}
    parameters = []
    for told in _parameters(document, item, operation):
        parameter = _parameter(told, properties, unsent)
        if parameter is None:
            continue
        parameters.append(parameter)
        properties[parameter.argument] = _described(schemas.read(_schema(told)), told)
    payload = _payload(document, operation)
    if payload is not None:
        body, media = payload
        properties["body"] = _described(schemas.read(body.get("schema", {})), media)
    required = [each.argument for each in parameters if each.required]
    if payload is not None and payload[1].get("required"):
        required.append("body")
    schema: Json = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        schema["required"] = required
    if schemas.used:
        schema["$defs"] = schemas.used
    texts = (operation.get("summary") or item.get("summary"), operation.get("description") or item.get("description"))
    told_of = [text.strip() for text in texts if isinstance(text, str) and text.strip()]
    definition: Json = {
        "name": name,
        "description": "\n\n".join(told_of) or f"{method.upper()} {path}",
        "inputSchema": schema,
        "annotations": {
            "readOnlyHint": method in SAFE,
            "destructiveHint": method == "delete",
            "idempotentHint": method in REPEATABLE,
            "openWorldHint": True,
        },
    }
    return ApiTool(
        definition=definition,
        method=method.upper(),
        path=path,
        parameters=parameters,
        payload=None
        if payload is None
        else Payload(media=payload[1]["media"], required=bool(payload[1].get("required"))),
    )


def _parameters(document: Json, item: Json, operation: Json) -> list[Json]:
    """Return the parameters of an operation: its own go before those of its path."""
    found: dict[tuple[Any, Any], Json] = {}
    for told in (item.get("parameters"), operation.get("parameters")):
        for each in told if isinstance(told, list) else ():
            parameter = resolved(document, each)
            found[parameter.get("in"), parameter.get("name")] = parameter
    return list(found.values())


def _parameter(told: Json, taken: Mapping[str, object], unsent: Collection[str]) -> Parameter | None:
    """Return a parameter, or None for one that agents do not send."""
    name, where = told.get("name"), told.get("in")
    if not isinstance(name, str) or where not in ("path", "query", "header"):
        return None  # cookies are the browser's
    if where == "header" and name.lower() in unsent:
        return None
    style = told.get("style") or ("form" if where == "query" else "simple")
    argument = name if name not in taken and name != "body" else f"{name}_{where}"
    return Parameter(
        argument=argument,
        name=name,
        where=where,
        style=style,
        explode=told.get("explode", style == "form") is True,
        required=where == "path" or told.get("required") is True,
        is_json="schema" not in told and "content" in told,
    )


def _schema(told: Json) -> Any:
    """Return the schema of a parameter, which may stand under a type of content."""
    content = told.get("content")
    if "schema" not in told and isinstance(content, dict) and content:
        first = next(iter(content.values()))
        return first.get("schema", {}) if isinstance(first, dict) else {}
    return told.get("schema", {})


def _payload(document: Json, operation: Json) -> tuple[Json, Json] | None:
    """Return what a body holds and what is said of it, of the first kind of body that can be made here."""
    if not isinstance(operation.get("requestBody"), dict):
        return None
    told = resolved(document, operation["requestBody"])
    content = told.get("content")
    kinds: Mapping[str, Any] = content if isinstance(content, dict) else {}
    for media, holds in sorted(kinds.items(), key=lambda pair: _preference(pair[0])):
        plain = media.partition(";")[0].strip().lower()
        if _preference(media) < 9 and isinstance(holds, dict):
            return holds, {**told, "media": plain}
    return None


def _preference(media: str) -> int:
    plain = media.partition(";")[0].strip().lower()
    if plain == "application/json" or plain.endswith("+json"):
        return 0
    if plain == FORM:
        return 1
    if plain.startswith("text/"):
        return 2
    return 3 if plain == "*/*" else 9


def _described(schema: Json, told: Json) -> Json:
    """Return a schema with what is said of the parameter, where the schema says nothing itself."""
    text = told.get("description")
    if isinstance(text, str) and text and "description" not in schema:
        return {**schema, "description": text}
    return schema
