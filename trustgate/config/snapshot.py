"""One revision of the configuration, indexed by what the request path looks up. Frozen; swapped whole.

A new snapshot shares everything that did not change with the one before it: applying a change costs a copy of the
indexes that it touches, not a rebuild.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Self

from msgspec import Struct, field
from msgspec.structs import replace

from trustgate.config.records import AnyRecord, Auth, Consumer, Gateway, Policy, Registry
from trustgate.config.source import Change, Changes

EMPTY: Mapping[str, Any] = MappingProxyType({})


def _empty() -> Mapping[str, Any]:
    return EMPTY


class Tenant(Struct, frozen=True, kw_only=True):
    """One gateway with everything below it. `by_slug` holds its consumers; `consumers_of` the consumer ids of a key."""

    gateway: Gateway
    registries: Mapping[str, Registry] = field(default_factory=_empty)
    consumers: Mapping[str, Consumer] = field(default_factory=_empty)
    by_slug: Mapping[str, str] = field(default_factory=_empty)
    auths: Mapping[str, Auth] = field(default_factory=_empty)
    policies: Mapping[str, Policy] = field(default_factory=_empty)
    consumers_of: Mapping[str, tuple[str, ...]] = field(default_factory=_empty)

    def consumer(self, slug: str) -> Consumer | None:
        """Return the consumer of that slug."""
        found = self.by_slug.get(slug)
        return self.consumers[found] if found else None


class Key(Struct, frozen=True, kw_only=True):
    """To whom a key hash belongs."""

    gateway_id: str
    auth_id: str


class Snapshot(Struct, frozen=True, kw_only=True):
    """All tenants at one revision."""

    revision: int = 0
    tenants: Mapping[str, Tenant] = field(default_factory=_empty)
    slugs: Mapping[str, str] = field(default_factory=_empty)
    domains: Mapping[str, str] = field(default_factory=_empty)
    keys: Mapping[str, Key] = field(default_factory=_empty)

    def by_slug(self, slug: str) -> Tenant | None:
        """Return the tenant of that gateway slug."""
        found = self.slugs.get(slug)
        return self.tenants[found] if found else None

    def apply(self, changes: Changes) -> "Snapshot":
        """Return the snapshot after these changes; self stays as it is."""
        draft = _Draft(Snapshot() if changes.whole else self)
        for change in changes.items:
            draft.put(change)
        return draft.finish(changes.revision)


class _TenantDraft:
    """A tenant being changed: each index is copied at most once."""

    def __init__(self, tenant: Tenant) -> None:
        self.gateway = tenant.gateway
        self._tenant = tenant
        self._copies: dict[str, dict[str, Any]] = {}

    @classmethod
    def new(cls, gateway: Gateway) -> Self:
        return cls(Tenant(gateway=gateway))

    def index(self, name: str) -> dict[str, Any]:
        if name not in self._copies:
            self._copies[name] = dict(getattr(self._tenant, name))
        return self._copies[name]

    def set(self, name: str, id_: str, record: AnyRecord | None) -> Any:
        """Put or remove a record; return what was there."""
        index = self.index(name)
        before = index.pop(id_, None)
        if record is not None:
            index[id_] = record
        return before

    def relink(self, before: Consumer | None, after: Consumer | None) -> None:
        """Keep `by_slug` and `consumers_of` in step with a changed consumer."""
        if before is not None:
            self._unlink(before)
        if after is not None:
            self.index("by_slug")[after.slug] = after.id
            for auth_id in after.auth_ids:
                self.index("consumers_of")[auth_id] = (*self.index("consumers_of").get(auth_id, ()), after.id)

    def _unlink(self, consumer: Consumer) -> None:
        slugs, links = self.index("by_slug"), self.index("consumers_of")
        if slugs.get(consumer.slug) == consumer.id:  # another one may have taken the slug since
            del slugs[consumer.slug]
        for auth_id in consumer.auth_ids:
            left = tuple(id_ for id_ in links.pop(auth_id, ()) if id_ != consumer.id)
            if left:
                links[auth_id] = left

    def finish(self) -> Tenant:
        return replace(self._tenant, gateway=self.gateway, **self._copies)


class _Draft:
    """A snapshot being changed."""

    def __init__(self, base: Snapshot) -> None:
        self._base = base
        self._tenants: dict[str, _TenantDraft | None] = {}
        self._keys: dict[str, Key] | None = None

    def put(self, change: Change) -> None:
        if change.entity == "gateway":
            self._put_gateway(change)
        elif tenant := self._tenant(change.gateway_id):
            self._put_child(tenant, change)

    def finish(self, revision: int) -> Snapshot:
        tenants = dict(self._base.tenants)
        for id_, draft in self._tenants.items():
            if draft is None:
                tenants.pop(id_, None)
            else:
                tenants[id_] = draft.finish()
        return Snapshot(
            revision=revision,
            tenants=tenants,
            slugs={tenant.gateway.slug: id_ for id_, tenant in tenants.items()},
            domains={tenant.gateway.domain: id_ for id_, tenant in tenants.items() if tenant.gateway.domain},
            keys=self._base.keys if self._keys is None else self._keys,
        )

    def _tenant(self, id_: str) -> _TenantDraft | None:
        if id_ not in self._tenants and (known := self._base.tenants.get(id_)):
            self._tenants[id_] = _TenantDraft(known)
        return self._tenants.get(id_)

    def _put_gateway(self, change: Change) -> None:
        if not isinstance(change.record, Gateway):
            self._forget_keys(change.id)
            self._tenants[change.id] = None
        elif tenant := self._tenant(change.id):
            tenant.gateway = change.record
        else:
            self._tenants[change.id] = _TenantDraft.new(change.record)

    def _put_child(self, tenant: _TenantDraft, change: Change) -> None:
        match change.entity:
            case "registry":
                tenant.set("registries", change.id, change.record)
            case "policy":
                tenant.set("policies", change.id, change.record)
            case "consumer":
                after = change.record if isinstance(change.record, Consumer) else None
                tenant.relink(tenant.set("consumers", change.id, after), after)
            case "auth":
                after_auth = change.record if isinstance(change.record, Auth) else None
                self._put_key(tenant.set("auths", change.id, after_auth), after_auth)

    def _put_key(self, before: Auth | None, after: Auth | None) -> None:
        keys = self._own_keys()
        if before is not None:
            keys.pop(before.key_hash, None)
        if after is not None and after.key_hash:
            keys[after.key_hash] = Key(gateway_id=after.gateway_id, auth_id=after.id)

    def _forget_keys(self, gateway_id: str) -> None:
        if known := self._base.tenants.get(gateway_id):
            for auth in known.auths.values():
                self._own_keys().pop(auth.key_hash, None)

    def _own_keys(self) -> dict[str, Key]:
        if self._keys is None:
            self._keys = dict(self._base.keys)
        return self._keys


def build(revision: int, records: Iterable[AnyRecord]) -> Snapshot:
    """Return a snapshot of exactly these records, gateways first."""
    names = {Gateway: "gateway", Registry: "registry", Consumer: "consumer", Auth: "auth", Policy: "policy"}
    items = [
        Change(
            entity=names[type(record)],
            id=record.id,
            gateway_id=record.id if isinstance(record, Gateway) else record.gateway_id,
            record=record,
        )
        for record in records
    ]
    return Snapshot().apply(Changes(revision=revision, whole=True, items=items))
