"""What the data planes ask of the store: everything once, then only what changed. Storage implements it."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from trustgate.config.records import AnyRecord


class Change(Struct, frozen=True, kw_only=True):
    """One entity as it is at a revision; `record` None says that it is gone."""

    entity: str
    id: str
    gateway_id: str
    record: AnyRecord | None


class Changes(Struct, frozen=True, kw_only=True):
    """All changes up to `revision`. `whole` says that they replace what was known instead of adding to it."""

    revision: int
    whole: bool
    items: Sequence[Change]


class ConfigSource(Protocol):
    """Where a snapshot comes from. Every answer is read in one transaction, so it is never half of a write."""

    async def revision(self) -> int:
        """Return the newest committed revision. Cheap: it is polled."""

    async def news(self, within: float) -> bool:
        """Return once something may have been committed, at the latest after so many seconds. Never raises. False says
        that nobody is listening."""

    async def changes(self, since: int) -> Changes:
        """Return what changed after `since`; everything, with `whole`, for 0 or when the log no longer reaches back."""
