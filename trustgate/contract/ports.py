"""The world as plugins may reach it. Each port has at least two implementations and one contract test."""

from collections.abc import Callable, Mapping, Sequence
from time import time
from typing import Any, Protocol

from msgspec import Struct

from trustgate.contract.cost import Pricing
from trustgate.contract.upstream import Header
from trustgate.contract.usage import Usage


class StateUnavailable(Exception):
    """The store behind a port cannot be reached; the policy's `on_error` decides what that means."""


class ServiceUnavailable(Exception):
    """A service that a policy asks gave no answer that can be used, or is not asked because it just failed.

    `on_error` decides what that means. The message is for operators: it holds no content and no secrets.
    """


class NotEvaluated(ServiceUnavailable):
    """A policy would have to ask somebody, and nobody is asked for an explanation."""


class Take(Struct, frozen=True, kw_only=True):
    """What is taken of one limit: `cost` of `limit` in any `window` seconds, which slides.

    `until` (Unix seconds) is for periods of the calendar instead: the key names the period, which ends then.
    """

    key: str
    limit: int
    window: float
    cost: int = 1
    until: float = 0.0


class Allowance(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a limiter said: whether it was taken, how much is left, and in how many seconds more can be taken."""

    allowed: bool
    limit: int
    remaining: int
    reset_after: float
    retry_after: float = 0.0


class Limiter(Protocol):
    """Counts over windows, and who is inside. Taking is atomic: two callers never both get the last one.

    `patience` is after how many seconds it raises StateUnavailable at the latest.
    """

    patience: float

    async def take(self, key: str, *, limit: int, window: float, cost: int = 1) -> Allowance:
        """Take `cost` out of `limit` per `window` seconds, or take nothing and say when to come back.

        In no interval of `window` seconds is more than `limit` taken. What was taken returns at the latest
        `window` * 65/64 seconds later: time is counted in 64 slots a window. Raises StateUnavailable.
        """

    async def take_all(self, takes: Sequence[Take]) -> tuple[Allowance, ...]:
        """Take of every one, or of none when one has too little: then that one's allowance says so. One step for all,
        so that no other caller comes between. Raises StateUnavailable."""

    async def take_each(
        self, groups: Sequence[Sequence[Take]], halts: Sequence[bool]
    ) -> tuple[tuple[Allowance, ...] | None, ...]:
        """Do what `take_all` does with one group after the other, in one step for all. A group that has too little and
        `halts` ends it: those behind it are not taken of, and are None. Raises StateUnavailable."""

    def take_now(self, takes: Sequence[Take]) -> tuple[Allowance, ...] | None:
        """Do what `take_all` does where nobody has to be waited for, and None where somebody has to."""

    async def look(self, takes: Sequence[Take]) -> tuple[Allowance, ...]:
        """Say of each what `take_all` would, and take nothing. Raises StateUnavailable."""

    async def refund(self, key: str, *, window: float, cost: int = 1) -> None:
        """Give back what was taken for something that did not happen. Raises StateUnavailable."""

    async def refund_all(self, takes: Sequence[Take]) -> None:
        """Give back all that was taken together. Raises StateUnavailable."""

    async def enter(self, key: str, ticket: str, *, limit: int, lease: float) -> Allowance:
        """Be one of at most `limit` at a time. Whoever does not leave, by its `ticket`, is out after `lease` seconds.

        `retry_after` of a refusal is a guess: nobody knows when somebody leaves. Raises StateUnavailable.
        """

    async def leave(self, key: str, ticket: str) -> None:
        """Make room. Leaving twice is leaving once. Raises StateUnavailable."""


class Want(Struct, frozen=True, kw_only=True):
    """What is wanted of one budget: `amount` units of `limit` in any `window` seconds.

    Units are whole: tokens, or billionths of a US dollar. `until` (Unix seconds) is for periods of the calendar
    instead: the key names the period, which ends then. `strict` refuses what does not fit as a whole; otherwise one is
    let through while anything is left, so that use exceeds the limit by at most what was reserved.
    """

    key: str
    limit: int
    window: float
    amount: int
    until: float = 0.0
    strict: bool = False


class Standing(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a budget stands: what is used and settled, what is reserved by requests under way, what is left of it."""

    limit: int
    used: int
    reserved: int
    remaining: int
    reset_after: float
    short: bool = False
    retry_after: float = 0.0


class Reservation(Struct, frozen=True, kw_only=True):
    """What `reserve` said. `allowed` false means that a budget was short, and which, the standings say.

    Nothing was reserved then and `id` is empty, unless it was to be reserved `beyond` what is left.
    """

    id: str
    allowed: bool
    wants: tuple[Want, ...]
    standings: tuple[Standing, ...]


class Ledger(Protocol):
    """Budgets: reserved before, settled after, whatever happens in between. Every step is atomic over all budgets."""

    async def reserve(self, wants: Sequence[Want], *, lease: float, beyond: bool = False) -> Reservation:
        """Reserve of every budget, or of none. What is not settled within `lease` seconds is free again.

        `beyond` reserves also where a budget is short, for those who only look on: the answer says that it is.
        Raises StateUnavailable.
        """

    async def settle(self, reservation: Reservation, amounts: Sequence[int]) -> tuple[Standing, ...]:
        """Put what was really used in the place of what was reserved, also after its lease; zero gives it back.

        Settling twice is settling once. Raises StateUnavailable.
        """

    async def look(self, wants: Sequence[Want]) -> tuple[Standing, ...]:
        """Say how budgets stand, and change nothing. Raises StateUnavailable."""


class Cache(Protocol):
    """Keeps bytes for a while. What it holds is bounded: it may forget sooner."""

    async def get(self, key: str) -> bytes | None:
        """Return what is kept. Raises StateUnavailable."""

    async def set(self, key: str, value: bytes, *, ttl: float) -> None:
        """Keep a value for `ttl` seconds. Raises StateUnavailable."""

    async def add(self, key: str, value: bytes, *, ttl: float) -> bool:
        """Keep a value unless there is one; says whether there was none. Atomic. Raises StateUnavailable."""

    async def delete(self, key: str) -> None:
        """Forget. Raises StateUnavailable."""


class Match(Struct, frozen=True, kw_only=True):
    """A neighbour: its cosine similarity to what was looked for, and its value."""

    similarity: float
    value: bytes


class Vectors(Protocol):
    """Keeps small values by vectors, in partitions that never see one another. It may forget sooner than it must."""

    async def add(self, partition: str, key: str, vector: Sequence[float], value: bytes, *, ttl: float) -> None:
        """Keep a value for `ttl` seconds; a key in a partition is kept once. Vectors are of unit length, and all of a
        partition of one size. Raises StateUnavailable."""

    async def nearest(self, partition: str, vector: Sequence[float], *, at_least: float) -> Match | None:
        """Return the value whose vector is most similar, if it is at least so similar. Raises StateUnavailable."""


class Embedded(Struct, frozen=True, kw_only=True):
    """Vectors of unit length, one a text, and the tokens that a provider counted for making them."""

    vectors: tuple[tuple[float, ...], ...]
    tokens: int = 0


class Embedder(Protocol):
    """Makes vectors of texts."""

    async def embed(
        self, gateway_id: str, registry: str, model: str, texts: Sequence[str], *, within: float
    ) -> Embedded:
        """Ask a registry of that gateway, by name or id, for embeddings; the registry `hashing` needs nobody.

        Raises ServiceUnavailable where there are none `within` seconds, also for a registry that there is not.
        """


class HttpAnswer(Struct, frozen=True, kw_only=True):
    """What a service answered, whole; header names are lower case."""

    status: int
    headers: Sequence[Header]
    body: bytes


class Signing(Struct, frozen=True, kw_only=True):
    """By what a call to AWS is signed: access keys, or a role (its ARN) that this host's identity assumes."""

    region: str
    service: str
    access_key_id: str = ""
    secret_access_key: str = ""
    session_token: str = ""
    role: str = ""

    def __repr__(self) -> str:
        """Say for what; the keys are secret."""
        return f"Signing({self.service}, {self.region})"


class Outbound(Protocol):
    """HTTP to services that policies ask. One that keeps failing is not asked for a while: then the answer is quick."""

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Sequence[Header] = (),
        body: bytes = b"",
        within: float,
        signing: Signing | None = None,
        most: int = 1024 * 1024,
    ) -> HttpAnswer:
        """Return a whole answer of at most `most` bytes; redirects are not followed.

        Statuses of 500 and above, and 429, count as failures for the circuit of that origin, but are returned. Raises
        ServiceUnavailable when there was no answer within `within` seconds, and at once while the circuit is open.
        """


class Replay(Protocol):
    """Says an answer in its other form."""

    def __call__(self, operation: str, asked: Any, answer: bytes, usage: Usage | None, *, streamed: bool) -> bytes:
        """Return a `streamed` answer as a whole one, or a whole one as a stream. Raises Unreadable."""


class Services(Struct, frozen=True, kw_only=True):
    """The only way a plugin reaches the world.

    `estimate(body, said)` guesses what a parsed request and the text of its answer use; `expect(body, most)` what it
    may use at most, with an answer of `most` tokens where it does not say itself. `replay(operation, asked, answer,
    usage, streamed=)` says a streamed answer as a whole one and a whole one as a stream, and raises Unreadable where
    that is not possible without a loss. `vectors` are the stores of vectors that this process has, by name. `clock` is
    Unix seconds. `variables` are settings of the process that plugins read.
    """

    limiter: Limiter
    ledger: Ledger
    cache: Cache
    vectors: Mapping[str, Vectors]
    embedder: Embedder
    http: Outbound
    pricing: Pricing
    estimate: Callable[[Any, str], Usage]
    expect: Callable[[Any, int], Usage]
    replay: Replay
    clock: Callable[[], float] = time
    variables: Mapping[str, str] = {}

    def __repr__(self) -> str:
        """Say nothing of the variables: there are secrets among them."""
        return "Services()"
