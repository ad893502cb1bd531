"""What Google's search found for an answer, as OpenAI's annotations of its text.

https://ai.google.dev/gemini-api/docs/google-search#attributing_sources_with_inline_citations: Google counts bytes of a
part, OpenAI characters of the message.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from trustgate.providers.hub import Json
from trustgate.providers.lenses.gemini import count
from trustgate.providers.pairs.reading import list_of, object_of, text_of

_SOURCES: Final = ("web", "retrievedContext", "maps", "image")


def to_annotations(metadata: Any, text: str) -> list[Json]:
    """Return the citations of a candidate's `groundingMetadata` that are of something with an address."""
    supports = list_of(object_of(metadata).get("groundingSupports"))
    if not supports:
        return []
    sources = [_source(object_of(chunk)) for chunk in list_of(metadata.get("groundingChunks"))]
    encoded = text.encode("utf-8", "replace")
    return [cited for support in supports for cited in _cited(object_of(support), sources, text, encoded)]


def _source(chunk: Mapping[str, Any]) -> tuple[str, str]:
    found = next((object_of(chunk[name]) for name in _SOURCES if name in chunk), {})
    return text_of(found.get("uri")) or text_of(found.get("sourceUri")), text_of(found.get("title"))


def _cited(support: Mapping[str, Any], sources: Sequence[tuple[str, str]], text: str, encoded: bytes) -> Iterator[Json]:
    place = _place(object_of(support.get("segment")), text, encoded)
    for index in list_of(support.get("groundingChunkIndices")):
        url, title = sources[index] if isinstance(index, int) and 0 <= index < len(sources) else ("", "")
        if place and url:
            cited = {"start_index": place[0], "end_index": place[1], "url": url, "title": title}
            yield {"type": "url_citation", "url_citation": cited}


def _place(segment: Mapping[str, Any], text: str, encoded: bytes) -> tuple[int, int] | None:
    """Return where a segment stands in the text, None where it does not.

    Its place is that in its own part: where another part stands before, its words tell it.
    """
    start, said = count(segment.get("startIndex")), text_of(segment.get("text"))
    piece = encoded[start : count(segment.get("endIndex"))].decode("utf-8", "replace")
    if not said or piece == said:
        begin = len(encoded[:start].decode("utf-8", "ignore"))
        return (begin, begin + len(piece)) if piece else None
    begin = text.find(said)
    return (begin, begin + len(said)) if begin >= 0 else None
