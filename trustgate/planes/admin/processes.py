"""Which processes serve, and which revision each of them has."""

from collections.abc import Sequence
from typing import Annotated, Final

from msgspec import Meta, Struct

from trustgate.contract.errors import Refused
from trustgate.planes.admin.operation import Ask, Nothing, Operation, serving
from trustgate.planes.admin.plane import AdminServices
from trustgate.planes.admin.wire import Time, time_of
from trustgate.storage.processes import Process


class ProcessView(Struct, frozen=True, kw_only=True):
    """One process that serves."""

    id: str
    planes: Annotated[list[str], Meta(description="What it serves: `proxy`, `mcp`, `admin`.")]
    version: str
    host: str
    pid: int
    revision: Annotated[int, Meta(description="The configuration's revision that it serves.")]
    behind: Annotated[int, Meta(description="How many revisions that is behind the newest.")]
    started_at: Time
    seen_at: Time


class ProcessesView(Struct, frozen=True, kw_only=True):
    """The processes that were heard of in the last 15 seconds, and the newest revision."""

    revision: int
    processes: list[ProcessView]


async def _processes(services: AdminServices, ask: Ask[Nothing, Nothing]) -> ProcessesView:
    if ask.who.tenant_id:
        raise Refused("not_found", "the processes are shown to tokens of the platform only", status=404)
    newest = await services.revision()
    return ProcessesView(
        revision=newest, processes=[_view(process, newest) for process in await services.processes.living()]
    )


def _view(process: Process, newest: int) -> ProcessView:
    return ProcessView(
        id=process.id,
        planes=process.planes.split(","),
        version=process.version,
        host=process.host,
        pid=process.pid,
        revision=process.revision,
        behind=max(0, newest - process.revision),
        started_at=time_of(process.started_at),
        seen_at=time_of(process.seen_at),
    )


def told(living: Sequence[Process], revision: int) -> dict[str, str]:
    """Return what a caller who waited is told: how many processes serve the revision, and which do not."""
    late = [process.id for process in living if process.revision < revision]
    headers = {"x-ag-applied": f"{len(living) - len(late)}/{len(living)}"}
    return headers | {"x-ag-not-applied": ", ".join(late)} if late else headers


OPERATIONS: Final[tuple[Operation, ...]] = (
    serving(
        "GET",
        "/v1/config/processes",
        _processes,
        name="listProcesses",
        summary="List the processes that serve, with the revision that each has",
        refuses=("not_found",),
        tag="Configuration",
    ),
)
