"""A consumer's configuration → its pool: its targets, which of them are members or the chain, and who is asked how."""

import logging
from collections.abc import Iterable, Sequence
from functools import partial
from time import time
from typing import Final

from msgspec.structs import replace

from trustgate.config.records import Consumer, HealthChecks, LoadBalancing, Member, Registry
from trustgate.config.snapshot import Tenant
from trustgate.contract.strategy import Candidate, Factory, Strategy, StrategyOptions
from trustgate.contract.target import Target
from trustgate.contract.usage import Usage
from trustgate.forwarding.choice import Rules
from trustgate.forwarding.circuits import FAILURES
from trustgate.forwarding.pool import Pool, Routing
from trustgate.parts import Parts
from trustgate.providers.targets import CannotTarget, compile_target

DEFAULT_ALGORITHM: Final = "weighted-round-robin"
MILLION: Final = Usage(input=1_000_000, output=1_000_000)

log = logging.getLogger("trustgate.routing")


def pool_of(consumer: Consumer, tenant: Tenant, parts: Parts) -> Pool:
    """Return a consumer's pool, with what of it cannot be called and why."""
    unusable: dict[str, str] = {}
    made = {
        binding.registry_id: _targets(consumer, tenant.registries.get(binding.registry_id), parts, unusable)
        for binding in consumer.registries
    }
    weights = {binding.registry_id: binding.weight for binding in consumer.registries}
    fallback, balancing = consumer.fallback, consumer.lb_config
    chain_ids = fallback.chain if fallback is not None and fallback.enabled else ()
    pool_ids = [id_ for id_ in made if id_ not in chain_ids] or list(made)
    weighted = {id_: [_weighing(target, weights[id_]) for target in made[id_]] for id_ in made}
    chain = tuple(target for id_ in chain_ids if id_ in weighted and id_ not in pool_ids for target in weighted[id_])
    routing = Routing(
        aliases=consumer.aliases,
        pool_alias=balancing.pool_alias if balancing is not None and balancing.enabled else "",
        members=tuple(_members(balancing, made)) if balancing is not None and balancing.enabled else (),
        chain=chain,
        rules=_rules(consumer),
        make=_maker(balancing, consumer.gateway_id, parts, unusable),
        price=partial(_price, parts),
        chance=parts.chance,
    )
    targets = [target for id_ in pool_ids for target in weighted[id_]]
    return Pool(targets, unusable, parts.health, routing)


def _targets(consumer: Consumer, registry: Registry | None, parts: Parts, unusable: dict[str, str]) -> Sequence[Target]:
    """A registry is one target, or one for each of its keys."""
    if registry is None:
        return []
    if not registry.enabled:
        unusable[registry.name] = "it is switched off"
        return []
    rule = next((rule for rule in consumer.model_policies if rule.registry_id == registry.id), None)
    try:
        return [
            replace(
                compile_target(one, rule, 1, parts.clocks, parts.credentials),
                key=name,
                weight=share,
                capacity=registry.max_concurrency,
                threshold=_threshold(registry.health_checks),
                description=registry.description,
            )
            for name, share, one in _by_key(registry)
        ]
    except CannotTarget as error:
        unusable[registry.name] = str(error)
        return []


def _threshold(checks: HealthChecks | None) -> int:
    if checks is None:
        return FAILURES
    return checks.threshold if checks.passive else 0


def _by_key(registry: Registry) -> Iterable[tuple[str, float, Registry]]:
    api_key = registry.auth.api_key
    keys = api_key.keys if api_key is not None else {}
    if api_key is None or not keys:
        yield "", 1.0, registry
        return
    total = sum(api_key.key_weights.get(name, 1) for name in keys)
    for name, secret in keys.items():
        auth = replace(registry.auth, api_key=replace(api_key, api_key=secret, keys={}, key_weights={}))
        yield name, api_key.key_weights.get(name, 1) / total, replace(registry, auth=auth)


def _weighing(target: Target, weight: float) -> Target:
    return replace(target, weight=target.weight * weight)


def _members(balancing: LoadBalancing, made: dict[str, Sequence[Target]]) -> Iterable[Target]:
    for member in balancing.members:
        for target in made.get(member.registry_id, ()):
            yield _member(target, member)


def _member(target: Target, member: Member) -> Target:
    allowed = target.allowed
    if member.models:
        allowed = frozenset(member.models) if allowed is None else allowed & frozenset(member.models)
    default = member.model or target.default
    if not default and len(member.models) == 1:
        default = member.models[0]
    return replace(
        target, allowed=allowed, default=default, weight=target.weight * member.weight, priority=member.priority
    )


def _rules(consumer: Consumer) -> Rules:
    balancing, fallback = consumer.lb_config, consumer.fallback
    hedging = balancing.hedging if balancing is not None and balancing.enabled else None
    hedge = None if hedging is None else hedging.after_ms / 1000
    if fallback is None or not fallback.enabled:
        return Rules(hedge=hedge)
    return Rules(
        triggers=frozenset(fallback.triggers),
        max_attempts=fallback.budget.max_attempts,
        max_latency=fallback.budget.max_total_latency_ms / 1000,
        hedge=hedge,
    )


def _maker(
    balancing: LoadBalancing | None, gateway_id: str, parts: Parts, unusable: dict[str, str]
) -> partial[Strategy]:
    strategies = parts.plugins.strategies
    chosen = balancing if balancing is not None and balancing.enabled else None
    name = chosen.algorithm if chosen is not None else DEFAULT_ALGORITHM
    factory = strategies.get(name)
    if factory is None:
        unusable[f"the strategy {name}"] = "no plugin provides it: requests go round in turn"
        factory = strategies[DEFAULT_ALGORITHM]
    options = StrategyOptions(gateway_id=gateway_id) if chosen is None else options_of(chosen, gateway_id)
    return partial(_make, factory, options, parts)


def options_of(balancing: LoadBalancing, gateway_id: str) -> StrategyOptions:
    """Return what a strategy is told of a consumer's load balancing."""
    smart, embedding = balancing.smart_routing, balancing.embedding_config
    return StrategyOptions(
        gateway_id=gateway_id,
        hash_on=balancing.hash_on,
        tiers=smart.tiers if smart is not None else (),
        scorer_url=smart.scorer_url if smart is not None else "",
        embedder=embedding.registry if embedding is not None else "hashing",
        embedding_model=embedding.model if embedding is not None else "",
    )


def _make(factory: Factory, options: StrategyOptions, parts: Parts, candidates: Sequence[Candidate]) -> Strategy:
    try:
        return factory(candidates, options, parts.services, parts.chance)
    except ValueError as error:  # what a plugin says of options that nobody else knows
        log.warning("a strategy of gateway %s cannot be made: %s; requests go round", options.gateway_id, error)
        return parts.plugins.strategies[DEFAULT_ALGORITHM](candidates, options, parts.services, parts.chance)


def _price(parts: Parts, target: Target, model: str) -> int | None:
    cost = parts.services.pricing.price(target.provider, model, MILLION, at=time(), overrides=target.prices)
    return None if cost is None else cost.total
