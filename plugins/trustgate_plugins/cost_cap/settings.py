"""What a ceiling of prices can be told, and everything that follows from it and not from a request."""

import re
from collections.abc import Mapping
from decimal import Decimal
from functools import cached_property
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from trustgate import PerMillion, PolicySettings, PriceRule, UnknownPrice, one_of, vagueness

AMOUNT = 10**24
"""Amounts are counted in so small parts of a dollar."""

Dollars = Annotated[str, Meta(pattern=r"^(0|[1-9][0-9]{0,8})(\.[0-9]{1,12})?$")]
Input = Meta(description="The most that a million tokens of input may cost, in US dollars, as a plain decimal.")
Output = Meta(description="The most that a million tokens of output may cost, in US dollars, as a plain decimal.")
Request = Meta(
    description="The most that a whole request may cost, in US dollars: its input as it is estimated, and all the "
    "output that it allows."
)


class ModelCap(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ceilings of the models whose name matches, in the place of the general ones."""

    model: Annotated[str, Meta(min_length=1, max_length=255, description="A model's name; `*` is any run in it.")]
    max_input_price: Annotated[PerMillion | None, Input] = None
    max_output_price: Annotated[PerMillion | None, Output] = None
    max_request_cost: Annotated[Dollars | None, Request] = None


class Cap(Struct, frozen=True, kw_only=True):
    """Ceilings as they are compared, in amounts of 10⁻²⁴ USD, of a token and of a request; None is no ceiling."""

    input: int | None
    output: int | None
    request: int | None


class CostCapSettings(PolicySettings, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """Nobody asks a model that is too dear: it is refused, or a cheaper one is asked in its place."""

    title: ClassVar[str] = "Cost cap"
    group = "Quota"
    mandatory: ClassVar[frozenset[str]] = frozenset({"pre_call"})

    max_input_price: Annotated[PerMillion | None, Input] = None
    max_output_price: Annotated[PerMillion | None, Output] = None
    max_request_cost: Annotated[Dollars | None, Request] = None
    per_model: Annotated[
        tuple[ModelCap, ...],
        Meta(description="Ceilings by model. The exact name wins, then the pattern with the most letters."),
    ] = ()
    behavior_on_violation: Annotated[
        Literal["reject", "downgrade"], Meta(description="What becomes of a request for a model that is too dear.")
    ] = "reject"
    downgrade_chain: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=255)], ...],
        Meta(
            max_length=7,
            description="The models that are asked instead, in this order: the first that is cheap enough.",
        ),
    ] = ()
    default_output_tokens: Annotated[
        int,
        Meta(ge=0, le=10_000_000, description="How long an answer is expected to be where the caller leaves it open."),
    ] = 1024
    custom_pricing: Annotated[
        tuple[PriceRule, ...],
        Meta(description="Prices that are compared here, before those of the registry and the price book."),
    ] = ()
    unknown_price: Annotated[
        UnknownPrice,
        Meta(
            description="What becomes of a request whose price nobody knows: `reject` takes it for too dear, "
            "`pass_through` lets it pass and says so in the event, `assume_max` takes it for its provider's dearest."
        ),
    ] = "reject"

    def __post_init__(self) -> None:
        caps: tuple[CostCapSettings | ModelCap, ...] = (self, *self.per_model)
        if all(each.max_input_price is each.max_output_price is each.max_request_cost is None for each in caps):
            raise ValueError(
                "`max_input_price`, `max_output_price`, `max_request_cost` or `per_model` has to say a ceiling"
            )
        if (self.behavior_on_violation == "downgrade") != bool(self.downgrade_chain):
            raise ValueError("`downgrade_chain` goes with `behavior_on_violation` = downgrade, and is needed there")
        for name, models in (
            ("downgrade_chain", self.downgrade_chain),
            ("per_model", [e.model for e in self.per_model]),
        ):
            if len(set(models)) < len(models):
                raise ValueError(f"`{name}` names a model twice")

    @cached_property
    def next_model(self) -> Mapping[str, str]:
        """Which model is asked after which in the chain."""
        return dict(zip(self.downgrade_chain, self.downgrade_chain[1:], strict=False))

    @cached_property
    def caps(self) -> tuple[tuple[re.Pattern[str], Cap], ...]:
        """The ceilings by model, the most telling first; the first that matches counts."""
        by_model = sorted(self.per_model, key=lambda each: vagueness(each.model))
        return (*((one_of([each.model]), _cap(each)) for each in by_model), (one_of(["*"]), _cap(self)))

    def cap_of(self, model: str) -> Cap:
        """Return the ceilings that count for a model."""
        return next(cap for pattern, cap in self.caps if pattern.fullmatch(model))


def _cap(said: ModelCap | CostCapSettings) -> Cap:
    return Cap(
        input=_per_token(said.max_input_price),
        output=_per_token(said.max_output_price),
        request=None if said.max_request_cost is None else int(Decimal(said.max_request_cost) * AMOUNT),
    )


def _per_token(per_million: str | None) -> int | None:
    return None if per_million is None else int(Decimal(per_million) * AMOUNT) // 1_000_000
