"""The hub → Anthropic's Messages, and Anthropic's answers and streams as the hub says them.

https://platform.claude.com/docs/en/api/messages
"""

from typing import Final

from trustgate.providers.hub import Outward
from trustgate.providers.pairs.openai_to_anthropic.answer import to_answer
from trustgate.providers.pairs.openai_to_anthropic.request import to_request
from trustgate.providers.pairs.openai_to_anthropic.stream import Reader

__all__ = ["PAIR"]

PAIR: Final = Outward(request=to_request, answer=to_answer, stream=Reader)
