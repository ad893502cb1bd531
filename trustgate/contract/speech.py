"""What is said to a target in its own language, and how its answer is heard in the caller's."""

from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from trustgate.contract.errors import Refused
from trustgate.contract.lens import Lens
from trustgate.contract.upstream import Header, Payload, Upstream

Watch = Callable[[bytes], None]
"""Is shown the bytes of a stream as they come from the provider."""


class Hearing(Protocol):
    """How an answer is heard."""

    @property
    def lens(self) -> Lens:
        """Looks into what the provider says."""

    @property
    def caller(self) -> Lens:
        """Looks into what the caller hears."""

    @property
    def mend(self) -> Callable[[bytes], bytes] | None:
        """Puts right complete events of a stream that is not translated; None where nothing is to be put right."""

    @property
    def unbounded(self) -> bool:
        """Whether the end of the bytes is all the end that an answer has."""

    def whole(self, raw: bytes) -> bytes:
        """Return a whole good answer as the caller hears it."""

    def fault(self, status: int, raw: bytes, headers: Sequence[Header]) -> Refused | None:
        """Return an error as it is to be rendered; None where the caller reads the provider's own words."""

    def live(self, upstream: Upstream, watch: Watch, render: Callable[[Refused], bytes]) -> Upstream | None:
        """Return a translated stream; None where the provider's bytes are the caller's."""


class Spoken(Struct, frozen=True, kw_only=True):
    """One call to a target, but for headers and credential: `model` is what it is asked for, `losses` are the paths of
    what it could not be told."""

    method: str
    target: bytes
    model: str = ""
    body: Payload = b""
    losses: tuple[str, ...] = ()
    translated: bool = False
    hearing: Hearing


class Verbatim(Struct, frozen=True):
    """A hearing where the provider's words are the caller's."""

    lens: Lens
    mend: Callable[[bytes], bytes] | None = None
    unbounded: bool = False

    @property
    def caller(self) -> Lens:
        """Who hears the same looks through the same lens."""
        return self.lens

    def whole(self, raw: bytes) -> bytes:
        """Return the answer as it is."""
        return raw

    def fault(self, status: int, raw: bytes, headers: Sequence[Header]) -> Refused | None:
        """Leave the error as it is."""
        return None

    def live(self, upstream: Upstream, watch: Watch, render: Callable[[Refused], bytes]) -> Upstream | None:
        """Leave the stream as it is."""
        return None
