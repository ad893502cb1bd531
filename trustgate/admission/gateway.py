"""Which gateway: named by the slug header or by the host; where neither says so, the one that the key belongs to."""

import re
from collections.abc import Mapping
from typing import Final

from trustgate.config.snapshot import Snapshot, Tenant
from trustgate.contract.errors import Refused

SLUG: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def named_gateway(snapshot: Snapshot, headers: Mapping[bytes, bytes], base_domain: str) -> Tenant | None:
    """Return the gateway that the request names, or None when it names none. Raises Refused for an unknown one."""
    slug = headers.get(b"x-ag-gateway-slug")
    if slug is not None:
        return _by_slug(
            snapshot, slug.decode("latin-1").strip().lower(), "header X-AG-Gateway-Slug does not hold a gateway slug"
        )
    return _by_host(snapshot, headers.get(b"host", b"").decode("latin-1").lower(), base_domain)


def _by_slug(snapshot: Snapshot, slug: str, otherwise: str) -> Tenant:
    tenant = snapshot.by_slug(slug)
    if tenant is None:
        raise _unknown(f'gateway "{slug}" is unknown' if SLUG.fullmatch(slug) else otherwise)
    return tenant


def _by_host(snapshot: Snapshot, host: str, base_domain: str) -> Tenant | None:
    name = host if host.startswith("[") else host.partition(":")[0]
    if (found := snapshot.domains.get(name)) is not None:
        return snapshot.tenants[found]
    if not name.endswith("." + base_domain):
        return None
    return _by_slug(
        snapshot, name.removesuffix("." + base_domain), "the host must be one gateway slug before the base domain"
    )


def _unknown(detail: str) -> Refused:
    return Refused("invalid_auth_request", f"Invalid auth request: {detail}.", status=400, retry=False)
