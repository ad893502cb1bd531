"""Looking into requests of every dialect, for policies: what is said in them where, and how to change it in place."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from trustgate.contract.prompt import RequestLens
from trustgate.providers.lazily import lens_in

_MODULES: Final[Mapping[str, str]] = {
    "chat_completions": "openai",
    "responses": "responses",
    "responses_input_tokens": "responses",
    "messages": "anthropic",
    "messages_count_tokens": "anthropic",
    "generate_content": "gemini",
    "count_tokens": "gemini",
    "cohere_chat": "cohere",
    "converse": "bedrock",
    "completions": "plain",
    "embeddings": "plain",
    "cohere_embed": "plain",
    "embed_content": "plain",
    "batch_embed_contents": "plain",
    "rerank": "plain",
    "moderations": "plain",
    "images_generations": "plain",
    "audio_speech": "plain",
}

LENSES: Final[Mapping[str, Callable[[], RequestLens]]] = {
    operation: partial(lens_in, f"prompts.{module}") for operation, module in _MODULES.items()
}
"""The lens of each operation, loaded when somebody looks. Forms, passthrough and what has no body have none."""
