"""Which caller speaks which dialect."""

from collections.abc import Mapping
from typing import Final

from ..talk import Caller, Finish, Target
from .anthropic_messages import AnthropicMessages
from .bedrock import Bedrock
from .cohere_chat import Cohere
from .gemini import Gemini
from .openai_chat import OpenAIChat
from .openai_responses import OpenAIResponses

CALLERS: Final[Mapping[Target, Caller]] = {
    "openai": OpenAIChat(),
    "openai_responses": OpenAIResponses(),
    "anthropic": AnthropicMessages(),
    "gemini": Gemini(),
    "cohere": Cohere(),
    "bedrock": Bedrock(),
}
"""One for each dialect, so that each can also speak to its own provider without a gateway."""
FINISHES: Final[Mapping[Target, Mapping[Finish, str]]] = {
    "openai": {"stop": "stop", "length": "length", "tool_calls": "tool_calls", "content_filter": "content_filter"},
    "openai_responses": {
        "stop": "completed",
        "length": "incomplete max_output_tokens",
        "tool_calls": "completed",
        "content_filter": "incomplete content_filter",
    },
    "anthropic": {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"},
    "gemini": {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "content_filter": "SAFETY"},
    "cohere": {"stop": "COMPLETE", "length": "MAX_TOKENS", "tool_calls": "TOOL_CALL", "content_filter": "ERROR"},
    "bedrock": {
        "stop": "end_turn",
        "length": "max_tokens",
        "tool_calls": "tool_use",
        "content_filter": "content_filtered",
    },
}
"""Why an answer ended, in the words of each dialect."""
