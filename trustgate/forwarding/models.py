"""Which models a caller may use: those that configuration names, and the provider's where any may be asked for."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from trustgate.contract.context import Dialect
from trustgate.contract.target import Target
from trustgate.contract.upstream import Call, CannotAuthorise, Header, Transport, UpstreamFailure
from trustgate.forwarding.headers import IDENTITY
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
    created: Any = 0


class _Named(Struct):
    name: str


class _List(Struct):
    """OpenAI and Anthropic list `data` with an id, Gemini and Cohere `models` with a name."""

    data: list[_Listed] = []
    models: list[_Named] = []

    def ids(self) -> Mapping[str, int]:
        """Return the ids, with the second in which each was made, 0 where that is not said."""
        found = {model.id: model.created if isinstance(model.created, int) else 0 for model in self.data}
        return found | {model.name.removeprefix("models/"): 0 for model in self.models}


async def list_models(pool: Pool, transport: Transport) -> Sequence[Model]:
    """Return the models of a pool by id. A provider that cannot be asked adds nothing to those that are named."""
    named = {name: Model(id=name, owned_by=provider) for name, provider in pool.models().items()}
    open_ = [target for target in pool.targets if target.allowed is None and "models" in target.ways]
    for found in await asyncio.gather(*(_ask(target, transport) for target in open_)):
        for model in found:
            named.setdefault(model.id, model)
    return sorted(named.values(), key=lambda model: model.id)


def render_models(models: Sequence[Model], dialect: Dialect) -> bytes:
    """Return the list as that dialect's own service sends it."""
    shown = [_shown(model, dialect) for model in models]
    match dialect:
        case "anthropic":
            ends = {"first_id": models[0].id if models else None, "last_id": models[-1].id if models else None}
            return msgspec.json.encode({"data": shown, "has_more": False, **ends})
        case "gemini":
            return msgspec.json.encode({"models": shown})
        case _:
            return msgspec.json.encode({"object": "list", "data": shown})


def _shown(model: Model, dialect: Dialect) -> object:
    match dialect:
        case "anthropic":
            made = datetime.fromtimestamp(model.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            return {"type": "model", "id": model.id, "display_name": model.id, "created_at": made}
        case "gemini":
            methods = ["generateContent", "streamGenerateContent", "countTokens"]
            return {"name": f"models/{model.id}", "displayName": model.id, "supportedGenerationMethods": methods}
        case _:
            return model


async def _ask(target: Target, transport: Transport) -> Sequence[Model]:
    clocks = replace(target.clocks, connect=PATIENCE, first_byte=PATIENCE, idle=PATIENCE, total=PATIENCE)
    headers: list[Header] = [*target.headers, *target.defaults, (b"accept", b"application/json"), IDENTITY]
    path = target.ways["models"][0].path.encode()
    call = Call(method="GET", origin=target.origin, target=path, headers=headers, clocks=clocks)
    try:
        listed = await _read(transport, call if target.credential is None else await target.credential.authorise(call))
    except (UpstreamFailure, CannotAuthorise, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        log.info("the models of %s (%s) cannot be listed: %s", target.provider, target.registry_id, error)
        return ()
    return [Model(id=id_, created=created, owned_by=target.provider) for id_, created in listed.ids().items()]


async def _read(transport: Transport, call: Call) -> _List:
    upstream = await transport.send(call)
    try:
        raw = bytearray()
        while len(raw) <= LIMIT and (part := await upstream.chunk()):
            raw += part
    finally:
        await upstream.aclose()
    return msgspec.json.decode(bytes(raw), type=_List)


def by_id(models: Sequence[Model], id_: str, dialect: Dialect) -> bytes | None:
    """Return one model of the list, as that dialect's own service sends it."""
    found = next((model for model in models if model.id == id_), None)
    return None if found is None else msgspec.json.encode(_shown(found, dialect))
