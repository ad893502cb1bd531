"""What goes back to the caller: a whole answer, or a live one that whoever holds it must close."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from trustgate.contract.upstream import Header


class Whole(Struct, frozen=True, kw_only=True):
    """An answer of known length."""

    status: int
    headers: Sequence[Header]
    body: bytes


class Live(Protocol):
    """An answer that is still being made."""

    status: int
    headers: Sequence[Header]

    async def chunk(self) -> bytes:
        """Return the next bytes for the caller, or `b""` at the end. Never raises for what the provider does."""

    @property
    def complete(self) -> bool:
        """Whether it ended as it should; otherwise the connection must not end as if it had."""

    async def aclose(self) -> None:
        """Stop the provider if it is still answering. Idempotent; never blocks."""
