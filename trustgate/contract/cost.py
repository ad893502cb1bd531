"""Money, exact: amounts are integers of 10⁻²⁴ USD, so no token is too cheap to be counted and no sum is rounded.

The finest price there is has 18 decimals of a dollar for a million tokens: 24 for one.
"""

from collections.abc import Sequence
from typing import Annotated, Final, Literal, Protocol

from msgspec import Meta, Struct

from trustgate.contract.usage import Usage

DECIMALS: Final = 24
"""An amount of 1 is 10 to the power of minus this many US dollars."""
_HALF: Final = 10 ** (DECIMALS // 2)
PER_MILLION_PATTERN: Final = r"^(0|[1-9][0-9]{0,8})(\.[0-9]{1,12})?$"


def plain(amount: int) -> str:
    """Return an amount in US dollars as a plain decimal, exact and never scientific: `0.00000003`."""
    upper, fine = divmod(abs(amount), _HALF)
    whole, rest = divmod(upper, _HALF)
    # nearly every amount ends above the 12th decimal, and small numbers are written three times as fast as large ones
    fraction = f"{rest:012d}{fine:012d}".rstrip("0") if fine else f"{rest:012d}".rstrip("0") if rest else ""
    return f"{'-' if amount < 0 else ''}{whole}{'.' if fraction else ''}{fraction}"


class Cost(Struct, frozen=True, kw_only=True):
    """What one answer costs, in amounts of 10⁻²⁴ USD. `total` has a fee per request in it where there is one."""

    prompt: int
    completion: int
    total: int

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            prompt=self.prompt + other.prompt,
            completion=self.completion + other.completion,
            total=self.total + other.total,
        )


PerMillion = Annotated[
    str, Meta(pattern=PER_MILLION_PATTERN, description="US dollars for a million tokens, as a plain decimal: `0.15`.")
]


class TokenPrices(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What tokens cost. What has no price of its own costs what the rest of its direction does."""

    input: PerMillion
    output: PerMillion
    cached_input: Annotated[
        PerMillion | None,
        Meta(description="US dollars for a million tokens of input that the provider had in its cache."),
    ] = None
    cache_write: Annotated[
        PerMillion | None,
        Meta(description="US dollars for a million tokens of input that was put into the provider's cache."),
    ] = None
    cache_write_1h: Annotated[
        PerMillion | None, Meta(description="US dollars for a million tokens of input that was put there for an hour.")
    ] = None
    audio_input: Annotated[
        PerMillion | None, Meta(description="US dollars for a million tokens of audio that was sent.")
    ] = None
    reasoning_output: Annotated[
        PerMillion | None, Meta(description="US dollars for a million tokens of output that the model thought.")
    ] = None
    audio_output: Annotated[
        PerMillion | None, Meta(description="US dollars for a million tokens of audio that was answered.")
    ] = None


class PriceTier(TokenPrices, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Prices of all tokens of a request whose input is longer than `above` tokens; unsaid ones are the rule's."""

    above: Annotated[int, Meta(ge=1, le=1_000_000_000, description="How many tokens of input are not enough for it.")]


class PriceRule(TokenPrices, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Prices that stand instead of the shipped ones, for the models whose name `model` matches: `*` is any run.

    The exact name wins over patterns, of these the one with the most letters, of equal ones the newest in force:
    `effective_from` is a day in UTC, and empty is always.
    """

    model: Annotated[str, Meta(min_length=1, max_length=255, description="A model's name; `*` is any run in it.")]
    tiers: Annotated[tuple[PriceTier, ...], Meta(description="Prices of requests with long input.")] = ()
    effective_from: Annotated[
        str, Meta(pattern=r"^(\d{4}-\d{2}-\d{2})?$", description="From when on it counts: YYYY-MM-DD, in UTC.")
    ] = ""


UnknownPrice = Literal["reject", "pass_through", "assume_max"]
"""What becomes of a request whose price nobody knows: refused, let through and marked, or taken for the dearest."""


class Pricing(Protocol):
    """Knows what answers cost."""

    def price(
        self,
        provider: str,
        model: str,
        usage: Usage,
        *,
        at: float,
        service_tier: str = "",
        overrides: Sequence[PriceRule] = (),
        asked: str = "",
        before: Sequence[PriceRule] = (),
    ) -> Cost | None:
        """Return what an answer costs; None where its price is not known. Never raises.

        `at` is when, in Unix seconds; `service_tier` as the provider's answer has it; `asked` is the model's name in
        the request, tried where the name in the answer is not known. `before` are rules that count before `overrides`.
        """

    def dearest(self, provider: str, usage: Usage, *, at: float) -> Cost:
        """Return what an answer costs of the dearest models that a provider has; of one whose prices nobody lists, that
        anybody has. For those who must assume something about a price that is not known. Never raises."""
