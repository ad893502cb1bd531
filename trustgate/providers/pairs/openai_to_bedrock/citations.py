"""Citations: the hub has Anthropic's objects, Bedrock says the same in other words.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Citation.html
https://platform.claude.com/docs/en/build-with-claude/citations
"""

from collections.abc import Mapping
from typing import Any, Final

from trustgate.providers.hub import Json

_PLACES: Final[Mapping[str, tuple[str, tuple[tuple[str, str], ...]]]] = {
    "documentChar": (
        "char_location",
        (("documentIndex", "document_index"), ("start", "start_char_index"), ("end", "end_char_index")),
    ),
    "documentPage": (
        "page_location",
        (("documentIndex", "document_index"), ("start", "start_page_number"), ("end", "end_page_number")),
    ),
    "documentChunk": (
        "content_block_location",
        (("documentIndex", "document_index"), ("start", "start_block_index"), ("end", "end_block_index")),
    ),
    "searchResultLocation": (
        "search_result_location",
        (("searchResultIndex", "search_result_index"), ("start", "start_block_index"), ("end", "end_block_index")),
    ),
    "web": ("web_search_result_location", (("url", "url"),)),
}
"""Bedrock's kind of place → Anthropic's, and the names of its fields in both."""
_KINDS: Final = {kind: (place, fields) for place, (kind, fields) in _PLACES.items()}
_TITLED: Final = frozenset(("web_search_result_location", "search_result_location"))
"""Kinds that have a `title`; the others have that of their document."""


def heard(citation: Any, start: int, end: int) -> Json | None:
    """Return Bedrock's citation of `content[start:end]` as the hub has it, None for one without a place."""
    location = citation.get("location") if isinstance(citation, dict) else None
    for place, fields in location.items() if isinstance(location, dict) else ():
        if place in _PLACES and isinstance(fields, dict):
            return {**_heard(citation, place, fields), "start_index": start, "end_index": end}
    return None


def _heard(citation: Json, place: str, fields: Json) -> Json:
    kind, names = _PLACES[place]
    told: Json = {"type": kind, "cited_text": _joined(citation.get("sourceContent"))}
    if (title := citation.get("title")) is not None:
        told["title" if kind in _TITLED else "document_title"] = title
    if kind == "search_result_location" and (source := citation.get("source")) is not None:
        told["source"] = source
    told.update((theirs, fields[ours]) for ours, theirs in names if fields.get(ours) is not None)
    return told


def _joined(parts: Any) -> str:
    texts = (part.get("text") for part in parts if isinstance(part, dict)) if isinstance(parts, list) else ()
    return "".join(text for text in texts if isinstance(text, str))


def told(citation: Any) -> Json | None:
    """Return the hub's citation as Bedrock has it, None for a kind that it does not have."""
    kind = citation.get("type") if isinstance(citation, dict) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        return None
    place, names = _KINDS[kind]
    said: Json = {}
    if (title := citation.get("document_title", citation.get("title"))) is not None:
        said["title"] = title
    if (source := citation.get("source")) is not None:
        said["source"] = source
    if text := citation.get("cited_text"):
        said["sourceContent"] = [{"text": text}]
    said["location"] = {place: {ours: citation[theirs] for ours, theirs in names if citation.get(theirs) is not None}}
    return said


def cited_blocks(text: str, offset: int, citations: list[Json]) -> list[Json] | None:
    """Cut a text at its citations: a text block, or a citationsContent block, for each stretch.

    `offset` is where the text stands in the content that the citations point into. None if a citation does not fit:
    it points elsewhere, reaches over the end of another, or is of a kind that Bedrock does not have.
    """
    blocks: list[Json] = []
    at = 0
    for (start, end), group in _grouped(citations).items():
        said = [told(citation) for citation in group]
        if start - offset < at or end <= start or end - offset > len(text) or None in said:
            return None
        if before := text[at : start - offset]:
            blocks.append({"text": before})
        at = end - offset
        blocks.append({"citationsContent": {"content": [{"text": text[start - offset : at]}], "citations": said}})
    return [*blocks, {"text": text[at:]}] if text[at:] else blocks


def _grouped(citations: list[Json]) -> dict[tuple[int, int], list[Json]]:
    """The citations of each stretch of text, in the order of the text. Where an index is missing, none can fit."""
    groups: dict[tuple[int, int], list[Json]] = {}
    for citation in citations:
        start, end = citation.get("start_index"), citation.get("end_index")
        place = (start, end) if isinstance(start, int) and isinstance(end, int) else (-1, -1)
        groups.setdefault(place, []).append(citation)
    return dict(sorted(groups.items()))
