"""What a budget can be told, and everything that follows from it and not from a request."""

import re
from functools import cached_property
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from trustgate import (
    Calendar,
    Duration,
    PolicySettings,
    PriceRule,
    TimeZone,
    UnknownPrice,
    Want,
    one_of,
    seconds,
    time_zone,
    vagueness,
)

NANO = 1_000_000_000
"""Budgets in dollars are counted in billionths of one."""
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")

Max = Annotated[float, Meta(gt=0, le=1e12, description="Tokens (whole), or US dollars.")]
Window = Annotated[
    Duration | None, Meta(description="How long a window is, at least `60s`. It slides: there is no edge.")
]
Calendared = Annotated[
    Literal["minute", "hour", "day", "week", "month"] | None,
    Meta(description="A period of the calendar in the place of `time_window`; all is back when the next one begins."),
]


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A budget of the models whose name matches."""

    model: Annotated[str, Meta(min_length=1, max_length=255, description="A model's name; `*` is any run in it.")]
    max: Max
    time_window: Window = None
    period: Calendared = None


class Aggregate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A budget of all models together."""

    max: Max
    time_window: Window = None
    period: Calendared = None


class Budget(Struct, frozen=True, kw_only=True):
    """One budget as it is counted: `limit` in tokens or billionths of a dollar, `window` in seconds unless it has a
    `calendar`."""

    name: str
    limit: int
    window: float
    calendar: Calendar | None
    told: str

    def want(self, who: str, amount: int, now: float, *, strict: bool) -> Want:
        """Return what a request wants of it at a moment, in Unix seconds."""
        key = f"{who}:{self.name}"
        if self.calendar is None:
            return Want(key=key, limit=self.limit, window=self.window, amount=amount, strict=strict)
        span = self.calendar.at(now)
        # by its name too: a day and a week may end at the same moment
        key = f"{key}:{self.calendar.period}"
        return Want(key=key, limit=self.limit, window=0.0, until=span.end, amount=amount, strict=strict)


class TokenRateLimiterSettings(PolicySettings, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """Budgets of tokens or dollars: reserved before a provider is called, settled with what was really used."""

    title: ClassVar[str] = "Token and budget limiter"
    group = "Quota"
    on_error: ClassVar[Literal["deny", "allow"]] = "allow"
    mandatory: ClassVar[frozenset[str]] = frozenset({"pre_call", "post_response"})

    unit: Annotated[Literal["tokens", "dollars"], Meta(description="What is counted.")] = "tokens"
    counting: Annotated[
        Literal["total", "input", "output"], Meta(description="Which tokens count; dollars are always all of them.")
    ] = "total"
    rules: Annotated[
        tuple[Rule, ...],
        Meta(description="Budgets by model. The exact name wins, then the pattern with the most letters."),
    ] = ()
    aggregate: Annotated[
        Aggregate | None, Meta(description="A budget of all models together, beside that of the model.")
    ] = None
    behavior_on_exceeded: Annotated[
        Literal["reject", "downgrade_model"], Meta(description="What becomes of a request that finds a budget used up.")
    ] = "reject"
    downgrade_to: Annotated[
        str, Meta(max_length=255, description="The model that is asked instead; its own budget counts then.")
    ] = ""
    count_cache_reads: Annotated[
        bool, Meta(description="Whether tokens count that the provider read from its cache.")
    ] = False
    group_by_header: Annotated[
        str, Meta(description="Give each value of this request header budgets of its own; requests without share one.")
    ] = ""
    default_output_tokens: Annotated[
        int,
        Meta(ge=0, le=10_000_000, description="What is reserved for an answer whose length the caller leaves open."),
    ] = 1024
    strict: Annotated[
        bool,
        Meta(description="Refuse what might not fit; otherwise a request passes while anything is left."),
    ] = False
    time_zone: TimeZone = "UTC"
    custom_pricing: Annotated[
        tuple[PriceRule, ...],
        Meta(description="Prices by which dollars are counted here, before those of the registry and the price book."),
    ] = ()
    unknown_price: Annotated[
        UnknownPrice,
        Meta(
            description="What becomes of a request for dollars whose price nobody knows: `reject` refuses it, "
            "`pass_through` counts nothing and says so in the event, `assume_max` counts the dearest of its provider."
        ),
    ] = "assume_max"

    def __post_init__(self) -> None:
        if not self.rules and self.aggregate is None:
            raise ValueError("`rules` or `aggregate` has to hold a budget")
        if (self.behavior_on_exceeded == "downgrade_model") != bool(self.downgrade_to):
            raise ValueError("`downgrade_to` goes with `behavior_on_exceeded` = downgrade_model, and is needed there")
        if self.group_by_header and not _HEADER_NAME.fullmatch(self.group_by_header):
            raise ValueError(f"`group_by_header` is {self.group_by_header!r}, which is not the name of a header")
        if len({rule.model for rule in self.rules}) < len(self.rules):
            raise ValueError("`rules` names a model twice")
        time_zone(self.time_zone)
        for budget in (*self.rules, *((self.aggregate,) if self.aggregate else ())):
            if (budget.time_window is None) == (budget.period is None):
                raise ValueError("each budget has either a `time_window` or a `period`")
            if budget.time_window and seconds(budget.time_window) < 60:
                raise ValueError(f"`time_window` is {budget.time_window}, which is too short: use at least 60s")
            if self.unit == "tokens" and not budget.max.is_integer():
                raise ValueError(f"`max` is {budget.max}, but tokens are whole")

    @cached_property
    def budgets(self) -> tuple[tuple[re.Pattern[str], Budget], ...]:
        """The rules as they are counted, the most specific first: the first that matches a model is its own."""
        return tuple(
            (one_of([rule.model]), self._budget(f"model:{rule.model}", rule))
            for rule in sorted(self.rules, key=lambda rule: vagueness(rule.model))
        )

    @cached_property
    def whole(self) -> Budget | None:
        """The aggregate as it is counted."""
        return self._budget("all", self.aggregate) if self.aggregate else None

    @cached_property
    def group_header(self) -> bytes:
        """The name of the grouping header as it is looked up."""
        return self.group_by_header.lower().encode("latin-1")

    def of(self, model: str) -> tuple[Budget, ...]:
        """Return the budgets that a request for a model has to fit."""
        own = next((budget for pattern, budget in self.budgets if pattern.fullmatch(model)), None)
        return tuple(budget for budget in (own, self.whole) if budget is not None)

    def _budget(self, name: str, said: Rule | Aggregate) -> Budget:
        limit = round(said.max * NANO) if self.unit == "dollars" else int(said.max)
        return Budget(
            name=name,
            limit=limit,
            window=seconds(said.time_window) if said.time_window else 0.0,
            calendar=Calendar(said.period, self.time_zone) if said.period else None,
            told=said.period or said.time_window or "",
        )
