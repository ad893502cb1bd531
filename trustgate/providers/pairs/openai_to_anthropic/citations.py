"""Citations: Anthropic has them on the text blocks that they are for, the hub beside the text, with a place in it.

https://platform.claude.com/docs/en/build-with-claude/citations
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from trustgate.providers.hub import Json

_DOCUMENT: Final = ("document_index", "cited_text")
_NEEDED: Final[Mapping[Any, tuple[str, ...]]] = {
    "char_location": (*_DOCUMENT, "start_char_index", "end_char_index"),
    "page_location": (*_DOCUMENT, "start_page_number", "end_page_number"),
    "content_block_location": (*_DOCUMENT, "start_block_index", "end_block_index"),
    "search_result_location": (
        *("search_result_index", "cited_text", "source"),
        *("start_block_index", "end_block_index"),
    ),
    "web_search_result_location": ("url", "cited_text", "encrypted_index"),
}
"""Anthropic's kinds of citation, and what each of them must have."""
_TITLES: Final[Mapping[Any, str]] = {
    "search_result_location": "title",
    "web_search_result_location": "title",
}
_PLACE: Final = ("start_index", "end_index")


def placed(citations: Iterable[Any], start: int, end: int) -> list[Json]:
    """Return Anthropic's citations of `content[start:end]` as the hub has them."""
    return [{**each, "start_index": start, "end_index": end} for each in citations if isinstance(each, dict)]


def cut(text: str, offset: int, citations: Sequence[Any]) -> tuple[list[Json], int]:
    """Return text blocks, cut at what is cited, and how many citations found their place.

    `offset` is where the text begins in the content that the citations point into. Those that point elsewhere, across
    others, or are of a kind that Anthropic does not have, find none.
    """
    blocks: list[Json] = []
    at, fit = 0, 0
    for (start, end), group in sorted(_grouped(citations).items()):
        begin, stop = start - offset, end - offset
        if at <= begin < stop <= len(text):
            if begin > at:
                blocks.append({"type": "text", "text": text[at:begin]})
            blocks.append({"type": "text", "text": text[begin:stop], "citations": group})
            at, fit = stop, fit + len(group)
    if at < len(text):
        blocks.append({"type": "text", "text": text[at:]})
    return blocks, fit


def _grouped(citations: Sequence[Any]) -> dict[tuple[int, int], list[Json]]:
    groups: dict[tuple[int, int], list[Json]] = {}
    for citation in citations:
        if (told := sayable(citation)) is not None:
            start, end = citation.get("start_index"), citation.get("end_index")
            if isinstance(start, int) and isinstance(end, int):
                groups.setdefault((start, end), []).append(told)
    return groups


def sayable(citation: Any) -> Json | None:
    """Return a citation as Anthropic has it, None for one that lacks what it must have."""
    if not isinstance(citation, dict):
        return None
    kind = citation.get("type")
    needed = _NEEDED.get(kind) if isinstance(kind, str) else None
    if needed is None or any(citation.get(name) is None for name in needed):
        return None
    told = {name: value for name, value in citation.items() if name not in _PLACE}
    told.setdefault(_TITLES.get(kind, "document_title"), None)
    return told
