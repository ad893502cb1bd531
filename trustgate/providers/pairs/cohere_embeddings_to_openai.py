"""A caller of Cohere's v2 embed → OpenAI's embeddings, and back. https://docs.cohere.com/reference/embed"""

from collections.abc import Mapping
from typing import Any, Final

from trustgate.providers.hub import CannotSay, Inward, Json, Losses, Moment
from trustgate.providers.lenses.cohere import count
from trustgate.providers.pairs.openai_to_cohere_embeddings import in_base64
from trustgate.providers.pairs.silence import SilentWriter

_TYPES: Final = ("float", "base64")
_HANDLED: Final = frozenset(("model", "texts", "inputs", "images", "embedding_types", "output_dimension", "truncate"))


def _request(said: Json, losses: Losses) -> Json:
    """`input_type` is lost: OpenAI has one kind of vector for all uses."""
    types = _types(said)
    hub: Json = {"input": _texts(said), "encoding_format": "base64" if types == ["base64"] else "float"}
    if said.get("output_dimension") is not None:
        hub["dimensions"] = said["output_dimension"]
    for name, value in said.items():
        if name not in _HANDLED and value is not None:
            losses.drop(name)
    if said.get("truncate") not in (None, "NONE"):
        losses.drop("truncate")
    return hub


def _types(said: Mapping[str, Any]) -> list[str]:
    types = said.get("embedding_types")
    if types is None:
        return ["float"]
    if not isinstance(types, list):
        raise CannotSay("embedding_types", "`embedding_types` must be a list.")
    for index, each in enumerate(types):
        if each not in _TYPES:
            raise CannotSay(f"embedding_types.{index}", "Only float and base64 embeddings can be had of this model.")
    return types or ["float"]


def _texts(said: Mapping[str, Any]) -> list[str]:
    if said.get("images"):
        raise CannotSay("images", "This model embeds texts, and no images.")
    inputs, texts = said.get("inputs"), said.get("texts")
    if inputs is not None:
        if not isinstance(inputs, list):
            raise CannotSay("inputs", "`inputs` must be a list.")
        return [_input(each, f"inputs.{index}") for index, each in enumerate(inputs)]
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise CannotSay("texts", "`texts` must be a list of strings.")
    return texts


def _input(given: Any, path: str) -> str:
    """Parts of one input are embedded together, as one text."""
    content = given.get("content") if isinstance(given, dict) else None
    if not isinstance(content, list) or not content:
        raise CannotSay(f"{path}.content", "`content` must be a list of parts.")
    for index, part in enumerate(content):
        text = part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None
        if not isinstance(text, str):
            raise CannotSay(f"{path}.content.{index}", "This model embeds texts, and no images.")
    return "\n".join(part["text"] for part in content)


def _answer(hub: Json, asked: Json, moment: Moment) -> Json:
    data = hub.get("data")
    vectors = [each.get("embedding") for each in data if isinstance(each, dict)] if isinstance(data, list) else []
    usage = hub.get("usage")
    tokens = count(usage.get("prompt_tokens")) if isinstance(usage, dict) else 0
    return {
        "id": moment.id,
        "response_type": "embeddings_by_type",
        "texts": _texts(asked),
        "embeddings": {kind: [_vector(vector, kind) for vector in vectors] for kind in _types(asked)},
        "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": tokens}},
    }


def _vector(vector: Any, kind: str) -> Any:
    """Not every provider heeds that base64 was asked for."""
    return in_base64(vector) if kind == "base64" and not isinstance(vector, str) else vector


PAIR: Final = Inward(request=_request, answer=_answer, stream=SilentWriter)
