"""How many tokens a text has, guessed without a tokenizer: where a provider sends no usage, or a stream breaks off.

Measured against what providers counted in recorded traffic:
352 answers of 20 tokens or more: mean relative error 7%, p95 24%;
52 prompts of 20 tokens or more: mean relative error 24%, p95 82%, the worst of them short ones to which the provider
adds instructions of its own. Vendors differ by about a fifth over the same text, so no guess can be much better.
"""

import re
from collections.abc import Iterator, Sequence
from math import ceil
from typing import Any, Final

import msgspec

from trustgate.contract.usage import Usage

PER_MESSAGE: Final = 4
PER_PROMPT: Final = 3
"""Chat templates put marks around each message and before the answer; https://github.com/openai/openai-cookbook,
"How to count tokens with tiktoken", has 3 and 3 of them, other vendors more."""

_PIECES: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+|\n+|[^\W\d_A-Za-z]+|[^\w\s]+|\s\s+|\w")
_WORD: Final = (8, 6)
_CAPITALS: Final = (4, 3)
"""How many letters one token usually has, and each further one: a word written in capitals is rarer."""
_IDEOGRAPHS: Final = "\u2e80"
_LONG: Final = 20_000
_SLICE: Final = 4_000
_TEXTS: Final = frozenset(
    (
        *("messages", "content", "text", "system", "input", "instructions", "prompt", "output"),
        *("contents", "parts", "systemInstruction", "system_instruction"),
        *("message", "texts", "inputs", "query", "documents", "toolResult", "arguments"),
    )
)
_TOOLS: Final = ("tools", "toolConfig")
_MOST: Final = ("max_completion_tokens", "max_tokens", "max_output_tokens", "maxOutputTokens", "maxTokens")
_CHOICES: Final = ("n", "candidateCount")
_SETTINGS: Final = ("generationConfig", "generation_config", "inferenceConfig")
"""Where a request says how long its answer may be and how many there are, and inside of what it may say it."""


def estimate_tokens(text: str) -> int:
    """Return about how many tokens a text has; 0 only for an empty one. Of a long text five slices are looked at."""
    if len(text) <= _LONG:
        return ceil(_weigh(text))
    step = (len(text) - _SLICE) // 4
    seen = [text[start : start + _SLICE] for start in range(0, len(text) - _SLICE + 1, step)]
    return ceil(sum(map(_weigh, seen)) * len(text) / sum(map(len, seen)))


def estimate_prompt(texts: Sequence[str]) -> int:
    """Return about how many tokens a prompt has that consists of these messages."""
    return PER_PROMPT + sum(PER_MESSAGE + estimate_tokens(text) for text in texts)


def estimate_usage(body: Any, answer: str) -> Usage:
    """Return about what a request used: `body` is its JSON in any dialect, `answer` the text that came back."""
    output = estimate_tokens(answer) + 1 if answer else 0  # the mark that ends an answer is counted too
    return Usage(input=estimate_prompt(prompt_texts(body)), output=output, estimated=True)


def expected_usage(body: Any, most: int) -> Usage:
    """Return what a request may use at most: with as much output as it allows itself in any dialect, in all choices.

    `most` tokens are expected of an answer whose length it leaves open; 0 for operations whose answers have none.
    """
    output = _allowed_output(body, most) if most else 0
    return Usage(input=estimate_prompt(prompt_texts(body)), output=output, estimated=True)


def _allowed_output(body: Any, most: int) -> int:
    if not isinstance(body, dict):
        return most
    places = [body, *(body[name] for name in _SETTINGS if isinstance(body.get(name), dict))]
    said: list[int] = [place[name] for place in places for name in _MOST if _is_count(place.get(name))]
    choices: list[int] = [place[name] for place in places for name in _CHOICES if _is_count(place.get(name))]
    return (said[0] if said else most) * max([1, *choices])


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**9


def prompt_texts(body: Any) -> list[str]:
    """Return what there is to read in a request's JSON, a text a message; tools as the JSON that describes them.

    Images, files and ids are left out: a text is what stands under a name that has text in some dialect.
    """
    if not isinstance(body, dict):
        return []
    tools = [msgspec.json.encode(body[name]).decode() for name in _TOOLS if body.get(name)]
    return [*_texts_in(body), *tools]


def _texts_in(body: Any) -> Iterator[str]:
    """Walks without recursion: nobody knows how deeply a caller nests."""
    pending = [body]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            pending += [value[name] for name in value if name in _TEXTS]
        elif isinstance(value, list):
            pending += value


def _weigh(text: str) -> float:
    return sum(map(_weigh_piece, _PIECES.findall(text)))


def _weigh_piece(piece: str) -> float:
    """What one piece usually is in tokens: words are one until they are long, three digits are one, as marks are."""
    first, size = piece[0], len(piece)
    if "a" <= piece[-1] <= "z" or "A" <= piece[-1] <= "Z":
        usual, more = _WORD if piece[-1] >= "a" else _CAPITALS
        return 1 + max(0, size - usual) / more
    if "0" <= first <= "9":
        return (size + 2) // 3
    if first.isspace():
        return 0.8 if first == "\n" else 0.5
    if first.isalpha():
        return float(size) if first >= _IDEOGRAPHS else size / 2
    return 0.9 + 0.3 * (size - 1)
