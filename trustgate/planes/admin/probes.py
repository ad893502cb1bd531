"""What an orchestrator asks, and what scrapes us. No token; nothing of any tenant."""

from datetime import UTC, datetime
from typing import Final, Literal

from msgspec import Struct

from trustgate.contract.errors import Refused
from trustgate.planes.admin.operation import Ask, Nothing, Operation, serving
from trustgate.planes.admin.plane import AdminServices, Build
from trustgate.planes.admin.wire import Time
from trustgate.planes.states import serves

METRICS: Final = "text/plain; version=0.0.4; charset=utf-8"


class Liveness(Struct, frozen=True, kw_only=True):
    """The process answers."""

    status: Literal["healthy"] = "healthy"
    time: Time
    version: str


class Readiness(Struct, frozen=True, kw_only=True):
    """Whether requests should be sent here, and what that hangs on."""

    dependencies: dict[str, str]
    status: Literal["ready", "not_ready"]
    time: Time
    version: str


class NotReady(Refused):
    """Readiness that says no: a 503 with the same fields as a yes."""

    def __init__(self, readiness: Readiness) -> None:
        super().__init__("not_ready", "", status=503)
        self.readiness = readiness


async def _liveness(services: AdminServices, _: Ask[Nothing, Nothing]) -> Liveness:
    return Liveness(time=_time(), version=services.build.version)


async def _readiness(services: AdminServices, _: Ask[Nothing, Nothing]) -> Readiness:
    dependencies = dict(await services.dependencies())
    ready = serves(dependencies)
    readiness = Readiness(
        dependencies=dependencies,
        status="ready" if ready else "not_ready",
        time=_time(),
        version=services.build.version,
    )
    if not ready:
        raise NotReady(readiness)
    return readiness


async def _version(services: AdminServices, _: Ask[Nothing, Nothing]) -> Build:
    return services.build


async def _metrics(services: AdminServices, _: Ask[Nothing, Nothing]) -> str:
    return await services.metrics()


def _time() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_TAG: Final = "Probes"

OPERATIONS: Final[tuple[Operation, ...]] = (
    serving("GET", "/healthz", _liveness, name="healthz", summary="Whether the process answers", tag=_TAG),
    serving("GET", "/health", _liveness, name="health", summary="The same as /healthz", tag=_TAG),
    serving(
        "GET",
        "/readyz",
        _readiness,
        name="readyz",
        summary="Whether to send requests",
        tag=_TAG,
        refuses=("not_ready",),
    ),
    serving("GET", "/__/version", _version, name="version", summary="Which program this is", tag=_TAG),
    serving("GET", "/metrics", _metrics, name="metrics", summary="Prometheus metrics", tag=_TAG, media=METRICS),
)
