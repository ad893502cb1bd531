"""A registry's own prices: what a rule's types cannot say is checked here."""

from collections.abc import Sequence
from typing import Annotated, Final

from msgspec import Meta

from trustgate.contract.cost import PriceRule
from trustgate.planes.admin.services.problems import invalid
from trustgate.providers.prices.overrides import starts_at

MOST_RULES: Final = 200
MOST_TIERS: Final = 8
MOST_STARS: Final = 8

PriceRules = Annotated[
    list[PriceRule],
    Meta(description="Prices that stand instead of the shipped ones, by model. They are replaced as a whole."),
]


def checked_prices(rules: Sequence[PriceRule]) -> tuple[PriceRule, ...]:
    """Return rules that can be told apart and are in order. Raises Refused naming the one that is not."""
    if len(rules) > MOST_RULES:
        raise invalid(f"prices has {len(rules)} rules: use at most {MOST_RULES}; `*` in a model's name is any run")
    for number, rule in enumerate(rules):
        _check_rule(f"prices[{number}]", rule)
    keys = [(rule.model.lower(), rule.effective_from) for rule in rules]
    for number, key in enumerate(keys):
        if key in keys[:number]:
            raise invalid(f"prices[{number}].model is priced twice from the same day: give one of them effective_from")
    return tuple(rules)


def _check_rule(path: str, rule: PriceRule) -> None:
    if rule.model.count("*") > MOST_STARS:
        raise invalid(f"{path}.model has too many `*`: use at most {MOST_STARS}")
    if len(rule.tiers) > MOST_TIERS:
        raise invalid(f"{path}.tiers has {len(rule.tiers)} tiers: use at most {MOST_TIERS}")
    starts = [tier.above for tier in rule.tiers]
    if starts != sorted(set(starts)):
        raise invalid(f"{path}.tiers must ascend: give each a larger `above` than the one before it")
    try:
        starts_at(rule.effective_from)
    except ValueError:
        raise invalid(f"{path}.effective_from is no day: write it as YYYY-MM-DD") from None
