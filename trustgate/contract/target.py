"""Where a request can go: one registry, ready to be called, and the ways in which it can be told each operation."""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from trustgate.contract.context import Dialect
from trustgate.contract.cost import PriceRule
from trustgate.contract.upstream import Clocks, Credential, Header, Origin


class Way(Struct, frozen=True, kw_only=True):
    """How a target is told an operation: as which of its own, in which dialect, and where.

    `path` and `stream_path` hold path and query; `{model}` stands where the model's name goes. `only` are the
    beginnings of the names of the models that go this way; empty is any. `shape` edits the parsed body where an
    endpoint wants it otherwise than its dialect has it; `plain` says that neither address nor body nor answer ever
    need any work.
    """

    operation: str
    dialect: Dialect
    path: str
    stream_path: str = ""
    only: tuple[str, ...] = ()
    shape: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    plain: bool = False

    def fits(self, model: str) -> bool:
        """Say whether a model goes this way."""
        return not self.only or model.startswith(self.only)


class Considered(Struct, frozen=True, kw_only=True):
    """A registry that could have served a request: its place among those to try (from 1), or why it is none of them.

    `model` is what it would be asked for.
    """

    registry_id: str
    registry: str
    provider: str
    model: str
    place: int = 0
    reason: str = ""


class Target(Struct, frozen=True, kw_only=True):
    """One registry compiled: everything that configuration decides is already there.

    `ways` maps what a caller can ask (an operation's name) to how it is told, the best way first; `base` is the path
    before every operation's own, for passthrough; `headers` carry fixed credentials and `names` are their names;
    `defaults` are sent where the caller does not;
    `credential` adds what is not fixed; `allowed` None is any model; `prices` override the price book. `key` names the
    one of a registry's several keys that this is; `capacity` is how many calls may be under way (0: any number),
    `threshold` after how many failures in a row it is left alone (0: never).
    """

    registry_id: str
    registry: str = ""
    provider: str
    dialect: Dialect
    origin: Origin
    ways: Mapping[str, tuple[Way, ...]]
    base: str = ""
    query: str = ""
    headers: tuple[Header, ...]
    names: frozenset[bytes] = frozenset()
    defaults: tuple[Header, ...] = ()
    credential: Credential | None = None
    clocks: Clocks = Clocks()
    allowed: frozenset[str] | None = None
    default: str = ""
    weight: float = 1
    priority: int = 0
    capacity: int = 0
    threshold: int = 3
    description: str = ""
    key: str = ""
    prices: tuple[PriceRule, ...] = ()

    @property
    def account(self) -> str:
        """What fails by itself: the registry, or one key of it."""
        return f"{self.registry_id}#{self.key}" if self.key else self.registry_id

    def may_serve(self, model: str) -> bool:
        """Say whether this target may be asked for that model."""
        return self.allowed is None or model in self.allowed

    def way(self, operation: str, model: str) -> Way | None:
        """Return how this target is told an operation on that model, if it can be."""
        for way in self.ways.get(operation, ()):
            if way.fits(model):
                return way
        return None
