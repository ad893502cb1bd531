"""Amazon Bedrock's Converse → the hub, and the hub's answers and streams as Converse says them.

https://docs.aws.amazon.com/bedrock/latest/userguide/conversation-inference.html
"""

from typing import Final

from trustgate.providers.hub import Inward
from trustgate.providers.pairs.bedrock_to_openai.answer import to_answer
from trustgate.providers.pairs.bedrock_to_openai.request import to_request
from trustgate.providers.pairs.bedrock_to_openai.stream import Writer

__all__ = ["PAIR"]

PAIR: Final = Inward(request=to_request, answer=to_answer, stream=Writer)
