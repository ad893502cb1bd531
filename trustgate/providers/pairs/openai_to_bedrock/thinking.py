"""How long a model is to think: every maker has a field of its own for it, beside Converse's.

https://docs.aws.amazon.com/bedrock/latest/userguide/claude-messages-extended-thinking.html and
https://docs.aws.amazon.com/nova/latest/nova2-userguide/extended-thinking.html
"""

from collections.abc import Mapping
from typing import Any, Final

from trustgate.providers.hub import Json, Losses
from trustgate.providers.pairs.openai_to_anthropic.abilities import Abilities
from trustgate.providers.pairs.openai_to_anthropic.thinking import effort_of, thinks
from trustgate.providers.pairs.openai_to_anthropic.thinking import say_thinking as say_to_anthropic
from trustgate.providers.pairs.openai_to_bedrock.family import Family
from trustgate.providers.pairs.reading import an_object, string

_EFFORTS: Final[Mapping[str, str]] = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}
"""OpenAI's efforts, and Claude's highest, in the three words that all other makers have."""
_LIMITS: Final = frozenset(("temperature", "topP", "maxTokens"))


def say_thinking(hub: Json, body: Json, family: Family, losses: Losses) -> None:
    """Put the hub's `thinking` or `reasoning_effort` into the body, whose inference and tools are said already.

    Raises CannotSay.
    """
    if family.claude is not None:
        _say_to_claude(hub, body, family.claude, losses)
        return
    thinking, effort = hub.get("thinking"), hub.get("reasoning_effort")
    usual = None if thinking is None else effort_of(an_object(thinking, "thinking"))
    if thinking is not None and family.is_opaque:
        _additional(body)["thinking"] = thinking
        if effort not in (None, usual):
            losses.drop("reasoning_effort")
        return
    word = usual if effort is None else string(effort, "reasoning_effort")
    if word not in (None, "none") and not _said(body, _EFFORTS.get(word or ""), family):
        losses.drop("thinking" if effort is None else "reasoning_effort")


def _said(body: Json, word: str | None, family: Family) -> bool:
    """Say the effort in the words of the model's maker. Returns whether it could be said as it is."""
    if word is not None and family.nova == 2:
        return _say_to_nova(body, word)
    if word is not None and family.thinks_by:
        _additional(body)[family.thinks_by] = word
        return True
    return False


def _say_to_nova(body: Json, word: str) -> bool:
    """Nova thinks at its highest only where neither sampling nor length are set; where they are, medium is next."""
    is_limited = not _LIMITS.isdisjoint(body.get("inferenceConfig", ()))
    sayable = word != "high" or not is_limited
    _additional(body)["reasoningConfig"] = {"type": "enabled", "maxReasoningEffort": word if sayable else "medium"}
    return sayable


def _say_to_claude(hub: Json, body: Json, model: Abilities, losses: Losses) -> None:
    """Claude is told what its maker's own API tells it, in two places of Converse."""
    most = body.get("inferenceConfig", {}).get("maxTokens")
    asked: Json = {} if most is None else {"max_tokens": most}
    if "toolChoice" in body.get("toolConfig", ()):
        asked["tool_choice"] = {"type": "any"}
    say_to_anthropic(hub, asked, model, losses)
    if "thinking" in asked:
        _additional(body)["thinking"] = asked["thinking"]
    if "output_config" in asked:
        body.setdefault("outputConfig", {})["effort"] = asked["output_config"]["effort"]
    _settle_sampling(body, model, losses, is_thinking=thinks(asked, model))


def _settle_sampling(body: Json, model: Abilities, losses: Losses, *, is_thinking: bool) -> None:
    """A thinking Claude takes none but a high topP, many take one of temperature and topP, the newest none at all."""
    inference = body.get("inferenceConfig", {})
    if model.sampling == "none" or is_thinking:
        _unset(inference, "temperature", "temperature", losses)
        if model.sampling == "none" or inference.get("topP", 1) < 0.95:
            _unset(inference, "topP", "top_p", losses)
        if body.get("additionalModelRequestFields", {}).pop("top_k", None) is not None:
            losses.drop("top_k")
    elif model.sampling == "one" and "temperature" in inference:
        _unset(inference, "topP", "top_p", losses)


def _unset(fields: dict[str, Any], name: str, path: str, losses: Losses) -> None:
    """Leave a parameter out; where it is 1, as it is where nobody sets it, nothing is lost."""
    if fields.pop(name, 1) != 1:
        losses.drop(path)


def _additional(body: Json) -> Json:
    found: Json = body.setdefault("additionalModelRequestFields", {})
    return found
