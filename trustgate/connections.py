"""What a process is connected with: where its database, Redis, Kafka and Collector are, as the environment says it."""

from typing import Literal
from urllib.parse import unquote

from msgspec import Struct

from trustgate.variables import BadSetting, Reader


class PostgresVariables(Struct, frozen=True, kw_only=True):
    """How to reach Postgres. `host` empty means the embedded database."""

    host: str = ""
    port: int = 5432
    user: str = "trustgate"
    password: str = ""
    name: str = "trustgate"
    ssl_mode: str = "prefer"
    ssl_root_cert: str = ""
    min_conns: int = 1
    max_conns: int = 10
    connect_timeout: float = 5.0


class RedisVariables(Struct, frozen=True, kw_only=True):
    """How to reach Redis. `host` empty means that this process counts by itself; where `mode` says so it is that of a
    Sentinel, or of any node of a cluster."""

    host: str = ""
    port: int = 6379
    username: str = ""
    password: str = ""
    db: int = 0
    tls: bool = False
    tls_ca_cert: str = ""
    timeout: float = 0.05
    mode: Literal["single", "sentinel", "cluster"] = "single"
    sentinel_master: str = "mymaster"

    def __repr__(self) -> str:
        """Say where; the password is secret."""
        return f"RedisVariables(host={self.host!r}, port={self.port}, db={self.db}, tls={self.tls})"


class KafkaVariables(Struct, frozen=True, kw_only=True):
    """Where events go. Without `brokers` there is no Kafka; `spool_bytes` may wait on disk while it is away."""

    brokers: tuple[str, ...] = ()
    topic: str = "trustgate.requests"
    security: str = "PLAINTEXT"
    mechanism: str = "PLAIN"
    username: str = ""
    password: str = ""
    ca_cert: str = ""
    client_cert: str = ""
    client_key: str = ""
    compression: str = "lz4"
    spool_bytes: int = 256 * 1024 * 1024

    def __repr__(self) -> str:
        """Say where; the password is secret."""
        return f"KafkaVariables(brokers={self.brokers!r}, topic={self.topic!r}, security={self.security!r})"


class OtlpVariables(Struct, frozen=True, kw_only=True):
    """The Collector that every gateway's events go to; without an `endpoint` there is none. `timeout` is in seconds.

    https://opentelemetry.io/docs/specs/otel/protocol/exporter/
    """

    endpoint: str = ""
    protocol: Literal["grpc", "http/protobuf"] = "http/protobuf"
    headers: tuple[tuple[str, str], ...] = ()
    timeout: float = 10.0
    insecure: bool = False
    compression: Literal["gzip", "none"] = "gzip"
    ca_file: str = ""
    latest_names: bool = False

    def __repr__(self) -> str:
        """Say where; headers are secret."""
        return f"OtlpVariables(endpoint={self.endpoint!r}, protocol={self.protocol!r})"


def read_postgres(read: Reader) -> PostgresVariables:
    """Return how the database is reached. Raises BadSetting."""
    return PostgresVariables(
        host=read.text("DB_HOST"),
        port=read.integer("DB_PORT", 5432, low=1, high=65535),
        user=read.text("DB_USER", "trustgate"),
        password=read.text("DB_PASSWORD"),
        name=read.text("DB_NAME", "trustgate"),
        ssl_mode=read.choice(
            "DB_SSL_MODE", "prefer", ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
        ),
        ssl_root_cert=read.text("DB_SSL_ROOT_CERT"),
        min_conns=read.integer("DB_MIN_CONNS", 1, high=1000),
        max_conns=read.integer("DB_MAX_CONNS", 10, low=1, high=1000),
        connect_timeout=read.duration("DB_CONNECT_TIMEOUT", 5.0),
    )


def read_redis(read: Reader) -> RedisVariables:
    """Return how Redis is reached. Raises BadSetting."""
    default = RedisVariables()
    mode = read.choice("REDIS_MODE", default.mode, ("single", "sentinel", "cluster"))
    if mode == "cluster" and read.integer("REDIS_DB", default.db, high=100_000):
        raise BadSetting("REDIS_DB is not 0, and REDIS_MODE is cluster: a cluster has database 0 alone")
    return RedisVariables(
        mode="cluster" if mode == "cluster" else "sentinel" if mode == "sentinel" else "single",
        sentinel_master=read.text("REDIS_SENTINEL_MASTER", default.sentinel_master),
        host=read.text("REDIS_HOST"),
        port=read.integer("REDIS_PORT", default.port, low=1, high=65535),
        username=read.text("REDIS_USERNAME"),
        password=read.text("REDIS_PASSWORD"),
        db=read.integer("REDIS_DB", default.db, high=100_000),
        tls=read.flag("REDIS_TLS_ENABLED", default.tls),
        tls_ca_cert=read.text("REDIS_TLS_CA_CERT"),
        timeout=read.duration("REDIS_TIMEOUT", default.timeout),
    )


def read_kafka(read: Reader) -> KafkaVariables:
    """Return how Kafka is reached. Raises BadSetting."""
    default = KafkaVariables()
    return KafkaVariables(
        brokers=read.words("KAFKA_BROKERS"),
        topic=read.text("TELEMETRY_KAFKA_TOPIC", default.topic),
        security=read.choice(
            "KAFKA_SECURITY_PROTOCOL", default.security, ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
        ),
        mechanism=read.choice("KAFKA_SASL_MECHANISM", default.mechanism, ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")),
        username=read.text("KAFKA_SASL_USERNAME"),
        password=read.text("KAFKA_SASL_PASSWORD"),
        ca_cert=read.text("KAFKA_SSL_CA_CERT"),
        client_cert=read.text("KAFKA_SSL_CLIENT_CERT"),
        client_key=read.text("KAFKA_SSL_CLIENT_KEY"),
        compression=read.choice("KAFKA_COMPRESSION", default.compression, ("none", "gzip", "snappy", "lz4", "zstd")),
        spool_bytes=read.integer("TELEMETRY_SPOOL_BYTES", default.spool_bytes, low=1024, high=2**40),
    )


def read_otlp(read: Reader) -> OtlpVariables:
    """Return how the Collector is reached. Raises BadSetting."""
    default = OtlpVariables()
    protocol = read.choice("OTEL_EXPORTER_OTLP_PROTOCOL", default.protocol, ("grpc", "http/protobuf"))
    compression = read.choice("OTEL_EXPORTER_OTLP_COMPRESSION", default.compression, ("gzip", "none"))
    pairs = [each.split("=", 1) for each in read.words("OTEL_EXPORTER_OTLP_HEADERS")]
    if any(len(pair) != 2 or not pair[0].strip() for pair in pairs):
        raise BadSetting("OTEL_EXPORTER_OTLP_HEADERS is no list of name=value, separated by commas")
    return OtlpVariables(
        endpoint=read.address("OTEL_EXPORTER_OTLP_ENDPOINT"),
        protocol="grpc" if protocol == "grpc" else "http/protobuf",
        headers=tuple((name.strip(), unquote(value.strip())) for name, value in pairs),
        timeout=read.duration("OTEL_EXPORTER_OTLP_TIMEOUT", default.timeout, plain=0.001),
        insecure=read.flag("OTEL_EXPORTER_OTLP_INSECURE", default.insecure),
        compression="none" if compression == "none" else "gzip",
        ca_file=read.text("OTEL_EXPORTER_OTLP_CERTIFICATE"),
        latest_names="gen_ai_latest_experimental" in read.words("OTEL_SEMCONV_STABILITY_OPT_IN"),
    )
