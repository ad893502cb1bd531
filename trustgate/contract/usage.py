"""Tokens, normalised: every other count is a part of `input` or of `output` and stated beside it."""

from msgspec import Struct, structs


class Usage(Struct, frozen=True, kw_only=True):
    """Tokens of one answer. `estimated` says that the provider sent none and we counted.

    `input` holds what was read from a cache and what was written to one: `cached_input`, `cache_write`, of which
    `cache_write_1h` is kept for an hour and the rest for minutes. `output` holds `reasoning_output`. Audio and image
    tokens are in their totals too; `audio_cached_input` is both cached and audio.
    """

    input: int = 0
    output: int = 0
    cached_input: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    audio_input: int = 0
    audio_cached_input: int = 0
    image_input: int = 0
    reasoning_output: int = 0
    audio_output: int = 0
    image_output: int = 0
    estimated: bool = False

    @property
    def total(self) -> int:
        """Input and output together."""
        return self.input + self.output

    def __add__(self, other: "Usage") -> "Usage":
        sums = {name: getattr(self, name) + getattr(other, name) for name in _COUNTS}
        return Usage(**sums, estimated=self.estimated or other.estimated)

    def merged(self, later: "Usage") -> "Usage":
        """Return what two events of one stream say together: of each count the later one that is not zero.

        Streams repeat totals rather than add to them, and a later event may leave out what an earlier one said.
        """
        latest = {name: getattr(later, name) or getattr(self, name) for name in _COUNTS}
        return Usage(**latest, estimated=self.estimated or later.estimated)


_COUNTS = tuple(field.name for field in structs.fields(Usage) if field.name != "estimated")
