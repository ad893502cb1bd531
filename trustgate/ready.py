"""A snapshot made ready to serve: who may enter with what, which policies run, which targets answer.

Prepared lazily, once per revision and caller: a change of configuration costs nothing for callers who do not come, and
a tenant that did not change keeps what was prepared for it.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from msgspec import Struct

from trustgate.admission.consumer import Admitted, admit, presented_key
from trustgate.admission.gateway import named_gateway
from trustgate.admission.operation import RESERVED
from trustgate.config.records import Consumer
from trustgate.config.snapshot import Snapshot, Tenant
from trustgate.contract.context import Caller
from trustgate.contract.errors import Refused
from trustgate.enforcement.chain import Chains, Link, compile_chains, effective
from trustgate.forwarding.pool import Pool
from trustgate.parts import Parts
from trustgate.routing import pool_of

MAX_CALLERS: Final = 50_000
"""Prepared callers of one tenant; beyond it the cache starts anew, so it cannot grow without bound."""


class CallerReady(Struct, frozen=True, kw_only=True):
    """Everything that configuration decides about one caller."""

    caller: Caller
    tenant: Tenant
    chains: Chains
    pool: Pool
    session_header: bytes
    session_param: str
    strict: bool
    share: int = 1


class TenantReady:
    """One tenant's prepared callers, by consumer slug and credential."""

    __slots__ = ("_anybody", "_parts", "callers", "pools", "tenant")

    def __init__(self, tenant: Tenant, parts: Parts) -> None:
        self.tenant = tenant
        self._parts = parts
        self.callers: dict[tuple[str, str], CallerReady] = {}
        self.pools: dict[str, tuple[Chains, Pool]] = {}
        self._anybody: tuple[Link, ...] | None = None

    def prepare(self, admitted: Admitted, slug: str) -> CallerReady:
        """Prepare one caller, or share what its consumer already has."""
        if len(self.callers) >= MAX_CALLERS:
            self.callers.clear()
        chains, pool = self._of_consumer(admitted.consumer)
        session = self.tenant.gateway.session_config
        ready = CallerReady(
            caller=admitted.caller,
            tenant=self.tenant,
            chains=chains,
            pool=pool,
            session_header=session.header_name.lower().encode() if session.enabled else b"",
            session_param=session.body_param_name if session.enabled else "",
            strict=admitted.consumer.strict_translation,
            share=admitted.consumer.share,
        )
        self.callers[slug, admitted.caller.auth_id] = ready
        return ready

    def browser_links(self, slug: str) -> tuple[Link, ...]:
        """Return the policies that say which pages may ask: of the consumer that a path names, or of any."""
        if slug:
            consumer = self.tenant.consumer(slug)
            return self._of_consumer(consumer)[0].browser if consumer and self._all_browser_links() else ()
        return self._all_browser_links()

    def _all_browser_links(self) -> tuple[Link, ...]:
        if self._anybody is None:
            plugins = self._parts.plugins
            speaking = [
                policy
                for policy in self.tenant.policies.values()
                if policy.enabled and (plugin := plugins.get(policy.slug)) and "browser" in plugin.hooks
            ]
            self._anybody = compile_chains(speaking, plugins, self._parts.services, timeout=1.0).browser
        return self._anybody

    def _of_consumer(self, consumer: Consumer) -> tuple[Chains, Pool]:
        if consumer.id not in self.pools:
            policies = effective(self.tenant.policies.values(), consumer.id)
            chains = compile_chains(
                policies, self._parts.plugins, self._parts.services, timeout=self._parts.policy_timeout
            )
            self.pools[consumer.id] = chains, pool_of(consumer, self.tenant, self._parts)
        return self.pools[consumer.id]


class Ready:
    """One revision, ready. Frozen but for its caches: a request pins it for its whole life."""

    __slots__ = ("_parts", "_tenants", "revision", "snapshot")

    def __init__(self, snapshot: Snapshot, parts: Parts, before: "Ready | None" = None) -> None:
        self.snapshot = snapshot
        self.revision = str(snapshot.revision).encode()
        self._parts = parts
        self._tenants = {} if before is None else before.unchanged(snapshot)

    def unchanged(self, snapshot: Snapshot) -> dict[str, TenantReady]:
        """Return the prepared tenants that are the same in another snapshot."""
        return {id_: ready for id_, ready in self._tenants.items() if snapshot.tenants.get(id_) is ready.tenant}

    def admit(self, headers: Mapping[bytes, bytes], slug: str) -> CallerReady:
        """Return the caller behind these headers. Raises Refused."""
        named = named_gateway(self.snapshot, headers, self._parts.base_domain)
        key = presented_key(headers)
        owner = self.snapshot.keys.get(sha256(key).hexdigest())
        if owner is not None and (named is None or named.gateway.id == owner.gateway_id):
            tenant = self._tenants.get(owner.gateway_id)
            known = tenant.callers.get((slug, owner.auth_id)) if tenant else None
            if known is not None:
                return known
        return self._admit_new(named, slug, key)

    def suppose(self, admitted: Admitted) -> CallerReady:
        """Return a caller ready, whoever holds the key."""
        return self._tenant(admitted.tenant).prepare(admitted, admitted.consumer.slug)

    def browser_links(self, headers: Mapping[bytes, bytes], path: str) -> tuple[Link, ...]:
        """Return the policies that say which pages may ask for a path, before anybody's key has been seen.

        A gateway that is named answers for itself; else every gateway that has such a consumer may.
        """
        first = path[1:].partition("/")[0]
        slug = "" if first in RESERVED else first
        try:
            named = named_gateway(self.snapshot, headers, self._parts.base_domain)
        except Refused:
            return ()
        tenants = self.snapshot.tenants.values() if named is None else (named,)
        return tuple(link for tenant in tenants for link in self._tenant(tenant).browser_links(slug))

    def _tenant(self, tenant: Tenant) -> TenantReady:
        gateway_id = tenant.gateway.id
        if gateway_id not in self._tenants:
            self._tenants[gateway_id] = TenantReady(tenant, self._parts)
        return self._tenants[gateway_id]

    def _admit_new(self, named: Tenant | None, slug: str, key: bytes) -> CallerReady:
        admitted = admit(self.snapshot, named, slug, key)
        return self._tenant(admitted.tenant).prepare(admitted, slug)
