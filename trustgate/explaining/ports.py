"""The ports of policies, for a request that nobody makes: they say how things stand, and change nothing.

Whoever would have to ask somebody is not evaluated, unless the services that policies ask may be asked.
"""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from trustgate.contract.ports import (
    Allowance,
    Cache,
    Embedded,
    Embedder,
    HttpAnswer,
    Ledger,
    Limiter,
    Match,
    NotEvaluated,
    Reservation,
    Services,
    Standing,
    Take,
    Vectors,
    Want,
)

_BUILT_IN = "hashing"


def looking(services: Services, *, ask_services: bool) -> Services:
    """Return the same services, of which none changes anything."""
    return replace(
        services,
        limiter=LookingLimiter(services.limiter),
        ledger=LookingLedger(services.ledger),
        cache=LookingCache(services.cache),
        vectors={name: LookingVectors(store) for name, store in services.vectors.items()},
        embedder=LookingEmbedder(services.embedder),
        http=services.http if ask_services else NobodyToAsk(),
    )


class LookingLimiter:
    """Says what could be taken."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self.patience = limiter.patience

    async def take(self, key: str, *, limit: int, window: float, cost: int = 1) -> Allowance:
        """Say what taking would."""
        return (await self.take_all((Take(key=key, limit=limit, window=window, cost=cost),)))[0]

    def take_now(self, takes: Sequence[Take]) -> None:
        """Return None: whoever looks has to ask, and may have to wait."""

    async def take_all(self, takes: Sequence[Take]) -> tuple[Allowance, ...]:
        """Say what taking would."""
        return await self._limiter.look(takes)

    async def take_each(
        self, groups: Sequence[Sequence[Take]], halts: Sequence[bool]
    ) -> tuple[tuple[Allowance, ...] | None, ...]:
        """Say what taking would."""
        told: list[tuple[Allowance, ...] | None] = []
        for takes, halt in zip(groups, halts, strict=True):
            allowances = await self._limiter.look(takes)
            told.append(allowances)
            if halt and not all(each.allowed for each in allowances):
                break
        return (*told, *([None] * (len(groups) - len(told))))

    async def look(self, takes: Sequence[Take]) -> tuple[Allowance, ...]:
        """Say what taking would."""
        return await self._limiter.look(takes)

    async def refund(self, key: str, *, window: float, cost: int = 1) -> None:
        """Nothing was taken."""

    async def refund_all(self, takes: Sequence[Take]) -> None:
        """Nothing was taken."""

    async def enter(self, key: str, ticket: str, *, limit: int, lease: float) -> Allowance:
        """Who is inside cannot be looked at without entering: there is taken to be room."""
        return Allowance(allowed=True, limit=limit, remaining=limit, reset_after=0.0)

    async def leave(self, key: str, ticket: str) -> None:
        """Nobody entered."""


class LookingLedger:
    """Says what could be reserved."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def reserve(self, wants: Sequence[Want], *, lease: float, beyond: bool = False) -> Reservation:
        """Say what reserving would."""
        found = await self._ledger.look(wants)
        standings = tuple(
            replace(standing, short=standing.remaining < (want.amount if want.strict else 1))
            for standing, want in zip(found, wants, strict=True)
        )
        allowed = not any(standing.short for standing in standings)
        return Reservation(id="", allowed=allowed, wants=tuple(wants), standings=standings)

    async def settle(self, reservation: Reservation, amounts: Sequence[int]) -> tuple[Standing, ...]:
        """Nothing was reserved."""
        return reservation.standings

    async def look(self, wants: Sequence[Want]) -> tuple[Standing, ...]:
        """Say how budgets stand."""
        return await self._ledger.look(wants)


class LookingCache:
    """Says what is kept, and keeps nothing."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    async def get(self, key: str) -> bytes | None:
        """Return what is kept."""
        return await self._cache.get(key)

    async def set(self, key: str, value: bytes, *, ttl: float) -> None:
        """Keep nothing."""

    async def add(self, key: str, value: bytes, *, ttl: float) -> bool:
        """Say whether there is none."""
        return await self._cache.get(key) is None

    async def delete(self, key: str) -> None:
        """Forget nothing."""


class LookingVectors:
    """Says what is near, and keeps nothing."""

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors

    async def add(self, partition: str, key: str, vector: Sequence[float], value: bytes, *, ttl: float) -> None:
        """Keep nothing."""

    async def nearest(self, partition: str, vector: Sequence[float], *, at_least: float) -> Match | None:
        """Return what is near."""
        return await self._vectors.nearest(partition, vector, at_least=at_least)


class LookingEmbedder:
    """Makes vectors as far as nobody has to be asked."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    async def embed(
        self, gateway_id: str, registry: str, model: str, texts: Sequence[str], *, within: float
    ) -> Embedded:
        """Return the vectors of the built-in embedder. Raises NotEvaluated for any other."""
        if registry != _BUILT_IN:
            raise NotEvaluated(f"the registry {registry} is not asked for an explanation")
        return await self._embedder.embed(gateway_id, registry, model, texts, within=within)


class NobodyToAsk:
    """Asks no service."""

    async def send(self, *_: Any, **__: Any) -> HttpAnswer:
        """Raise NotEvaluated."""
        raise NotEvaluated("services are not asked for an explanation")
