"""A consumer made ready to serve: its servers, what of them it may use, and its policies. Once per revision."""

from collections.abc import Callable, Coroutine, Mapping
from time import monotonic
from typing import Any, Final

from msgspec import Struct

from trustgate.config.records import Consumer
from trustgate.config.snapshot import Tenant
from trustgate.enforcement.chain import Chains, compile_chains, effective
from trustgate.mcp.naming import Holder, Kind, Offer, Toolkit
from trustgate.mcp.once import Once
from trustgate.mcp.servers import Server, server_of
from trustgate.parts import Parts
from trustgate.providers.credentials import BadCredential

ROUTES_FOR: Final = 60.0
"""Seconds for which it is remembered which server has a name."""


LOOKS_APART: Final = 1.0
"""Seconds between two looks for names that were not found."""


class Route(Struct, frozen=True, kw_only=True):
    """Where a name leads: to which server, and what it is called there."""

    registry_id: str
    name: str


class House:
    """What configuration decides about one consumer, and which of its names lead where."""

    __slots__ = (
        "_looks",
        "_routes",
        "broken",
        "chains",
        "closed",
        "consumer",
        "gateway",
        "holders",
        "searches",
        "servers",
        "toolkit",
        "transparent",
    )

    def __init__(self, consumer: Consumer, tenant: Tenant, parts: Parts) -> None:
        self.consumer = consumer
        self.gateway = tenant.gateway
        self.toolkit: Toolkit = consumer.toolkit
        self.closed = consumer.fail_mode == "closed"
        self.searches = consumer.tool_search
        self.servers: dict[str, Server] = {}
        self.broken: dict[str, str] = {}
        for binding in consumer.registries:
            registry = tenant.registries.get(binding.registry_id)
            if registry is None or not registry.enabled or registry.mcp_target is None:
                continue
            try:
                self.servers[registry.id] = server_of(registry, parts.credentials)
            except BadCredential as error:
                self.broken[registry.name] = str(error)
        self.holders = [
            Holder(registry_id=each.registry_id, name=each.name, prefix=each.prefix) for each in self.servers.values()
        ]
        only = next(iter(self.servers.values())) if len(self.servers) == 1 and not self.broken else None
        as_it_is = consumer.toolkit is None and not self.searches
        self.transparent = only if only is not None and as_it_is and not only.prefix else None
        self.chains: Chains = compile_chains(
            [each for each in effective(tenant.policies.values(), consumer.id) if _serves(each.slug, parts)],
            parts.plugins,
            parts.services,
            timeout=parts.policy_timeout,
        )
        self._routes: dict[Kind, tuple[Mapping[str, Route], float]] = {}
        self._looks: Once[Kind, object] = Once(apart=LOOKS_APART)

    def remember(self, kind: Kind, offers: list[Offer]) -> None:
        """Remember where names lead."""
        routes = {each.exposed: Route(registry_id=each.registry_id, name=each.name) for each in reversed(offers)}
        self._routes[kind] = routes, monotonic() + ROUTES_FOR

    async def learn(self, kind: Kind, look: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Look where names lead; not for everybody who asks for names that are not there. Raises what `look` does."""
        await self._looks.do(kind, look)

    def route(self, kind: Kind, name: str) -> Route | None:
        """Return where a name leads, as far as that is known."""
        routes, until = self._routes.get(kind, ({}, 0.0))
        return routes.get(name) if monotonic() < until else None

    def forget(self) -> None:
        """Forget where names lead: a server says that what it has is not the same any more."""
        self._routes.clear()
        self._looks.forget()


def _serves(slug: str, parts: Parts) -> bool:
    """Say whether a policy can be about MCP: a global one of another kind is not asked."""
    plugin = parts.plugins.get(slug)
    return plugin is None or "MCP" in plugin.settings_type.protocols
