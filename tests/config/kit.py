"""Whole configurations to draw, what lies between two of them, and a source that does as it is told."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st
from msgspec import Struct

from trustgate.config.records import AnyRecord, Auth, Binding, Consumer, Gateway, Policy, Registry
from trustgate.config.snapshot import Snapshot, Tenant
from trustgate.config.source import Change, Changes

GATEWAYS = ("g1", "g2", "g3")
SLUGS = ("alpha", "beta", "gamma")

Name = tuple[str, str]
World = Mapping[Name, AnyRecord]
"""Everything that is stored, by kind and id."""

KINDS: Mapping[type, str] = {
    Gateway: "gateway",
    Registry: "registry",
    Consumer: "consumer",
    Auth: "auth",
    Policy: "policy",
}


def gateway(id_: str = "g1", **fields: Any) -> Gateway:
    return Gateway(**{"id": id_, "slug": id_, "name": id_} | fields)


def registry(id_: str, gateway_id: str = "g1", **fields: Any) -> Registry:
    return Registry(**_child(id_, gateway_id) | {"provider": "openai"} | fields)


def consumer(id_: str, gateway_id: str = "g1", **fields: Any) -> Consumer:
    return Consumer(**_child(id_, gateway_id) | {"slug": id_} | fields)


def auth(id_: str, gateway_id: str = "g1", **fields: Any) -> Auth:
    return Auth(**_child(id_, gateway_id) | {"key_hash": f"hash of {id_}"} | fields)


def policy(id_: str, gateway_id: str = "g1", **fields: Any) -> Policy:
    return Policy(**_child(id_, gateway_id) | {"slug": "rate_limiter"} | fields)


def _child(id_: str, gateway_id: str) -> dict[str, Any]:
    return {"id": id_, "gateway_id": gateway_id, "name": id_}


def named(record: AnyRecord) -> Name:
    return KINDS[type(record)], record.id


def world(*records: AnyRecord) -> World:
    return {named(record): record for record in records}


def put(record: AnyRecord) -> Change:
    return Change(entity=KINDS[type(record)], id=record.id, gateway_id=gateway_of(record), record=record)


def gone(record: AnyRecord) -> Change:
    return Change(entity=KINDS[type(record)], id=record.id, gateway_id=gateway_of(record), record=None)


def gateway_of(record: AnyRecord) -> str:
    return record.id if isinstance(record, Gateway) else record.gateway_id


def between(before: World, after: World) -> list[Change]:
    """Return what the store would tell: every entity that changed, once, as it is now."""
    changed = [put(record) for name, record in after.items() if before.get(name) != record]
    return changed + [gone(record) for name, record in before.items() if name not in after]


def batch(revision: int, *items: Change, whole: bool = False) -> Changes:
    return Changes(revision=revision, whole=whole, items=items)


class View(Struct, frozen=True):
    """A snapshot without what means nothing: the order of a key's consumers, and keys without any."""

    tenants: Mapping[str, Tenant]
    links: Mapping[tuple[str, str], Sequence[str]]
    slugs: Mapping[str, str]
    domains: Mapping[str, str]
    keys: Mapping[str, Any]


def view(snapshot: Snapshot) -> View:
    links = {
        (id_, auth_id): sorted(ids)
        for id_, tenant in snapshot.tenants.items()
        for auth_id, ids in tenant.consumers_of.items()
        if ids
    }
    bare = {id_: _without_links(tenant) for id_, tenant in snapshot.tenants.items()}
    return View(bare, links, dict(snapshot.slugs), dict(snapshot.domains), dict(snapshot.keys))


def _without_links(tenant: Tenant) -> Tenant:
    return Tenant(
        gateway=tenant.gateway,
        registries=dict(tenant.registries),
        consumers=dict(tenant.consumers),
        by_slug=dict(tenant.by_slug),
        auths=dict(tenant.auths),
        policies=dict(tenant.policies),
    )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Draw a configuration as the store could hold it: slugs, domains and keys are unique where they have to be."""
    records: list[AnyRecord] = []
    chosen = draw(st.lists(st.sampled_from(GATEWAYS), unique=True))
    slugs = draw(st.permutations(SLUGS))
    for id_, slug in zip(chosen, slugs, strict=False):
        domain = draw(st.sampled_from(("", f"{slug}.example.com")))
        records.append(gateway(id_, slug=slug, domain=domain, name=draw(st.sampled_from(("a", "b")))))
        records += draw(_children(id_))
    return world(*records)


@st.composite
def _children(draw: st.DrawFn, gateway_id: str) -> list[AnyRecord]:
    number = st.integers(0, 2)
    auths = [
        auth(f"{gateway_id}-a{at}", gateway_id, key_hash=f"{gateway_id}-a{at}-{draw(number)}")
        for at in draw(st.sets(number))
    ]
    known = [one.id for one in auths]
    consumers = [
        consumer(
            f"{gateway_id}-c{at}",
            gateway_id,
            slug=slug,
            active=draw(st.booleans()),
            auth_ids=tuple(draw(st.lists(st.sampled_from(known), unique=True))) if known else (),
            registries=(Binding(registry_id=f"{gateway_id}-r0"),) if draw(st.booleans()) else (),
        )
        for at, slug in zip(sorted(draw(st.sets(number))), draw(st.permutations(SLUGS)), strict=False)
    ]
    registries = [
        registry(f"{gateway_id}-r{at}", gateway_id, enabled=draw(st.booleans())) for at in draw(st.sets(number))
    ]
    policies = [policy(f"{gateway_id}-p{at}", gateway_id, priority=draw(number)) for at in draw(st.sets(number))]
    return [*auths, *consumers, *registries, *policies]


class Source:
    """A ConfigSource over worlds in memory. `fault` is raised while it is set; `gate` holds an answer that was read."""

    def __init__(self) -> None:
        self.log: list[Change] = []
        self.at: list[int] = []
        self.revision_now = 0
        self.fault: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.polled = asyncio.Event()
        self.reading = asyncio.Event()
        self.reads = 0

    def commit(self, *changes: Change) -> int:
        """Write one revision."""
        self.revision_now += 1
        self.log += changes
        self.at += [self.revision_now] * len(changes)
        return self.revision_now

    async def revision(self) -> int:
        self.polled.set()
        await asyncio.sleep(0)
        if self.fault is not None:
            raise self.fault
        return self.revision_now

    async def news(self, within: float) -> bool:
        await asyncio.sleep(within)
        return False

    async def changes(self, since: int) -> Changes:
        self.reads += 1
        if self.fault is not None:
            raise self.fault
        revision = self.revision_now
        items = [change for change, at in zip(self.log, self.at, strict=True) if at > since]
        self.reading.set()
        if self.gate is not None:
            await self.gate.wait()
        return Changes(revision=revision, whole=not since, items=items)
