"""The table → an ASGI endpoint per path: reads what was asked, runs it, tells the data planes, answers."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trustgate.contract.errors import Refused
from trustgate.planes.admin import envelope
from trustgate.planes.admin.operation import Ask, Done, Nothing, Operation, read_ids
from trustgate.planes.admin.plane import AdminServices
from trustgate.planes.admin.probes import NotReady
from trustgate.planes.admin.processes import told
from trustgate.planes.admin.reading import read_body, read_query
from trustgate.planes.admin.services.work import PLATFORM, Principal
from trustgate.storage.database import Unavailable
from trustgate.storage.processes import Process

WAIT, APPLIED = "wait", "applied"
LONGEST_WAIT = 10.0
LOOK_EVERY = 0.02
log = logging.getLogger("trustgate.admin")


def routes(operations: Sequence[Operation], services: AdminServices) -> list[Route]:
    """Return one route per path; paths without an id come first, so that an id never hides a name."""
    by_path: dict[str, dict[str, Operation]] = {}
    for operation in sorted(operations, key=lambda each: each.path.count("{")):
        by_path.setdefault(operation.path, {})[operation.method] = operation
    return [_route(path, methods, services) for path, methods in by_path.items()]


def _route(path: str, methods: Mapping[str, Operation], services: AdminServices) -> Route:
    async def endpoint(request: Request) -> Response:
        operation = methods["GET" if request.method == "HEAD" else request.method]
        try:
            return await _answer(operation, request, services)
        except NotReady as unready:
            return envelope.answer(unready.readiness, unready.status)
        except Refused as refused:
            return envelope.refusal(refused)
        except Unavailable as away:
            log.warning("%s %s: %s", operation.method, operation.path, away)
            return envelope.problem(503, "unavailable", str(away), ((b"retry-after", b"1"),))

    return Route(path, endpoint, methods=list(methods))


async def _answer(operation: Operation, request: Request, services: AdminServices) -> Response:
    ask = Ask(
        who=_who(operation, request),
        ids=read_ids(request.path_params),
        query=_query(operation, request),
        body=await _body(operation, request, services.max_body_bytes),
    )
    waits = operation.writes and _waits(request)
    done = await operation.act(services, ask)
    response = envelope.answer(done.value, operation.status, operation.media)
    if operation.writes:
        revision = await _told(done, services)
        response.headers["x-ag-revision"] = str(revision)
        if waits:
            response.headers.update(told(await _everywhere(revision, services), revision))
    return response


def _who(operation: Operation, request: Request) -> Principal:
    """Who the guard let in. An operation that needs a token and has none fails here rather than runs."""
    if not operation.secured:
        return PLATFORM
    who: Principal = request.scope["trustgate.principal"]
    return who


def _query(operation: Operation, request: Request) -> Any:
    if operation.query is Nothing:
        return Nothing()
    given = request.query_params.multi_items()
    if operation.writes:
        given = [(name, value) for name, value in given if name != WAIT]
    return read_query(given, operation.query)


def _waits(request: Request) -> bool:
    """Whether a write is answered only once every process has it. Raises Refused."""
    given = request.query_params.getlist(WAIT)
    if given not in ([], [APPLIED]):
        raise Refused("invalid_query", f"invalid query parameters: {WAIT} takes {APPLIED}", status=400)
    return bool(given)


async def _everywhere(revision: int, services: AdminServices) -> Sequence[Process]:
    """Return the processes that serve, once all have a revision, or once they had their time."""
    deadline = monotonic() + LONGEST_WAIT
    while True:
        living = await services.processes.living()
        if all(process.revision >= revision for process in living) or monotonic() > deadline:
            return living
        await asyncio.sleep(LOOK_EVERY)


async def _body(operation: Operation, request: Request, limit: int) -> Any:
    if operation.body is Nothing:
        return Nothing()
    raw = await _bytes(request, limit)
    content_type = request.headers.get("content-type", "")
    return read_body(raw, content_type, operation.body, optional=operation.body_optional)


async def _bytes(request: Request, limit: int) -> bytes:
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced[:20]) > limit:
        raise _too_large(limit)
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(limit: int) -> Refused:
    return Refused(
        "request_too_large",
        f"the request body is larger than {limit} bytes ({limit / 1048576:g} MiB): send less",
        status=413,
    )


async def _told(done: Done, services: AdminServices) -> int:
    """Return the revision to answer with, once this process's own data planes have it."""
    if done.revision is None:
        return await services.revision()
    try:
        await services.applied(done.revision)
    except Exception:  # noqa: BLE001 - the write is committed, and whoever failed to take it up polls for it
        log.warning("revision %d is written, but the data plane of this process has not taken it up", done.revision)
    return done.revision


def not_found(_: Request, __: Exception) -> Response:
    """Answer for a path that is no route."""
    return envelope.problem(404, "not_found", "there is no such route: see /docs")


def not_allowed(_: Request, error: Exception) -> Response:
    """Answer for a method that a path does not take."""
    allow = (error.headers or {}).get("Allow", "") if isinstance(error, HTTPException) else ""
    message = f"this route takes {allow}" if allow else "this route does not take that method"
    return envelope.problem(405, "method_not_allowed", message, [(b"allow", allow.encode())])
