"""A caller of Cohere's v2 chat → the hub, and the hub's answers and streams back.

https://docs.cohere.com/reference/chat and https://docs.cohere.com/reference/chat-stream
"""

from typing import Final

from trustgate.providers.hub import Inward
from trustgate.providers.pairs.cohere_to_openai.answer import to_answer
from trustgate.providers.pairs.cohere_to_openai.request import to_request
from trustgate.providers.pairs.cohere_to_openai.stream import Writer

__all__ = ["PAIR"]

PAIR: Final = Inward(request=to_request, answer=to_answer, stream=Writer)
