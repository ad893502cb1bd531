"""Gemini's generateContent → the hub, and the hub's answers and streams as Gemini says them.

https://ai.google.dev/api/generate-content
"""

from typing import Final

from trustgate.providers.hub import Inward
from trustgate.providers.pairs.gemini_to_openai.answer import to_answer
from trustgate.providers.pairs.gemini_to_openai.request import to_request
from trustgate.providers.pairs.gemini_to_openai.stream import Writer

__all__ = ["PAIR"]

PAIR: Final = Inward(request=to_request, answer=to_answer, stream=Writer)
