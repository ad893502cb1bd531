"""One row of the table that routing, validation and OpenAPI are made of. A handler's signature is its declaration.

    async def create(work: Work, ask: Ask[CreateGateway, Nothing]) -> GatewayView

`reading` and `writing` handlers get a unit of the store, and below `{gateway_id}` they run only for a gateway that the
caller may see. `serving` handlers get the whole plane and open units themselves, or none.
"""

import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Generic, TypeVar, get_args, get_origin, get_type_hints

from msgspec import Struct

from trustgate.contract.errors import Refused
from trustgate.planes.admin.envelope import JSON
from trustgate.planes.admin.plane import AdminServices
from trustgate.planes.admin.services import gateways
from trustgate.planes.admin.services.work import Principal, Work

B = TypeVar("B")
Q = TypeVar("Q")

PREFIX: Final = "/v1"
"""Below it nothing is told to anybody without a token, not even what exists."""


class Nothing(Struct, frozen=True):
    """The body or query of an operation that has none."""


class Ask(Struct, Generic[B, Q], frozen=True, kw_only=True):
    """One request, read: `ids` are the canonical ids of its path."""

    who: Principal
    ids: Mapping[str, str]
    body: B
    query: Q

    @property
    def gateway(self) -> str:
        """The gateway of the path."""
        return self.ids["gateway_id"]

    @property
    def id(self) -> str:
        """The entity of the path."""
        return self.ids["id"]


class Done(Struct, frozen=True):
    """What a handler returned, and for a write the revision in which it is."""

    value: Any
    revision: int | None = None


Act = Callable[[AdminServices, Ask[Any, Any]], Awaitable[Done]]


class Operation(Struct, frozen=True, kw_only=True):
    """One method of one path. `refuses` are the codes that are its own; the others follow from its shape."""

    name: str
    method: str
    path: str
    summary: str
    tag: str
    act: Act
    body: type[Struct]
    query: type[Struct]
    answers: tuple[Any, ...]
    status: int
    media: str = JSON
    writes: bool = False
    body_optional: bool = False
    refuses: tuple[str, ...] = ()

    @property
    def secured(self) -> bool:
        """Whether a token is needed."""
        return self.path.startswith(PREFIX + "/")

    @property
    def ids(self) -> tuple[str, ...]:
        """The names of the ids in the path."""
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))


def reading(method: str, path: str, run: Callable[[Work, Any], Awaitable[Any]], **declared: Any) -> Operation:
    """Declare an operation that only reads the store."""

    async def act(services: AdminServices, ask: Ask[Any, Any]) -> Done:
        async with services.store.read() as unit:
            return Done(await _run(run, services.work(unit, ask.who), ask))

    return _declare(method, path, run, act, **declared)


def writing(method: str, path: str, run: Callable[[Work, Any], Awaitable[Any]], **declared: Any) -> Operation:
    """Declare an operation whose writes are one revision: all of them, or none when it is refused."""

    async def act(services: AdminServices, ask: Ask[Any, Any]) -> Done:
        async with services.store.unit() as unit:
            value = await _run(run, services.work(unit, ask.who), ask)
        return Done(value, unit.revision)

    return _declare(method, path, run, act, writes=True, **declared)


def serving(method: str, path: str, run: Callable[[AdminServices, Any], Awaitable[Any]], **declared: Any) -> Operation:
    """Declare an operation that needs no unit of the store around it."""

    async def act(services: AdminServices, ask: Ask[Any, Any]) -> Done:
        return Done(await run(services, ask))

    return _declare(method, path, run, act, **declared)


def read_ids(texts: Mapping[str, str]) -> dict[str, str]:
    """Return the ids of a path in canonical form, whatever form of UUID they were given in. Raises Refused."""
    try:
        return {name: str(uuid.UUID(text)) for name, text in texts.items()}
    except ValueError:
        raise Refused("invalid_uuid", "invalid uuid path parameter", status=400) from None


async def _run(run: Callable[[Work, Any], Awaitable[Any]], work: Work, ask: Ask[Any, Any]) -> Any:
    if "gateway_id" in ask.ids:
        await gateways.visible(work, ask.gateway)
    return await run(work, ask)


def _declare(method: str, path: str, run: Callable[..., Any], act: Act, **declared: Any) -> Operation:
    hints = get_type_hints(run)
    returned = hints.pop("return")
    body, query = next(get_args(hint) for hint in hints.values() if get_origin(hint) is Ask)
    answers = () if returned is type(None) else get_args(returned) or (returned,)
    status = declared.pop("status", 204 if not answers else 200)
    return Operation(
        method=method, path=path, act=act, body=body, query=query, answers=answers, status=status, **declared
    )
