"""A gateway to begin with, made by the services of the admin API: found again at each start, never doubled."""

import os
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from trustgate.config.records import Consumer, Gateway, HealthChecks, Registry
from trustgate.planes.admin.services import attachments, auths, consumers, gateways, registries
from trustgate.planes.admin.services.attachments import AttachRegistry
from trustgate.planes.admin.services.work import Tools, Work
from trustgate.settings import Settings
from trustgate.storage.store import Store

GATEWAY: Final = "demo"
CONSUMER: Final = "my-app"
ECHO_MODEL: Final = "echo-1"
OPENAI_MODELS: Final = ("gpt-5.1", "gpt-5", "gpt-5-mini", "gpt-4.1", "gpt-4.1-mini", "gpt-4o", "gpt-4o-mini")
FILE: Final = "demo.json"


class Demo(Struct, frozen=True, kw_only=True):
    """What a newcomer needs: the gateway's and consumer's slugs, a key, and a model to ask for."""

    key: str
    gateway: str = GATEWAY
    consumer: str = CONSUMER
    model: str = ECHO_MODEL

    def __repr__(self) -> str:
        return "Demo()"


async def seed(store: Store, tools: Tools, settings: Settings) -> Demo:
    """Make what is missing of the demo and return it."""
    async with store.unit() as unit:
        work = Work(unit=unit, tools=tools)
        gateway = await unit.gateways.find(slug=GATEWAY) or await _gateway(work)
        echo = await _registry(work, gateway, "echo", "echo", "")
        consumer = await _consumer(work, gateway, echo)
        if settings.openai_api_key:
            await _add_openai(work, gateway, consumer, echo, settings.openai_api_key)
        return Demo(key=await _key(work, gateway, consumer, settings.data_dir / FILE))


async def _gateway(work: Work) -> Gateway:
    return await gateways.create(work, gateways.CreateGateway(name="Demo", slug=GATEWAY))


async def _registry(work: Work, gateway: Gateway, name: str, provider: str, key: str) -> Registry:
    known = await work.unit.registries.find(gateway_id=gateway.id, name=name)
    if known is not None:
        return known
    auth = registries.AuthForm(type="api_key", api_key=registries.ApiKeyForm(api_key=key)) if key else None
    # the echo fails where it is asked to: that is no reason to leave it alone
    checks = HealthChecks(passive=False) if provider == "echo" else None
    form = registries.CreateRegistry(name=name, provider=provider, auth=auth, health_checks=checks)
    return await registries.create(work, gateway.id, form)


async def _consumer(work: Work, gateway: Gateway, echo: Registry) -> Consumer:
    known = await work.unit.consumers.find(gateway_id=gateway.id, slug=CONSUMER)
    if known is not None:
        return known
    rules = consumers.ModelRules(default=ECHO_MODEL)
    return await consumers.create(
        work,
        gateway.id,
        consumers.CreateConsumer(
            name="My App", slug=CONSUMER, registries=[consumers.BindingForm(id=echo.id, model_policies=rules)]
        ),
    )


async def _add_openai(work: Work, gateway: Gateway, consumer: Consumer, echo: Registry, key: str) -> None:
    """Add the real provider beside the echo; from then on each serves its own models."""
    if await work.unit.registries.find(gateway_id=gateway.id, name="openai"):
        return
    openai = await _registry(work, gateway, "openai", "openai", key)
    await attachments.attach_registry(work, gateway.id, consumer.id, openai.id, AttachRegistry())
    rules = [
        consumers.ModelPolicyForm(registry_id=echo.id, allowed=[ECHO_MODEL], default=ECHO_MODEL),
        consumers.ModelPolicyForm(registry_id=openai.id, allowed=list(OPENAI_MODELS)),
    ]
    await consumers.update(work, gateway.id, consumer.id, consumers.UpdateConsumer(model_policies=rules))


async def _key(work: Work, gateway: Gateway, consumer: Consumer, path: Path) -> str:
    """Return the kept key; where it is lost or no longer valid, put another in its place."""
    kept = _read(path)
    digest = sha256(kept.encode()).hexdigest()
    known = await work.unit.auths.find(gateway_id=gateway.id, key_hash=digest) if kept else None
    if known is not None:
        return kept
    stale = await work.unit.auths.find(gateway_id=gateway.id, name="demo-key")
    if stale is not None:
        await auths.delete(work, gateway.id, stale.id)
    minted = await auths.create(work, gateway.id, auths.CreateAuth(name="demo-key", type="api_key"))
    await attachments.attach_auth(work, gateway.id, consumer.id, minted.auth.id)
    _write(path, minted.api_key)
    return minted.api_key


def _read(path: Path) -> str:
    if not path.is_file():
        return ""
    return msgspec.json.decode(path.read_bytes(), type=dict[str, str]).get("api_key", "")


def _write(path: Path, key: str) -> None:
    """Only its owner may read it. Written before the unit commits: a key in the store is always in the file too."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(msgspec.json.encode({"api_key": key}))
