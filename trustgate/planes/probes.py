"""What an operator's tools ask every plane: alive, ready, which version, how much. Never on a tenant's path."""

import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

import msgspec
from msgspec import Struct
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from trustgate.planes.states import serves

PATHS = frozenset(("/healthz", "/health", "/readyz", "/metrics", "/__/version"))


class Probes(Struct, frozen=True, kw_only=True):
    """What a plane's probes tell. `dependencies` says what readiness hangs on, as name → `ok`,
    `degraded: …` where requests can be served without it, or why they cannot."""

    about: Mapping[str, str]
    dependencies: Callable[[], Awaitable[Mapping[str, str]]]
    metrics: Callable[[], Awaitable[str]]


def probe_app(probes: Probes) -> ASGIApp:
    """Return the probes as an app of their own; any other path is a JSON 404."""

    async def alive(_: Request) -> Response:
        return _json(200, {"status": "healthy", "time": _now(), "version": probes.about["version"]})

    async def ready(_: Request) -> Response:
        found = dict(await probes.dependencies())
        status = "ready" if serves(found) else "not_ready"
        body = {"dependencies": found, "status": status, "time": _now(), "version": probes.about["version"]}
        return _json(200 if status == "ready" else 503, body)

    async def metrics(_: Request) -> Response:
        return Response(await probes.metrics(), media_type="text/plain; version=0.0.4")

    async def version(_: Request) -> Response:
        return _json(200, probes.about)

    async def unknown(request: Request, _: Exception) -> Response:
        return _json(404, {"error": "not_found", "message": f"There is no route {request.url.path} on this plane."})

    async def wrong_method(request: Request, _: Exception) -> Response:
        message = f"{request.method} is not allowed here: use GET."
        return _json(405, {"error": "method_not_allowed", "message": message}, allow="GET, HEAD")

    return Starlette(
        routes=[
            Route("/healthz", alive),
            Route("/health", alive),
            Route("/readyz", ready),
            Route("/metrics", metrics),
            Route("/__/version", version),
        ],
        exception_handlers={404: unknown, 405: wrong_method},
    )


def _now() -> str:
    return datetime.fromtimestamp(int(time.time()), UTC).isoformat().replace("+00:00", "Z")


def _json(status: int, body: object, **headers: str) -> Response:
    return Response(msgspec.json.encode(body), status, headers, media_type="application/json")
