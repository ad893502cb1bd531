"""How long a model is to think: a budget of tokens for Claude up to 4.5, an effort for those behind it.

https://platform.claude.com/docs/en/build-with-claude/extended-thinking: a budget has at least 1024 tokens and fewer
than max_tokens; while a model thinks, no tool can be forced and sampling cannot be changed.
"""

from collections.abc import Mapping
from typing import Any, Final

from trustgate.providers.hub import CannotSay, Json, Losses
from trustgate.providers.pairs.openai_to_anthropic.abilities import Abilities, plenty_for
from trustgate.providers.pairs.reading import an_object, string

BUDGETS: Final[Mapping[str, int]] = {
    "minimal": 1024,
    "low": 1024,
    "medium": 4096,
    "high": 16384,
    "xhigh": 20000,
    "max": 20000,
}
"""Tokens of thought for each of OpenAI's efforts. The most of them leaves room for an answer in every model."""
_SMALLEST: Final = 1024
_LOWER: Final[Mapping[str, str]] = {"minimal": "low", "xhigh": "high", "max": "high"}
"""What to ask a model for that has not that much, or, for `minimal`, that little."""


def effort_of(thinking: Any) -> str | None:
    """Return the effort that Anthropic's `thinking` means, None where it means none: adaptive is as good as high."""
    if not isinstance(thinking, dict):
        return None
    kind, budget = thinking.get("type"), thinking.get("budget_tokens")
    if kind == "adaptive":
        return "high"
    if kind != "enabled" or not isinstance(budget, int):
        return None
    return "low" if budget < BUDGETS["medium"] else "medium" if budget < BUDGETS["high"] else "high"


def say_thinking(hub: Json, body: Json, model: Abilities, losses: Losses) -> None:
    """Put `thinking` and `output_config.effort` into the body, and max_tokens where nobody has said them.

    Tools, tool_choice and what the caller said of max_tokens are in the body by then. Raises CannotSay.
    """
    effort = hub.get("reasoning_effort")
    if effort is not None:
        string(effort, "reasoning_effort")
        if effort != "none" and effort not in BUDGETS:
            raise CannotSay("reasoning_effort", f"There is no effort {effort[:40]!r}.")
    if hub.get("thinking") is not None:
        _say_as_given(hub, effort, body, model, losses)
    elif _is_forced(body):
        _say_nothing_forced(effort, body, model, losses)
    elif effort == "none":
        _say_none(body, model, losses, "reasoning_effort")
    elif effort is not None and not _said(hub, effort, body, model, losses):
        losses.drop("reasoning_effort")
    if "max_tokens" not in body:
        body["max_tokens"] = _most(body, model)


def _is_forced(body: Json) -> bool:
    """Whether a tool must be called."""
    return body.get("tool_choice", {}).get("type") in ("any", "tool")


def thinks(body: Json, model: Abilities) -> bool:
    """Whether the model will think, or may."""
    if "thinking" in body:
        return body["thinking"].get("type") in ("enabled", "adaptive")
    return model.thinks_unasked


def _say_as_given(hub: Json, effort: str | None, body: Json, model: Abilities, losses: Losses) -> None:
    """Say the caller's `thinking`, in the nearest way that the model has. Its effort wins over what the other means."""
    thinking = an_object(hub["thinking"], "thinking")
    kind = thinking.get("type")
    effort = None if effort == "none" else effort
    if model.thinks == "no":
        losses.drop("thinking")
    elif kind == "enabled" and not model.takes_budgets:
        losses.drop("thinking.budget_tokens")
        _said(hub, effort or effort_of(thinking) or "high", body, model, losses)
    elif kind == "adaptive" and model.thinks == "budget" and model.is_known:
        if not _said(hub, effort or "high", body, model, losses):
            losses.drop("thinking")
    elif kind == "disabled" and model.thinks_unasked:
        _say_none(body, model, losses, "thinking")
    else:
        body["thinking"] = thinking
        _say_effort_beside(thinking, effort, body, model, losses)


def _say_effort_beside(thinking: Json, effort: str | None, body: Json, model: Abilities, losses: Losses) -> None:
    """An effort that only repeats, for others, what `thinking` means is not said twice."""
    if effort is None or effort == effort_of(thinking):
        return
    if model.efforts:
        _say_effort(effort, body, model, losses)
    else:
        losses.drop("reasoning_effort")


def _say_nothing_forced(effort: str | None, body: Json, model: Abilities, losses: Losses) -> None:
    """A tool is to be called for sure, which a thinking model does not do: the thoughts have to stand back."""
    if effort not in (None, "none"):
        losses.drop("reasoning_effort")
    if model.thinks_unasked:
        body["thinking"] = model.unthinking


def _say_none(body: Json, model: Abilities, losses: Losses, path: str) -> None:
    """No thoughts at all: which most models do unless asked, and some cannot."""
    if not model.thinks_unasked:
        return
    if model.unthinking is not None:
        body["thinking"] = model.unthinking
    else:
        losses.drop(path)
        _say_effort("low", body, model, losses)


def _said(hub: Json, effort: str, body: Json, model: Abilities, losses: Losses) -> bool:
    """Say the effort in the model's way. Returns whether it could be said."""
    if model.thinks == "adaptive":
        body["thinking"] = {"type": "adaptive"}
        _say_effort(effort, body, model, losses)
        return True
    budget = _budget(effort, body.get("max_tokens")) if model.thinks == "budget" else 0
    if not budget or _goes_on_without_thoughts(hub["messages"]):
        return False
    body["thinking"] = {"type": "enabled", "budget_tokens": budget}
    return True


def _say_effort(effort: str, body: Json, model: Abilities, losses: Losses) -> None:
    word = effort if effort in model.efforts else _LOWER.get(effort, effort)
    if word == "high" and effort != "high":
        losses.drop("reasoning_effort")
    body.setdefault("output_config", {})["effort"] = word


def _budget(effort: str, most: int | None) -> int:
    """Return the tokens of thought, of which an answer must be left a quarter, 0 where there is no room for any."""
    if most is None:
        return BUDGETS[effort]
    return min(BUDGETS[effort], max(_SMALLEST, most * 3 // 4)) if most > _SMALLEST else 0


def _goes_on_without_thoughts(messages: list[Json]) -> bool:
    """Whether a turn goes on in which tools were called without a thought: it may not begin to think in its midst."""
    for message in reversed(messages):
        if message.get("role") == "assistant":
            return bool(message.get("tool_calls")) and not message.get("thinking_blocks")
        if message.get("role") != "tool":
            return False
    return False


def _most(body: Json, model: Abilities) -> int:
    if not thinks(body, model):
        return model.most
    budget = body.get("thinking", {}).get("budget_tokens")
    return plenty_for(budget if isinstance(budget, int) else 0)
