"""A provider that compresses though it was asked not to: its bytes are made plain before anybody looks at them."""

import zlib
from collections.abc import Sequence
from typing import Final

from trustgate.contract.errors import Refused
from trustgate.contract.upstream import Header, Upstream, UpstreamFailure, read_out

_WINDOWS: Final = {b"gzip": 16 + zlib.MAX_WBITS, b"x-gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}
PIECE: Final = 1024 * 1024
"""Bytes that one read makes at most: what a few bytes can blow up to is read in pieces, and bounded by who reads."""


def decoded(upstream: Upstream, encoding: bytes) -> Upstream:
    """Return the answer without its content-encoding. Raises Refused (502) for an encoding that nobody asked for.

    https://www.rfc-editor.org/rfc/rfc9110#name-content-codings
    """
    name = encoding.strip().lower()
    if name in (b"", b"identity"):
        return upstream
    if name not in _WINDOWS:
        raise Refused(
            "provider_malformed_answer",
            f"The provider answered in a content-encoding that it was asked not to use ({name.decode('latin-1')}).",
            status=502,
            source="upstream",
        )
    return Inflated(upstream, _WINDOWS[name])


class Inflated:
    """An `Upstream` whose bytes were compressed."""

    __slots__ = ("_inflate", "_over", "_upstream", "headers", "status")

    def __init__(self, upstream: Upstream, window: int) -> None:
        dropped = (b"content-encoding", b"content-length")
        self.status = upstream.status
        self.headers: Sequence[Header] = [header for header in upstream.headers if header[0] not in dropped]
        self._upstream = upstream
        self._inflate = zlib.decompressobj(window)
        self._over = False

    async def chunk(self) -> bytes:
        """Return the next plain bytes, `b""` at the end. Raises UpstreamFailure for what is not compressed properly."""
        while not self._over:
            data = self._inflate.unconsumed_tail or await self._upstream.chunk()
            self._over = not data
            if self._over and not self._inflate.eof:
                raise UpstreamFailure("connection_lost", "the compressed answer ends in its middle")
            if plain := self._plain(data):
                return plain
        return b""

    async def read(self) -> bytes:
        """Read all that is still to come."""
        return await read_out(self)

    async def aclose(self) -> None:
        """Give the connection back, or close it."""
        await self._upstream.aclose()

    def _plain(self, data: bytes) -> bytes:
        if not data or self._inflate.eof:
            return b""
        try:
            return self._inflate.decompress(data, PIECE)
        except zlib.error as error:
            raise UpstreamFailure("malformed_answer", f"the answer is not compressed as it says: {error}") from error
