"""Guessed tokens, held against what providers counted, and what is never guessed."""

import statistics
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trustgate.contract.usage import Usage
from trustgate.providers import estimate
from trustgate.providers.estimate import estimate_prompt, estimate_tokens, estimate_usage, prompt_texts

from .prices.traffic import Pair, pairs, recorded_traffic

Counted = tuple[str, int]
PLAIN: Final = frozenset(
    (
        *("model", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "stream", "n", "system"),
        *("contents", "systemInstruction", "inferenceConfig"),
    )
)
"""What a request may say and still be nothing but its text."""


def texts_of(content: Any) -> str | None:
    """Return what consists of text alone, joined."""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and content and all(isinstance(it, dict) and set(it) <= _TEXT for it in content):
        return "".join(it["text"] for it in content if "text" in it) or None
    return None


_TEXT: Final = frozenset(("type", "text", "citations"))


def answers() -> Iterator[Counted]:
    """Yield the answers that are text alone with how many tokens the provider counted, reasoning left out."""
    for pair in pairs():
        read = _ANSWERS.get(pair.api)
        try:
            found = read(pair.answer) if read else None
        except (KeyError, IndexError, TypeError, ValueError):  # no answer, or not one answer
            continue
        if found is not None and found[0] and found[1] >= 20:
            yield found[0], found[1]


def _of_chat(answer: Any) -> tuple[str | None, int] | None:
    (choice,), usage = answer["choices"], answer["usage"]
    message = choice["message"]
    if any(message.get(name) for name in ("tool_calls", "reasoning", "reasoning_content", "audio")):
        return None
    thought = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    return texts_of(message["content"]), usage["completion_tokens"] - thought


def _of_messages(answer: Any) -> tuple[str | None, int]:
    return texts_of(answer["content"]), answer["usage"]["output_tokens"]


def _of_gemini(answer: Any) -> tuple[str | None, int]:
    return texts_of(answer["candidates"][0]["content"]["parts"]), answer["usageMetadata"]["candidatesTokenCount"]


def _of_converse(answer: Any) -> tuple[str | None, int]:
    return texts_of(answer["output"]["message"]["content"]), answer["usage"]["outputTokens"]


_ANSWERS: Final[dict[str, Callable[[Any], tuple[str | None, int] | None]]] = {
    "chat": _of_chat,
    "messages": _of_messages,
    "generateContent": _of_gemini,
    "converse": _of_converse,
}


def prompts() -> Iterator[tuple[Pair, int]]:
    """Yield the requests that are instructions and questions in plain text, with how many tokens were counted."""
    for pair in pairs():
        usage = pair.answer.get("usage") or pair.answer.get("usageMetadata") or {}
        counted = sum(usage.get(name) or 0 for name in _INPUTS)
        if pair.api in _ANSWERS and set(pair.asked) <= PLAIN and _is_plain(pair.asked) and counted >= 20:
            yield pair, counted


_INPUTS: Final = (
    *("prompt_tokens", "input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"),
    *("promptTokenCount", "inputTokens"),
)


def _is_plain(asked: dict[str, Any]) -> bool:
    messages = asked.get("messages") or asked.get("contents") or ()
    return bool(messages) and all(
        it.get("role") in ("system", "user") and texts_of(it.get("content") or it.get("parts")) is not None
        for it in messages
    )


def errors(guessed: list[int], counted: list[int]) -> tuple[float, float]:
    """Return the mean and the 95th percentile of the relative error."""
    off = [abs(guess - real) / real for guess, real in zip(guessed, counted, strict=True)]
    return statistics.mean(off), statistics.quantiles(off, n=20)[-1]


@recorded_traffic
def test_answers_are_guessed_as_well_as_documented() -> None:
    known = sorted(set(answers()))
    assert len(known) > 300
    mean, p95 = errors([estimate_tokens(text) + 1 for text, _ in known], [count for _, count in known])
    assert f"{len(known)} answers of 20 tokens or more: mean relative error {mean:.0%}, p95 {p95:.0%}" in _documented()


@recorded_traffic
def test_prompts_are_guessed_as_well_as_documented() -> None:
    known = {(tuple(prompt_texts(pair.asked)), count): None for pair, count in prompts()}
    assert len(known) > 30
    mean, p95 = errors([estimate_prompt(texts) for texts, _ in known], [count for _, count in known])
    assert f"{len(known)} prompts of 20 tokens or more: mean relative error {mean:.0%}, p95 {p95:.0%}" in _documented()


def _documented() -> str:
    return " ".join((estimate.__doc__ or "").split())


BODIES: Final[dict[str, tuple[dict[str, Any], list[str]]]] = {
    "openai": (
        {
            "model": "gpt",
            "user": "u-1",
            "messages": [
                {"role": "system", "content": "Be kind."},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What is it?"},
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 9999}},
                    ],
                },
            ],
        },
        ["Be kind.", "What is it?"],
    ),
    "responses": (
        {
            "model": "gpt",
            "instructions": "Be kind.",
            "input": [{"role": "user", "content": "Hi"}],
            "metadata": {"a": "b"},
        },
        ["Be kind.", "Hi"],
    ),
    "anthropic": (
        {
            "model": "claude",
            "system": [{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}],
            "messages": [
                {"role": "user", "content": [{"type": "image", "source": {"type": "base64", "data": "A" * 9999}}]},
                {"role": "user", "content": "Hi"},
            ],
        },
        ["Be kind.", "Hi"],
    ),
    "gemini": (
        {
            "systemInstruction": {"parts": [{"text": "Be kind."}]},
            "contents": [{"role": "user", "parts": [{"text": "Hi"}, {"inlineData": {"data": "A" * 9999}}]}],
        },
        ["Be kind.", "Hi"],
    ),
    "converse": (
        {"system": [{"text": "Be kind."}], "messages": [{"role": "user", "content": [{"text": "Hi"}]}]},
        ["Be kind.", "Hi"],
    ),
    "embeddings": ({"model": "e", "input": ["one", "two"]}, ["one", "two"]),
    "completions": ({"model": "c", "prompt": "Once upon"}, ["Once upon"]),
}


@pytest.mark.parametrize("dialect", BODIES)
def test_a_prompt_is_its_texts_in_any_dialect(dialect: str) -> None:
    body, texts = BODIES[dialect]
    assert sorted(prompt_texts(body)) == sorted(texts)
    assert estimate_usage(body, "") == Usage(input=estimate_prompt(texts), estimated=True)


def test_tools_are_read_too() -> None:
    asked = {"messages": [{"role": "user", "content": "Hi"}]}
    tools = {"tools": [{"type": "function", "function": {"name": "get_weather", "description": "Says the weather."}}]}
    assert estimate_usage({**asked, **tools}, "").input > estimate_usage(asked, "").input + 10


def test_an_answer_that_broke_off_is_counted_as_far_as_it_came() -> None:
    whole = "The quick brown fox jumps over the lazy dog. " * 20
    half = estimate_usage({}, whole[: len(whole) // 2])
    assert half.estimated
    assert half.output == pytest.approx(estimate_usage({}, whole).output / 2, rel=0.02)
    assert estimate_usage({}, "").output == 0


@pytest.mark.parametrize(
    "body", [None, [], "text", 7, {}, {"messages": None}, {"messages": 7}, {"messages": [None, 1]}]
)
def test_a_body_that_says_nothing_has_no_texts(body: Any) -> None:
    assert prompt_texts(body) == []


def test_no_nesting_is_too_deep() -> None:
    body: dict[str, Any] = {"content": "bottom"}
    for _ in range(100_000):
        body = {"content": [body]}
    assert prompt_texts(body) == ["bottom"]


def test_a_long_text_is_sampled_and_not_read_to_its_end() -> None:
    sentence = "Of 12 lazy dogs, internationalisation made 3 jump over the fox.\n"
    short = estimate_tokens(sentence * 100) / 100
    assert estimate_tokens(sentence * 100_000) / 100_000 == pytest.approx(short, rel=0.02)


@given(text=st.text())
def test_a_text_has_tokens_and_not_more_than_bytes(text: str) -> None:
    tokens = estimate_tokens(text)
    assert tokens <= max(1, len(text.encode("utf-8", "surrogatepass")))
    assert tokens or not text.strip()  # a blank between words goes with its word


@given(text=st.text(), more=st.text())
def test_more_text_does_not_have_fewer_tokens(text: str, more: str) -> None:
    assert estimate_tokens(text + " " + more) >= estimate_tokens(text)
