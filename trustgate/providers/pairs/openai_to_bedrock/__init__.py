"""The hub → Amazon Bedrock's Converse, and its answers and streams back.

https://docs.aws.amazon.com/bedrock/latest/userguide/conversation-inference.html
"""

from typing import Final

from trustgate.providers.hub import Outward
from trustgate.providers.pairs.openai_to_bedrock.answer import to_answer
from trustgate.providers.pairs.openai_to_bedrock.request import to_request
from trustgate.providers.pairs.openai_to_bedrock.stream import Reader

__all__ = ["PAIR"]

PAIR: Final = Outward(request=to_request, answer=to_answer, stream=Reader)
