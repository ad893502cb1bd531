"""What belongs to a consumer: registries, keys, policies. Attaching twice is attaching once; both ends must be here."""

from typing import Annotated

from msgspec import Meta, Struct, structs

from trustgate.config.records import Binding, Consumer, Policy
from trustgate.planes.admin.services import auths, consumers, policies, registries
from trustgate.planes.admin.services.balancing import referring
from trustgate.planes.admin.services.fields import Weight
from trustgate.planes.admin.services.problems import conflict, invalid, save
from trustgate.planes.admin.services.work import Work


class AttachRegistry(Struct, frozen=True, kw_only=True):
    """The registry's share of the traffic. Attaching again without one keeps the share that it has."""

    weight: Annotated[Weight, Meta(description="1 to 100; 1 when it was never given.")] | None = None


async def attach_registry(
    work: Work, gateway_id: str, consumer_id: str, registry_id: str, form: AttachRegistry
) -> None:
    """Put a registry at the end of the consumer's pool, or change its share. Raises Refused."""
    consumer = await consumers.get(work, gateway_id, consumer_id)
    consumers.check_same_type(consumer.type, await registries.get(work, gateway_id, registry_id))
    pool = {binding.registry_id: binding.weight for binding in consumer.registries}
    pool[registry_id] = form.weight or pool.get(registry_id, 1)
    await _save(work, consumer, registries=tuple(Binding(registry_id=id_, weight=w) for id_, w in pool.items()))


async def detach_registry(work: Work, gateway_id: str, consumer_id: str, registry_id: str) -> None:
    """Take a registry out of the consumer's pool. Raises Refused: 409 while its rules name it."""
    consumer = await consumers.get(work, gateway_id, consumer_id)
    await registries.get(work, gateway_id, registry_id)
    if any(rule.registry_id == registry_id for rule in consumer.model_policies):
        raise conflict("consumer: its model_policies name this registry, take it out of them first")
    if field := referring(consumer, registry_id):
        raise conflict(f"consumer: its {field} names this registry, take it out of that first")
    if any(entry.registry_id == registry_id for entry in consumer.toolkit or ()):
        raise conflict("consumer: its toolkit names this registry, take it out of that first")
    rest = tuple(binding for binding in consumer.registries if binding.registry_id != registry_id)
    await _save(work, consumer, registries=rest)


async def attach_auth(work: Work, gateway_id: str, consumer_id: str, auth_id: str) -> None:
    """Let a key speak for the consumer. Raises Refused."""
    consumer = await consumers.get(work, gateway_id, consumer_id)
    await auths.get(work, gateway_id, auth_id)
    if auth_id not in consumer.auth_ids:
        await _save(work, consumer, auth_ids=(*consumer.auth_ids, auth_id))


async def detach_auth(work: Work, gateway_id: str, consumer_id: str, auth_id: str) -> None:
    """Stop a key from speaking for the consumer. Raises Refused."""
    consumer = await consumers.get(work, gateway_id, consumer_id)
    await auths.get(work, gateway_id, auth_id)
    await _save(work, consumer, auth_ids=tuple(id_ for id_ in consumer.auth_ids if id_ != auth_id))


async def attach_policy(work: Work, gateway_id: str, consumer_id: str, policy_id: str) -> None:
    """Put the consumer under a policy. Raises Refused: 422 for a kind of consumer that the policy cannot serve."""
    consumer = await consumers.get(work, gateway_id, consumer_id)
    policy = await policies.get(work, gateway_id, policy_id)
    plugin = work.tools.plugins.get(policy.slug)
    serves = plugin.settings_type.protocols if plugin else ()
    if plugin and consumer.type not in serves:
        raise invalid(f"policy: {policy.slug} serves {' and '.join(serves)} consumers, and this one is {consumer.type}")
    if consumer_id not in policy.consumer_ids:
        await _save_policy(work, policy, (*policy.consumer_ids, consumer_id))


async def detach_policy(work: Work, gateway_id: str, consumer_id: str, policy_id: str) -> None:
    """Take the consumer from under a policy. Raises Refused."""
    await consumers.get(work, gateway_id, consumer_id)
    policy = await policies.get(work, gateway_id, policy_id)
    await _save_policy(work, policy, tuple(id_ for id_ in policy.consumer_ids if id_ != consumer_id))


async def _save(
    work: Work,
    consumer: Consumer,
    *,
    registries: tuple[Binding, ...] | None = None,
    auth_ids: tuple[str, ...] | None = None,
) -> None:
    after = structs.replace(
        consumer,
        registries=consumer.registries if registries is None else registries,
        auth_ids=consumer.auth_ids if auth_ids is None else auth_ids,
    )
    await save(work, work.unit.consumers, "consumer", before=consumer, after=after)


async def _save_policy(work: Work, policy: Policy, consumer_ids: tuple[str, ...]) -> None:
    after = structs.replace(policy, consumer_ids=consumer_ids)
    await save(work, work.unit.policies, "policy", before=policy, after=after)
