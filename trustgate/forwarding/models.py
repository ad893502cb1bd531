"""Which models a caller may use: those that configuration names, and the provider's where any may be asked for."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from trustgate.contract.target import Target
from trustgate.contract.upstream import Call, Header, Transport, UpstreamFailure
from trustgate.forwarding.pool import Pool

PATIENCE: Final = 5.0
LIMIT: Final = 2 * 1024 * 1024
log = logging.getLogger("trustgate.forwarding")


class Model(Struct, frozen=True, kw_only=True):
    """One model as OpenAI lists it."""

    id: str
    object: str = "model"
    created: int = 0
    owned_by: str = ""


class _Listed(Struct):
    id: str
    created: int | None = 0


class _List(Struct):
    data: list[_Listed]


async def list_models(pool: Pool, transport: Transport) -> Sequence[Model]:
    """Return the models of a pool by id. A provider that cannot be asked adds nothing to those that are named."""
    named = {name: Model(id=name, owned_by=provider) for name, provider in pool.models().items()}
    open_ = [target for target in pool.targets if target.allowed is None and "models" in target.targets]
    for found in await asyncio.gather(*(_ask(target, transport) for target in open_)):
        for model in found:
            named.setdefault(model.id, model)
    return sorted(named.values(), key=lambda model: model.id)


def render_models(models: Sequence[Model]) -> bytes:
    """Return the list as OpenAI sends it."""
    return msgspec.json.encode({"object": "list", "data": models})


async def _ask(target: Target, transport: Transport) -> Sequence[Model]:
    clocks = replace(target.clocks, connect=PATIENCE, first_byte=PATIENCE, idle=PATIENCE, total=PATIENCE)
    headers: list[Header] = [*target.headers, (b"accept", b"application/json"), (b"accept-encoding", b"identity")]
    call = Call(method="GET", origin=target.origin, target=target.targets["models"], headers=headers, clocks=clocks)
    try:
        listed = await _read(transport, call)
    except (UpstreamFailure, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        log.info("the models of %s (%s) cannot be listed: %s", target.provider, target.registry_id, error)
        return ()
    return [Model(id=model.id, created=model.created or 0, owned_by=target.provider) for model in listed.data]


async def _read(transport: Transport, call: Call) -> _List:
    upstream = await transport.send(call)
    try:
        raw = bytearray()
        while len(raw) <= LIMIT and (part := await upstream.chunk()):
            raw += part
    finally:
        await upstream.aclose()
    return msgspec.json.decode(bytes(raw), type=_List)


def by_id(models: Sequence[Model], id_: str) -> Mapping[str, object] | None:
    """Return one model of the list, as OpenAI sends it."""
    return next((msgspec.to_builtins(model) for model in models if model.id == id_), None)
