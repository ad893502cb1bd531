"""Config is read: the records that the admin plane writes and every other plane reads. All frozen.

Ids are canonical UUID strings, times RFC 3339 UTC strings. Fields named in a record's `sealed` are encrypted where they
are stored; which of their leaves are secret, and masked on read, the field types say with `Secret`.
"""

from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, Struct

from trustgate.config.mcp import McpTarget, ToolkitEntry
from trustgate.contract.cost import PriceRule
from trustgate.contract.policy import Secret
from trustgate.contract.strategy import Tier as RoutedTier

Mode = Literal["enforce", "throttle", "observe"]
OnError = Literal["", "deny", "allow"]
Tier = Literal["free", "standard", "enterprise"]


class Record(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What every stored entity has. `gateway_id` is the tenant boundary: each query below a gateway is scoped by it."""

    sealed: ClassVar[tuple[str, ...]] = ()

    id: str
    created_at: str = ""
    updated_at: str = ""


class SessionConfig(Struct, frozen=True, kw_only=True):
    """Where a caller's session id is read from: a header, then a top-level string field of the body."""

    enabled: bool = True
    header_name: str = "X-Session-Id"
    body_param_name: str = ""


class Entitlements(Struct, frozen=True, kw_only=True):
    """What a tenant bought. `quota_per_month` and `max_instances` 0 mean unlimited."""

    tier: Tier = "free"
    burst_per_min: int
    quota_per_month: int
    max_instances: int


class OtlpTls(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How to trust a Collector, and how to be trusted by it: PEM files on the machines that serve."""

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    skip_verify: bool = False


class OtlpSettings(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A Collector. Empty ones of these are as the environment has them (OTEL_EXPORTER_OTLP_*).

    `signal` is `logs`, a record a request; `traces`, a span of it and one of each attempt; `metrics`, GenAI's
    histograms; or `all`. `max_body_bytes` is how long one attribute may be.
    """

    endpoint: str = ""
    protocol: Literal["", "grpc", "http/protobuf"] = ""
    signal: Literal["logs", "traces", "metrics", "all"] = "logs"
    headers: dict[str, Secret] = {}
    insecure: bool = False
    tls: OtlpTls | None = None
    timeout: str = "10s"
    compression: Literal["gzip", "none"] = "gzip"
    max_body_bytes: int = 4096


class Exporter(Struct, frozen=True, kw_only=True):
    """Where a gateway's events go besides."""

    name: str
    type: Literal["otlp"] = "otlp"
    settings: OtlpSettings = OtlpSettings()


class Telemetry(Struct, frozen=True, kw_only=True):
    """The exporters of a gateway, beside those that all have; of two of one name the gateway's own counts."""

    exporters: tuple[Exporter, ...] = ()


class Gateway(Record, frozen=True, kw_only=True):
    """One tenant's gateway. `entitlements` None is unlimited; a status other than `active` refuses every request."""

    sealed: ClassVar[tuple[str, ...]] = ("telemetry",)

    slug: str
    name: str
    status: Literal["active", "inactive"] = "active"
    domain: str = ""
    tenant_id: str = ""
    metadata: dict[str, str] = {}
    session_config: SessionConfig = SessionConfig()
    entitlements: Entitlements | None = None
    telemetry: Telemetry | None = None


class ApiKeyAuth(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A provider key, several of them by name, or a header or parameter pair that stands for one.

    Of several each has its share (1 to 100, usually 1) of the calls, and one that fails rests by itself.
    """

    api_key: Secret = ""
    header_name: str = ""
    header_value: Secret = ""
    param_name: str = ""
    param_value: Secret = ""
    param_location: Literal["", "query"] = ""
    keys: dict[str, Secret] = {}
    key_weights: dict[str, int] = {}


class AzureAuth(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An Azure resource and one of: its key, a service principal (three fields), the managed identity of this host.

    `version` empty is the one that the provider's catalogue entry asks for.
    """

    endpoint: str
    version: str = ""
    api_key: Secret = ""
    client_id: str = ""
    client_secret: Secret = ""
    tenant_id: str = ""
    use_managed_identity: bool = False


class AwsAuth(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A region and either access keys, or a role (its ARN) that this host's own identity assumes."""

    region: str
    access_key_id: Secret = ""
    secret_access_key: Secret = ""
    session_token: Secret = ""
    use_role: bool = False
    role: str = ""


Grant = Literal["client_credentials", "refresh_token", "password"]


class OAuth2Auth(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where tokens come from and how they are asked for. https://www.rfc-editor.org/rfc/rfc6749

    `use_basic_auth` sends the client's id and secret in a header and not in the form; `extra` are more form fields.
    """

    token_url: str
    grant_type: Grant
    client_id: str = ""
    client_secret: Secret = ""
    use_basic_auth: bool = False
    scopes: tuple[str, ...] = ()
    audience: str = ""
    refresh_token: Secret = ""
    username: Secret = ""
    password: Secret = ""
    extra: dict[str, Secret] = {}


class ProviderAuth(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a registry proves itself to its provider; the block of its `type` is the one that is there.

    The block of `oauth2` is `oauth`; `gcp_service_account` is the JSON of a key file, compact. A secret may be a
    reference, `env:NAME` or `file:/path`, which providers/credentials/references.py looks up.
    """

    type: Literal["api_key", "none", "azure", "aws", "gcp_service_account", "oauth2"]
    api_key: ApiKeyAuth | None = None
    azure: AzureAuth | None = None
    aws: AwsAuth | None = None
    oauth: OAuth2Auth | None = None
    gcp_service_account: Secret = ""


class HealthChecks(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When a target is taken for down, and how it is asked whether it is up.

    `passive` heeds the calls of callers: after `threshold` failures in a row it is left alone. With `active`, or a
    `path`, it is asked every `interval` seconds, with `headers`, for at most `timeout` seconds: that path, or else its
    list of models. After `threshold` bad answers it is down, after `healthy_threshold` good ones in a row up.
    """

    passive: bool = True
    active: bool = False
    path: str = ""
    headers: dict[str, Secret] = {}
    threshold: Annotated[int, Meta(ge=1, le=1000)] = 3
    healthy_threshold: Annotated[int, Meta(ge=1, le=1000)] = 1
    interval: Annotated[int, Meta(ge=1, le=86_400)] = 10
    timeout: Annotated[int, Meta(ge=1, le=60)] = 5

    @property
    def probes(self) -> bool:
        """Whether it is asked."""
        return self.active or bool(self.path)


class Registry(Record, frozen=True, kw_only=True):
    """One account at one provider, or (type MCP, whose `provider` is empty) one server of the Model Context Protocol.

    `prices` are its own and stand instead of the shipped ones; `max_concurrency` is how many calls it may have under
    way in a process (0: any number).
    """

    sealed: ClassVar[tuple[str, ...]] = ("auth", "provider_options", "health_checks", "mcp_target")

    gateway_id: str
    name: str
    type: Literal["LLM", "MCP"] = "LLM"
    enabled: bool = True
    provider: str = ""
    provider_options: dict[str, Any] = {}
    description: str = ""
    auth: ProviderAuth = ProviderAuth(type="none")
    prices: tuple[PriceRule, ...] = ()
    health_checks: HealthChecks | None = None
    max_concurrency: int = 0
    mcp_target: McpTarget | None = None


class ModelPolicy(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The models a consumer may ask a registry for; `allowed` None is any. `default` serves who names none."""

    registry_id: str
    allowed: tuple[str, ...] | None = None
    default: str = ""


class Binding(Struct, frozen=True, kw_only=True):
    """A registry in a consumer's pool, with its share (1 to 100) of the traffic."""

    registry_id: str
    weight: int = 1


class Member(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A member of a pool: a registry, the models of it that the pool may ask for, and the one that it is asked for when
    the caller names none. The lower its `priority`, the sooner it is asked where the algorithm heeds that."""

    registry_id: str
    models: tuple[str, ...] = ()
    model: str = ""
    weight: int = 1
    priority: Annotated[int, Meta(ge=0, le=1000)] = 0


class EmbeddingConfig(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who makes vectors of prompts and descriptions: a registry of the gateway by name, or `hashing`."""

    registry: str = "hashing"
    model: str = ""


class SmartRouting(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which registry serves requests from which score on. `scorer_url` asks a service of yours for the score."""

    tiers: tuple[RoutedTier, ...]
    scorer_url: str = ""


class Hedging(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A second target is asked when the first has not begun to answer: after `after_ms`, or with 0 after the time in
    which 19 of 20 of its calls did lately."""

    after_ms: Annotated[int, Meta(ge=0, le=600_000)] = 0


class LoadBalancing(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one of several targets is chosen. `members` serve `pool:<pool_alias>` and requests that name no model.

    `hash_on` is for `consistent-hash`: `ip`, `session`, `user`, `key` or `header:<name>`.
    """

    enabled: bool = True
    algorithm: str = "round-robin"
    pool_alias: str = ""
    members: tuple[Member, ...] = ()
    hash_on: str = ""
    embedding_config: EmbeddingConfig | None = None
    smart_routing: SmartRouting | None = None
    hedging: Hedging | None = None


Trigger = Literal["http_5xx", "http_429", "timeout", "provider_error", "plugin_rejection"]


class Budget(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How many attempts one request may make in all, and until when another may begin; 0 is as the process has it."""

    max_attempts: int = 0
    max_total_latency_ms: int = 0


class Fallback(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The registries that are asked in this order once the pool has failed with one of the `triggers`."""

    enabled: bool = True
    triggers: tuple[Trigger, ...] = ()
    budget: Budget = Budget()
    chain: tuple[str, ...] = ()


class Consumer(Record, frozen=True, kw_only=True):
    """One application. `registries` keep the order in which they were attached.

    `strict_translation` refuses what would lose a parameter on its way into another dialect; `aliases` are names that
    stand for a model, for `pool:<alias>` or for `@provider/model`; `share` is how much of a target that is full goes to
    this consumer, in proportion to those of the others who wait for it. One of type MCP may use what its `toolkit` says
    (None is all of its registries); `fail_mode` says whether a list is short where one of them is away, or refused;
    `tool_search` shows it two tools instead of all, one that finds tools and one that calls them.
    """

    gateway_id: str
    name: str
    slug: str
    type: Literal["LLM", "MCP"] = "LLM"
    routing_mode: Literal["inline"] = "inline"
    active: bool = True
    strict_translation: bool = False
    share: int = 1
    aliases: dict[str, str] = {}
    lb_config: LoadBalancing | None = None
    fallback: Fallback | None = None
    model_policies: tuple[ModelPolicy, ...] = ()
    toolkit: tuple[ToolkitEntry, ...] | None = None
    fail_mode: Literal["open", "closed"] = "open"
    tool_search: bool = False
    registries: tuple[Binding, ...] = ()
    auth_ids: tuple[str, ...] = ()


class Auth(Record, frozen=True, kw_only=True):
    """What callers present. Of a key only its SHA-256 (lower-case hex), first 8 and last 4 characters stay."""

    gateway_id: str
    name: str
    type: Literal["api_key"] = "api_key"
    enabled: bool = True
    key_hash: str = ""
    key_prefix: str = ""
    key_suffix: str = ""


class Policy(Record, frozen=True, kw_only=True):
    """One configured plugin. `on_error` empty means the plugin's own default; `timeout_ms` 0 means the plane's.

    `readable` false is an outline: the settings are there but cannot be read, so it refuses what it should judge.
    """

    sealed: ClassVar[tuple[str, ...]] = ("settings",)

    gateway_id: str
    name: str
    slug: str
    description: str = ""
    enabled: bool = True
    is_global: bool = False
    priority: int = 0
    parallel: bool = True
    settings: dict[str, Any] = {}
    stages: tuple[str, ...] = ()
    mode: Mode = "enforce"
    on_error: OnError = ""
    timeout_ms: int = 0
    consumer_ids: tuple[str, ...] = ()
    readable: bool = True


AnyRecord = Gateway | Registry | Consumer | Auth | Policy
