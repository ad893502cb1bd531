"""The hub → OpenAI's Responses, for targets that speak nothing else, and its answers and streams back.

https://platform.openai.com/docs/api-reference/responses
"""

from typing import Final

from trustgate.providers.hub import Outward
from trustgate.providers.pairs.openai_to_responses.answer import to_answer
from trustgate.providers.pairs.openai_to_responses.request import to_request
from trustgate.providers.pairs.openai_to_responses.stream import Reader

__all__ = ["PAIR"]

PAIR: Final = Outward(request=to_request, answer=to_answer, stream=Reader)
