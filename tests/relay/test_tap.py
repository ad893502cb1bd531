"""What passes is counted, and its end is read: however it was cut, and whatever came before it."""

from collections.abc import Sequence
from time import perf_counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustgate.contract.usage import Usage
from trustgate.relay.tap import Tap

from .kit import DONE, LENS, USAGE, answer, cut, data, ends, says

SPENT = Usage(input=9, output=3)


def tapped(pieces: Sequence[bytes]) -> Tap:
    tap = Tap(LENS)
    for piece in pieces:
        tap.feed(piece)
    tap.read_end()
    return tap


@given(cut(st.just(b"".join(answer("Hello", " world")))))
@settings(deadline=None, max_examples=150)
def test_the_end_is_read_however_it_was_cut(pieces: Sequence[bytes]) -> None:
    tap = tapped(pieces)
    assert (tap.usage, tap.finish_reason, tap.model, tap.last_seen) == (SPENT, "stop", "m-1", True)
    assert tap.bytes == sum(map(len, pieces))


@pytest.mark.parametrize("number", [1, 2, 8, 50])
def test_every_choice_has_its_own_end(number: int) -> None:
    """As many events as there are choices say that one of them has finished, then comes the usage."""
    finishing = [says(None, at, finish="stop") for at in range(number)]
    tap = tapped([*answer("Hi")[:2], *finishing, data({"choices": [], "usage": USAGE}), DONE])
    assert (tap.usage, tap.last_seen) == (SPENT, True)


@pytest.mark.parametrize(
    ("tail", "proper", "finish", "usage"),
    [
        (ends(), True, "stop", SPENT),
        (ends(usage=False), True, "stop", None),
        (ends(done=False), True, "stop", SPENT),
        (ends(usage=False, done=False), True, "stop", None),
        ([DONE], True, "", None),
        ([b"data: [DONE]"], True, "", None),
        ([b"data:[DONE]\r\n\r\n"], True, "", None),
        ([data({"choices": [{"index": 0, "finish_reason": "length"}], "usage": USAGE}), DONE], True, "length", SPENT),
        ([*ends(done=False), b": ping\n\n", b": ping\n\n", DONE], True, "stop", SPENT),
        ([], False, "", None),
        ([says("more")], False, "", None),
        ([data({"choices": [], "usage": USAGE})], False, "", SPENT),
        ([b"data: [DON"], False, "", None),
        ([b": [DONE]\n\n"], False, "", None),
        ([says("[DONE]")], False, "", None),
        ([says('"finish_reason":"stop"')], False, "", None),
        ([data({"choices": [], "usage": None}), DONE], True, "", None),
    ],
)
def test_what_is_a_proper_end(tail: Sequence[bytes], proper: bool, finish: str, usage: Usage | None) -> None:
    tap = Tap(LENS)
    for piece in (says("Hello"), says(" world"), *tail):
        tap.feed(piece)
    assert tap.read_end() == proper
    assert (tap.finish_reason, tap.usage) == (finish, usage)


def test_a_usage_without_numbers_does_not_take_the_place_of_one_with_them() -> None:
    tap = tapped([data({"choices": [], "usage": USAGE}), data({"choices": [], "usage": None}), DONE])
    assert tap.usage == SPENT


def test_an_error_is_noticed() -> None:
    assert tapped([says("a"), data({"error": {"message": "Overloaded."}})]).error
    assert not tapped([says("a"), data({"error": None, "choices": []})]).error


def test_the_first_bytes_are_timed() -> None:
    tap, before = Tap(LENS), perf_counter()
    assert tap.first_at == 0
    tap.feed(b"a")
    first = tap.first_at
    tap.feed(b"b")
    assert before <= first <= perf_counter()
    assert tap.first_at == first


@pytest.mark.parametrize(
    "piece", [b"\xff\xfe", b'data: {"model":"\xff"}\n\n', b"data: {\n\n", b"data: " + b"[" * 5000 + b"\n\n"]
)
def test_garbage_is_no_end_and_does_no_harm(piece: bytes) -> None:
    tap = Tap(LENS)
    tap.feed(piece)
    assert not tap.read_end()


def test_only_the_end_is_kept() -> None:
    tap = Tap(LENS)
    for _ in range(1000):
        tap.feed(b"x" * 1000)
    assert sum(map(len, tap._tail)) <= 64 * 1024
    assert tap.bytes == 1_000_000
