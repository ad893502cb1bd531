"""Looking into answers of every dialect, for policies: whole ones, and streams that have been held."""

from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib import import_module
from typing import Final

from trustgate.contract.prompt import AnswerLens


@cache
def _load(module: str) -> AnswerLens:
    lens: AnswerLens = import_module(f"trustgate.providers.answers.{module}").LENS
    return lens


@cache
def _load_stream(operation: str) -> AnswerLens:
    stream = import_module("trustgate.providers.answers.stream")
    lens: AnswerLens = stream.StreamLens(operation)
    return lens


_MODULES: Final[Mapping[str, str]] = {
    "chat_completions": "openai",
    "responses": "responses",
    "messages": "anthropic",
    "generate_content": "gemini",
    "cohere_chat": "cohere",
    "converse": "bedrock",
    "completions": "completions",
}
WHOLE: Final[Mapping[str, Callable[[], AnswerLens]]] = {
    operation: partial(_load, module) for operation, module in _MODULES.items()
}
STREAMS: Final[Mapping[str, Callable[[], AnswerLens]]] = {
    operation: partial(_load_stream, operation) for operation in _MODULES
}
"""The lens of each operation's answers, loaded when somebody looks. Answers of other operations are not read."""


def answer_lens(operation: str, *, streamed: bool) -> Callable[[], AnswerLens] | None:
    """Return how answers to an operation are looked into, or None."""
    return (STREAMS if streamed else WHOLE).get(operation)
