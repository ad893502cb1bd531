"""A registry → the Target to call: everything that configuration decides is worked out here, once per revision."""

import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import SplitResult, quote, urlencode, urlsplit

import msgspec
from msgspec.structs import replace

from trustgate.config.records import ApiKeyAuth, ModelPolicy, Registry
from trustgate.contract.policy import seconds
from trustgate.contract.target import Target, Way
from trustgate.contract.upstream import Clocks, Header, Origin
from trustgate.providers.catalog import (
    AZURE_VERSION,
    PROVIDERS,
    RESPONSES,
    AzureOptions,
    BedrockOptions,
    EchoOptions,
    OpenAICompatibleOptions,
    OpenAIOptions,
    Options,
    Provider,
    Timeouts,
    VertexOptions,
)
from trustgate.providers.credentials import Credentials
from trustgate.providers.repairs import REPAIRS
from trustgate.providers.translate import ways_of

_PORTS: Final = {"http": 80, "https": 443, "echo": 0}
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_OURS: Final = frozenset(("host", "content-length", "transfer-encoding", "connection", "te", "trailer", "upgrade"))
"""Headers that say how a request travels: the transport's, never a registry's."""
_SAFE: Final = "/:@!$&'()*+,;=%~-._?{}"
_CHAT: Final[Mapping[str, tuple[str, ...]]] = {
    "responses": ("chat_completions", "completions"),
    "completions": RESPONSES,
}
"""What a registry is not asked for that is confined to one of OpenAI's two chat dialects."""


class CannotTarget(Exception):
    """A registry that cannot be called as it is configured; the message says why."""


def compile_target(
    registry: Registry, rules: ModelPolicy | None, weight: int, clocks: Clocks, credentials: Credentials
) -> Target:
    """Compile a registry for one consumer. Raises CannotTarget."""
    provider = PROVIDERS.get(registry.provider)
    if provider is None:
        raise CannotTarget(f"there is no provider {registry.provider}")
    try:
        options = provider.options(registry.provider_options)
        key = credentials.key(registry.auth)
        fixed, credential = credentials.credential(
            registry.id, registry.auth, service=provider.service, options=registry.provider_options
        )
        fill = _fill(registry, options, credentials)
    except ValueError as error:  # wrong options, or a BadCredential
        raise CannotTarget(str(error)) from error
    url, origin = _address(_base_url(provider, options, fill))
    query = _query(url, key)
    headers = _headers(provider, options, key, tuple(fixed))
    return Target(
        registry_id=registry.id,
        registry=registry.name,
        provider=provider.name,
        dialect=provider.dialect,
        origin=origin,
        ways=ways_of(_ways(provider, options, url.path.rstrip("/"), query, fill)),
        base=quote(url.path.rstrip("/"), safe=_SAFE),
        query=query,
        headers=headers,
        names=frozenset(name for name, _ in headers),
        defaults=tuple((name.encode(), value.encode()) for name, value in provider.defaults.items()),
        credential=credential,
        clocks=_clocks(options.timeouts, clocks),
        allowed=None if rules is None or rules.allowed is None else frozenset(rules.allowed),
        default=rules.default if rules else "",
        weight=weight,
        prices=registry.prices,
    )


def _fill(registry: Registry, options: Options | EchoOptions, credentials: Credentials) -> Mapping[str, str]:
    """What the addresses of some vendors have in them."""
    auth = registry.auth
    match options:
        case AzureOptions() if auth.azure is not None:
            return {"endpoint": auth.azure.endpoint.rstrip("/"), "version": auth.azure.version or AZURE_VERSION}
        case BedrockOptions():
            region = options.region if auth.aws is None else auth.aws.region
            if not region:
                raise CannotTarget("provider_options.region is missing: Bedrock answers in a region")
            return {"region": region}
        case VertexOptions():
            return _vertex(options, options.project or credentials.project(auth))
        case _:
            return {}


def _vertex(options: VertexOptions, project: str) -> Mapping[str, str]:
    if not project:
        raise CannotTarget("provider_options.project is missing, and the service account names none")
    regional = "" if options.location == "global" else f"{options.location}-"
    return {
        "host": f"{regional}aiplatform.googleapis.com",
        "project": project,
        "location": options.location,
        "version": options.version,
    }


def _base_url(provider: Provider, options: Options | EchoOptions, fill: Mapping[str, str]) -> str:
    chosen = options.base_url if isinstance(options, Options) else None
    return chosen or provider.base_url.format_map(fill)


def _address(base_url: str) -> tuple[SplitResult, Origin]:
    try:
        url = urlsplit(base_url)
        port = url.port
    except ValueError as error:
        raise CannotTarget(f"its base_url is no address: {error}") from error
    if not url.hostname or url.scheme not in _PORTS:
        raise CannotTarget("its base_url is no http or https address")
    return url, Origin(scheme=url.scheme, host=url.hostname, port=port or _PORTS[url.scheme])


def _query(url: SplitResult, key: ApiKeyAuth) -> str:
    extra = urlencode({key.param_name: key.param_value}) if key.param_name else ""
    return "&".join(part for part in (quote(url.query, safe=_SAFE), extra) if part)


def _ways(
    provider: Provider, options: Options | EchoOptions, prefix: str, query: str, fill: Mapping[str, str]
) -> Iterable[Way]:
    api = options.api if isinstance(options, OpenAIOptions | OpenAICompatibleOptions | AzureOptions) else ""
    for way in provider.ways:
        if way.operation not in _CHAT.get(api, ()):
            path, stream_path = (_path(prefix, path, query, fill) for path in (way.path, way.stream_path))
            plain = "{" not in path and way.shape is None and provider.name not in REPAIRS
            yield replace(way, path=path, stream_path=stream_path if way.stream_path else "", plain=plain)


def _path(prefix: str, path: str, query: str, fill: Mapping[str, str]) -> str:
    for name, value in fill.items():
        path = path.replace("{" + name + "}", value)
    joint = "&" if "?" in path else "?"
    return quote(prefix + path, safe=_SAFE) + (joint + query if query else "")


def _headers(
    provider: Provider, options: Options | EchoOptions, key: ApiKeyAuth, fixed: tuple[Header, ...]
) -> tuple[Header, ...]:
    if isinstance(options, EchoOptions):
        return ((b"x-echo-options", msgspec.json.encode(options)),)
    own = {name.lower(): value for name, value in options.headers.items()}
    given = {name.decode("latin-1"): value.decode("latin-1") for name, value in fixed}
    headers = {**_credential(provider, key), **given, **own}
    for name, value in headers.items():
        if not (_NAME.fullmatch(name) and _VALUE.fullmatch(value)) or name in _OURS:
            raise CannotTarget("one of its headers cannot be sent: check provider_options.headers and its auth")
    return tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items())


def _credential(provider: Provider, key: ApiKeyAuth) -> dict[str, str]:
    if key.header_name:
        return {key.header_name.lower(): key.header_value}
    return {provider.key_header: provider.key_prefix + key.api_key} if key.api_key else {}


def _clocks(own: Timeouts, plane: Clocks) -> Clocks:
    return Clocks(
        connect=seconds(own.connect) if own.connect else plane.connect,
        first_byte=seconds(own.first_byte) if own.first_byte else plane.first_byte,
        idle=seconds(own.idle) if own.idle else plane.idle,
        total=seconds(own.total) if own.total else plane.total,
    )
