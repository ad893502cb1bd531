"""Live text on its way through the policies that judge it, one after the other.

Each policy holds what it may still want to change: the end of what it saw, `hold_back` characters at most, and, where
it looks in steps, what it has not looked at yet. What it lets go is the next one's to judge. So a policy sees its own
words again only where it asks to, and what one policy rewrites the ones behind it read.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from msgspec import Struct

from trustgate.contract.context import Chunk
from trustgate.contract.verdict import Deny, Rewrite
from trustgate.enforcement.chain import Link

Ask = Callable[[Link, Chunk], Awaitable[Any]]
"""Asks one policy: a Rewrite, a Deny, or anything else for going on."""


class Sifted(Struct, frozen=True):
    """What became of the text that was held and of what came: `text`, or None where nobody changed anything.

    The last `held` characters of it are held now.
    """

    text: str | None
    held: int


class _Held:
    """What one policy holds of one choice: its end has `looked` characters that it has already looked at."""

    __slots__ = ("kept", "looked", "text")

    def __init__(self) -> None:
        self.text = ""
        self.looked = 0
        self.kept: Any = None


class Sieve:
    """The policies of one stream. `ask` runs one of them."""

    def __init__(self, links: Sequence[Link], ask: Ask) -> None:
        self._links = links
        self._ask = ask
        self._held: dict[int, list[_Held]] = {}
        self._arrived: dict[int, int] = {}

    async def feed(self, choice: int, text: str, *, final: bool) -> Sifted | Deny:
        """Pass on what one choice says now; `final` when nothing more of it comes."""
        held = self._held.setdefault(choice, [_Held() for _ in self._links])
        self._arrived[choice] = self._arrived.get(choice, 0) + len(text)
        flow, was = text, "".join(each.text for each in reversed(held))
        for link, mine in zip(self._links, held, strict=True):
            mine.text += flow
            if not final and (not flow or len(mine.text) - mine.looked < link.step):
                flow = ""
                continue
            stop, flow = await self._look(link, mine, choice, final=final)
            if stop is not None:
                return stop
        behind = "".join(each.text for each in reversed(held))
        now = flow + behind
        return Sifted(None if now == was + text else now, len(behind))

    async def _look(self, link: Link, mine: _Held, choice: int, *, final: bool) -> tuple[Deny | None, str]:
        """Have one policy look at what it holds. Returns its refusal, or what it lets go."""
        arrived = self._arrived[choice]
        chunk = Chunk(text=mine.text, choice=choice, final=final, arrived=arrived, kept=mine.kept)
        verdict = await self._ask(link, chunk)
        if isinstance(verdict, Deny):
            return verdict, ""
        keep = 0 if final else link.hold_back
        if isinstance(verdict, Rewrite):
            mine.text, mine.kept = verdict.text, verdict.kept
            keep = keep if verdict.again is None else min(keep, verdict.again)
        cut = max(0, len(mine.text) - keep)
        gone, mine.text = mine.text[:cut], mine.text[cut:]
        mine.looked = len(mine.text)
        return None, gone
