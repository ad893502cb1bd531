"""A registry → the Target to call: everything that configuration decides becomes bytes here, once per revision."""

import re
from typing import Final
from urllib.parse import SplitResult, quote, urlencode, urlsplit

import msgspec

from trustgate.config.records import ApiKeyAuth, ModelPolicy, Registry
from trustgate.contract.policy import seconds
from trustgate.contract.target import Target
from trustgate.contract.upstream import Clocks, Header, Origin
from trustgate.providers.catalog import PROVIDERS, EchoOptions, Options, Provider, Timeouts

_PORTS: Final = {"http": 80, "https": 443, "echo": 0}
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_OURS: Final = frozenset(("host", "content-length", "transfer-encoding", "connection", "te", "trailer", "upgrade"))
"""Headers that say how a request travels: the transport's, never a registry's."""
_SAFE: Final = "/:@!$&'()*+,;=%~-._?"


class CannotTarget(Exception):
    """A registry that cannot be called as it is configured; the message says why."""


def compile_target(registry: Registry, rules: ModelPolicy | None, weight: int, clocks: Clocks) -> Target:
    """Compile a registry for one consumer. Raises CannotTarget."""
    provider = PROVIDERS.get(registry.provider)
    if provider is None:
        raise CannotTarget(f"there is no provider {registry.provider}")
    try:
        options = provider.options(registry.provider_options)
    except ValueError as error:
        raise CannotTarget(str(error)) from error
    url, origin = _address(_base_url(provider, options))
    headers = _headers(registry, options)
    return Target(
        registry_id=registry.id,
        provider=provider.name,
        dialect=provider.dialect,
        origin=origin,
        targets=_paths(provider, registry, url.path.rstrip("/"), url.query),
        headers=headers,
        names=frozenset(name for name, _ in headers),
        clocks=_clocks(options.timeouts, clocks),
        allowed=None if rules is None or rules.allowed is None else frozenset(rules.allowed),
        default=rules.default if rules else "",
        weight=weight,
    )


def _base_url(provider: Provider, options: Options | EchoOptions) -> str:
    chosen = options.base_url if isinstance(options, Options) else None
    return chosen or provider.base_url


def _address(base_url: str) -> tuple[SplitResult, Origin]:
    try:
        url = urlsplit(base_url)
        port = url.port
    except ValueError as error:
        raise CannotTarget(f"its base_url is no address: {error}") from error
    if not url.hostname or url.scheme not in _PORTS:
        raise CannotTarget("its base_url is no http or https address")
    return url, Origin(scheme=url.scheme, host=url.hostname, port=port or _PORTS[url.scheme])


def _paths(provider: Provider, registry: Registry, prefix: str, query: str) -> dict[str, bytes]:
    key = _key(registry) or ApiKeyAuth()
    extra = urlencode({key.param_name: key.param_value}) if key.param_name else ""
    joined = "&".join(part for part in (quote(query, safe=_SAFE), extra) if part)
    suffix = f"?{joined}" if joined else ""
    return {name: (quote(prefix + path, safe=_SAFE) + suffix).encode() for name, path in provider.paths.items()}


def _key(registry: Registry) -> ApiKeyAuth | None:
    return registry.auth.api_key if registry.auth.type == "api_key" else None


def _headers(registry: Registry, options: Options | EchoOptions) -> tuple[Header, ...]:
    if isinstance(options, EchoOptions):
        return ((b"x-echo-options", msgspec.json.encode(options)),)
    own = {name.lower(): value for name, value in options.headers.items()}
    headers = {**_credential(_key(registry)), **own}
    for name, value in headers.items():
        if not (_NAME.fullmatch(name) and _VALUE.fullmatch(value)) or name in _OURS:
            raise CannotTarget("one of its headers cannot be sent: check provider_options.headers and its auth")
    return tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items())


def _credential(key: ApiKeyAuth | None) -> dict[str, str]:
    if key is None:
        return {}
    if key.header_name:
        return {key.header_name.lower(): key.header_value}
    return {"authorization": f"Bearer {key.api_key}"} if key.api_key else {}


def _clocks(own: Timeouts, plane: Clocks) -> Clocks:
    return Clocks(
        connect=seconds(own.connect) if own.connect else plane.connect,
        first_byte=seconds(own.first_byte) if own.first_byte else plane.first_byte,
        idle=seconds(own.idle) if own.idle else plane.idle,
        total=seconds(own.total) if own.total else plane.total,
    )
