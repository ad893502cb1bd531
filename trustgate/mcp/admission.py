"""Who is asking for which virtual server: the path names it, and the key says whose it is."""

import re
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from trustgate.admission.consumer import Admitted, admit, presented_key
from trustgate.admission.gateway import named_gateway
from trustgate.config.snapshot import Snapshot
from trustgate.contract.errors import Refused
from trustgate.contract.upstream import Header
from trustgate.mcp.messages import DENIED, Wrong

_PATH: Final = re.compile(r"/(?:(?P<gateway>[a-z0-9-]{1,63})/)?(?P<consumer>[a-z0-9-]{1,63})/mcp/?")
METADATA: Final = "/.well-known/oauth-protected-resource"
_LOCAL: Final = ("localhost", "127.0.0.1", "[::1]")


class Doors(Struct, frozen=True, kw_only=True):
    """Which names of hosts, and pages of which origins, are let in. `local` says that only this machine can ask: then a
    foreign name of a host is a page's trick (DNS rebinding). `*` lets any origin in."""

    base_domain: str
    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    local: bool = False

    def check(self, headers: Mapping[bytes, bytes], snapshot: Snapshot) -> None:
        """Refuse what comes under a foreign name, or from a foreign page. Raises Wrong."""
        told = headers.get(b"host", b"").decode("latin-1").lower()
        host = told if told.endswith("]") else told.rpartition(":")[0] or told
        if (self.local or self.hosts) and not self._knows(host, snapshot):
            raise Wrong(DENIED, "This host name is not served here: add it to MCP_ALLOWED_HOSTS.", status=403)
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        if origin and "*" not in self.origins and origin not in self.origins:
            page = origin.partition("://")[2]
            page_host = page if page.endswith("]") else page.rpartition(":")[0] or page
            if page_host != host and not (page_host in _LOCAL and host in _LOCAL):
                raise Wrong(DENIED, "Pages of this origin may not ask: add it to MCP_ALLOWED_ORIGINS.", status=403)

    def _knows(self, host: str, snapshot: Snapshot) -> bool:
        return (
            host in _LOCAL
            or host in self.hosts
            or host in snapshot.domains
            or (bool(self.base_domain) and host.endswith("." + self.base_domain))
        )


def enter(snapshot: Snapshot, headers: Mapping[bytes, bytes], path: str, base: str, base_domain: str) -> Admitted:
    """Return who asks, for a consumer of type MCP. Raises Wrong."""
    found = _PATH.fullmatch(path)
    if found is None:
        raise Wrong(DENIED, f"There is nothing at {path[:200]}: use /{{consumer}}/mcp.", status=404)
    try:
        named = named_gateway(snapshot, headers, base_domain)
        if found["gateway"]:
            by_path = snapshot.by_slug(found["gateway"])
            if by_path is None or (named is not None and named is not by_path):
                raise Refused("consumer_not_found", f'There is no gateway "{found["gateway"]}" here.', status=404)
            named = by_path
        admitted = admit(snapshot, named, found["consumer"], _key(headers), kind="MCP")
    except Refused as refused:
        raise _refusal(refused, path, base) from None
    return admitted


def bearer(headers: Mapping[bytes, bytes]) -> str:
    """Return the token that a caller brings for a server, beside its key."""
    told = headers.get(b"authorization", b"").decode("latin-1")
    token = told[7:].strip() if told[:7].lower() == "bearer " else ""
    return "" if token.startswith("ag_") else token


def metadata(path: str, base: str) -> dict[str, object]:
    """Return the metadata of the protected resource of a path. https://www.rfc-editor.org/rfc/rfc9728"""
    return {"resource": base + path.removeprefix(METADATA), "bearer_methods_supported": ["header"]}


def _key(headers: Mapping[bytes, bytes]) -> bytes:
    return presented_key(
        {name: value for name, value in headers.items() if name not in (b"x-goog-api-key", b"api-key")}
    )


def _refusal(refused: Refused, path: str, base: str) -> Wrong:
    headers: tuple[Header, ...] = ()
    if refused.status == 401:
        challenge = f'Bearer resource_metadata="{base}{METADATA}{path}"'
        headers = ((b"www-authenticate", challenge.encode("latin-1", "replace")),)
    return Wrong(DENIED, refused.message, data={"code": refused.code}, status=refused.status, headers=headers)
