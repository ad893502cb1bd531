"""Live text passes its policies one after the other, and comes out as if they had read it whole."""

import re
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.relay.kit import holding
from trustgate.contract.context import Chunk
from trustgate.contract.verdict import Deny, Rewrite
from trustgate.enforcement.chain import Link
from trustgate.enforcement.sieve import Sieve, Sifted

pytestmark = pytest.mark.anyio

TEXTS = st.lists(st.text("ab12 ", min_size=1, max_size=4), max_size=15)


def marking(pattern: str, mark: str, hold_back: int) -> tuple[Link, Callable[[Chunk], Rewrite | None]]:
    """A policy that replaces a pattern: what touches the end of what it sees may go on, so it waits for more."""

    def judge(chunk: Chunk) -> Rewrite | None:
        done = 0
        made = ""
        for found in re.finditer(pattern, chunk.text):
            if not chunk.final and found.end() == len(chunk.text):
                break
            made += chunk.text[done : found.start()] + mark
            done = found.end()
        return Rewrite(text=made + chunk.text[done:], again=len(chunk.text) - done) if done else None

    return holding(hold_back), judge


def joined(out: str, held: int, new: str, sifted: Sifted) -> str:
    """What has come out and is held, after more has come."""
    return out + new if sifted.text is None else out[: len(out) - held] + sifted.text


async def through(texts: Sequence[str], *policies: tuple[Link, Callable[[Chunk], Rewrite | Deny | None]]) -> str:
    judges = {id(link): judge for link, judge in policies}

    async def ask(link: Link, chunk: Chunk) -> Rewrite | Deny | None:
        return judges[id(link)](chunk)

    sieve = Sieve([link for link, _ in policies], ask)
    out, held = "", 0
    for at, text in enumerate([*texts, ""]):
        sifted = await sieve.feed(0, text, final=at == len(texts))
        assert not isinstance(sifted, Deny)
        out = joined(out, held, text, sifted)
        held = sifted.held
    assert held == 0
    return out


@given(TEXTS)
async def test_a_pattern_is_replaced_as_if_the_text_had_come_whole(texts: list[str]) -> None:
    """Also where the replacement is itself what the pattern matches: what has been replaced is not seen again."""
    whole = "".join(texts)
    assert await through(texts, marking(r"\d+", "7", 60)) == re.sub(r"\d+", "7", whole)
    assert await through(texts, marking(r"a+", "<a>", 60)) == re.sub(r"a+", "<a>", whole)


@given(TEXTS)
async def test_what_one_policy_makes_the_next_one_reads(texts: list[str]) -> None:
    whole = "".join(texts)
    passed = await through(texts, marking(r"1+", "b", 60), marking(r"b+", "X", 60))
    assert passed == re.sub("b+", "X", re.sub("1+", "b", whole))


@given(TEXTS, st.integers(1, 9), st.integers(0, 9))
async def test_a_policy_that_looks_in_steps_has_looked_at_all_that_leaves(
    texts: list[str], step: int, hold_back: int
) -> None:
    looked: list[str] = []
    base = holding(hold_back)
    link = replace(base, step=step)

    async def ask(_: Link, chunk: Chunk) -> None:
        looked.append(chunk.text)

    sieve = Sieve([link], ask)
    out, held = "", 0
    for at, text in enumerate([*texts, ""]):
        asked = len(looked)
        sifted = await sieve.feed(0, text, final=at == len(texts))
        assert not isinstance(sifted, Deny)
        left_before = len(out) - held
        out = joined(out, held, text, sifted)
        held = sifted.held
        assert len(out) - held <= left_before or len(looked) > asked, "something left that nobody had looked at"
        assert held <= hold_back + step
    assert out == "".join(texts)
    assert sum(len(seen) for seen in looked) <= len(out) + (len(looked) - 1) * hold_back


async def test_each_choice_has_a_window_of_its_own() -> None:
    seen: list[tuple[int, str]] = []

    async def ask(_: Link, chunk: Chunk) -> None:
        seen.append((chunk.choice, chunk.text))

    sieve = Sieve([holding(2)], ask)
    for choice, text in ((0, "abc"), (1, "xyz"), (0, "d")):
        await sieve.feed(choice, text, final=False)
    assert seen == [(0, "abc"), (1, "xyz"), (0, "bcd")]
