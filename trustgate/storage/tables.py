"""The five tables of the configuration. A new setting is a field of a record; only what is looked up by is here too."""

from trustgate.config.records import Auth, Consumer, Gateway, Policy, Registry
from trustgate.storage.table import Column, Link, Table

_ID = Column("id")
_OWNED = (_ID, Column("gateway_id"))
_NAME = Column("name", folded=True)
_TIMES = (Column("created_at", "time"), Column("updated_at", "time"))

_POOL = Link(
    entity="consumer",
    field="registries",
    table="consumer_registries",
    owner="consumer_id",
    other="registry_id",
    weighted=True,
)
_KEYS = Link(entity="consumer", field="auth_ids", table="consumer_auths", owner="consumer_id", other="auth_id")
_SCOPE = Link(entity="policy", field="consumer_ids", table="consumer_policies", owner="policy_id", other="consumer_id")

GATEWAYS = Table(
    "gateways",
    "gateway",
    Gateway,
    columns=(_ID, Column("slug"), _NAME, Column("status"), Column("domain"), Column("tenant_id"), *_TIMES),
)
REGISTRIES = Table(
    "registries",
    "registry",
    Registry,
    columns=(*_OWNED, _NAME, Column("type"), Column("enabled", "flag"), *_TIMES),
    referrers=(_POOL,),
)
CONSUMERS = Table(
    "consumers",
    "consumer",
    Consumer,
    columns=(*_OWNED, _NAME, Column("slug"), Column("type"), Column("active", "flag"), *_TIMES),
    links=(_POOL, _KEYS),
    referrers=(_SCOPE,),
)
AUTHS = Table(
    "auths",
    "auth",
    Auth,
    columns=(*_OWNED, _NAME, Column("type"), Column("enabled", "flag"), Column("key_hash"), *_TIMES),
    referrers=(_KEYS,),
)
POLICIES = Table(
    "policies",
    "policy",
    Policy,
    columns=(
        *_OWNED,
        _NAME,
        Column("slug"),
        Column("enabled", "flag"),
        Column("is_global", "flag"),
        Column("mode"),
        Column("priority"),
        *_TIMES,
    ),
    links=(_SCOPE,),
)

TABLES = (GATEWAYS, REGISTRIES, CONSUMERS, AUTHS, POLICIES)
"""In the order in which they can be loaded: gateways first, and nothing before what it refers to."""
