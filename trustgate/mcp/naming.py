"""What of several servers a consumer may use, and under which names."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from msgspec import Struct

from trustgate.config.mcp import ToolkitEntry
from trustgate.mcp.messages import Json

Kind = Literal["tool", "prompt", "resource", "template"]
FIELD: Final[Mapping[Kind, str]] = {"tool": "name", "prompt": "name", "resource": "uri", "template": "uriTemplate"}
_STRANGE: Final = re.compile(r"[^A-Za-z0-9_-]+")
Toolkit = Sequence[ToolkitEntry] | None


class Holder(Struct, frozen=True, kw_only=True):
    """A server as far as names go."""

    registry_id: str
    name: str
    prefix: str = ""


class Offer(Struct, frozen=True, kw_only=True):
    """One thing that a consumer may use: at which server, its name there and here, and what the server says of it."""

    registry_id: str
    name: str
    exposed: str
    item: Json


def allowed(toolkit: Toolkit, registry_id: str, kind: Kind, name: str) -> bool:
    """Say whether a consumer may use something of a server."""
    if toolkit is None:
        return True
    wanted = "resource" if kind == "template" else kind
    for entry in toolkit:
        if entry.registry_id == registry_id and entry.kind == wanted:
            value = entry.value
            if value in ("*", name) or kind == "template":
                return True
            if kind == "resource" and value.endswith("*") and name.startswith(value[:-1]):
                return True
    return False


def offers(
    kind: Kind, holders: Sequence[Holder], listed: Mapping[str, Sequence[Json]], toolkit: Toolkit
) -> list[Offer]:
    """Return what may be used of all servers, in their order; names that were named in a toolkit come first.

    A name that two have is given the server's before it, at every one of them. `listed` holds for a server that is away
    what it last had, so that names do not change with who is there.
    """
    found: list[tuple[Holder, str, str, Json]] = []
    for holder in holders:
        for item in listed.get(holder.registry_id, ()):
            name = item.get(FIELD[kind])
            if isinstance(name, str) and allowed(toolkit, holder.registry_id, kind, name):
                found.append((holder, name, _alias(toolkit, holder.registry_id, kind, name), item))
    if kind in ("resource", "template"):
        return [Offer(registry_id=of.registry_id, name=name, exposed=name, item=item) for of, name, _, item in found]
    plain = Counter(alias or _prefixed(holder, name) for holder, name, alias, _ in found)
    taken: set[str] = set()
    made = []
    for holder, name, alias, item in found:
        exposed = alias or _prefixed(holder, name)
        if not alias and plain[exposed] > 1:
            exposed = _free(holder, name, taken)
        taken.add(exposed)
        made.append(Offer(registry_id=holder.registry_id, name=name, exposed=exposed, item={**item, "name": exposed}))
    if toolkit is not None:
        made.sort(key=lambda offer: not _named(toolkit, offer, kind))
    return made


def _prefixed(holder: Holder, name: str) -> str:
    return f"{holder.prefix}_{name}" if holder.prefix else name


def _free(holder: Holder, name: str, taken: set[str]) -> str:
    short = holder.registry_id.replace("-", "")[:8]
    prefix = holder.prefix or _STRANGE.sub("_", holder.name).strip("_") or f"reg_{short}"
    candidates = [f"{prefix}_{name}", f"{prefix}_{short}_{name}"]
    candidates += [f"{prefix}_{short}_{name}_{number}" for number in range(2, 100)]
    return next((each for each in candidates if each not in taken), candidates[-1])


def _alias(toolkit: Toolkit, registry_id: str, kind: Kind, name: str) -> str:
    for entry in toolkit or ():
        if entry.expose_as and entry.registry_id == registry_id and entry.kind == kind and entry.value == name:
            return entry.expose_as
    return ""


def _named(toolkit: Sequence[ToolkitEntry], offer: Offer, kind: Kind) -> bool:
    return any(
        entry.registry_id == offer.registry_id and entry.kind == kind and entry.value == offer.name for entry in toolkit
    )
