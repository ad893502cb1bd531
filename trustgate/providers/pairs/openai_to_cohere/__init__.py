"""The hub → Cohere's v2 chat, and its answers and streams back.

https://docs.cohere.com/reference/chat and https://docs.cohere.com/reference/chat-stream
"""

from typing import Final

from trustgate.providers.hub import Outward
from trustgate.providers.pairs.openai_to_cohere.answer import to_answer
from trustgate.providers.pairs.openai_to_cohere.request import to_request
from trustgate.providers.pairs.openai_to_cohere.stream import Reader

__all__ = ["PAIR"]

PAIR: Final = Outward(request=to_request, answer=to_answer, stream=Reader)
