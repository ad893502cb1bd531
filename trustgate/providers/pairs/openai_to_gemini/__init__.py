"""The hub → Gemini's generateContent, and its answers and streams back. The Gemini API and Vertex AI have one body.

https://ai.google.dev/api/generate-content
"""

from typing import Final

from trustgate.providers.hub import Outward
from trustgate.providers.pairs.openai_to_gemini.answer import to_answer
from trustgate.providers.pairs.openai_to_gemini.request import to_request
from trustgate.providers.pairs.openai_to_gemini.stream import Reader

__all__ = ["PAIR"]

PAIR: Final = Outward(request=to_request, answer=to_answer, stream=Reader)
