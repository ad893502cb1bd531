"""Where a request can go: one registry, ready to be called."""

from collections.abc import Mapping

from msgspec import Struct

from trustgate.contract.context import Dialect
from trustgate.contract.upstream import Clocks, Header, Origin


class Target(Struct, frozen=True, kw_only=True):
    """One registry compiled: everything that configuration decides is already bytes.

    `targets` holds path and query by operation name; `headers` carry the credential and `names` are their names;
    `allowed` None is any model.
    """

    registry_id: str
    provider: str
    dialect: Dialect
    origin: Origin
    targets: Mapping[str, bytes]
    headers: tuple[Header, ...]
    names: frozenset[bytes] = frozenset()
    clocks: Clocks = Clocks()
    allowed: frozenset[str] | None = None
    default: str = ""
    weight: int = 1

    def may_serve(self, model: str) -> bool:
        """Say whether this target may be asked for that model."""
        return self.allowed is None or model in self.allowed
