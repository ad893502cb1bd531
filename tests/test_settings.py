"""Every environment variable: what it accepts, what it becomes, and what somebody who got it wrong is told."""

import inspect
import re
from collections.abc import Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from trustgate import connections, settings
from trustgate.contract.upstream import Clocks
from trustgate.settings import DEPLOYED, Settings, read_settings
from trustgate.variables import BadSetting

SECRET = "0123456789abcdef0123456789abcdef"
PORT = "a whole number 1 to 65535"
DURATION = "a duration above zero such as 500ms, 30s or 5m"
FLAG = "1, true, yes, on, 0, false, no or off"

GUARDS = ("OPENAI_MODERATION_BASE_URL", "TRUSTGUARD_BASE_URL", "TRUSTGUARD_CLIENT_ID", "TRUSTGUARD_CLIENT_SECRET")

ACCEPTED: list[tuple[str, str, str, Any]] = [
    ("APP_ENV", "staging", "app_env", "staging"),
    ("APPLICATION_VERSION", "1.2.3", "version", "1.2.3"),
    ("SERVER_SECRET_KEY", SECRET, "secret_key", SECRET),
    ("SERVER_SECRET_KEY", "ü" * 16, "secret_key", "ü" * 16),
    ("TRUSTGATE_DATA_DIR", "/srv/trustgate", "data_dir", Path("/srv/trustgate")),
    ("GATEWAY_BASE_DOMAIN", "LLM.Example.com", "gateway_base_domain", "llm.example.com"),
    ("MCP_ALLOWED_HOSTS", "MCP.Example.com, b", "mcp_allowed_hosts", frozenset({"mcp.example.com", "b"})),
    ("MCP_ALLOWED_ORIGINS", "https://App.example.com,", "mcp_allowed_origins", frozenset({"https://app.example.com"})),
    ("MCP_ALLOW_STDIO", "true", "mcp_allow_stdio", True),
    ("MCP_STDIO_COMMANDS", "npx, /opt/bin/a", "mcp_stdio_commands", frozenset({"npx", "/opt/bin/a"})),
    ("TRUSTGATE_PLUGINS", "one, two ,,three", "plugins", ("one", "two", "three")),
    ("LOG_LEVEL", "debug", "log_level", "DEBUG"),
    ("LOG_LEVEL", "WARNING", "log_level", "WARNING"),
    ("LOG_FORMAT", "TEXT", "log_format", "text"),
    ("TELEMETRY_LOG", "/var/log/events", "event_log", "/var/log/events"),
    ("METRICS_QUEUE_SIZE", "1", "queue_size", 1),
    ("TRACE_STORE_SIZE", "0", "trace_store_size", 0),
    ("TRACE_STORE_TTL", "10m", "trace_store_ttl", 600.0),
    ("TELEMETRY_ENABLED", "off", "telemetry", False),
    ("TELEMETRY_ENABLED", "Yes", "telemetry", True),
    ("CONFIG_POLL_INTERVAL", "50ms", "config_poll", 0.05),
    ("TRUSTGATE_ADMIN_TOKEN", "a.b.c", "admin_token", "a.b.c"),
    ("ALLOW_LOCAL_LIMITS", "yes", "allow_local_limits", True),
    ("CONFIG_MAX_STALENESS", "5m", "config_max_staleness", 300.0),
    ("CONFIG_REFUSE_STALE", "true", "config_refuse_stale", True),
    ("CONFIG_KEEP_SNAPSHOT", "no", "config_keep", False),
    ("SERVER_HOST", "127.0.0.1", "ports.host", "127.0.0.1"),
    ("SERVER_ADMIN_PORT", "1", "ports.admin", 1),
    ("SERVER_PROXY_PORT", "65535", "ports.proxy", 65535),
    ("SERVER_MCP_PORT", " 9000 ", "ports.mcp", 9000),
    ("SERVER_MAX_BODY_BYTES", "1", "limits.max_body_bytes", 1),
    ("CREDENTIAL_ENV_ALLOWED", "A_*, B", "references.allowed", ("A_*", "B")),
    ("CREDENTIAL_FILE_DIR", "/run/secrets", "references.folder", "/run/secrets"),
    ("SERVER_MAX_HEADER_BYTES", "1024", "limits.max_header_bytes", 1024),
    ("SERVER_MAX_HEADER_BYTES", "409600", "limits.max_header_bytes", 409600),
    ("PROVIDER_MAX_ANSWER_BYTES", "1024", "limits.max_buffered_answer_bytes", 1024),
    ("SERVER_SHUTDOWN_GRACE", "1m30s", "limits.grace", 90.0),
    ("POLICY_TIMEOUT", "250ms", "limits.policy_timeout", 0.25),
    *((name, "https://x", "variables", {name: "https://x"}) for name in GUARDS),
    ("POLICY_THROTTLE_WAIT", "2s", "limits.throttle_wait", 2.0),
    ("PROVIDER_MAX_RETRIES", "0", "limits.provider_max_retries", 0),
    ("STREAM_HOLD", "1s", "limits.stream_hold", 1.0),
    ("STREAM_HOLD_BYTES", "1024", "limits.stream_hold_bytes", 1024),
    ("QUEUE_MAX_WAIT", "3s", "limits.queue_wait", 3.0),
    ("PROVIDER_CONNECT_TIMEOUT", "1s", "clocks.connect", 1.0),
    ("PROVIDER_RESPONSE_HEADER_TIMEOUT", "2s", "clocks.first_byte", 2.0),
    ("PROVIDER_STREAM_IDLE_TIMEOUT", "1.5s", "clocks.idle", 1.5),
    ("PROVIDER_REQUEST_TIMEOUT", "1h", "clocks.total", 3600.0),
    ("DB_HOST", "db", "postgres.host", "db"),
    ("DB_PORT", "6432", "postgres.port", 6432),
    ("DB_USER", "me", "postgres.user", "me"),
    ("DB_PASSWORD", "p=ss", "postgres.password", "p=ss"),
    ("DB_NAME", "gate", "postgres.name", "gate"),
    ("DB_SSL_MODE", "Verify-Full", "postgres.ssl_mode", "verify-full"),
    ("DB_SSL_ROOT_CERT", "/ca.pem", "postgres.ssl_root_cert", "/ca.pem"),
    ("DB_MIN_CONNS", "0", "postgres.min_conns", 0),
    ("DB_MAX_CONNS", "1000", "postgres.max_conns", 1000),
    ("DB_CONNECT_TIMEOUT", "3s", "postgres.connect_timeout", 3.0),
    ("REDIS_HOST", "redis", "redis.host", "redis"),
    ("REDIS_PORT", "6380", "redis.port", 6380),
    ("REDIS_USERNAME", "me", "redis.username", "me"),
    ("REDIS_PASSWORD", "p=ss", "redis.password", "p=ss"),
    ("REDIS_DB", "3", "redis.db", 3),
    ("REDIS_TLS_ENABLED", "on", "redis.tls", True),
    ("REDIS_TLS_CA_CERT", "/ca.pem", "redis.tls_ca_cert", "/ca.pem"),
    ("REDIS_TIMEOUT", "20ms", "redis.timeout", 0.02),
    ("REDIS_MODE", "Cluster", "redis.mode", "cluster"),
    ("REDIS_SENTINEL_MASTER", "gate", "redis.sentinel_master", "gate"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318", "otlp.endpoint", "http://c:4318"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "GRPC", "otlp.protocol", "grpc"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "a=b%20c, d=e=f", "otlp.headers", (("a", "b c"), ("d", "e=f"))),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "2s", "otlp.timeout", 2.0),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500", "otlp.timeout", 1.5),
    ("OTEL_EXPORTER_OTLP_INSECURE", "true", "otlp.insecure", True),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", "none", "otlp.compression", "none"),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem", "otlp.ca_file", "/ca.pem"),
    ("OTEL_SEMCONV_STABILITY_OPT_IN", "http,gen_ai_latest_experimental", "otlp.latest_names", True),
    ("KAFKA_BROKERS", "a:9092, b:9092", "kafka.brokers", ("a:9092", "b:9092")),
    ("TELEMETRY_KAFKA_TOPIC", "events", "kafka.topic", "events"),
    ("TELEMETRY_SPOOL_BYTES", "1024", "kafka.spool_bytes", 1024),
    ("KAFKA_SECURITY_PROTOCOL", "sasl_ssl", "kafka.security", "SASL_SSL"),
    ("KAFKA_SASL_MECHANISM", "scram-sha-512", "kafka.mechanism", "SCRAM-SHA-512"),
    ("KAFKA_SASL_USERNAME", "me", "kafka.username", "me"),
    ("KAFKA_SASL_PASSWORD", "p=ss", "kafka.password", "p=ss"),
    ("KAFKA_SSL_CA_CERT", "/ca.pem", "kafka.ca_cert", "/ca.pem"),
    ("KAFKA_SSL_CLIENT_CERT", "/me.pem", "kafka.client_cert", "/me.pem"),
    ("KAFKA_SSL_CLIENT_KEY", "/me.key", "kafka.client_key", "/me.key"),
    ("KAFKA_COMPRESSION", "ZSTD", "kafka.compression", "zstd"),
    ("CACHE_MAX_BYTES", "1024", "cache_max_bytes", 1024),
    ("CORS_ALLOW_ORIGINS", "https://a.example, https://b.example", "cors.origins", ("https://a.example", "https://b.example")),
    ("CORS_ALLOW_METHODS", "GET", "cors.methods", ("GET",)),
    ("CORS_ALLOW_HEADERS", "X-One", "cors.headers", ("X-One",)),
    ("CORS_EXPOSE_HEADERS", "X-Two", "cors.expose", ("X-Two",)),
    ("CORS_ALLOW_CREDENTIALS", "on", "cors.credentials", True),
    ("CORS_MAX_AGE", "0", "cors.max_age", 0),
    ("HTTPS_PROXY", "http://proxy:1", "proxies", {"https": "http://proxy:1"}),
    ("https_proxy", "http://proxy:2", "proxies", {"https": "http://proxy:2"}),
    ("HTTP_PROXY", "http://proxy:3", "proxies", {"http": "http://proxy:3"}),
    ("http_proxy", "http://proxy:4", "proxies", {"http": "http://proxy:4"}),
    ("NO_PROXY", "localhost,.internal", "no_proxy", "localhost,.internal"),
    ("no_proxy", "localhost", "no_proxy", "localhost"),
    ("OPENAI_API_KEY", "sk-1", "openai_api_key", "sk-1"),
]  # fmt: skip

REFUSED: list[tuple[str, tuple[str, ...], str]] = [
    *((name, ("x", "ftp://x", "https://"), "an address such as https://host:8443") for name in GUARDS[:2]),
    ("LOG_LEVEL", ("loud", "10"), "one of DEBUG, INFO, WARNING, ERROR"),
    ("LOG_FORMAT", ("xml",), "one of json, text"),
    ("METRICS_QUEUE_SIZE", ("0", "-1", "ten", "1.5"), "a whole number 1 to 2147483648"),
    ("TRACE_STORE_SIZE", ("-1", "many"), "a whole number 0 to 1000000"),
    ("TRACE_STORE_TTL", ("0s", "600"), DURATION),
    ("TELEMETRY_ENABLED", ("maybe", "2"), FLAG),
    ("MCP_ALLOW_STDIO", ("maybe",), FLAG),
    ("ALLOW_LOCAL_LIMITS", ("perhaps",), FLAG),
    ("CONFIG_MAX_STALENESS", ("0s", "5"), DURATION),
    ("CONFIG_REFUSE_STALE", ("maybe",), FLAG),
    ("CONFIG_KEEP_SNAPSHOT", ("2",), FLAG),
    ("CONFIG_POLL_INTERVAL", ("0s", "5", "-1s", "1 s", "soon"), DURATION),
    ("SERVER_ADMIN_PORT", ("0", "65536", "http", "8080.0"), PORT),
    ("SERVER_PROXY_PORT", ("0", "65536", "http"), PORT),
    ("SERVER_MCP_PORT", ("0", "65536", "http"), PORT),
    ("SERVER_MAX_BODY_BYTES", ("0", "8MB"), "a whole number 1 to 2147483648"),
    ("SERVER_MAX_HEADER_BYTES", ("1023", "409601"), "a whole number 1024 to 409600"),
    ("PROVIDER_MAX_ANSWER_BYTES", ("1023",), "a whole number 1024 to 2147483648"),
    ("SERVER_SHUTDOWN_GRACE", ("30",), DURATION),
    ("POLICY_TIMEOUT", ("0ms", "fast"), DURATION),
    ("POLICY_THROTTLE_WAIT", ("10",), DURATION),
    ("PROVIDER_MAX_RETRIES", ("-1", "11", "x"), "a whole number 0 to 10"),
    ("STREAM_HOLD", ("0s", "2"), DURATION),
    ("STREAM_HOLD_BYTES", ("0",), "a whole number 1 to 2147483648"),
    ("QUEUE_MAX_WAIT", ("0s", "10"), DURATION),
    ("PROVIDER_CONNECT_TIMEOUT", ("10",), DURATION),
    ("PROVIDER_RESPONSE_HEADER_TIMEOUT", ("60 s",), DURATION),
    ("PROVIDER_STREAM_IDLE_TIMEOUT", ("1y",), DURATION),
    ("PROVIDER_REQUEST_TIMEOUT", ("0h",), DURATION),
    ("DB_PORT", ("0", "pg"), PORT),
    ("DB_SSL_MODE", ("yes",), "one of disable, allow, prefer, require, verify-ca, verify-full"),
    ("DB_MIN_CONNS", ("-1", "1001"), "a whole number 0 to 1000"),
    ("DB_MAX_CONNS", ("0", "1001"), "a whole number 1 to 1000"),
    ("DB_CONNECT_TIMEOUT", ("5",), DURATION),
    ("REDIS_PORT", ("0", "redis"), PORT),
    ("REDIS_DB", ("-1", "main"), "a whole number 0 to 100000"),
    ("REDIS_TLS_ENABLED", ("tls",), FLAG),
    ("REDIS_TIMEOUT", ("0ms", "50"), DURATION),
    ("REDIS_MODE", ("many",), "one of single, sentinel, cluster"),
    ("TELEMETRY_SPOOL_BYTES", ("1023", "much"), "a whole number 1024 to 1099511627776"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", ("udp",), "one of grpc, http/protobuf"),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", ("0", "soon"), DURATION),
    ("OTEL_EXPORTER_OTLP_INSECURE", ("perhaps",), FLAG),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", ("zip",), "one of gzip, none"),
    ("KAFKA_SECURITY_PROTOCOL", ("TLS",), "one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"),
    ("KAFKA_SASL_MECHANISM", ("GSSAPI",), "one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"),
    ("KAFKA_COMPRESSION", ("zip",), "one of none, gzip, snappy, lz4, zstd"),
    ("CACHE_MAX_BYTES", ("1023", "64MB"), "a whole number 1024 to 1099511627776"),
    ("CORS_ALLOW_CREDENTIALS", ("y",), FLAG),
    ("CORS_MAX_AGE", ("-1", "10m"), "a whole number 0 to 2147483648"),
]

TAKES_ANYTHING = {
    *GUARDS[2:],
    *("CREDENTIAL_ENV_ALLOWED", "CREDENTIAL_FILE_DIR"),
    *(
        "APPLICATION_VERSION",
        "TRUSTGATE_DATA_DIR",
        "GATEWAY_BASE_DOMAIN",
        "MCP_ALLOWED_HOSTS",
        "MCP_ALLOWED_ORIGINS",
        "MCP_STDIO_COMMANDS",
        "TRUSTGATE_PLUGINS",
        "TELEMETRY_LOG",
    ),
    *("SERVER_HOST", "DB_HOST", "DB_USER", "DB_PASSWORD", "DB_NAME", "DB_SSL_ROOT_CERT", "OPENAI_API_KEY", "APP_ENV"),
    *("REDIS_SENTINEL_MASTER", "TRUSTGATE_ADMIN_TOKEN"),
    *("REDIS_HOST", "REDIS_USERNAME", "REDIS_PASSWORD", "REDIS_TLS_CA_CERT"),
    *(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
        "OTEL_SEMCONV_STABILITY_OPT_IN",
    ),
    *("KAFKA_BROKERS", "TELEMETRY_KAFKA_TOPIC", "KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD"),
    *("KAFKA_SSL_CA_CERT", "KAFKA_SSL_CLIENT_CERT", "KAFKA_SSL_CLIENT_KEY"),
    *("CORS_ALLOW_ORIGINS", "CORS_ALLOW_METHODS", "CORS_ALLOW_HEADERS", "CORS_EXPOSE_HEADERS"),
    *("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"),
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: an empty one, so that nobody's own `.env` is read."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def variables() -> set[str]:
    """Every variable that is read, from the source."""
    source = "".join(map(inspect.getsource, (settings, connections)))
    found = set(re.findall(r'read\.\w+\(\s*"(\w+)"', source)) | {"no_proxy"}
    return found | {"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"}


@pytest.mark.parametrize(("name", "raw", "attribute", "value"), ACCEPTED)
def test_accepted(name: str, raw: str, attribute: str, value: Any) -> None:
    assert attrgetter(attribute)(read_settings({name: raw})) == value


@pytest.mark.parametrize(
    ("name", "raw", "accepted"), [(name, raw, accepted) for name, raws, accepted in REFUSED for raw in raws]
)
def test_refused_by_name_with_the_value_and_what_is_accepted(name: str, raw: str, accepted: str) -> None:
    with pytest.raises(BadSetting) as told:
        read_settings({name: raw})
    assert str(told.value) == f"{name} is {raw!r}, which is not accepted: use {accepted}"


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    for name in GUARDS[:2]:
        with pytest.raises(BadSetting, match=name) as told:
            read_settings({name: "https://me:hunter2@host"})
        assert "hunter2" not in str(told.value)


def test_no_variable_is_forgotten_here() -> None:
    assert {row[0] for row in ACCEPTED} == variables()
    assert {row[0] for row in REFUSED} | TAKES_ANYTHING | {"SERVER_SECRET_KEY"} == variables()


@pytest.mark.parametrize("name", sorted(variables()))
@pytest.mark.parametrize("raw", ["", "  "])
def test_an_empty_variable_is_an_absent_one(name: str, raw: str) -> None:
    assert read_settings({name: raw}) == read_settings({})


def test_without_any_variable() -> None:
    settings = read_settings({})
    assert settings == Settings(gateway_base_domain="llm.localhost")
    assert (settings.clocks, settings.production) == (Clocks(connect=10, first_byte=60, idle=60, total=300), False)


def test_the_environment_itself_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER_PROXY_PORT", "9999")
    assert read_settings().ports.proxy == 9999


# The secret key.


@pytest.mark.parametrize("key", ["short", "x" * 31, "ü" * 15])
def test_a_short_secret_key_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(BadSetting) as told:
        read_settings({"SERVER_SECRET_KEY": key})
    assert str(told.value).startswith(f"SERVER_SECRET_KEY has {len(key.encode())} bytes, which is not accepted: use at")
    assert "at least 32 random bytes" in str(told.value)
    assert key not in str(told.value)


# Deployments.


@pytest.mark.parametrize("name", [*DEPLOYED, "Production", "PROD"])
def test_a_deployment(name: str) -> None:
    assert read_settings({"APP_ENV": name}).production


@pytest.mark.parametrize("name", ["dev", "development", "test", ""])
def test_no_deployment(name: str) -> None:
    assert not read_settings({"APP_ENV": name}).production


# `.env`.

DOTENV = """\
# what I like
SERVER_PROXY_PORT=9001
export LOG_FORMAT = text

 SERVER_HOST='127.0.0.1'
DB_PASSWORD="a=b#c"
 # SERVER_MCP_PORT=1
nonsense
"""


@pytest.fixture
def dotenv(folder: Path) -> None:
    (folder / ".env").write_text(DOTENV, "utf-8")


def summary(environ: Mapping[str, str]) -> tuple[int, str, str, str, int]:
    found = read_settings(environ)
    return found.ports.proxy, found.log_format, found.ports.host, found.postgres.password, found.ports.mcp


@pytest.mark.usefixtures("dotenv")
@pytest.mark.parametrize("environ", [{}, {"APP_ENV": "dev"}, {"APP_ENV": ""}, {"APP_ENV": "local"}])
def test_a_dotenv_is_loaded_in_development(environ: Mapping[str, str]) -> None:
    assert summary(environ) == (9001, "text", "127.0.0.1", "a=b#c", 8082)


@pytest.mark.usefixtures("dotenv")
def test_the_real_environment_wins_over_a_dotenv() -> None:
    environ = {"SERVER_PROXY_PORT": "9002", "DB_PASSWORD": "real"}
    assert summary(environ) == (9002, "text", "127.0.0.1", "real", 8082)


@pytest.mark.usefixtures("dotenv")
@pytest.mark.parametrize("name", [*DEPLOYED, "PRODUCTION", " production "])
def test_a_dotenv_is_not_loaded_in_a_deployment(name: str) -> None:
    assert summary({"APP_ENV": name}) == (8081, "json", "0.0.0.0", "", 8082)


def test_a_wrong_value_in_a_dotenv_is_told_in_the_same_words(folder: Path) -> None:
    (folder / ".env").write_text("SERVER_PROXY_PORT=many\n", "utf-8")
    with pytest.raises(BadSetting, match=f"^SERVER_PROXY_PORT is 'many', which is not accepted: use {PORT}$"):
        read_settings({})


def test_a_folder_named_dotenv_is_no_file(folder: Path) -> None:
    (folder / ".env").mkdir()
    assert read_settings({}) == read_settings({"APP_ENV": "dev"})
