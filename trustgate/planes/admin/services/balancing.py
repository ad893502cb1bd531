"""How a consumer's requests find their way: load balancing, fallback and aliases, checked as a whole."""

import re
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from trustgate.config.records import Consumer, Fallback, LoadBalancing, Member, ModelPolicy
from trustgate.contract.context import AUTO, POOL
from trustgate.contract.errors import Refused
from trustgate.forwarding.wanted import read_wanted
from trustgate.planes.admin.services.problems import invalid
from trustgate.planes.admin.services.work import Work
from trustgate.storage.store import Query

MOST_ALIASES: Final = 1000
_ALIAS: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_HASHED: Final = re.compile(r"ip|session|user|key|header:[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_SEMANTIC: Final = "semantic"
_SMART: Final = "smart-routing"
_HASHING: Final = "consistent-hash"


async def check_routing(work: Work, consumer: Consumer) -> None:
    """Check that what a consumer says of the way of its requests fits together. Raises Refused."""
    balancing, fallback = consumer.lb_config, consumer.fallback
    if balancing is not None and balancing.enabled:
        _check_algorithm(work, balancing)
        _check_members(consumer, balancing)
        await _check_helpers(work, consumer, balancing)
    if fallback is not None and fallback.enabled:
        _check_fallback(consumer, fallback)
    _check_aliases(consumer)


def referring(consumer: Consumer, registry_id: str) -> str:
    """Return the field of a consumer's routing that names a registry, empty where none does."""
    balancing, fallback = consumer.lb_config, consumer.fallback
    if fallback is not None and registry_id in fallback.chain:
        return "fallback.chain"
    if balancing is not None and any(member.registry_id == registry_id for member in balancing.members):
        return "lb_config.members"
    return ""


def forgetting(consumer: Consumer, registry_id: str) -> Consumer:
    """Return a consumer that says nothing of a registry any more."""
    balancing, fallback = consumer.lb_config, consumer.fallback
    if balancing is not None:
        members = tuple(member for member in balancing.members if member.registry_id != registry_id)
        smart = balancing.smart_routing
        if smart is not None:
            smart = replace(smart, tiers=tuple(tier for tier in smart.tiers if tier.registry_id != registry_id))
        balancing = replace(balancing, members=members, smart_routing=smart)
    if fallback is not None:
        fallback = replace(fallback, chain=tuple(id_ for id_ in fallback.chain if id_ != registry_id))
    rules = tuple(rule for rule in consumer.model_policies if rule.registry_id != registry_id)
    toolkit = consumer.toolkit
    if toolkit is not None:
        toolkit = tuple(entry for entry in toolkit if entry.registry_id != registry_id)
    return replace(consumer, lb_config=balancing, fallback=fallback, model_policies=rules, toolkit=toolkit)


def _check_algorithm(work: Work, balancing: LoadBalancing) -> None:
    known = sorted(work.tools.plugins.strategies)
    if balancing.algorithm not in known:
        raise invalid(f'lb_config.algorithm "{balancing.algorithm[:100]}" is not known: use one of {", ".join(known)}')
    if balancing.hash_on and balancing.algorithm != _HASHING:
        raise invalid(f"lb_config.hash_on is only used by {_HASHING}: leave it out")
    if balancing.hash_on and not _HASHED.fullmatch(balancing.hash_on):
        raise invalid("lb_config.hash_on must be ip, session, user, key or header:<name>")
    if balancing.embedding_config is not None and balancing.algorithm != _SEMANTIC:
        raise invalid(f"lb_config.embedding_config is only used by {_SEMANTIC}: leave it out")
    if (balancing.smart_routing is not None) != (balancing.algorithm == _SMART):
        raise invalid(f"lb_config.smart_routing goes with the algorithm {_SMART}, and only with it")


def _check_members(consumer: Consumer, balancing: LoadBalancing) -> None:
    alias = balancing.pool_alias
    if alias and not _ALIAS.fullmatch(alias):
        raise invalid("lb_config.pool_alias must be letters, digits, dots, dashes and underscores, at most 63")
    if alias and not balancing.members:
        raise invalid("lb_config.members is empty: name those who serve the pool of pool_alias")
    rules = {rule.registry_id: rule for rule in consumer.model_policies}
    seen: set[tuple[str, str]] = set()
    for at, member in enumerate(balancing.members):
        path = f"lb_config.members[{at}]"
        _check_attached(consumer, member.registry_id, f"{path}.registry_id")
        if not 1 <= member.weight <= 100:
            raise invalid(f"{path}.weight is {member.weight}: it must be 1 to 100")
        _check_models(member, rules.get(member.registry_id), path)
        if (member.registry_id, member.model) in seen:
            raise invalid(f"{path} is there twice: the members of one registry need a model of their own each")
        seen.add((member.registry_id, member.model))


def _check_models(member: Member, rule: ModelPolicy | None, path: str) -> None:
    allowed = None if rule is None else rule.allowed
    if strange := [model for model in member.models if allowed is not None and model not in allowed]:
        raise invalid(f"{path}.models names {strange[0]}, which model_policies does not allow of this registry")
    if member.model and member.models and member.model not in member.models:
        raise invalid(f"{path}.model must be one of its models")
    if member.model and allowed is not None and member.model not in allowed:
        raise invalid(f"{path}.model is {member.model}, which model_policies does not allow of this registry")
    if not (member.model or len(member.models) == 1 or (rule is not None and rule.default)):
        raise invalid(
            f"{path} has no model that it can be asked for when a caller names none: "
            "give it a model, or its registry a default in model_policies"
        )


async def _check_helpers(work: Work, consumer: Consumer, balancing: LoadBalancing) -> None:
    smart, embedding = balancing.smart_routing, balancing.embedding_config
    if smart is not None:
        members = {member.registry_id for member in balancing.members}
        if not smart.tiers:
            raise invalid("lb_config.smart_routing.tiers is empty: name at least one")
        if len({tier.min_score for tier in smart.tiers}) < len(smart.tiers):
            raise invalid("lb_config.smart_routing.tiers has two of the same min_score")
        for at, tier in enumerate(smart.tiers):
            path = f"lb_config.smart_routing.tiers[{at}]"
            if not 0 <= tier.min_score <= 1:
                raise invalid(f"{path}.min_score is {tier.min_score:g}: it must be 0 to 1")
            if tier.registry_id not in members:
                raise invalid(f"{path}.registry_id is no registry of lb_config.members")
        if smart.scorer_url and not smart.scorer_url.startswith(("http://", "https://")):
            raise invalid("lb_config.smart_routing.scorer_url must be an http or https address")
    if embedding is not None and embedding.registry != "hashing":
        query = Query(gateway_id=consumer.gateway_id, where={"name": embedding.registry}, limit=1)
        if not (await work.unit.registries.page(query)).items:
            raise invalid(
                f'lb_config.embedding_config.registry "{embedding.registry[:100]}" is no registry of this gateway: '
                "name one, or use hashing"
            )


def _check_fallback(consumer: Consumer, fallback: Fallback) -> None:
    if not fallback.triggers:
        raise invalid("fallback.triggers is empty: name at least one")
    if not fallback.chain:
        raise invalid("fallback.chain is empty: name at least one registry")
    if len(set(fallback.triggers)) < len(fallback.triggers):
        raise invalid("fallback.triggers names one twice")
    if len(set(fallback.chain)) < len(fallback.chain):
        raise invalid("fallback.chain names a registry twice")
    for at, registry_id in enumerate(fallback.chain):
        _check_attached(consumer, registry_id, f"fallback.chain[{at}]")
    if fallback.budget.max_attempts < 0 or fallback.budget.max_total_latency_ms < 0:
        raise invalid("fallback.budget must not be negative: 0 is no budget of its own")


def _check_attached(consumer: Consumer, registry_id: str, path: str) -> None:
    if registry_id not in {binding.registry_id for binding in consumer.registries}:
        raise invalid(f"{path} names registry {registry_id[:100]}, which is not attached to this consumer")


def _check_aliases(consumer: Consumer) -> None:
    if len(consumer.aliases) > MOST_ALIASES:
        raise invalid(f"aliases has more than {MOST_ALIASES} names")
    for name, model in consumer.aliases.items():
        path = f"aliases.{name[:100]}"
        if not name.strip() or not model.strip():
            raise invalid("aliases must not hold a blank name or model")
        if name.startswith("@") or name.lower() == AUTO or name.lower().startswith(POOL):
            raise invalid(f"{path} has a meaning of its own: choose another name")
        if model in _circle(consumer, name):
            raise invalid(f"{path} stands for itself, by way of {model[:100]}")
        _check_meaning(consumer, path, model)


def _check_meaning(consumer: Consumer, path: str, model: str) -> None:
    try:
        wanted = read_wanted(model, consumer.aliases)
    except Refused as refused:
        raise invalid(f"{path}: {refused.message}") from None
    balancing = consumer.lb_config
    pool = balancing.pool_alias if balancing is not None and balancing.enabled else ""
    if wanted.pool and wanted.pool.lower() != pool.lower():
        raise invalid(f'{path} names the pool "{wanted.pool[:100]}", which this consumer does not have')


def _circle(consumer: Consumer, name: str) -> Sequence[str]:
    """The names by which an alias comes back to itself."""
    way, now = [name], consumer.aliases[name]
    while now in consumer.aliases and now not in way:
        way.append(now)
        now = consumer.aliases[now]
    return way if now in way else ()
