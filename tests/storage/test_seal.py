"""Sealing: what goes in comes out, in its own place and under its own secret only."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trustgate.storage.database import CannotOpen
from trustgate.storage.seal import Sealer, is_sealed

SEALER = Sealer("a server secret of at least thirty-two bytes")
PLACE = ("registries", "r1", "auth")


@given(text=st.text(), place=st.tuples(st.text(), st.text(), st.text()))
def test_what_was_sealed_opens(text: str, place: tuple[str, str, str]) -> None:
    sealed = SEALER.seal(text, *place)
    assert is_sealed(sealed)
    assert SEALER.open(sealed, *place) == text


def test_the_same_text_is_never_sealed_the_same_way() -> None:
    assert len({SEALER.seal("text", *PLACE) for _ in range(100)}) == 100


def test_another_instance_with_the_same_secret_opens() -> None:
    assert Sealer("same").open(Sealer("same").seal("text", *PLACE), *PLACE) == "text"


@pytest.mark.parametrize(
    "place",
    [("registries", "r2", "auth"), ("policies", "r1", "auth"), ("registries", "r1", "x"), ("registriesr1auth",)],
)
def test_another_place_does_not_open(place: tuple[str, ...]) -> None:
    with pytest.raises(CannotOpen, match="SERVER_SECRET_KEY"):
        SEALER.open(SEALER.seal("text", *PLACE), *place)


def test_another_secret_does_not_open() -> None:
    with pytest.raises(CannotOpen, match="registries / r1 / auth"):
        Sealer("another").open(SEALER.seal("text", *PLACE), *PLACE)


@given(position=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_changed_bit_does_not_open(position: int, bit: int) -> None:
    prefix, _, body = SEALER.seal("some text", *PLACE).rpartition(":")
    raw = bytearray(base64.b64decode(body))
    raw[position % len(raw)] ^= 1 << bit
    with pytest.raises(CannotOpen):
        SEALER.open(f"{prefix}:{base64.b64encode(raw).decode()}", *PLACE)


@given(garbage=st.text())
def test_garbage_does_not_open(garbage: str) -> None:
    with pytest.raises(CannotOpen):
        SEALER.open("sealed:v1:" + garbage, *PLACE)


def test_nothing_is_sealed_without_a_secret() -> None:
    with pytest.raises(ValueError, match="SERVER_SECRET_KEY"):
        Sealer("")
