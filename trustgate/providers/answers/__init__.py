"""Looking into answers of every dialect, for policies: whole ones, and streams that have been held."""

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Final

from trustgate.contract.prompt import AnswerLens
from trustgate.providers.answers.stream import StreamLens
from trustgate.providers.dialects import lens_of
from trustgate.providers.lazily import lens_in


@cache
def _of_stream(operation: str) -> AnswerLens:
    return StreamLens(lens_of(operation))


_MODULES: Final[Mapping[str, str]] = {
    "chat_completions": "openai",
    "responses": "responses",
    "response": "responses",
    "messages": "anthropic",
    "generate_content": "gemini",
    "cohere_chat": "cohere",
    "converse": "bedrock",
    "completions": "completions",
}
WHOLE: Final[Mapping[str, Callable[[], AnswerLens]]] = {
    operation: partial(lens_in, f"answers.{module}") for operation, module in _MODULES.items()
}
STREAMS: Final[Mapping[str, Callable[[], AnswerLens]]] = {
    operation: partial(_of_stream, operation) for operation in _MODULES
}
"""The lens of each operation's answers, loaded when somebody looks. Answers of other operations are not read."""


def answer_lens(operation: str, *, streamed: bool) -> Callable[[], AnswerLens] | None:
    """Return how answers to an operation are looked into, or None."""
    return (STREAMS if streamed else WHOLE).get(operation)
