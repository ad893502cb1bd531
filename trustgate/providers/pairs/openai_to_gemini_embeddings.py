"""OpenAI's embeddings → Gemini's batchEmbedContents, and back. https://ai.google.dev/api/embeddings

Gemini gives numbers only; base64 is made of them here. Of the tokens older models say nothing, and then neither do we.
"""

from typing import Any, Final

from trustgate.providers.hub import CannotSay, Json, Losses, Moment, Outward
from trustgate.providers.lenses.gemini import read_usage
from trustgate.providers.pairs.openai_to_cohere_embeddings import in_base64
from trustgate.providers.pairs.reading import integer, list_of, object_of, text_of
from trustgate.providers.pairs.silence import SilentReader

_SAID: Final = frozenset(("model", "input", "encoding_format", "dimensions"))


def _request(hub: Json, losses: Losses) -> Json:
    model = f"models/{text_of(hub.get('model')).removeprefix('models/')}"
    more: Json = {}
    if hub.get("dimensions") is not None:
        more["outputDimensionality"] = integer(hub["dimensions"], "dimensions")
    for name, value in hub.items():
        if name not in _SAID and value is not None:
            losses.drop(name)
    texts = _texts(hub.get("input"))
    return {"requests": [{"model": model, "content": {"parts": [{"text": text}]}, **more} for text in texts]}


def _texts(given: Any) -> list[str]:
    if isinstance(given, str):
        return [given]
    if not isinstance(given, list):
        raise CannotSay("input", "`input` must be a string or a list of strings.")
    for at, text in enumerate(given):
        if not isinstance(text, str):
            raise CannotSay(f"input.{at}", "Gemini embeds texts, and no numbers of tokens.")
    return given


def _answer(said: Json, asked: Json, moment: Moment) -> Json:
    encoded = asked.get("encoding_format") == "base64"
    vectors = [list(list_of(object_of(each).get("values"))) for each in list_of(said.get("embeddings"))]
    told: Json = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": at, "embedding": in_base64(vector) if encoded else vector}
            for at, vector in enumerate(vectors)
        ],
        "model": moment.model,
    }
    if isinstance(usage := said.get("usageMetadata"), dict):
        tokens = read_usage(usage).input
        told["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    return told


PAIR: Final = Outward(request=_request, answer=_answer, stream=SilentReader)
