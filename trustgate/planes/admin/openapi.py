"""The table → OpenAPI 3.1. Schemas come from the types that validate, so the document cannot promise something else."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import inspect, structs

from trustgate import __version__
from trustgate.planes.admin.envelope import JSON, Problem
from trustgate.planes.admin.examples import PROBLEMS, REQUESTS
from trustgate.planes.admin.operation import Nothing, Operation
from trustgate.planes.admin.probes import Readiness
from trustgate.planes.admin.table import OPERATIONS

Json = dict[str, Any]

_REF: Final = "#/components/schemas/{name}"
_ABOUT: Final = (
    "Configures gateways, the provider accounts and consumers in them, their keys and policies. "
    "A write is in force for the next request once it is answered; `X-AG-Revision` says in which revision it is. "
    "PUT is partial: a field that is absent or null stays as it is."
)
_TAGS: Final = {
    "Gateways": "One tenant's entrance each.",
    "Registries": "One account at one provider each.",
    "Consumers": "One application each, with what is attached to it.",
    "Auths": "What callers present.",
    "Policies": "One configured plugin each.",
    "Configuration": "How it reaches those who serve it.",
    "Catalogs": "What there is to choose from.",
    "Probes": "For orchestrators and scrapers; no token.",
    "Documentation": "This API, described; no token.",
}
_REVISION: Final = {
    "description": "The revision of the configuration that the change is in.",
    "schema": {"type": "integer", "minimum": 0},
}


@lru_cache(maxsize=1)
def document() -> Json:
    """Return the document. Treat it as read-only: it is made once."""
    plain: Json = msgspec.json.decode(msgspec.json.encode(_document()))  # defaults of types are tuples
    return plain


def _document() -> Json:
    named, schemas = _schemas()
    paths: dict[str, Json] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, named)
    return {
        "openapi": "3.1.0",
        "info": {"title": "TrustGate admin API", "version": __version__, "description": _ABOUT, "license": _LICENSE},
        "servers": [{"url": "/", "description": "The plane that serves this document"}],
        "tags": [{"name": name, "description": about} for name, about in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            "headers": {"Revision": _REVISION},
        },
    }


_LICENSE: Final = {"name": "Apache-2.0", "identifier": "Apache-2.0"}


def rendered() -> str:
    """Return the document as the text of `docs/openapi.json`."""
    return msgspec.json.format(msgspec.json.encode(document()), indent=2).decode() + "\n"


def codes_of(operation: Operation) -> tuple[str, ...]:
    """Return the codes with which an operation may refuse: those of its shape, then its own."""
    body, query = operation.body is not Nothing, operation.query is not Nothing
    return (
        *(("unauthorized",) if operation.secured else ()),
        *(("invalid_uuid", "not_found") if operation.ids else ()),
        *(("request_too_large", "validation_failed") if body else ()),
        *(_query_codes(operation) if query else ()),
        *(code for code in operation.refuses if code != "unavailable"),
        *(("internal_error", "unavailable") if operation.secured else ()),
    )


def _query_codes(operation: Operation) -> tuple[str, ...]:
    names = {field.encode_name for field in structs.fields(operation.query)}
    sort = ("invalid_sort",) if "sort" in names else ()
    return ("invalid_pagination", *sort, "invalid_filter")


def _schemas() -> tuple[Mapping[Any, Json], Json]:
    """Return the schema of every type that the table names, and the components that these refer to."""
    types = list(dict.fromkeys(kind for operation in OPERATIONS for kind in _types(operation)))
    types += [Problem, Readiness]
    found, components = msgspec.json.schema_components(types, ref_template=_REF)
    return dict(zip(types, found, strict=True)), dict(sorted(components.items()))


_WAIT: Final[Mapping[bool, list[Json]]] = {
    False: [],
    True: [
        {
            "name": "wait",
            "in": "query",
            "schema": {"enum": ["applied"]},
            "description": "Answer once every process that serves has the change, or after 10 s. `X-AG-Applied` says "
            "how many have it, `X-AG-Not-Applied` which have not.",
        }
    ],
}


def _types(operation: Operation) -> list[Any]:
    body = [] if operation.body is Nothing else [operation.body]
    return [*body, *operation.answers]


def _operation(operation: Operation, named: Mapping[Any, Json]) -> Json:
    described: Json = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.tag],
        "security": [{"token": []}] if operation.secured else [],
    }
    if parameters := [*map(_id_parameter, operation.ids), *_query_parameters(operation), *_WAIT[operation.writes]]:
        described["parameters"] = parameters
    if operation.body is not Nothing:
        described["requestBody"] = _request(operation, named)
    return described | {"responses": {**_success(operation, named), **_refusals(operation)}}


def _id_parameter(name: str) -> Json:
    about = "The entity's id." if name == "id" else f"The {name.removesuffix('_id')}'s id."
    schema = {"type": "string", "format": "uuid"}
    return {"name": name, "in": "path", "required": True, "description": about, "schema": schema}


def _query_parameters(operation: Operation) -> list[Json]:
    return [_query_parameter(field) for field in structs.fields(operation.query)]


def _query_parameter(field: structs.FieldInfo) -> Json:
    schema = msgspec.json.schema(field.type)
    if isinstance(inspect.type_info(field.type), inspect.UnionType):  # absent is not sent: there is no null in a URL
        schema = next(each for each in schema["anyOf"] if each.get("type") != "null") if "anyOf" in schema else schema
    about = schema.pop("description", "")
    if isinstance(schema.get("enum"), list):
        schema["enum"] = [value for value in schema["enum"] if value is not None]
    if field.default not in (msgspec.NODEFAULT, None, ""):
        schema["default"] = field.default
    parameter: Json = {"name": field.encode_name, "in": "query", "schema": schema}
    return parameter | ({"description": about} if about else {})


def _request(operation: Operation, named: Mapping[Any, Json]) -> Json:
    content: Json = {"schema": named[operation.body]}
    if operation.name in REQUESTS:
        content["examples"] = {name: {"value": value} for name, value in REQUESTS[operation.name].items()}
    return {"required": not operation.body_optional, "content": {JSON: content}}


def _success(operation: Operation, named: Mapping[Any, Json]) -> Json:
    schemas = [named[kind] for kind in operation.answers]
    response: Json = {"description": "Done." if not schemas else "As asked."}
    if schemas:
        schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
        response["content"] = {operation.media: {"schema": schema}}
    if operation.writes:
        response["headers"] = {"X-AG-Revision": {"$ref": "#/components/headers/Revision"}}
    return {str(operation.status): response}


def _refusals(operation: Operation) -> Json:
    """Return one response per status, with an example per code."""
    by_status: dict[str, Json] = {}
    for code in codes_of(operation):
        status, about, message = PROBLEMS[code]
        kind = "Readiness" if code == "not_ready" else "Problem"
        empty: Json = {"description": about, "content": {JSON: {"schema": {"$ref": _REF.format(name=kind)}}}}
        response = by_status.setdefault(str(status), empty)
        if code != "not_ready":
            value = {"error": code, "message": message} if message else {"error": code}
            response["content"][JSON].setdefault("examples", {})[code] = {"value": value}
    return dict(sorted(by_status.items()))
