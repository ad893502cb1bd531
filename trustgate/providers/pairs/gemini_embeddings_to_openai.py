"""A caller of Gemini's embedContent or batchEmbedContents → OpenAI's embeddings, and back.

https://ai.google.dev/api/embeddings. Who asks for several says `requests`; who asks for one says `content`.
"""

import base64
import binascii
import sys
from array import array
from collections.abc import Sequence
from typing import Any, Final

from trustgate.providers.hub import CannotSay, Inward, Json, Losses, Moment
from trustgate.providers.lenses.gemini import count
from trustgate.providers.pairs.gemini_to_openai.reading import named, several, whole
from trustgate.providers.pairs.reading import list_of, object_of, string
from trustgate.providers.pairs.silence import SilentWriter

_SAID: Final = frozenset(("model", "content", "outputDimensionality", "embedContentConfig"))


def _request(said: Json, losses: Losses) -> Json:
    """What the vectors are for is lost: OpenAI has one kind of them for all uses."""
    found = named(said, "")
    if found.get("requests") is None:
        asked, paths = [found], [""]
    else:
        asked = several(found["requests"], "requests")
        paths = [f"requests.{at}." for at in range(len(asked))]
    if not asked:
        raise CannotSay("requests", "There must be something to embed.")
    texts = [_text(each.get("content"), f"{path}content") for each, path in zip(asked, paths, strict=True)]
    sizes = [_size(each, path, losses) for each, path in zip(asked, paths, strict=True)]
    for path, size in zip(paths, sizes, strict=True):
        if size != sizes[0]:
            raise CannotSay(f"{path}outputDimensionality", "All vectors of one request must have one size.")
    hub: Json = {"input": texts, "encoding_format": "float"}
    return hub if sizes[0] is None else {**hub, "dimensions": sizes[0]}


def _size(asked: Json, path: str, losses: Losses) -> int | None:
    """Return how many numbers a vector is to have. Newer clients say so in a configuration of its own."""
    given = asked.get("embedContentConfig")
    config = {} if given is None else named(given, f"{path}embedContentConfig")
    for name, value in (*asked.items(), *config.items()):
        if name not in _SAID and value is not None:
            losses.drop(name)
    size, inner = asked.get("outputDimensionality"), config.get("outputDimensionality")
    if size is not None:
        return whole(size, f"{path}outputDimensionality")
    return None if inner is None else whole(inner, f"{path}embedContentConfig.outputDimensionality")


def _text(given: Any, path: str) -> str:
    """Parts of one content are embedded together, as one text."""
    parts = several(named(given, path).get("parts"), f"{path}.parts")
    if not parts:
        raise CannotSay(f"{path}.parts", "There must be something to embed.")
    for at, part in enumerate(parts):
        if part.get("text") is None:
            raise CannotSay(f"{path}.parts.{at}", "This model embeds texts, and nothing else.")
    return "\n".join(string(part["text"], f"{path}.parts.{at}.text") for at, part in enumerate(parts))


def _answer(hub: Json, asked: Json, moment: Moment) -> Json:
    vectors = [{"values": _numbers(object_of(each).get("embedding"))} for each in list_of(hub.get("data"))]
    told: Json = (
        {"embedding": vectors[0] if vectors else {"values": []}}
        if asked.get("requests") is None
        else {"embeddings": vectors}
    )
    usage = hub.get("usage")
    if isinstance(usage, dict) and (tokens := count(usage.get("prompt_tokens"))):
        told["usageMetadata"] = {"promptTokenCount": tokens}
    return told


def _numbers(vector: Any) -> Sequence[Any]:
    """Return the numbers of a vector; not every provider heeds that numbers were asked for, and no base64."""
    if not isinstance(vector, str):
        return list(list_of(vector))
    try:
        raw = base64.b64decode(vector, validate=True)
    except (binascii.Error, ValueError):
        return []
    numbers = array("f", raw[: len(raw) - len(raw) % 4])
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


PAIR: Final = Inward(request=_request, answer=_answer, stream=SilentWriter)
