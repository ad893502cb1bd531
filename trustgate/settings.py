"""The only reader of the environment. A wrong value stops the start: which variable, its value, what is accepted."""

import os
import re
from collections.abc import Mapping, Set
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from trustgate.connections import (
    KafkaVariables,
    OtlpVariables,
    PostgresVariables,
    RedisVariables,
    read_kafka,
    read_otlp,
    read_postgres,
    read_redis,
)
from trustgate.contract.upstream import Clocks
from trustgate.variables import BadSetting, Reader

T = TypeVar("T")
_PROXY = re.compile(r"(https?://)?([^/@\s]+@)?(\[[0-9a-fA-F:.]+\]|[^/@:\s\[\]]+)(:\d{1,5})?/?")
DEPLOYED = ("prod", "production", "staging", "stage")


class CorsSettings(Struct, frozen=True, kw_only=True):
    """Which browsers may call the admin plane."""

    origins: tuple[str, ...] = ("*",)
    methods: tuple[str, ...] = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
    headers: tuple[str, ...] = ("Content-Type", "Authorization", "X-AG-Trace-Id")
    expose: tuple[str, ...] = ("X-AG-Trace-Id", "X-AG-Revision")
    credentials: bool = False
    max_age: int = 600


class Ports(Struct, frozen=True, kw_only=True):
    """Where each plane listens."""

    host: str = "0.0.0.0"  # noqa: S104 - a gateway is there to be reached; SERVER_HOST narrows it
    admin: int = 8080
    proxy: int = 8081
    mcp: int = 8082


class Limits(Struct, frozen=True, kw_only=True):
    """How large requests and answers may be, how long a plane waits, and how often it tries.

    `provider_max_retries` are the rounds through a request's targets after the first; `stream_hold` (seconds) and
    `stream_hold_bytes` bound how much of a stream is held until its first event has come; `queue_wait` (seconds) is how
    long a request waits for a target that is full.
    """

    max_body_bytes: int = 32 * 1024 * 1024
    max_header_bytes: int = 32 * 1024
    max_buffered_answer_bytes: int = 32 * 1024 * 1024
    grace: float = 30.0
    policy_timeout: float = 5.0
    throttle_wait: float = 10.0
    provider_max_retries: int = 2
    stream_hold_bytes: int = 64 * 1024
    stream_hold: float = 2.0
    queue_wait: float = 10.0


class References(Struct, frozen=True, kw_only=True):
    """What a registry's auth may refer to instead of holding a secret.

    `allowed` are globs of names; `variables` hold what those have that are set; `folder` empty allows no files.
    """

    allowed: tuple[str, ...] = ("*_API_KEY", "TRUSTGATE_CREDENTIAL_*")
    variables: Mapping[str, str] = {}
    folder: str = ""

    def __repr__(self) -> str:
        """Say the rules; the values are secret."""
        return f"References(allowed={self.allowed!r}, folder={self.folder!r})"

    def may_read(self, name: str) -> bool:
        """Say whether a variable of that name may be referred to, set or not. Our own never may."""
        return _referable(name, self.allowed, own_variables())


class Settings(Struct, frozen=True, kw_only=True):
    """Everything that the environment decides, read once."""

    app_env: str = "dev"
    version: str = ""
    secret_key: str = ""
    admin_token: str = ""
    data_dir: Path = Path("var")
    mcp_allowed_hosts: frozenset[str] = frozenset()
    mcp_allowed_origins: frozenset[str] = frozenset()
    mcp_allow_stdio: bool = False
    mcp_stdio_commands: frozenset[str] = frozenset()
    mcp_stdio_environment: Mapping[str, str] = {}
    gateway_base_domain: str = ""
    plugins: tuple[str, ...] = ()
    log_level: str = "INFO"
    log_format: str = "json"
    event_log: str = "stdout"
    trace_store_size: int = 2000
    trace_store_ttl: float = 0.0
    queue_size: int = 10_000
    telemetry: bool = True
    allow_local_limits: bool = False
    config_poll: float = 0.2
    config_max_staleness: float = 0.0
    config_refuse_stale: bool = False
    config_keep: bool = True
    ports: Ports = Ports()
    limits: Limits = Limits()
    clocks: Clocks = Clocks()
    postgres: PostgresVariables = PostgresVariables()
    redis: RedisVariables = RedisVariables()
    kafka: KafkaVariables = KafkaVariables()
    otlp: OtlpVariables = OtlpVariables()
    cache_max_bytes: int = 64 * 1024 * 1024
    cors: CorsSettings = CorsSettings()
    proxies: Mapping[str, str] = {}
    no_proxy: str = ""
    openai_api_key: str = ""
    references: References = References()
    variables: Mapping[str, str] = {}

    @property
    def production(self) -> bool:
        """Whether this is a deployment, where nothing may be made up."""
        return self.app_env.lower() in DEPLOYED


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from the environment, completed by `.env` in development. Raises BadSetting."""
    given = dict(os.environ if environ is None else environ)
    if given.get("APP_ENV", "dev").strip().lower() not in DEPLOYED:
        given = {**_dotenv(Path(".env")), **given}
    return _settings(Reader(given))


def _dotenv(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
    pairs = (line.removeprefix("export ").split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip().strip("\"'") for name, value in pairs}


def _settings(read: Reader) -> Settings:
    return Settings(
        app_env=read.text("APP_ENV", "dev"),
        version=read.text("APPLICATION_VERSION"),
        secret_key=_secret_key(read),
        admin_token=read.text("TRUSTGATE_ADMIN_TOKEN"),
        data_dir=Path(read.text("TRUSTGATE_DATA_DIR", "var")),
        gateway_base_domain=read.text("GATEWAY_BASE_DOMAIN", "llm.localhost").lower(),
        mcp_allowed_hosts=_names(read.text("MCP_ALLOWED_HOSTS")),
        mcp_allowed_origins=_names(read.text("MCP_ALLOWED_ORIGINS")),
        mcp_allow_stdio=read.flag("MCP_ALLOW_STDIO", False),
        mcp_stdio_commands=frozenset(read.words("MCP_STDIO_COMMANDS")),
        mcp_stdio_environment=read.shared(("PATH", "LANG", "LC_ALL", "TZ")),
        plugins=read.words("TRUSTGATE_PLUGINS"),
        log_level=read.choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
        log_format=read.choice("LOG_FORMAT", "json", ("json", "text")),
        event_log=read.text("TELEMETRY_LOG", "none" if read.text("KAFKA_BROKERS") else "stdout"),
        trace_store_size=read.integer("TRACE_STORE_SIZE", 2000, high=1_000_000),
        trace_store_ttl=read.duration("TRACE_STORE_TTL", 0.0),
        queue_size=read.integer("METRICS_QUEUE_SIZE", 10_000, low=1),
        telemetry=read.flag("TELEMETRY_ENABLED", True),
        allow_local_limits=read.flag("ALLOW_LOCAL_LIMITS", False),
        config_poll=read.duration("CONFIG_POLL_INTERVAL", 0.2),
        config_max_staleness=read.duration("CONFIG_MAX_STALENESS", 0.0),
        config_refuse_stale=read.flag("CONFIG_REFUSE_STALE", False),
        config_keep=read.flag("CONFIG_KEEP_SNAPSHOT", True),
        ports=_ports(read),
        limits=_limits(read),
        clocks=_clocks(read),
        postgres=read_postgres(read),
        redis=read_redis(read),
        kafka=read_kafka(read),
        otlp=read_otlp(read),
        cache_max_bytes=read.integer("CACHE_MAX_BYTES", 64 * 1024 * 1024, low=1024, high=2**40),
        cors=_cors(read),
        proxies=_proxies(read),
        no_proxy=read.text("NO_PROXY", read.text("no_proxy")),
        openai_api_key=read.text("OPENAI_API_KEY"),
        variables=_variables(read),
        references=_references(read),  # last: what was read before is ours, and no registry's
    )


def _variables(read: Reader) -> Mapping[str, str]:
    """Return what plugins may read: the same for all policies of a process."""
    told = {
        "OPENAI_MODERATION_BASE_URL": read.address("OPENAI_MODERATION_BASE_URL"),
        "TRUSTGUARD_BASE_URL": read.address("TRUSTGUARD_BASE_URL"),
        "TRUSTGUARD_CLIENT_ID": read.text("TRUSTGUARD_CLIENT_ID"),
        "TRUSTGUARD_CLIENT_SECRET": read.text("TRUSTGUARD_CLIENT_SECRET"),
    }
    return {name: value for name, value in told.items() if value}


def _references(read: Reader) -> References:
    allowed = read.words("CREDENTIAL_ENV_ALLOWED", References().allowed)
    folder = read.text("CREDENTIAL_FILE_DIR")
    given = read.others().items()
    variables = {name: value.strip() for name, value in given if _referable(name, allowed, read.asked)}
    return References(allowed=allowed, variables=variables, folder=folder)


_NEVER = ("SERVER_*", "DB_*", "REDIS_*", "KAFKA_*", "OTEL_*", "TRUSTGATE_ADMIN_*")
"""Families of our own that no registry may refer to, also those of their members that no version reads yet."""


def _referable(name: str, allowed: tuple[str, ...], own: Set[str]) -> bool:
    ours = name in own or any(fnmatchcase(name.upper(), glob) for glob in _NEVER)
    return not ours and any(fnmatchcase(name, glob) for glob in allowed)


@lru_cache(maxsize=1)
def own_variables() -> frozenset[str]:
    """Return the names of all variables that this module reads."""
    reader = Reader({})
    _settings(reader)
    return frozenset(reader.asked)


def _secret_key(read: Reader) -> str:
    key = read.text("SERVER_SECRET_KEY")
    if key and len(key.encode()) < 32:
        raise BadSetting(
            f"SERVER_SECRET_KEY has {len(key.encode())} bytes, which is not accepted: use at least 32 random bytes, "
            "for example the output of `openssl rand -hex 32`"
        )
    return key


def _names(told: str) -> frozenset[str]:
    return frozenset(each.strip().lower() for each in told.split(",") if each.strip())


def _ports(read: Reader) -> Ports:
    return Ports(
        host=read.text("SERVER_HOST", Ports().host),
        admin=read.integer("SERVER_ADMIN_PORT", 8080, low=1, high=65535),
        proxy=read.integer("SERVER_PROXY_PORT", 8081, low=1, high=65535),
        mcp=read.integer("SERVER_MCP_PORT", 8082, low=1, high=65535),
    )


def _limits(read: Reader) -> Limits:
    default = Limits()
    return Limits(
        max_body_bytes=read.integer("SERVER_MAX_BODY_BYTES", default.max_body_bytes, low=1),
        max_header_bytes=read.integer("SERVER_MAX_HEADER_BYTES", default.max_header_bytes, low=1024, high=400 * 1024),
        max_buffered_answer_bytes=read.integer(
            "PROVIDER_MAX_ANSWER_BYTES", default.max_buffered_answer_bytes, low=1024
        ),
        grace=read.duration("SERVER_SHUTDOWN_GRACE", default.grace),
        policy_timeout=read.duration("POLICY_TIMEOUT", default.policy_timeout),
        throttle_wait=read.duration("POLICY_THROTTLE_WAIT", default.throttle_wait),
        provider_max_retries=read.integer("PROVIDER_MAX_RETRIES", default.provider_max_retries, high=10),
        stream_hold_bytes=read.integer("STREAM_HOLD_BYTES", default.stream_hold_bytes, low=1),
        stream_hold=read.duration("STREAM_HOLD", default.stream_hold),
        queue_wait=read.duration("QUEUE_MAX_WAIT", default.queue_wait),
    )


def _clocks(read: Reader) -> Clocks:
    default = Clocks()
    return Clocks(
        connect=read.duration("PROVIDER_CONNECT_TIMEOUT", default.connect),
        first_byte=read.duration("PROVIDER_RESPONSE_HEADER_TIMEOUT", default.first_byte),
        idle=read.duration("PROVIDER_STREAM_IDLE_TIMEOUT", default.idle),
        total=read.duration("PROVIDER_REQUEST_TIMEOUT", default.total),
    )


def _cors(read: Reader) -> CorsSettings:
    default = CorsSettings()
    return CorsSettings(
        origins=read.words("CORS_ALLOW_ORIGINS", default.origins),
        methods=read.words("CORS_ALLOW_METHODS", default.methods),
        headers=read.words("CORS_ALLOW_HEADERS", default.headers),
        expose=read.words("CORS_EXPOSE_HEADERS", default.expose),
        credentials=read.flag("CORS_ALLOW_CREDENTIALS", False),
        max_age=read.integer("CORS_MAX_AGE", default.max_age),
    )


def _proxies(read: Reader) -> dict[str, str]:
    found = {scheme: _proxy(read, f"{scheme.upper()}_PROXY", f"{scheme}_proxy") for scheme in ("https", "http")}
    return {scheme: url for scheme, url in found.items() if url}


def _proxy(read: Reader, *names: str) -> str:
    name = next((each for each in names if read.text(each)), "")
    if name and not _PROXY.fullmatch(read.text(name)):
        raise BadSetting(f"{name} is not the address of a proxy, which is accepted as http://host:port")
    return read.text(name) if name else ""
