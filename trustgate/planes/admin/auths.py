"""Auths on the wire. The key itself is in one answer only: that of the request that made it."""

from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct, structs

from trustgate.config.records import Auth
from trustgate.planes.admin.operation import Ask, Nothing, Operation, reading, writing
from trustgate.planes.admin.paging import Order, SearchQuery, to_query
from trustgate.planes.admin.services import auths
from trustgate.planes.admin.services.auths import CreateAuth, UpdateAuth
from trustgate.planes.admin.services.work import Work
from trustgate.planes.admin.wire import Id, Time


class AuthView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An auth as it is read back."""

    id: Id
    gateway_id: Id
    name: str
    type: Literal["api_key"]
    enabled: bool
    config: dict[str, Any]
    api_key: Annotated[str, Meta(description="The key. It is in the answer to its creation and never again.")] = ""
    key_prefix: str = ""
    key_suffix: str = ""
    created_at: Time
    updated_at: Time


class AuthList(Struct, frozen=True, kw_only=True):
    """One page of auths."""

    items: list[AuthView]
    page: int
    size: int
    total: int


class AuthQuery(SearchQuery, frozen=True, kw_only=True):
    """Which auths, in which order."""

    type: Literal["api_key", "oauth2", "oidc", "mtls"] | None = None
    enabled: bool | None = None
    sort: Literal["name", "created_at", "updated_at", "type"] | None = None
    order: Order | None = None


def view(auth: Auth) -> AuthView:
    """Return an auth as it is read back."""
    return AuthView(
        id=auth.id,
        gateway_id=auth.gateway_id,
        name=auth.name,
        type=auth.type,
        enabled=auth.enabled,
        config={},
        key_prefix=auth.key_prefix,
        key_suffix=auth.key_suffix,
        created_at=auth.created_at,
        updated_at=auth.updated_at,
    )


async def _create(work: Work, ask: Ask[CreateAuth, Nothing]) -> AuthView:
    minted = await auths.create(work, ask.gateway, ask.body)
    return structs.replace(view(minted.auth), api_key=minted.api_key)


async def _list(work: Work, ask: Ask[Nothing, AuthQuery]) -> AuthList:
    asked = ask.query
    where = {"type": asked.type, "enabled": asked.enabled}
    query = to_query(asked, gateway_id=ask.gateway, where=where, sort=asked.sort, order=asked.order)
    found = await auths.page(work, query)
    items = [view(auth) for auth in found.items]
    return AuthList(items=items, page=asked.page, size=asked.limit, total=found.total)


async def _get(work: Work, ask: Ask[Nothing, Nothing]) -> AuthView:
    return view(await auths.get(work, ask.gateway, ask.id))


async def _update(work: Work, ask: Ask[UpdateAuth, Nothing]) -> AuthView:
    return view(await auths.update(work, ask.gateway, ask.id, ask.body))


async def _delete(work: Work, ask: Ask[Nothing, Nothing]) -> None:
    await auths.delete(work, ask.gateway, ask.id)


_ALL: Final = "/v1/gateways/{gateway_id}/auths"
_ONE: Final = _ALL + "/{id}"
_TAG: Final = "Auths"

OPERATIONS: Final[tuple[Operation, ...]] = (
    writing("POST", _ALL, _create, name="createAuth", summary="Make a key", tag=_TAG, status=201),
    reading("GET", _ALL, _list, name="listAuths", summary="List auths", tag=_TAG),
    reading("GET", _ONE, _get, name="getAuth", summary="Read an auth", tag=_TAG),
    writing("PUT", _ONE, _update, name="updateAuth", summary="Change an auth", tag=_TAG),
    writing("DELETE", _ONE, _delete, name="deleteAuth", summary="Delete an auth and detach it", tag=_TAG),
)
