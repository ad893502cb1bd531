"""Records to write, complete except for what a test says about them. Ids double as names and slugs."""

from typing import Any

from trustgate.config.records import Auth, Binding, Consumer, Gateway, Policy, Registry

SECRET = "a server secret of at least thirty-two bytes"
NOW = "2026-03-01T12:00:00.25Z"
_TIMES = {"created_at": NOW, "updated_at": NOW}


def gateway(gateway_id: str = "g1", **fields: Any) -> Gateway:
    return Gateway(**{"id": gateway_id, "slug": gateway_id, "name": gateway_id} | _TIMES | fields)


def registry(registry_id: str = "r1", gateway_id: str = "g1", **fields: Any) -> Registry:
    return Registry(**_child(registry_id, gateway_id) | {"provider": "openai"} | fields)


def consumer(consumer_id: str = "c1", gateway_id: str = "g1", **fields: Any) -> Consumer:
    return Consumer(**_child(consumer_id, gateway_id) | {"slug": consumer_id} | fields)


def auth(auth_id: str = "a1", gateway_id: str = "g1", **fields: Any) -> Auth:
    return Auth(**_child(auth_id, gateway_id) | fields)


def policy(policy_id: str = "p1", gateway_id: str = "g1", **fields: Any) -> Policy:
    return Policy(**_child(policy_id, gateway_id) | {"slug": "rate_limiter"} | fields)


def pool(*registry_ids: str) -> tuple[Binding, ...]:
    return tuple(Binding(registry_id=each, weight=7 + i) for i, each in enumerate(registry_ids))


def _child(record_id: str, gateway_id: str) -> dict[str, Any]:
    return {"id": record_id, "gateway_id": gateway_id, "name": record_id} | _TIMES
