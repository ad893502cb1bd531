"""Choices by what a prompt says: the closest description, or the tier that its difficulty asks for."""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from math import sqrt
from operator import mul
from typing import Final

import msgspec
from msgspec import Struct

from trustgate import (
    Candidate,
    RequestContext,
    Services,
    ServiceUnavailable,
    Strategy,
    StrategyOptions,
    Turn,
    Unreadable,
    Usable,
)
from trustgate_plugins.strategies.rotation import weighted

WITHIN: Final = 2.0
"""Seconds after which a request is routed without the service that was asked about it."""
log = logging.getLogger("trustgate.plugins.strategies")


def asked_last(ctx: RequestContext) -> str:
    """Return what the user said last, or the empty string where that cannot be read."""
    try:
        return "\n".join(piece.text for piece in ctx.body.prompt().last_user) if ctx.operation.body == "json" else ""
    except Unreadable:
        return ""


class Asking(Strategy):
    """What finds something out about a request first, and goes round where nobody can say."""

    prepares = True

    def __init__(
        self,
        candidates: Sequence[Candidate],
        options: StrategyOptions,
        services: Services,
        chance: Callable[[], float],
    ) -> None:
        self.candidates = candidates
        self.options = options
        self.services = services
        self.otherwise = weighted(candidates, chance)


class Semantic(Asking):
    """Whoever's description is closest to what the user said last; whose turn it is where nobody can say."""

    def __init__(
        self,
        candidates: Sequence[Candidate],
        options: StrategyOptions,
        services: Services,
        chance: Callable[[], float],
    ) -> None:
        super().__init__(candidates, options, services, chance)
        self._texts = [candidate.description or candidate.registry for candidate in candidates]
        self._vectors: Sequence[Sequence[float]] | None = None

    async def prepare(self, ctx: RequestContext) -> Sequence[int] | None:
        """Return the places, the closest first; None where nobody can say."""
        said = asked_last(ctx)
        if not said:
            return None
        try:
            if self._vectors is None:
                self._vectors = await self._embed(self._texts)
            (vector,) = await self._embed([said])
        except ServiceUnavailable as error:
            log.warning("a request is routed without its meaning: %s", error)
            return None
        near = [_cosine(vector, other) for other in self._vectors]
        return sorted(range(len(near)), key=lambda at: -near[at])

    def pick(self, turn: Turn, usable: Usable | None) -> int | None:
        """Return the closest that is usable."""
        if turn.prepared is None:
            return self.otherwise.pick(turn, usable)
        return next((at for at in turn.prepared if usable is None or usable(at)), None)

    async def _embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        options = self.options
        embedded = await self.services.embedder.embed(
            options.gateway_id, options.embedder, options.embedding_model, texts, within=WITHIN
        )
        return embedded.vectors


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    length = sqrt(sum(map(mul, one, one)) * sum(map(mul, other, other)))
    return sum(map(mul, one, other)) / length if length else 0.0


class _Score(Struct):
    score: float


class SmartRouting(Asking):
    """The tier whose lowest score comes closest below a request's; whose turn it is where there is none."""

    def __init__(
        self,
        candidates: Sequence[Candidate],
        options: StrategyOptions,
        services: Services,
        chance: Callable[[], float],
    ) -> None:
        super().__init__(candidates, options, services, chance)
        self._tiers = sorted(options.tiers, key=lambda tier: -tier.min_score)
        self._members = {
            tier.min_score: [
                at
                for at, candidate in enumerate(candidates)
                if candidate.registry_id == tier.registry_id and tier.model in ("", candidate.model)
            ]
            for tier in self._tiers
        }

    async def prepare(self, ctx: RequestContext) -> float | None:
        """Return a request's score from 0, for a simple one, to 1; None where nobody can say."""
        if not self.options.scorer_url:
            return complexity(asked_last(ctx))
        try:
            return await self._ask(ctx)
        except (ServiceUnavailable, msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.warning("a request is routed without its score: %s", type(error).__name__)
            return None

    def pick(self, turn: Turn, usable: Usable | None) -> int | None:
        """Return a target of the request's tier, or of the next simpler one that has a usable target."""
        if turn.prepared is not None:
            for tier in self._tiers:
                if tier.min_score <= turn.prepared:
                    for at in self._members[tier.min_score]:
                        if usable is None or usable(at):
                            return at
        return self.otherwise.pick(turn, usable)

    async def _ask(self, ctx: RequestContext) -> float:
        asked = {"input": asked_last(ctx), "conversation_id": ctx.session_id, "tenant": ctx.caller.gateway_id}
        answer = await self.services.http.send(
            "POST",
            self.options.scorer_url,
            headers=((b"content-type", b"application/json"),),
            body=msgspec.json.encode(asked),
            within=WITHIN,
        )
        if answer.status >= 300:
            raise ServiceUnavailable(f"the scorer said {answer.status}")
        return msgspec.json.decode(answer.body, type=_Score).score


_SIGNS: Final[Mapping[re.Pattern[str], float]] = {
    re.compile(r"```|\bdef |\bclass |\bfunction\b|[{};]\s*$", re.MULTILINE): 0.2,
    re.compile(r"\b(prove|derive|theorem|integral|equation|optimi[sz]e|complexity|algorithm)\w*", re.IGNORECASE): 0.25,
    re.compile(r"\b(why|explain|analy[sz]e|compare|evaluate|critique|trade-?offs?)\b", re.IGNORECASE): 0.15,
    re.compile(r"\b(step[- ]by[- ]step|plan|design|architect\w*|refactor|debug)\b", re.IGNORECASE): 0.2,
    re.compile(r"[∑∫√≤≥≠∀∃]|\d\s*[-+*/^=]\s*\d|\\frac"): 0.15,
}
"""What speaks for a difficult question, and by how much."""
LONG: Final = 4000
"""Characters of a question that is difficult by its length alone to the most that length counts for."""
BY_LENGTH: Final = 0.35


def complexity(text: str) -> float:
    """Return how difficult a question looks, from 0 to 1: by its length, and by signs of code, proofs and plans."""
    signs = sum(share for sign, share in _SIGNS.items() if sign.search(text))
    return min(1.0, signs + BY_LENGTH * min(1.0, len(text) / LONG))
