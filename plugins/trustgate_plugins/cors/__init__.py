"""Which pages may ask from a browser. A preflight is answered before anybody's key is looked at, as browsers need it.

https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from collections.abc import Sequence

from trustgate import Origin, hookimpl
from trustgate_plugins.cors.settings import CorsSettings

Header = tuple[bytes, bytes]


@hookimpl
def settings_type() -> type[CorsSettings]:
    return CorsSettings


@hookimpl
def browser(origin: Origin, settings: CorsSettings) -> Sequence[Header] | None:
    if not settings.allows(origin.value) or not _may(origin, settings):
        return None
    headers = [(b"access-control-allow-origin", _told(origin, settings)), (b"vary", b"Origin")]
    if settings.allow_credentials:
        headers.append((b"access-control-allow-credentials", b"true"))
    if origin.preflight:
        return [*headers, *_preflight(origin, settings)]
    if settings.exposed_headers:
        headers.append((b"access-control-expose-headers", ", ".join(settings.exposed_headers).encode()))
    return headers


def _may(origin: Origin, settings: CorsSettings) -> bool:
    if not origin.preflight:
        return True
    named = not settings.headers or "*" in settings.headers or settings.headers.issuperset(origin.headers)
    return named and origin.method in settings.methods


def _told(origin: Origin, settings: CorsSettings) -> bytes:
    return b"*" if settings.allowed_origins == ("*",) else origin.value.encode("latin-1")


def _preflight(origin: Origin, settings: CorsSettings) -> list[Header]:
    # named one by one, also where any is allowed: with `Authorization` a browser takes no wildcard
    return [
        (b"access-control-allow-methods", ", ".join(sorted(settings.methods)).encode()),
        (b"access-control-allow-headers", ", ".join(origin.headers).encode("latin-1")),
        (b"access-control-max-age", b"%d" % settings.max_age),
    ]
