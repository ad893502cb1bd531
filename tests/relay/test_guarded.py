"""A stream that policies judge as it passes: what they must see leaves no sooner, and nothing is held any longer."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustgate.contract.context import Chunk
from trustgate.contract.upstream import UpstreamFailure
from trustgate.contract.verdict import Deny, Rewrite
from trustgate.relay import streamed

from .kit import (
    DONE,
    Judge,
    Scripted,
    answer,
    cut,
    data,
    drain,
    ends,
    error_of,
    events,
    guarded,
    says,
    text_of,
    whole_events,
)
from .test_passing import ODD

pytestmark = pytest.mark.anyio

NO = Deny(code="leaked", message="It would say too much.", status=403)
texts = st.lists(st.text("abxyz", min_size=1, max_size=6), max_size=14)
windows = st.integers(2, 12)


def keep(_: Chunk) -> None:
    return None


def swap(old: str, new: str) -> Judge:
    def judge(chunk: Chunk) -> Rewrite | None:
        return Rewrite(text=chunk.text.replace(old, new)) if old in chunk.text else None

    return judge


def shout(chunk: Chunk) -> Rewrite | None:
    loud = chunk.text.upper()
    return Rewrite(text=loud) if loud != chunk.text else None


def again(chunk: Chunk) -> Rewrite:
    return Rewrite(text=chunk.text)


def stop(word: str) -> Judge:
    return lambda chunk: NO if word in chunk.text else None


class Watched:
    """A guarded stream, and how many characters it held at most while it waited for more."""

    def __init__(self, pieces: Sequence[bytes], judge: Judge, hold_back: int) -> None:
        self.upstream = Scripted(pieces, before=self._look)
        self.live = guarded(self.upstream, judge, hold_back)
        self.out = b""
        self.held = 0

    def _look(self) -> None:
        self.held = max(self.held, len(text_of(whole_events(self.upstream.fed))) - len(text_of(self.out)))

    async def run(self) -> "Watched":
        while piece := await self.live.chunk():
            self.out += piece
        return self


# The text that leaves.


@given(texts, windows)
@settings(deadline=None, max_examples=120)
async def test_what_nobody_changes_leaves_as_the_same_bytes(said: list[str], hold_back: int) -> None:
    pieces = answer(*said)
    live = guarded(Scripted(pieces), keep, hold_back)
    assert b"".join(await drain(live)) == b"".join(pieces)
    assert live.complete


@given(texts, windows)
@settings(deadline=None, max_examples=150)
async def test_the_text_that_leaves_is_the_text_rewritten(said: list[str], hold_back: int) -> None:
    live = guarded(Scripted(answer(*said)), swap("xyz", "***"), hold_back)
    out = b"".join(await drain(live))
    assert text_of(out) == "".join(said).replace("xyz", "***")
    assert live.complete
    assert out.endswith(DONE)


@given(texts, windows)
@settings(deadline=None, max_examples=80)
async def test_it_can_grow_and_shrink(said: list[str], hold_back: int) -> None:
    for old, new in (("xyz", "-" * 20), ("xyz", "-"), ("xyz", 'é😀"\\')):
        out = b"".join(await drain(guarded(Scripted(answer(*said)), swap(old, new), hold_back)))
        assert text_of(out) == "".join(said).replace(old, new)


async def test_words_can_be_taken_out() -> None:
    for said in (["a secret"], ["a sec", "ret word"], ["secret", "secret"], ["", "secr", "e", "t!"]):
        out = b"".join(await drain(guarded(Scripted(answer(*said)), swap("secret", ""), 6)))
        assert text_of(out) == "".join(said).replace("secret", "")
        assert out.endswith(DONE)


@given(st.data(), texts, windows)
@settings(deadline=None, max_examples=100)
async def test_however_the_bytes_arrive(drawn: st.DataObject, said: list[str], hold_back: int) -> None:
    pieces = drawn.draw(cut(st.just(b"".join(answer(*said)))))
    out = b"".join(await drain(guarded(Scripted(pieces), swap("xyz", "***"), hold_back)))
    assert text_of(out) == "".join(said).replace("xyz", "***")


# How much is held.


@given(texts, st.integers(0, 12))
@settings(deadline=None, max_examples=120)
async def test_no_more_is_held_than_must_be(said: list[str], hold_back: int) -> None:
    watched = await Watched(answer(*said), keep, hold_back).run()
    assert watched.held <= hold_back + max(map(len, said), default=0)


@pytest.mark.parametrize("judge", [keep, again, shout, swap("x", "y")], ids=["keep", "again", "shout", "swap"])
@pytest.mark.parametrize("hold_back", [0, 3, 10])
async def test_a_policy_that_rewrites_much_holds_no_more_than_one_that_rewrites_little(
    judge: Judge, hold_back: int
) -> None:
    """The window is bounded: a live stream stays live under a policy that changes every word."""
    said = ["xword "] * 200
    watched = await Watched(answer(*said), judge, hold_back).run()
    assert watched.held <= 2 * hold_back + 2 * len(said[0])


async def test_without_a_window_every_event_leaves_at_once() -> None:
    pieces = answer("a", "b", "c")
    live = guarded(Scripted(pieces), shout, 0)
    assert [text_of(piece) for piece in await drain(live)] == ["", "A", "B", "C", "", "", ""]


# What must not leave.


@given(st.text("abx", max_size=12), st.text("abx", max_size=12), st.data())
@settings(deadline=None, max_examples=200)
async def test_a_word_cut_in_pieces_is_stopped_before_any_of_it_leaves(
    before: str, after: str, drawn: st.DataObject
) -> None:
    word = "secret"
    whole = before + word + after
    cuts = sorted(drawn.draw(st.sets(st.integers(1, len(whole) - 1))))
    said = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    upstream = Scripted(answer(*said))
    live = guarded(upstream, stop(word), len(word) - 1)
    out = b"".join(await drain(live))
    assert before.startswith(text_of(out)), "what left ends before the word"
    assert error_of(out) == {"message": NO.message, "type": "permission_error", "param": None, "code": "leaked"}
    assert b"[DONE]" not in out
    assert upstream.closed == 1
    assert not live.complete
    assert live.refused is not None
    assert live.refused.code == "leaked"


@pytest.mark.parametrize("at", range(6))
async def test_a_refusal_is_the_end_wherever_it_comes(at: int) -> None:
    said = [f"w{number} " for number in range(6)]
    upstream = Scripted(answer(*said))
    live = guarded(upstream, stop(f"w{at}"), 4)
    out = await drain(live)
    assert error_of(out[-1])["code"] == "leaked"
    assert sum(b'"error"' in piece for piece in out) == 1
    assert upstream.closed == 1
    assert len(upstream.fed) < len(b"".join(answer(*said))) or at == 5


async def test_the_very_last_look_can_refuse() -> None:
    def judge(chunk: Chunk) -> Deny | None:
        return NO if chunk.final else None

    upstream = Scripted(answer("a", "b"))
    live = guarded(upstream, judge, 10)
    out = b"".join(await drain(live))
    assert text_of(out) == ""
    assert error_of(out)["code"] == "leaked"
    assert b"[DONE]" not in out
    assert not live.complete


async def test_a_refusal_at_the_very_end_is_no_complete_answer() -> None:
    def judge(chunk: Chunk) -> Deny | None:
        return NO if chunk.final else None

    live = guarded(Scripted([says("a"), DONE.rstrip()]), judge, 10)
    out = b"".join(await drain(live))
    assert error_of(out)["code"] == "leaked"
    assert b"[DONE]" not in out
    assert not live.complete


async def test_text_behind_its_own_end_is_held_and_judged_like_any() -> None:
    pieces = [says("ok", finish="stop"), says("sec"), says("ret"), *ends()]
    out = b"".join(await drain(guarded(Scripted(pieces), stop("secret"), 5)))
    assert text_of(out) == "ok"
    assert error_of(out)["code"] == "leaked"


async def test_what_is_judged() -> None:
    seen: list[tuple[str, int, bool]] = []

    def judge(chunk: Chunk) -> None:
        seen.append((chunk.text, chunk.choice, chunk.final))

    await drain(guarded(Scripted(answer("ab", "cd", "ef")), judge, 3))
    assert seen == [("ab", 0, False), ("abcd", 0, False), ("bcdef", 0, False), ("def", 0, True)]


@pytest.mark.parametrize("done", [True, False])
async def test_the_last_look_says_that_it_is(done: bool) -> None:
    seen: list[bool] = []

    def judge(chunk: Chunk) -> None:
        seen.append(chunk.final)

    await drain(guarded(Scripted(answer("ab", "cd", done=done)), judge, 10))
    assert seen == [False, False, True]


# Order, and several choices.


@st.composite
def mixed(draw: st.DrawFn) -> list[bytes]:
    """Draw events of up to three choices, with and without text, each with its number; and comments."""
    made: list[bytes] = []
    for number in range(draw(st.integers(0, 16))):
        kind = draw(st.sampled_from(("text", "text", "tool", "empty", "ping", "both")))
        choice = draw(st.integers(0, 2))
        text = draw(st.text("abxyz", min_size=1, max_size=5))
        deltas: dict[str, list[dict[str, Any]]] = {
            "text": [{"index": choice, "delta": {"content": text}}],
            "tool": [{"index": choice, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}}],
            "empty": [{"index": choice, "delta": {}}],
            "both": [{"index": 0, "delta": {"content": text}}, {"index": 1, "delta": {"content": text[::-1]}}],
        }
        made.append(b": ping %d\n\n" % number if kind == "ping" else data({"n": number, "choices": deltas[kind]}))
    return [*made, *ends()]


@given(mixed(), windows)
@settings(deadline=None, max_examples=150)
async def test_every_choice_is_judged_by_itself_and_nothing_changes_places(pieces: list[bytes], hold_back: int) -> None:
    live = guarded(Scripted(pieces), swap("xyz", "***"), hold_back)
    out = b"".join(await drain(live))
    came = b"".join(pieces)
    for choice in range(3):
        assert text_of(out, choice) == text_of(came, choice).replace("xyz", "***")
    assert _numbers(out) == _numbers(came)
    assert live.complete


def _numbers(raw: bytes) -> list[bytes]:
    """What identifies each event, in order."""
    return [
        event.raw if not event.data or event.data == b"[DONE]" else json.dumps(event.json.get("n")).encode()
        for event in events(raw)
    ]


@given(mixed(), windows)
@settings(deadline=None, max_examples=80)
async def test_everything_but_the_text_stays_as_it_is(pieces: list[bytes], hold_back: int) -> None:
    out = b"".join(await drain(guarded(Scripted(pieces), shout, hold_back)))
    for left, came in zip(events(out), events(b"".join(pieces)), strict=True):
        if came.data and came.data != b"[DONE]":
            assert _textless(left.json) == _textless(came.json)


def _textless(event: Any) -> Any:
    choices = event.get("choices", ())
    bare = [
        {**one, "delta": {**one.get("delta", {}), "content": ""}}
        for one in choices
        if "content" in one.get("delta", {})
    ]
    return {**event, "choices": bare or choices}


async def test_a_choice_that_has_finished_does_not_hold_back_the_others() -> None:
    """Nothing more follows for it: what it said last need not wait, and what others say must not wait for it."""
    pieces = [says("short", 0), says(None, 0, finish="stop"), *(says("word ", 1) for _ in range(100)), *ends()]
    upstream = Scripted(
        pieces, before=lambda: looks.append(len(text_of(whole_events(upstream.fed), 1)) - len(text_of(out, 1)))
    )
    looks: list[int] = []
    live = guarded(upstream, keep, 6)
    out = b""
    while piece := await live.chunk():
        out += piece
    assert out == b"".join(pieces)
    assert max(looks) <= 6 + len("word ")


# The provider breaks off, or says odd things.


@pytest.mark.parametrize("hold_back", [0, 4, 100])
async def test_broken_at_any_byte(hold_back: int) -> None:
    stream = b"".join(answer("Hello", " big", " world"))
    for offset in range(len(stream)):
        upstream = Scripted([stream[:offset]] if offset else [], UpstreamFailure("connection_lost", ""))
        live = guarded(upstream, swap("big", "small"), hold_back)
        out = b"".join(await drain(live))
        assert error_of(out)["code"] == "provider_connection_lost"
        assert out.count(b'"error"') == 1
        assert b"[DONE]" not in out
        assert not live.complete
        assert "Hello small world".startswith(text_of(out))


async def test_an_error_within_the_stream_releases_what_was_held() -> None:
    error = data({"error": {"message": "Overloaded."}})
    live = guarded(Scripted([says("Hello"), error]), keep, 100)
    out = b"".join(await drain(live))
    assert out == says("Hello") + error
    assert not live.complete


async def test_an_end_without_the_end_is_one_error_event() -> None:
    live = guarded(Scripted([says("Hello"), says(" world")]), keep, 3)
    out = b"".join(await drain(live))
    assert error_of(out)["code"] == "provider_incomplete_stream"
    assert out.count(b'"error"') == 1


@pytest.mark.parametrize("odd", ODD, ids=[repr(odd[:30]) for odd in ODD])
@pytest.mark.parametrize("judge", [keep, again], ids=["keep", "again"])
async def test_an_odd_event_does_no_harm(odd: bytes, judge: Judge) -> None:
    live = guarded(Scripted([says("Hello"), odd, says(" world"), *ends()]), judge, 5)
    out = b"".join(await drain(live))
    assert out.endswith(DONE)
    assert live.complete


@pytest.mark.parametrize(
    "rest", [b'"x":"\xff"', b'"x":' + b"9" * 5000, b'"x":' + b"[" * 900 + b"]" * 900, b'"x":1e999']
)
async def test_an_event_that_can_be_judged_but_not_rewritten_does_not_end_in_an_exception(rest: bytes) -> None:
    event = b'data: {"choices":[{"index":0,"delta":{"content":"secret"}}],' + rest + b"}\n\n"
    live = guarded(Scripted([event, *ends()]), swap("secret", "******"), 3)
    out = b"".join(await drain(live))
    assert b"secret" not in out


UNUSUAL = (
    b'{"choices":[{"delta":{"content":"secret"}}]}',
    b'{"choices":[{"index":0,"delta":{"content":[{"type":"text","text":"secret"}]}}]}',
    b'{"choices":[{"index":null,"delta":{"content":"secret"}}]}',
    b'{"choices":[{"index":"0","delta":{"content":"secret"}}]}',
    b'{"choices":[{"index":0.0,"delta":{"content":"secret"}}]}',
    b'{"choices":[{"index":0,"delta":{"content":"secret"}},{"index":0,"delta":{"content":"x"}}]}',
    b'{"choices":[{"index":0,"delta":{"content":"secret"},"message":"odd"}]}',
    b'{"choices":[{"index":0,"delta":{"content":"secret"}},null]}',
    b'{"choices":[{"index":0,"delta":{"content":"\\ud800 secret"}}]}',
    b'{"choices":[{"index":0,"delta":{"content":"\xff secret"}}]}',
)


@pytest.mark.parametrize("payload", UNUSUAL, ids=[payload[11:60].decode("latin-1") for payload in UNUSUAL])
async def test_text_that_a_caller_could_read_is_judged(payload: bytes) -> None:
    """An SDK that does not validate shows this text: no oddity of a provider may carry it past the policies."""
    upstream = Scripted([b"data: " + payload + b"\n\n", *ends()])
    out = b"".join(await drain(guarded(upstream, stop("secret"), 5)))
    assert b"secret" not in out


async def test_an_event_too_long_to_hold_is_not_let_past_the_policies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed, "MAX_EVENT", 1000)
    long = says("x" * 3000 + " secret")
    pieces = [long[at : at + 100] for at in range(0, len(long), 100)]
    out = b"".join(await drain(guarded(Scripted([*pieces, *ends()]), stop("secret"), 5)))
    assert b"secret" not in out
    assert b"xxx" not in out


async def test_two_events_with_ends_of_their_own_are_two(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = [says("sec").replace(b"\n\n", b"\n\r\n"), says("ret").replace(b"\n\n", b"\r\n\n"), *ends()]
    out = b"".join(await drain(guarded(Scripted([b"".join(pieces)]), stop("secret"), 5)))
    assert b"sec" not in out


# Closing.


async def test_closing_stops_the_provider() -> None:
    upstream = Scripted(answer("Hello", " world"))
    live = guarded(upstream, keep, 3)
    await live.chunk()
    await live.aclose()
    assert upstream.closed == 1
    assert await live.chunk() == b""
