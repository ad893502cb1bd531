"""Tokens, normalised: cached and reasoning tokens are included in the totals and stated beside them."""

from msgspec import Struct


class Usage(Struct, frozen=True, kw_only=True):
    """Tokens of one answer. `estimated` says that the provider sent none and we counted."""

    input: int = 0
    output: int = 0
    cached_input: int = 0
    reasoning_output: int = 0
    estimated: bool = False

    @property
    def total(self) -> int:
        """Input and output together."""
        return self.input + self.output

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            input=self.input + other.input,
            output=self.output + other.output,
            cached_input=self.cached_input + other.cached_input,
            reasoning_output=self.reasoning_output + other.reasoning_output,
            estimated=self.estimated or other.estimated,
        )
