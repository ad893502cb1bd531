"""What each policy does to requests, answers and streams, in each dialect: shown by a run, or said not to be done.

A policy's `Shown` brings its settings and what provokes it. The runs are the same for every policy, of this repository
or of somebody else's; docs/policies.md is written from them.
"""

from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, Literal

from msgspec import Struct, convert
from msgspec.structs import replace

from tests.lifecycle.kit import House, Line, Told, completion, live, stream, whole
from tests.plugins.house import rule_of
from tests.plugins.talk import Turn, refusal_of, said, text_of, upstream_texts, upstream_tools

Part = Literal["request", "answer", "stream"]
PARTS: tuple[Part, ...] = ("request", "answer", "stream")


class Denies(Struct, frozen=True, kw_only=True):
    """A turn that is let pass and one that is refused with this code; the same of answers, which say these texts.

    `times` is how often the turn may be asked before it is refused; `whole_answer` is the provider's own, as it is.
    """

    code: str
    passes: Turn = Turn()
    refused: Turn = Turn()
    good: str = "All is well."
    bad: str = ""
    times: int = 0
    does: str = "denies"


class Rewrites(Struct, frozen=True, kw_only=True):
    """A turn (or an answer that says `said`) in which something is changed: what then is there, and what is not."""

    turn: Turn = Turn()
    said: str = ""
    there: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    tools: tuple[str, ...] | None = None
    does: str = "rewrites"


class Both(Struct, frozen=True, kw_only=True):
    """A policy that does both."""

    denies: Denies
    rewrites: Rewrites
    does: str = "denies, rewrites"


class Nothing(Struct, frozen=True):
    """The policy leaves it alone, and why."""

    why: str
    does: str = "-"


class Other(Struct, frozen=True):
    """Something that only this policy does, and the check that it does."""

    does: str
    check: Callable[[str], Any]


Cell = Denies | Rewrites | Both | Nothing | Other


class Shown(Struct, frozen=True, kw_only=True):
    """One policy's row of the table. `house` makes the services that it needs, where they are not the usual ones."""

    plugin: ModuleType
    settings: Mapping[str, Any]
    request: Cell
    answer: Cell
    stream: Cell
    answer_settings: Mapping[str, Any] | None = None
    services: Callable[[], Mapping[str, Any]] = dict

    def cell(self, part: Part) -> Cell:
        """The cell of one part."""
        return {"request": self.request, "answer": self.answer, "stream": self.stream}[part]

    def house(self, line: Line, part: Part = "request", **fields: Any) -> House:
        """A proxy with this policy."""
        settings = self.settings if part == "request" or self.answer_settings is None else self.answer_settings
        return House(line, rule_of(self.plugin, settings, **fields), **self.services())


async def ask(house: House, dialect: str, turn: Turn) -> Told:
    """Ask once."""
    asked = said(dialect, turn)
    return await house.ask(asked.body, path=asked.path, query=asked.query)


def saying(text: str, part: Part) -> Line:
    """A provider that says this, in pieces where it streams."""
    if part == "stream":
        return Line(lambda: live(*stream(*pieces(text))))
    return Line(lambda: whole(completion(text)))


def pieces(text: str) -> Sequence[str]:
    """A text in pieces of three characters."""
    return [text[at : at + 3] for at in range(0, len(text), 3)] or [""]


async def show(shown: Shown, part: Part, dialect: str) -> None:
    """Show one cell in one dialect."""
    match shown.cell(part):
        case Both() as both:
            for cell in (both.denies, both.rewrites):
                await show(replace(shown, **{part: cell}), part, dialect)
        case Denies() as denies if part == "request":
            await _request_denied(shown, denies, dialect)
        case Denies() as denies:
            await _answer_denied(shown, denies, dialect, part)
        case Rewrites() as rewrites if part == "request":
            await _request_rewritten(shown, rewrites, dialect)
        case Rewrites() as rewrites:
            await _answer_rewritten(shown, rewrites, dialect, part)
        case Other() as other:
            await other.check(dialect)
        case Nothing():
            await _left_alone(shown, dialect, part)


async def _request_denied(shown: Shown, denies: Denies, dialect: str) -> None:
    for streamed in (False, True):
        line = saying("Hi.", "stream" if streamed else "answer")
        house = shown.house(line)
        for _ in range(max(1, denies.times)):
            told = await ask(house, dialect, _streamed(denies.passes, streamed))
            assert told.status == 200, told.body
        before = len(line.calls)
        await _is_explained(house, denies, dialect, streamed=streamed)
        told = await ask(house, dialect, _streamed(denies.refused, streamed))
        assert 400 <= told.status < 500, told.body
        assert refusal_of(dialect, told)
        assert len(line.calls) == before, "a refused request reached the provider"
        assert [each.code for each in house.events[-1].policy_chain if each.decision == "block"] == [denies.code]
    observer = shown.house(saying("Hi.", "answer"), mode="observe")
    for _ in range(max(1, denies.times)):
        await ask(observer, dialect, denies.passes)
    assert (await ask(observer, dialect, denies.refused)).status == 200
    assert "observe" in {each.decision for each in observer.events[-1].policy_chain}


async def _is_explained(house: House, denies: Denies, dialect: str, *, streamed: bool) -> None:
    """What would be refused is said before anybody asks, by the same policy; asking for it changes nothing."""
    asked = said(dialect, _streamed(denies.refused, streamed))
    path = asked.path.removeprefix("/my-app")
    for _ in range(3):
        explained = await house.dry(asked.body, path=path, query=asked.query.decode(), ask_services=True)
        assert (explained.outcome, explained.code, explained.hypothetical) == ("refused", denies.code, True)
        assert [each.code for each in explained.policies if each.decision == "block"] == [denies.code]
        assert 400 <= explained.status < 500


async def _request_rewritten(shown: Shown, rewrites: Rewrites, dialect: str) -> None:
    for streamed in (False, True):
        line = saying("Hi.", "stream" if streamed else "answer")
        told = await ask(shown.house(line), dialect, _streamed(rewrites.turn, streamed))
        assert told.status == 200, told.body
        texts = upstream_texts(line.bodies[-1])
        assert all(text in texts for text in rewrites.there), texts
        assert not any(text in texts for text in rewrites.gone), texts
        if rewrites.tools is not None:
            assert upstream_tools(line.bodies[-1]) == list(rewrites.tools)
    line = saying("Hi.", "answer")
    observer = shown.house(line, mode="observe")
    assert (await ask(observer, dialect, rewrites.turn)).status == 200
    texts = upstream_texts(line.bodies[-1])
    assert all(text in texts for text in rewrites.gone)
    assert "observe" in {each.decision for each in observer.events[-1].policy_chain}


async def _answer_denied(shown: Shown, denies: Denies, dialect: str, part: Part) -> None:
    turn = Turn(stream=part == "stream")
    assert text_of(dialect, await ask(shown.house(saying(denies.good, part), part), dialect, turn)) == denies.good
    house = shown.house(saying(denies.bad, part), part)
    told = await ask(house, dialect, turn)
    assert refusal_of(dialect, told)
    assert denies.bad not in told.body.decode()
    assert [each.code for each in house.events[-1].policy_chain if each.decision == "block"] == [denies.code]
    observer = shown.house(saying(denies.bad, part), part, mode="observe")
    assert text_of(dialect, await ask(observer, dialect, turn)) == denies.bad
    assert "observe" in {each.decision for each in observer.events[-1].policy_chain}


async def _answer_rewritten(shown: Shown, rewrites: Rewrites, dialect: str, part: Part) -> None:
    turn = Turn(stream=part == "stream")
    house = shown.house(saying(rewrites.said, part), part)
    told = await ask(house, dialect, turn)
    assert told.ended
    text = text_of(dialect, told)
    assert all(there in text for there in rewrites.there), text
    assert not any(gone in text for gone in rewrites.gone), text
    observer = shown.house(saying(rewrites.said, part), part, mode="observe")
    assert text_of(dialect, await ask(observer, dialect, turn)) == rewrites.said


async def _left_alone(shown: Shown, dialect: str, part: Part) -> None:
    """Nothing that it could do is hooked up, and what passes is what came."""
    hooks = {"request": ("pre_request", "pre_call"), "answer": ("pre_response",), "stream": ("on_chunk",)}[part]
    settings = shown.plugin.settings_type()
    skipped = convert(dict(shown.settings), settings).skips()
    assert not any(hasattr(shown.plugin, hook) and hook not in skipped for hook in hooks)
    if part != "request":
        told = await ask(shown.house(saying("Well said.", part)), dialect, Turn(stream=part == "stream"))
        assert text_of(dialect, told) == "Well said."


def _streamed(turn: Turn, streamed: bool) -> Turn:
    return replace(turn, stream=streamed)
