"""Auths: what callers present. A key is shown once, when it is made; only its hash is stored."""

import base64
from hashlib import sha256
from typing import Any, Final

from msgspec import Struct, structs

from trustgate.config.records import Auth
from trustgate.planes.admin.services.fields import Name, checked_name
from trustgate.planes.admin.services.problems import found, invalid, save, saving
from trustgate.planes.admin.services.work import Work
from trustgate.storage.store import Page, Query

_LATER_TYPES: Final = ("oauth2", "oidc", "mtls")


class UpdateAuth(Struct, frozen=True, kw_only=True):
    """What changes; a field that is absent or null stays as it is."""

    name: Name | None = None
    type: str | None = None
    enabled: bool | None = None
    config: dict[str, Any] | None = None


class CreateAuth(Struct, frozen=True, kw_only=True):
    """A new key. `config` belongs to other types of auth and is not read for a key."""

    name: Name
    type: str
    enabled: bool | None = None
    config: dict[str, Any] | None = None


class Minted(Struct, frozen=True, kw_only=True):
    """A new auth with its key in clear: the only time that it exists."""

    auth: Auth
    api_key: str

    def __repr__(self) -> str:
        return f"Minted({self.auth.id})"


async def get(work: Work, gateway_id: str, auth_id: str) -> Auth:
    """Return an auth of that gateway. Raises Refused."""
    return found(await work.unit.auths.get(auth_id, gateway_id=gateway_id))


async def page(work: Work, query: Query) -> Page[Auth]:
    """Return the auths that match."""
    return await work.unit.auths.page(query)


async def create(work: Work, gateway_id: str, form: CreateAuth) -> Minted:
    """Make a key. Raises Refused."""
    _check_type(form.type)
    key = _new_key(work)
    now = work.tools.now()
    auth = Auth(
        id=work.tools.record_id(),
        gateway_id=gateway_id,
        name=checked_name(form.name),
        enabled=form.enabled is not False,
        key_hash=sha256(key.encode()).hexdigest(),
        key_prefix=key[:8],
        key_suffix=key[-4:],
        created_at=now,
        updated_at=now,
    )
    with saving("auth"):
        await work.unit.auths.insert(auth)
    return Minted(auth=auth, api_key=key)


async def update(work: Work, gateway_id: str, auth_id: str, form: UpdateAuth) -> Auth:
    """Change what the form says. The key itself never changes. Raises Refused."""
    before = await get(work, gateway_id, auth_id)
    if form.type is not None:
        _check_type(form.type)
    if form.config:
        raise invalid("config is not taken for type api_key: leave it out")
    after = structs.replace(
        before,
        name=before.name if form.name is None else checked_name(form.name),
        enabled=before.enabled if form.enabled is None else form.enabled,
    )
    return await save(work, work.unit.auths, "auth", before=before, after=after)


async def delete(work: Work, gateway_id: str, auth_id: str) -> None:
    """Delete a key, and detach it from every consumer. Raises Refused."""
    await get(work, gateway_id, auth_id)
    await work.unit.auths.delete(auth_id, gateway_id=gateway_id)


def _check_type(kind: str) -> None:
    if kind in _LATER_TYPES:
        raise invalid(f"type {kind} is not supported by this version: use api_key")
    if kind != "api_key":
        raise invalid("type must be api_key")


def _new_key(work: Work) -> str:
    return "ag_" + base64.urlsafe_b64encode(work.tools.random_bytes(32)).rstrip(b"=").decode()
