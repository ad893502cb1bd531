"""How long a model is to think: a budget of tokens for Gemini 2.5, a level for those behind it.

https://ai.google.dev/gemini-api/docs/thinking; which effort is which budget is as Google's own OpenAI endpoint has it
(https://ai.google.dev/gemini-api/docs/openai#thinking). Who says how long to think is shown the thoughts.
"""

from collections.abc import Mapping
from typing import Any, Final

from trustgate.providers.hub import CannotSay, Json, Losses
from trustgate.providers.pairs.openai_to_gemini.abilities import LEVELS, Abilities
from trustgate.providers.pairs.reading import an_object, string

BUDGETS: Final[Mapping[str, int]] = {
    "minimal": 1024,
    "low": 1024,
    "medium": 8192,
    "high": 24_576,
    "xhigh": 32_768,
    "max": 32_768,
}
"""Tokens of thought for each of OpenAI's efforts."""
_LEVELS: Final[Mapping[str, str]] = {
    "minimal": "MINIMAL",
    "low": "LOW",
    "medium": "MEDIUM",
    "high": "HIGH",
    "xhigh": "HIGH",
    "max": "HIGH",
}
_AUTOMATIC: Final = -1
"""A budget that the model finds for itself."""


def effort_of(budget: int) -> str:
    """Return the effort that a budget of tokens is good for."""
    return next((word for word in ("low", "medium") if budget <= BUDGETS[word]), "high")


def say_thinking(hub: Json, config: Json, model: Abilities, losses: Losses) -> None:
    """Put `thinkingConfig` into the configuration. Raises CannotSay."""
    effort, thinking = _effort(hub), hub.get("thinking")
    if thinking is not None:
        an_object(thinking, "thinking")
    if effort is None and thinking is None:
        return
    name = "reasoning_effort" if thinking is None else "thinking"
    if effort == "none" if thinking is None else thinking.get("type") == "disabled":
        _say_none(name, config, model, losses)
    elif model.thinks == "no":
        losses.drop(name)
    elif model.thinks == "budget":
        config["thinkingConfig"] = {**_budget(effort, thinking or {}, model, losses), "includeThoughts": True}
    else:
        config["thinkingConfig"] = {**_level(effort, thinking or {}, model, losses), "includeThoughts": True}


def _effort(hub: Json) -> str | None:
    effort = hub.get("reasoning_effort")
    if effort is None:
        return None
    if string(effort, "reasoning_effort") != "none" and effort not in BUDGETS:
        raise CannotSay("reasoning_effort", f"There is no effort {effort[:40]!r}.")
    return str(effort)


def _say_none(name: str, config: Json, model: Abilities, losses: Losses) -> None:
    """No thoughts at all; where a model cannot do without, as few as it can."""
    if model.thinks == "no":
        return
    if not model.may_rest:
        losses.drop(name)
    if model.thinks == "level":
        config["thinkingConfig"] = {"thinkingLevel": model.levels[0]}
    else:
        config["thinkingConfig"] = {"thinkingBudget": 0 if model.may_rest else model.least}


def _budget(effort: str | None, thinking: Mapping[str, Any], model: Abilities, losses: Losses) -> Json:
    """Return a budget: the one that is given, or the effort's, or the model's own."""
    budget, name = thinking.get("budget_tokens"), "thinking.budget_tokens"
    if not isinstance(budget, int):
        if effort is None or effort == "none":
            return {"thinkingBudget": _AUTOMATIC}
        budget, name = BUDGETS[effort], "reasoning_effort"
    bounded = min(max(budget, model.least), model.most)
    if bounded != budget:
        losses.drop(name)
    return {"thinkingBudget": bounded}


def _level(effort: str | None, thinking: Mapping[str, Any], model: Abilities, losses: Losses) -> Json:
    """Return a level: the effort's, or that of the budget which is given; nothing where the model is to decide."""
    budget = thinking.get("budget_tokens")
    if isinstance(budget, int):
        losses.drop("thinking.budget_tokens")
        effort = effort_of(budget) if effort in (None, "none") else effort
    if effort is None or effort == "none":
        return {}
    wanted = LEVELS.index(_LEVELS[effort])
    level = next(each for each in model.levels if LEVELS.index(each) >= wanted)
    if level == "HIGH" and effort != "high":
        losses.drop("reasoning_effort" if budget is None else "thinking.budget_tokens")
    return {"thinkingLevel": level}
