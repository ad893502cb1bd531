"""OpenAI's embeddings → Cohere's v2 embed, and back. https://docs.cohere.com/reference/embed

Cohere wants to know what the texts are for, which OpenAI never asks: they are taken for documents to be searched, the
`input_type` whose vectors every other can be compared with. Vectors are always asked for as numbers, which all of its
models have; base64 is made of them here.
"""

import base64
from array import array
from collections.abc import Sequence
from typing import Any, Final

from trustgate.providers.hub import CannotSay, Json, Losses, Moment, Outward
from trustgate.providers.lenses.cohere import count
from trustgate.providers.pairs.silence import SilentReader

_HANDLED: Final = frozenset(("model", "input", "encoding_format", "dimensions"))


def _request(hub: Json, losses: Losses) -> Json:
    body: Json = {
        "texts": _texts(hub.get("input")),
        "input_type": "search_document",
        "embedding_types": ["float"],
    }
    if hub.get("model") is not None:
        body["model"] = hub["model"]
    if hub.get("dimensions") is not None:
        body["output_dimension"] = hub["dimensions"]
    for name, value in hub.items():
        if name not in _HANDLED and value is not None:
            losses.drop(name)
    return body


def _texts(given: Any) -> list[str]:
    if isinstance(given, str):
        return [given]
    if not isinstance(given, list):
        raise CannotSay("input", "`input` must be a string or a list of strings.")
    for index, text in enumerate(given):
        if not isinstance(text, str):
            raise CannotSay(f"input.{index}", "Cohere embeds texts, and no numbers of tokens.")
    return given


def _answer(said: Json, asked: Json, moment: Moment) -> Json:
    encoded = asked.get("encoding_format") == "base64"
    tokens = _tokens(said.get("meta"))
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": in_base64(vector) if encoded else vector}
            for index, vector in enumerate(_vectors(said.get("embeddings")))
        ],
        "model": moment.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _vectors(embeddings: Any) -> Sequence[Any]:
    """Return the vectors: by type, or as a plain list, which is how the first version gave them."""
    found = embeddings.get("float") if isinstance(embeddings, dict) else embeddings
    return found if isinstance(found, list) else ()


def _tokens(meta: Any) -> int:
    billed = meta.get("billed_units") if isinstance(meta, dict) else None
    return count(billed.get("input_tokens")) if isinstance(billed, dict) else 0


def in_base64(vector: Any) -> str:
    """Return a vector as OpenAI encodes it: its numbers as 32-bit floats, least significant byte first, in base64."""
    numbers = [each for each in vector if isinstance(each, int | float)] if isinstance(vector, list) else []
    return base64.b64encode(_little(array("f", numbers))).decode()


def _little(numbers: "array[float]") -> bytes:
    if _BIG_ENDIAN:
        numbers.byteswap()
    return numbers.tobytes()


_BIG_ENDIAN: Final = array("H", [1]).tobytes() == b"\x00\x01"


PAIR: Final = Outward(request=_request, answer=_answer, stream=SilentReader)
