"""What a policy answers with. A value, never an exception: an exception is a surprise, and `on_error` decides."""

from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import Any

from msgspec import Struct

from trustgate.contract.ports import Allowance, Take
from trustgate.contract.upstream import Header

Details = Mapping[str, Any] | Struct | None
"""What goes into the event beside a decision: never what a prompt or an answer says. A struct costs nothing to make."""


class Quota(Struct, frozen=True):
    """What callers are told of a limit, in three headers: how much it is, what is left of it, when all is back (Unix
    seconds). Of several under the same names they are told the one of which the least is left."""

    names: tuple[bytes, bytes, bytes]
    limit: bytes
    remaining: int
    reset: float

    def headers(self) -> tuple[Header, Header, Header]:
        """Return them written out."""
        limit, remaining, reset = self.names
        return (limit, self.limit), (remaining, b"%d" % self.remaining), (reset, b"%d" % ceil(self.reset))


class Proceed(Struct, frozen=True, kw_only=True):
    """Go on. `body` replaces the request's (or answer's); `headers` go to the caller, and `quota`, which is written out
    only where it is the tightest; `details` to the event.

    `model` asks for another model in the place of the caller's; at `pre_call` targets are then chosen anew. `kept` is
    for the policy itself: its later hooks get it back under that name, and nobody else does.
    """

    body: bytes | bytearray | None = None
    model: str = ""
    kept: Any = None
    headers: Sequence[Header] = ()
    details: Details = None
    quota: Quota | None = None


class Answer(Struct, frozen=True, kw_only=True):
    """Answer the caller here; no provider is asked.

    A `judged` one is an answer of the model in the caller's dialect and the form that was asked for (a stream's events
    where that is a stream): it is carried back like a provider's, past the policies for answers.
    """

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    judged: bool = False
    headers: Sequence[Header] = ()
    details: Details = None


class Deny(Struct, frozen=True, kw_only=True):
    """Refuse. `retry_after` (seconds) is when asking again can succeed: `throttle` waits for it instead of refusing.

    `kept` is heeded where a policy only observes: the request goes on, and its later hooks get it back.
    """

    code: str
    message: str
    status: int = 403
    param: str | None = None
    retry_after: float | None = None
    retry: bool | None = None
    kept: Any = None
    headers: Sequence[Header] = ()
    details: Details = None


class Rewrite(Struct, frozen=True, kw_only=True):
    """Replace the unreleased text of a live stream with this.

    Of its end `again` characters are shown to this policy once more, with what follows them: at most, and where None
    says nothing, as many as it holds back. 0 is for a policy that is done with all of it. `kept` comes back as
    `chunk.kept` when this policy sees more of this choice.
    """

    text: str
    again: int | None = None
    kept: Any = None
    details: Details = None


class Count(Struct, frozen=True):
    """Take these of the limiter, all or none, and hear what follows: `told` is asked with what the limiter said.

    For hooks of policies that only count (`PolicySettings.counts`) and whose limiter has to be waited for: what the
    policies of a stage take is then taken together, in their order, and in one round trip to where it is counted.
    """

    takes: Sequence[Take]
    told: Callable[[tuple[Allowance, ...]], "Proceed | Deny"]


Verdict = Proceed | Answer | Deny | Count | None
"""None means `Proceed()`."""

ChunkVerdict = Rewrite | Deny | None
"""None keeps the text as it is."""
