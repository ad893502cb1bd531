"""A caller of OpenAI's Responses → the hub, and the hub's answers and streams back.

https://platform.openai.com/docs/api-reference/responses
"""

from typing import Final

from trustgate.providers.hub import Inward
from trustgate.providers.pairs.responses_to_openai.answer import to_answer
from trustgate.providers.pairs.responses_to_openai.request import to_request
from trustgate.providers.pairs.responses_to_openai.stream import Writer

__all__ = ["PAIR"]

PAIR: Final = Inward(request=to_request, answer=to_answer, stream=Writer)
