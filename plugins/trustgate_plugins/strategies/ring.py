"""The same caller to the same target, and as few as possible elsewhere when a target comes or goes.

Consistent hashing with bounded loads: https://arxiv.org/abs/1608.01350
"""

from bisect import bisect
from collections.abc import Callable, Sequence
from hashlib import blake2b
from math import ceil
from typing import Final

from trustgate import Candidate, RequestContext, Strategy, Turn, Usable

SPOTS: Final = 160
"""Places on the ring of a target of the usual weight; fewer where there are many targets."""
MOST_SPOTS: Final = 40_000
SPARE: Final = 1.25
"""How much more than its share a target may have under way before a caller goes on to the next one."""


def hashed(text: str) -> int:
    """Return where on the ring a text lies."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def said_by(hash_on: str) -> Callable[[RequestContext], str]:
    """Return what tells the caller of a request from others. Raises ValueError for what there is not."""
    kind, _, name = hash_on.partition(":")
    match kind:
        case "ip":
            return lambda ctx: ctx.client_ip
        case "session":
            return lambda ctx: ctx.session_id or ctx.client_ip
        case "key":
            return lambda ctx: ctx.caller.auth_id
        case "user":
            return _user
        case "header" if name:
            return lambda ctx: ctx.header(name) or ctx.client_ip
        case _:
            raise ValueError(f"hash_on is {hash_on!r}: use ip, session, user, key or header:<name>")


def _user(ctx: RequestContext) -> str:
    """The end user that the body names, in any dialect: OpenAI's `user`, Anthropic's `metadata.user_id`."""
    body = ctx.body.json() if ctx.operation.body == "json" and ctx.body.raw else None
    if not isinstance(body, dict):
        return ctx.client_ip
    metadata = body.get("metadata")
    named = body.get("user") or (metadata.get("user_id") if isinstance(metadata, dict) else None)
    return named if isinstance(named, str) else ctx.client_ip


class Ring(Strategy):
    """Everybody lies at many places of a ring; a caller goes to whoever comes next behind its own place."""

    def __init__(self, candidates: Sequence[Candidate], who: Callable[[RequestContext], str]) -> None:
        self._candidates = candidates
        self._who = who
        usual = sum(candidate.weight for candidate in candidates) / len(candidates)
        spots = max(8, min(SPOTS, MOST_SPOTS // len(candidates)))
        placed = sorted(
            (hashed(f"{candidate.key}#{spot}"), at)
            for at, candidate in enumerate(candidates)
            for spot in range(max(1, round(spots * candidate.weight / usual)))
        )
        self._places = [place for place, _ in placed]
        self._owners = [at for _, at in placed]

    def pick(self, turn: Turn, usable: Usable | None) -> int | None:
        """Return who comes next behind the caller's place and has not too much to do already."""
        start = bisect(self._places, hashed(self._who(turn.ctx) if turn.ctx is not None else ""))
        owners, size = self._owners, len(self._owners)
        busy: int | None = None
        seen: set[int] = set()
        for step in range(size):
            at = owners[(start + step) % size]
            if at in seen:
                continue
            if usable is None or usable(at):
                if not self._too_much(at):
                    return at
                busy = at if busy is None else busy
            seen.add(at)
            if len(seen) == len(self._candidates):
                break
        return busy

    def _too_much(self, at: int) -> bool:
        under_way = self._candidates[at].figures.in_flight
        if not under_way:
            return False
        total = sum(candidate.figures.in_flight for candidate in self._candidates)
        return under_way + 1 > ceil(SPARE * (total + 1) / len(self._candidates))
