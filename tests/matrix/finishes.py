"""Why an answer ended: every word that a provider has for it, and what each caller hears."""

from collections.abc import Mapping
from typing import Final

import httpx

from .callers import PLAIN
from .gateway import Place
from .model import TIME
from .raw import DIALECTS, post
from .talk import TARGETS, Asked, Call, Finish, Said, Target
from .upstream import Providers

WORDS: Final[Mapping[Target, tuple[str, ...]]] = {
    "openai": ("stop", "length", "tool_calls", "content_filter"),
    "openai_responses": ("completed", "length", "content_filter"),
    "anthropic": (
        *("end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal"),
        "model_context_window_exceeded",
    ),
    "gemini": (
        *("STOP", "MAX_TOKENS", "SAFETY", "RECITATION", "LANGUAGE", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT"),
        *("SPII", "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "IMAGE_SAFETY"),
    ),
    "cohere": ("COMPLETE", "STOP_SEQUENCE", "MAX_TOKENS", "TOOL_CALL", "ERROR", "TIMEOUT"),
    "bedrock": (
        *("end_turn", "tool_use", "max_tokens", "stop_sequence", "guardrail_intervened", "content_filtered"),
        *("malformed_model_output", "malformed_tool_use", "model_context_window_exceeded"),
    ),
}
_CALLS: Final = frozenset(("tool_calls", "tool_use", "TOOL_CALL"))


def _said(target: Target, word: str) -> Said:
    """Responses have no word of their own: it is their status that tells."""
    calls = (Call(TIME.name, {"city": "Rome"}, "call_1"),) if word in _CALLS else ()
    if target != "openai_responses":
        return Said("" if calls else "Hello!", calls, native=word)
    finishes: dict[str, Finish] = {"length": "length", "content_filter": "content_filter"}
    return Said("Hello!", finish=finishes.get(word, "stop"))


def finish_table(place: Place, providers: Providers, target: Target) -> Mapping[str, Mapping[Target, str]]:
    """Return, for each word of a target's, what each caller hears."""
    return {word: _heard(place, providers, target, word) for word in WORDS[target]}


def _heard(place: Place, providers: Providers, target: Target, word: str) -> Mapping[Target, str]:
    said = _said(target, word)

    def model(asked: Asked) -> Said:
        return said

    providers.think(model)
    with httpx.Client(timeout=15, trust_env=False, verify=PLAIN) as client:
        return {caller: _finish(client, place, caller, target) for caller in TARGETS}


def _finish(client: httpx.Client, place: Place, caller: Target, target: Target) -> str:
    answer = post(client, caller, place.door(target), {})
    return DIALECTS[caller].finish(answer.json()) if answer.is_success else f"error {answer.status_code}"
