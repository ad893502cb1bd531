"""Who of a gateway's registries is well, as the processes that ask them tell one another."""

from collections.abc import Sequence
from time import time
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from trustgate.board import Note
from trustgate.config.records import Registry
from trustgate.contract.errors import Refused
from trustgate.contract.ports import StateUnavailable
from trustgate.planes.admin.operation import Ask, Nothing, Operation, serving
from trustgate.planes.admin.plane import AdminServices
from trustgate.planes.admin.services import gateways
from trustgate.planes.admin.wire import Id
from trustgate.storage.store import Query

MOST: Final = 1000
"""Registries of one answer."""


class ModelHealth(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One model of a registry that failed lately. `open` is left alone, `half_open` is asked by one request to see
    whether it is back, `failing` is still asked."""

    model: str
    state: Literal["open", "half_open", "failing"]
    failures: int
    key: Annotated[str, Meta(description="Which of the registry's several keys it is of.")] = ""
    retry_after: Annotated[float, Meta(description="Seconds until it is asked again.")] = 0.0


class RegistryHealth(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One registry: `up`, `degraded` (some model of it is left alone), `down` (probes say so), or `disabled`."""

    registry_id: Id
    name: str
    provider: str
    status: Literal["up", "degraded", "down", "disabled"]
    reason: str = ""
    models: list[ModelHealth] = []


class GatewayHealth(Struct, frozen=True, kw_only=True):
    """The registries of a gateway by name."""

    registries: list[RegistryHealth]


async def _health(services: AdminServices, ask: Ask[Nothing, Nothing]) -> GatewayHealth:
    async with services.store.read() as unit:
        await gateways.visible(services.work(unit, ask.who), ask.gateway)
        found = (await unit.registries.page(Query(gateway_id=ask.gateway, limit=MOST))).items
    try:
        told = [_told(registry, await services.board.read(registry.id)) for registry in found]
    except StateUnavailable as error:
        raise Refused("unavailable", f"Health cannot be read: {error}", status=503) from error
    return GatewayHealth(registries=sorted(told, key=lambda each: each.name))


def _told(registry: Registry, notes: Sequence[Note]) -> RegistryHealth:
    now = time()
    down = next((note.down for note in notes if note.down), "")
    models = [_model(note, now) for note in notes if note.model]
    if not registry.enabled:
        status: Literal["up", "degraded", "down", "disabled"] = "disabled"
    elif down:
        status = "down"
    else:
        status = "degraded" if any(model.state != "failing" for model in models) else "up"
    return RegistryHealth(
        registry_id=registry.id,
        name=registry.name,
        provider=registry.provider,
        status=status,
        reason=down,
        models=sorted(models, key=lambda model: (model.model, model.key)),
    )


def _model(note: Note, now: float) -> ModelHealth:
    state: Literal["open", "half_open", "failing"] = "failing"
    if note.until:
        state = "open" if note.until > now else "half_open"
    return ModelHealth(
        model=note.model,
        state=state,
        failures=note.failures,
        key=note.key,
        retry_after=round(max(0.0, note.until - now), 3),
    )


OPERATIONS: Final[tuple[Operation, ...]] = (
    serving(
        "GET",
        "/v1/gateways/{gateway_id}/health",
        _health,
        name="readHealth",
        summary="Say which registries are left alone, and until when",
        refuses=("unavailable",),
        tag="Registries",
    ),
)
