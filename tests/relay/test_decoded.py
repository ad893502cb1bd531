"""Compressed answers: plain bytes come out, however they were cut, and nothing broken looks whole."""

import gzip
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustgate.contract.errors import Refused
from trustgate.contract.upstream import UpstreamFailure
from trustgate.relay.decoded import PIECE, decoded

from .kit import Scripted

pytestmark = pytest.mark.anyio


def zipped(raw: bytes) -> bytes:
    return gzip.compress(raw)


def deflated(raw: bytes) -> bytes:
    return zlib.compress(raw)


WAYS = {b"gzip": zipped, b"x-gzip": zipped, b"deflate": deflated}


def cut_at(raw: bytes, size: int) -> list[bytes]:
    return [raw[at : at + size] for at in range(0, len(raw), size)]


@pytest.mark.parametrize("name", WAYS)
@given(plain=st.binary(max_size=5000), size=st.integers(1, 700))
@settings(deadline=None, max_examples=30)
async def test_what_was_compressed_is_plain(name: bytes, plain: bytes, size: int) -> None:
    upstream = decoded(Scripted(cut_at(WAYS[name](plain), size)), name.upper())
    assert await upstream.read() == plain


async def test_a_bomb_comes_in_pieces() -> None:
    upstream = decoded(Scripted([gzip.compress(bytes(50 * PIECE))]), b"gzip")
    assert len(await upstream.chunk()) == PIECE
    assert len(await upstream.read()) == 49 * PIECE


async def test_the_answer_no_longer_says_that_it_is_compressed() -> None:
    scripted = Scripted([gzip.compress(b"x")])
    scripted.headers = [(b"content-encoding", b"gzip"), (b"content-length", b"21"), (b"content-type", b"text/plain")]
    assert list(decoded(scripted, b"gzip").headers) == [(b"content-type", b"text/plain")]


@pytest.mark.parametrize("name", [b"", b"identity", b" Identity "])
async def test_what_is_plain_stays_as_it_is(name: bytes) -> None:
    scripted = Scripted([b"x"])
    assert decoded(scripted, name) is scripted


@pytest.mark.parametrize(
    ("raw", "kind"),
    [(gzip.compress(b"abc" * 99)[:-9], "connection_lost"), (b"plain", "malformed_answer")],
    ids=["cut", "plain"],
)
async def test_a_broken_one_does_not_look_whole(raw: bytes, kind: str) -> None:
    with pytest.raises(UpstreamFailure) as broke:
        await decoded(Scripted([raw]), b"gzip").read()
    assert broke.value.kind == kind


async def test_a_foreign_encoding_is_refused() -> None:
    with pytest.raises(Refused) as told:
        decoded(Scripted([b"x"]), b"br")
    assert (told.value.status, told.value.code) == (502, "provider_malformed_answer")
